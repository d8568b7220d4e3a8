//! Process descriptors, `pidfd_open(2)`: a process that no number can be mistaken for.

use crate::error::Error;
use crate::exit::Exit;
use crate::namespace::{Kind, NsFd};
use crate::raw::{self, Errno};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

/// A descriptor of a process. Readable (poll) once it has ended.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// `pidfd_open(pid, 0)`: of the process that has this number now, as seen from the caller's pid namespace. Linux 5.3.
    pub fn open(pid: u32) -> Result<PidFd, Error> {
        let what = || format!("open a pidfd of process {pid}");
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| Error::call(what(), Errno::ESRCH))?;
        let fd =
            retry_on_intr(|| pidfd_open(number, PidfdFlags::empty())).map_err(|e| Error::call(what(), Errno::new(e.raw_os_error())))?;
        Ok(PidFd(fd))
    }

    /// Of the calling process.
    pub fn of_self() -> Result<PidFd, Error> {
        PidFd::open(std::process::id())
    }

    /// # Safety
    /// `fd` is a pidfd that nobody else owns.
    pub(crate) unsafe fn from_raw(fd: RawFd) -> PidFd {
        // SAFETY: as the caller says.
        PidFd(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// The number of the process in the pid namespace of the caller's `/proc`: `Pid:` of `/proc/self/fdinfo/FD`.
    /// `None`: it has ended, or lives in no namespace below.
    pub fn pid(&self) -> Option<u32> {
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.0.as_raw_fd())).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
        line.trim().parse().ok().filter(|pid| *pid > 0)
    }

    /// `pidfd_send_signal(pidfd, signal)`. Linux 5.1.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        raw::pidfd_send_signal(self.as_fd(), signal).map_err(|e| Error::call(format!("send signal {signal}"), e))
    }

    /// Whether it has ended (it may not be reaped yet).
    pub fn has_ended(&self) -> bool {
        self.ended_within(Duration::ZERO)
    }

    /// Waits until it has ended, at most so long. Doesn't reap.
    pub fn ended_within(&self, limit: Duration) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
        loop {
            match poll(&mut fds, Some(&limit)) {
                Err(rustix::io::Errno::INTR) => {}
                answer => return answer.is_ok_and(|n| n > 0),
            }
        }
    }

    /// `waitid(P_PIDFD, …, WEXITED|__WALL)`: waits for a child of the caller and reaps it. Linux 5.4.
    pub fn wait(&self) -> Result<Exit, Error> {
        match raw::waitid(self.as_fd(), true) {
            Ok(Some(end)) => Ok(Exit::new(end, false)),
            Ok(None) => Err(Error::call("wait for a process", Errno::ECHILD)),
            Err(e) => Err(Error::call("wait for a process", e)),
        }
    }

    /// Its namespace of this kind, by `/proc/PID/ns`, checked to be still the same process afterwards.
    pub fn namespace(&self, kind: Kind) -> Result<NsFd, Error> {
        let what = || format!("open the {} namespace of a process", kind.name());
        let gone = || Error::call(what(), Errno::ESRCH);
        let path = format!("/proc/{}/ns/{}", self.pid().ok_or_else(gone)?, kind.name());
        let fd = retry_on_intr(|| open(Path::new(&path), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()));
        let fd = fd.map_err(|e| Error::call(what(), Errno::new(e.raw_os_error())))?;
        if self.has_ended() {
            return Err(gone());
        }
        NsFd::from_fd(fd, kind).map_err(|e| Error::call(what(), e))
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<PidFd> for OwnedFd {
    fn from(pidfd: PidFd) -> OwnedFd {
        pidfd.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_itself() {
        let me = PidFd::of_self().unwrap();
        assert_eq!(me.pid(), Some(std::process::id()));
        assert!(!me.has_ended());
        assert!(me.namespace(Kind::Net).is_ok());
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert_eq!(PidFd::open(0).unwrap_err().errno(), Some(Errno::ESRCH));
        assert_eq!(PidFd::open(u32::MAX).unwrap_err().errno(), Some(Errno::ESRCH));
    }
}
