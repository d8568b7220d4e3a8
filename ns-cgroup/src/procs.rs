//! A cgroup's processes, and their end.

use crate::cgroup::Cgroup;
use crate::dir;
use crate::errno::{Errno, errno};
use crate::error::{Error, Result};
use crate::file::{LONGEST_LIST, text};
use crate::sys::pidfd_send_signal;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Each round kills all that was there; the cgroup is frozen, so a second one finds only what was being started.
const KILL_ROUNDS: u32 = 8;
/// Pidfds held open at a time, well below the usual limit of 1,024.
const AT_ONCE: usize = 128;
const KILL: i32 = 9;
const FREEZE_PATIENCE: Duration = Duration::from_secs(1);

impl Cgroup {
    /// The processes in this cgroup itself: `cgroup.procs`, pids in the caller's pid namespace. Those that have no pid there (the kernel
    /// lists them as 0) are left out; [`Cgroup::populated`] counts them. EOPNOTSUPP for a threaded cgroup.
    pub fn procs(&self) -> Result<Vec<u32>> {
        self.read_list("cgroup.procs").map(|t| pids(&t))
    }

    /// The processes in this cgroup and all below it.
    pub fn procs_below(&self) -> Result<Vec<u32>> {
        let mut all = Vec::new();
        dir::walk(self.as_fd(), |at| {
            all.extend(pids_of(at)?);
            Ok(())
        })
        .map_err(|e| Error::call("list the processes of", self.path(), "read", e))?;
        Ok(all)
    }

    /// Kills every process in this cgroup and below it with SIGKILL, those being forked too: `cgroup.kill`, Linux 5.14. Where the kernel
    /// doesn't have it, freezes the cgroup and kills each process by its pidfd.
    ///
    /// Returns when they are killed, which is before they have ended: see [`Cgroup::wait_empty`]. Frozen ones end as well. A cgroup that
    /// was removed has no processes: that is no error. EOPNOTSUPP for a threaded cgroup: kill the domain above it.
    pub fn kill(&self) -> Result<()> {
        match self.write("cgroup.kill", "1") {
            Err(e) if self.has_gone(&e) => Ok(()),
            Err(e) if e.errno() == Some(Errno::ENOENT) => self.kill_one_by_one(),
            answer => answer,
        }
    }

    /// What [`Cgroup::kill`] does before Linux 5.14: freezes, and kills each process by its pidfd (`pidfd_open(2)`, Linux 5.3), which
    /// costs a few calls a process and misses those that have no pid in the caller's pid namespace.
    pub fn kill_one_by_one(&self) -> Result<()> {
        // Frozen processes don't fork. One that can't be frozen is stuck in the kernel: it doesn't fork either, so go on.
        let frozen = self.freeze(FREEZE_PATIENCE);
        let killed = self.kill_rounds();
        let thawed = self.thaw();
        match frozen {
            Err(e) if e.errno() != Some(Errno::ETIMEDOUT) => Err(e),
            _ => killed.and(thawed),
        }
    }

    /// Sends a signal to every process in this cgroup and below it, each by its pidfd (`pidfd_open(2)`, `pidfd_send_signal(2)`, Linux 5.3)
    /// and only if it still is in its cgroup once that is open; how many there were. Those that are being forked meanwhile may miss it,
    /// and those that have no pid in the caller's pid namespace do: [`Cgroup::kill`] misses none. EINVAL for what is no signal.
    pub fn signal(&self, signal: i32) -> Result<usize> {
        const MOST: i32 = 64;
        if !(1..=MOST).contains(&signal) {
            return Err(Error::call(format!("send signal {signal} to"), self.path(), "pidfd_send_signal", Errno::EINVAL));
        }
        let mut found = 0;
        let walked = dir::walk(self.as_fd(), |at| {
            found += signal_in(at, signal)?;
            Ok(())
        });
        walked.map(|()| found).map_err(|e| Error::call(format!("send signal {signal} to"), self.path(), "read", e))
    }

    fn kill_rounds(&self) -> Result<()> {
        for _ in 0..KILL_ROUNDS {
            let mut found = 0;
            dir::walk(self.as_fd(), |at| {
                found += signal_in(at, KILL)?;
                Ok(())
            })
            .map_err(|e| Error::call("kill the processes of", self.path(), "read", e))?;
            if found == 0 || self.wait_empty(Duration::from_millis(10))? {
                break;
            }
        }
        Ok(())
    }
}

fn pids(list: &str) -> Vec<u32> {
    list.lines().filter_map(|l| l.parse().ok()).filter(|&pid| pid != 0).collect()
}

/// A threaded cgroup's processes are listed by the domain above it; one that was removed has none.
pub(crate) fn pids_of(at: BorrowedFd<'_>) -> std::result::Result<Vec<u32>, Errno> {
    let listed = retry_on_intr(|| openat(at, c"cgroup.procs", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())).map_err(errno);
    match listed.and_then(|fd| text(fd.as_fd(), LONGEST_LIST)) {
        Err(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => Ok(Vec::new()),
        list => list.map(|t| pids(&t)),
    }
}

/// A pid may have passed on to a process elsewhere between the list and pidfd_open: only what a second list still has, after its pidfd
/// was opened, is the process that was listed or one that is in this cgroup as well.
fn signal_in(at: BorrowedFd<'_>, signal: i32) -> std::result::Result<usize, Errno> {
    let listed = pids_of(at)?;
    for some in listed.chunks(AT_ONCE) {
        let held: Vec<(u32, OwnedFd)> = some.iter().filter_map(|&pid| open_pidfd(pid).map(|fd| (pid, fd))).collect();
        let still = pids_of(at)?;
        held.iter().filter(|(pid, _)| still.contains(pid)).for_each(|(_, fd)| {
            // ESRCH: it has ended, which is as good. After a KILL anything else shows: the cgroup stays populated.
            let _ = pidfd_send_signal(fd.as_fd(), signal);
        });
    }
    Ok(listed.len())
}

fn open_pidfd(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_elsewhere_are_left_out() {
        assert_eq!(pids("1\n0\n22\n\nx\n"), [1, 22]);
    }
}
