//! The file mode creation mask.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::step::{Child, Fault, Step};
use rustix::fs::Mode;
use std::fmt;

/// `umask(2)`: never fails.
#[derive(Clone, Copy, Debug)]
pub struct Umask(u32);

impl Umask {
    /// The permission bits that new files lack: the low nine of `mask`.
    pub const fn new(mask: u32) -> Umask {
        Umask(mask & 0o777)
    }

    /// Does it now, for all threads that share the working directory. Returns the old mask.
    pub fn apply(&self) -> u32 {
        rustix::process::umask(Mode::from_raw_mode(self.0)).as_raw_mode()
    }
}

// SAFETY: one system call without pointers.
unsafe impl Step for Umask {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply();
        Ok(())
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Umask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "umask {:04o}", self.0)
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
        assert_eq!(Trial::new().look(&[&Umask::new(0o7027)], |seen| seen.status("Umask")).unwrap(), "0027");
        assert_eq!(Umask::new(0o22).to_string(), "umask 0022");
    }
}
