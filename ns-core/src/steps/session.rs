//! Sessions, process groups and the controlling terminal.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::step::{Call, Child, Fault, Slot, Step, Wires};
use rustix::io::retry_on_intr;
use rustix::process::{ioctl_tiocsctty, setpgid, setsid};
use std::fmt;
use std::os::fd::BorrowedFd;

/// A session and process group of the child's own, `setsid(2)`: no controlling terminal is left. `EPERM` in a group's leader.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session {
    tty: Option<Slot>,
}

impl Session {
    /// A session without a terminal.
    pub const fn new() -> Session {
        Session { tty: None }
    }

    /// The terminal in `slot` becomes the session's, `ioctl_tty(2)` TIOCSCTTY: `EPERM` where it is another session's already, `ENOTTY`
    /// where it is no terminal.
    #[must_use]
    pub const fn controlling(self, slot: Slot) -> Session {
        Session { tty: Some(slot) }
    }

    /// Does it now; `tty` in place of the slot's terminal.
    pub fn apply(&self, tty: Option<BorrowedFd<'_>>) -> Result<(), Fault> {
        retry_on_intr(setsid).map(drop).call("setsid")?;
        tty.map_or(Ok(()), |tty| retry_on_intr(|| ioctl_tiocsctty(tty)).call("ioctl TIOCSCTTY"))
    }
}

// SAFETY: system calls on descriptors.
unsafe impl Step for Session {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        self.apply(self.tty.map(|slot| child.fd(slot)).transpose()?)
    }

    fn wires(&self, wires: &mut Wires) {
        if let Some(slot) = self.tty {
            wires.uses(slot);
        }
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session of its own")?;
        self.tty.map_or(Ok(()), |slot| write!(f, ", controlled by {slot}"))
    }
}

/// A process group of the child's own in the caller's session, `setpgid(0, 0)`, `setpgid(2)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessGroup;

impl ProcessGroup {
    /// Does it now.
    pub fn apply(&self) -> Result<(), Fault> {
        retry_on_intr(|| setpgid(None, None)).call("setpgid")
    }
}

// SAFETY: one system call without pointers.
unsafe impl Step for ProcessGroup {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }
}

impl fmt::Display for ProcessGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a process group of its own")
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::indexing_slicing,
    reason = "tests run in the parent"
)]
mod tests {
    use super::*;
    use crate::steps::trial::{Seen, Trial};
    use std::os::fd::AsFd;

    const TTY: Slot = Slot::new("a terminal");

    /// Process group, session and terminal of `proc_pid_stat(5)`.
    fn stat(seen: &Seen) -> [i32; 3] {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", seen.pid)).unwrap();
        let fields: Vec<i32> = stat.rsplit_once(") ").unwrap().1.split(' ').skip(2).take(3).map(|n| n.parse().unwrap()).collect();
        [fields[0], fields[1], fields[2]]
    }

    #[test]
    fn a_session_gets_its_terminal() {
        let pair = crate::pty::open().unwrap();
        let [group, session, tty] = Trial::new()
            .lend(TTY, pair.slave.as_fd())
            .look(&[&Session::new().controlling(TTY)], |seen| {
                let [group, session, tty] = stat(&seen);
                [group - seen.pid, session - seen.pid, tty]
            })
            .unwrap();
        assert_eq!((group, session), (0, 0));
        assert_eq!(tty as u64, rustix::fs::fstat(&pair.slave).unwrap().st_rdev);
    }

    #[test]
    fn a_file_is_no_terminal() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let fault = Trial::new().lend(TTY, null.as_fd()).run(&[&Session::new().controlling(TTY)]).unwrap_err();
        assert_eq!(fault.to_string(), "ioctl TIOCSCTTY: Inappropriate ioctl for device");
    }

    #[test]
    fn a_group_leader_makes_no_session() {
        let seen = Trial::new().look(&[&ProcessGroup], |seen| (stat(&seen)[0] - seen.pid, stat(&seen)[1] - seen.pid)).unwrap();
        assert_eq!(seen.0, 0);
        assert_ne!(seen.1, 0);
        let fault = Trial::new().run(&[&ProcessGroup, &Session::new()]).unwrap_err();
        assert_eq!(fault.to_string(), "setsid: Operation not permitted");
    }
}
