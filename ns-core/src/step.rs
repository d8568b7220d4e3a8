//! What a child does between clone and exec, one thing at a time: [`Step`], and what it may reach: [`Child`].
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

mod child;
mod fault;
mod slot;
mod wires;

pub use child::{Child, ChildFd};
pub use fault::{Call, Fault, Text};
pub use slot::{Mark, Slot};
#[cfg(feature = "spawn")]
pub(crate) use wires::Wire;
pub use wires::Wires;

use std::fmt;

/// Running one step without a plan, for the tests of crates that write steps.
#[cfg(feature = "spawn")]
#[doc(hidden)]
pub mod testing {
    use super::{Child, Fault, Slot, Step};
    use std::os::fd::RawFd;

    /// Runs `step` in the calling process, which is a forked child of a test.
    ///
    /// # Safety
    /// The descriptors in `table` are open; those that the step keeps are left open.
    pub unsafe fn run(step: &dyn Step, table: &mut [(Slot, RawFd)]) -> Result<(), Fault> {
        // SAFETY: as the caller says.
        step.run(&mut unsafe { Child::new(table, None) })
    }
}

/// One thing that a child does between clone and exec.
///
/// `Display` says it as a plan prints it: what is done, to what, with which numbers.
///
/// # Safety
/// `run` makes system calls (of [`crate::raw`], or of rustix's raw backend) on memory reachable from `self`; it doesn't allocate, free,
/// lock, panic, touch thread-local storage or drop an `OwnedFd`; it writes only to its own stack and to `child`.
pub unsafe trait Step: fmt::Display + Send + Sync {
    /// Does it, in the child.
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault>;

    /// Says what it comes after, uses and fills. In the parent.
    fn wires(&self, wires: &mut Wires) {
        let _ = wires;
    }

    /// The words for a row of its table, which a [`Fault`] names by number. In the parent.
    fn row(&self, row: u32) -> Option<&dyn fmt::Display> {
        let _ = row;
        None
    }
}
