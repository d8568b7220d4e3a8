//! The scheduling priority.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::error::Error;
use crate::step::{Call, Child, Fault, Step};
use rustix::io::retry_on_intr;
use std::fmt;

/// `setpriority(PRIO_PROCESS, 0, value)`, `setpriority(2)`: lower than RLIMIT_NICE allows is `EACCES` without CAP_SYS_NICE.
#[derive(Clone, Copy, Debug)]
pub struct Nice(i8);

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl Nice {
    /// From -20 (favoured) to 19.
    pub fn new(value: i8) -> Result<Nice, Error> {
        match value {
            -20..=19 => Ok(Nice(value)),
            _ => Err(Error::refused(format!("a nice value of {value}: the kernel takes -20 to 19"))),
        }
    }
}

impl Nice {
    /// Does it now, for the calling thread.
    pub fn apply(&self) -> Result<(), Fault> {
        retry_on_intr(|| rustix::process::setpriority_process(None, i32::from(self.0))).call("setpriority")
    }
}

// SAFETY: one system call without pointers.
unsafe impl Step for Nice {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Nice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nice {}", self.0)
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
    use crate::steps::trial::Trial;

    #[test]
    fn is_seen_from_outside() {
        let nice = Trial::new().look(&[&Nice::new(7).unwrap()], |seen| {
            let pid = rustix::process::Pid::from_raw(seen.pid);
            rustix::process::getpriority_process(pid).unwrap()
        });
        assert_eq!(nice.unwrap(), 7);
        assert!(Nice::new(20).is_err() && Nice::new(-21).is_err());
    }
}
