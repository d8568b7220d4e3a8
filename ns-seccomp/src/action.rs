//! What a filter answers: `SECCOMP_RET_*`.

use ns_core::Errno;
use std::fmt;

/// What becomes of a call. Ordered by strictness, as the kernel orders the answers of several filters: [`seccomp(2)`].
///
/// [`seccomp(2)`]: https://man7.org/linux/man-pages/man2/seccomp.2.html
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The process ends as by SIGSYS. Linux 4.14.
    KillProcess,
    /// The thread ends; the others run on, usually into a deadlock.
    KillThread,
    /// SIGSYS, with this number as `si_errno`.
    Trap(u16),
    /// The call is not made and returns this error; numbers above 4095 are cut to it by the kernel.
    Errno(Errno),
    /// A supervisor decides. `ENOSYS` where the filter was installed without a listener, which this crate doesn't make yet. Linux 5.0.
    Notify,
    /// A tracer decides, told this number. `ENOSYS` without one.
    Trace(u16),
    /// Made, and logged in the audit log. Linux 4.14.
    Log,
    /// Made.
    Allow,
}

const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;
const MAX_ERRNO: u32 = 4095;

impl Action {
    /// The filter's return value: `SECCOMP_RET_* | data`.
    pub const fn to_raw(self) -> u32 {
        match self {
            Action::KillProcess => KILL_PROCESS,
            Action::KillThread => KILL_THREAD,
            Action::Trap(data) => TRAP | data as u32,
            Action::Errno(errno) => {
                let number = errno.raw_os_error() as u32;
                ERRNO | if number > MAX_ERRNO { MAX_ERRNO } else { number }
            }
            Action::Notify => NOTIFY,
            Action::Trace(data) => TRACE | data as u32,
            Action::Log => LOG,
            Action::Allow => ALLOW,
        }
    }

    /// What the kernel makes of a return value: unknown actions kill the process.
    pub const fn from_raw(raw: u32) -> Action {
        let data = raw as u16;
        match raw & 0xffff_0000 {
            KILL_THREAD => Action::KillThread,
            TRAP => Action::Trap(data),
            ERRNO => Action::Errno(Errno::new(if data as u32 > MAX_ERRNO { MAX_ERRNO as i32 } else { data as i32 })),
            NOTIFY => Action::Notify,
            TRACE => Action::Trace(data),
            LOG => Action::Log,
            ALLOW => Action::Allow,
            _ => Action::KillProcess,
        }
    }

    /// 0 is the strictest: the kernel compares the action without its data, as a signed number.
    pub(crate) const fn rank(self) -> u8 {
        match self {
            Action::KillProcess => 0,
            Action::KillThread => 1,
            Action::Trap(_) => 2,
            Action::Errno(_) => 3,
            Action::Notify => 4,
            Action::Trace(_) => 5,
            Action::Log => 6,
            Action::Allow => 7,
        }
    }
}

/// As a policy's table shows it: `allow`, `EPERM`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::KillProcess => f.write_str("kill process"),
            Action::KillThread => f.write_str("kill thread"),
            Action::Trap(data) => write!(f, "trap {data}"),
            Action::Errno(errno) => write!(f, "{errno:?}"),
            Action::Notify => f.write_str("notify"),
            Action::Trace(data) => write!(f, "trace {data}"),
            Action::Log => f.write_str("log"),
            Action::Allow => f.write_str("allow"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_kernels_number() {
        let all = [Action::KillProcess, Action::KillThread, Action::Trap(7), Action::Errno(Errno::EPERM), Action::Notify, Action::Trace(9)];
        for action in all.into_iter().chain([Action::Log, Action::Allow]) {
            assert_eq!(Action::from_raw(action.to_raw()), action);
        }
        assert_eq!(Action::Errno(Errno::new(70_000)).to_raw(), Action::Errno(Errno::new(4095)).to_raw());
        assert_eq!(Action::from_raw(0x1234_0000), Action::KillProcess);
    }

    #[test]
    fn strictness_is_the_kernels() {
        let by_rank = [KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, NOTIFY, TRACE, LOG, ALLOW];
        assert!(by_rank.is_sorted_by_key(|raw| *raw as i32));
        assert!(by_rank.iter().enumerate().all(|(rank, raw)| usize::from(Action::from_raw(*raw).rank()) == rank));
    }
}
