//! A second descriptor of the same description.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::raw;
use crate::step::{Call, Child, ChildFd, Fault, Slot, Step, Wires};
use std::fmt;
use std::os::fd::BorrowedFd;

/// `fcntl(fd, F_DUPFD_CLOEXEC, 3)`, `fcntl(2)`: what is in one slot is also in another.
#[derive(Clone, Copy, Debug)]
pub struct Dup {
    from: Slot,
    to: Slot,
}

impl Dup {
    /// Fills `to` with a duplicate of `from`.
    pub const fn new(from: Slot, to: Slot) -> Dup {
        Dup { from, to }
    }

    /// Duplicates a descriptor now.
    pub fn make(&self, fd: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
        raw::dup_above(fd, 3).map(ChildFd::from_raw).call("fcntl")
    }
}

// SAFETY: one system call on a descriptor.
unsafe impl Step for Dup {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        let fd = self.make(child.fd(self.from)?)?;
        child.keep(self.to, fd).map(drop)
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(self.from).fills(self.to);
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Dup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "duplicate {} as {}", self.from, self.to)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests run in the parent")]
mod tests {
    use super::*;
    use crate::steps::Write;
    use crate::steps::trial::{Trial, scratch};

    #[test]
    fn the_duplicate_serves_as_the_first_does() {
        const ONE: Slot = Slot::new("one");
        const TWO: Slot = Slot::new("two");
        let dir = scratch();
        let steps: [&dyn Step; 2] = [&Dup::new(ONE, TWO), &Write::new("file", "x").unwrap().in_dir(TWO).create(0o600)];
        Trial::new().lend(ONE, dir.fd()).slot(TWO).run(&steps).unwrap();
        assert!(dir.path().join("file").exists());
    }
}
