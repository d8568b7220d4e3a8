//! `cgroup.events`: whether anything is alive in a cgroup, and whether it is frozen.

use crate::cgroup::Cgroup;
use crate::errno::{Errno, errno};
use crate::error::{Error, Result};
use crate::file::text;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// What `cgroup.events` says. A removed cgroup has nobody in it: both are false.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Events {
    /// There are processes in the cgroup or below it. Zombies don't count.
    pub populated: bool,
    /// All of them are stopped by `cgroup.freeze`.
    pub frozen: bool,
}

impl Events {
    /// Reads the file's text. Unknown lines are left alone: kernels add some.
    pub fn parse(text: &str) -> Events {
        let has = |line: &str| text.lines().any(|l| l == line);
        Events { populated: has("populated 1"), frozen: has("frozen 1") }
    }
}

/// `cgroup.events`, opened: for an event loop.
///
/// Poll it for `POLLPRI` (or `EPOLLPRI`); it is ready when the file has changed since [`EventsFd::read`] read it last. Read it once
/// before the first poll.
pub struct EventsFd {
    fd: OwnedFd,
    of: Cgroup,
}

impl AsFd for EventsFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl EventsFd {
    /// `pread(2)`: what holds now.
    pub fn read(&self) -> Result<Events> {
        match text(self.fd.as_fd(), 4096) {
            Ok(text) => Ok(Events::parse(&text)),
            Err(Errno::ENODEV | Errno::ENOENT) => Ok(Events::default()),
            Err(e) => Err(Error::call("read cgroup.events of", self.of.path(), "read", e)),
        }
    }

    /// Waits until `wanted` holds: `poll(2)` for POLLPRI. False when the time ran out first; `None` waits for ever.
    pub fn wait(&self, timeout: Option<Duration>, wanted: impl Fn(Events) -> bool) -> Result<bool> {
        let deadline = timeout.and_then(|t| Instant::now().checked_add(t));
        loop {
            if wanted(self.read()?) {
                return Ok(true);
            }
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            if left.is_some_and(|l| l.is_zero()) {
                return Ok(false);
            }
            self.poll(left)?;
        }
    }

    fn poll(&self, left: Option<Duration>) -> Result<()> {
        let left = left.map(|l| Timespec { tv_sec: l.as_secs() as _, tv_nsec: l.subsec_nanos() as _ });
        match poll(&mut [PollFd::new(&self.fd, PollFlags::PRI)], left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(Error::call("wait for cgroup.events of", self.of.path(), "poll", errno(e))),
        }
    }
}

impl Cgroup {
    /// Opens `cgroup.events`. ENOENT for the root, which has no such file, and for a cgroup that was removed.
    pub fn events_fd(&self) -> Result<EventsFd> {
        Ok(EventsFd { fd: self.open_file("cgroup.events", OFlags::RDONLY, "read")?, of: self.try_clone()? })
    }

    /// Whether there are processes in this cgroup or below it. A cgroup that was removed has none.
    pub fn populated(&self) -> Result<bool> {
        match self.read("cgroup.events") {
            Ok(text) => Ok(Events::parse(&text).populated),
            Err(e) if self.has_gone(&e) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Waits until there is no process in this cgroup or below it; false when the time ran out first.
    pub fn wait_empty(&self, timeout: Duration) -> Result<bool> {
        match self.events_fd() {
            Ok(events) => events.wait(Some(timeout), |e| !e.populated),
            Err(e) if self.has_gone(&e) => Ok(true),
            Err(e) => Err(e),
        }
    }

    /// A file of the cgroup is missing because the cgroup is: every cgroup, the root too, has `cgroup.procs`.
    pub(crate) fn has_gone(&self, e: &Error) -> bool {
        e.is_gone() && self.open_file("cgroup.procs", OFlags::RDONLY, "read").is_err_and(|e| e.is_gone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_text() {
        assert_eq!(Events::parse("populated 1\nfrozen 0\n"), Events { populated: true, frozen: false });
        assert_eq!(Events::parse("frozen 1\nsomething new\n"), Events { populated: false, frozen: true });
        assert_eq!(Events::parse("populated 10"), Events::default());
    }
}
