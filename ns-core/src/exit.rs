//! How a process ended.

use crate::raw::WaitId;
use std::fmt;

/// How a payload ended, `waitid(2)` with the two ways that only the init of a pid namespace has, `reboot(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Exit {
    /// `exit(n)`.
    Exited(i32),
    /// Ended by this signal.
    Signalled(i32),
    /// It was the init of a pid namespace and called `reboot(RB_POWER_OFF)` or `RB_HALT_SYSTEM` (the kernel ends it with SIGINT).
    PoweredOff,
    /// It was the init of a pid namespace and called `reboot(RB_AUTOBOOT)` (SIGHUP).
    Rebooted,
}

const CLD_EXITED: i32 = 1;
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;

impl Exit {
    /// Reads `si_code` and `si_status`; `init`: of a pid namespace.
    pub(crate) fn new(end: WaitId, init: bool) -> Exit {
        match (end.code, end.status) {
            (CLD_EXITED, status) => Exit::Exited(status),
            (_, SIGINT) if init => Exit::PoweredOff,
            (_, SIGHUP) if init => Exit::Rebooted,
            (_, signal) => Exit::Signalled(signal),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Exited(status) => write!(f, "exited with {status}"),
            Exit::Signalled(signal) => write!(f, "killed by signal {signal}"),
            Exit::PoweredOff => f.write_str("powered off"),
            Exit::Rebooted => f.write_str("rebooted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_init_reboots() {
        let end = WaitId { code: 2, status: 1 };
        assert_eq!(Exit::new(end, true), Exit::Rebooted);
        assert_eq!(Exit::new(end, false), Exit::Signalled(1));
        assert_eq!(Exit::new(WaitId { code: 2, status: 2 }, true), Exit::PoweredOff);
        assert_eq!(Exit::new(WaitId { code: 1, status: 5 }, true), Exit::Exited(5));
    }
}
