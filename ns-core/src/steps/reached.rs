//! A mark.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::step::{Child, Fault, Mark, Step, Wires};
use std::fmt;

/// Says to the other list that this point is reached; makes no system call of its own.
#[derive(Clone, Copy, Debug)]
pub struct Reached(pub Mark);

// SAFETY: does nothing.
unsafe impl Step for Reached {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        Ok(())
    }

    fn wires(&self, wires: &mut Wires) {
        wires.reaches(self.0);
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reach \"{}\"", self.0)
    }
}
