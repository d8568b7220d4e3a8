//! The execution domain.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::step::{Call, Child, Fault, Step};
use std::fmt;

/// `personality(2)`: what the payload's `uname(2)` says of the machine, and compatibility bits.
#[derive(Clone, Copy, Debug)]
pub struct Personality(u32);

impl Personality {
    /// `PER_LINUX`
    pub const LINUX: Personality = Personality(0);
    /// `PER_LINUX32`: a 64-bit kernel calls itself a 32-bit one.
    pub const LINUX32: Personality = Personality(8);

    /// Any other value; the kernel keeps bits that it doesn't know.
    pub const fn from_bits(bits: u32) -> Personality {
        Personality(bits)
    }

    /// Does it now. `0xffffffff` only asks.
    pub fn apply(&self) -> Result<(), Fault> {
        crate::raw::personality(self.0).map(drop).call("personality")
    }
}

// SAFETY: one system call without pointers.
unsafe impl Step for Personality {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Personality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("personality linux"),
            8 => f.write_str("personality linux32"),
            other => write!(f, "personality {other:#x}"),
        }
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
        let read = |seen: crate::steps::trial::Seen| std::fs::read_to_string(format!("/proc/{}/personality", seen.pid)).unwrap();
        assert_eq!(Trial::new().look(&[&Personality::LINUX32], read).unwrap(), "00000008\n");
    }
}
