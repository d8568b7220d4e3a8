//! A symbolic link.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use super::at::{At, c_string_or_empty};
use crate::error::Error;
use crate::step::{Call, Child, Fault, Slot, Step, Wires};
use rustix::fs::symlinkat;
use rustix::io::retry_on_intr;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

/// `symlinkat(target, parent, name)`, `symlink(2)`: `EEXIST` where there is something.
///
/// ```
/// use ns_core::steps::Symlink;
/// assert_eq!(Symlink::new("pts/ptmx", "/dev/ptmx")?.to_string(), "link /dev/ptmx to pts/ptmx");
/// # Ok::<(), ns_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[allow(clippy::disallowed_types, reason = "made in the parent; the child only reads it")]
pub struct Symlink {
    target: std::ffi::CString,
    at: At,
}

#[allow(clippy::disallowed_methods, reason = "runs in the parent")]
impl Symlink {
    /// A link at `path` that says `target`, whatever that is.
    pub fn new(target: impl AsRef<std::path::Path>, path: impl AsRef<std::path::Path>) -> Result<Symlink, Error> {
        let target = c_string_or_empty(target.as_ref().as_os_str())?;
        match target.is_empty() {
            true => Err(Error::refused("a symbolic link without a target")),
            false => Ok(Symlink { target, at: At::to_make(path)? }),
        }
    }

    /// The path is below this directory and stays there; the target is not looked at.
    #[must_use]
    pub fn in_dir(self, dir: Slot) -> Symlink {
        Symlink { at: self.at.below(dir), ..self }
    }
}

impl Symlink {
    /// Does it now; `dir` in place of the slot's directory.
    pub fn apply(&self, dir: Option<BorrowedFd<'_>>) -> Result<(), Fault> {
        let parent = self.at.parent(dir)?;
        let answer = retry_on_intr(|| symlinkat(self.target.as_c_str(), parent.as_fd(), self.at.name()));
        parent.close();
        answer.call("symlinkat")
    }
}

// SAFETY: system calls on memory of `self`.
unsafe impl Step for Symlink {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        self.apply(self.at.dir(child)?)
    }

    fn wires(&self, wires: &mut Wires) {
        self.at.wires(wires);
    }
}

#[allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "runs in the parent")]
impl fmt::Display for Symlink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {} to {}", self.at, self.target.to_string_lossy().escape_debug())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests run in the parent")]
mod tests {
    use super::*;
    use crate::steps::trial::{Trial, scratch};

    const DIR: Slot = Slot::new("a directory");

    #[test]
    fn makes_a_link() {
        let dir = scratch();
        let link = Symlink::new("../anything", "link").unwrap().in_dir(DIR);
        Trial::new().lend(DIR, dir.fd()).run(&[&link]).unwrap();
        assert_eq!(std::fs::read_link(dir.path().join("link")).unwrap().to_str(), Some("../anything"));
        assert_eq!(Trial::new().lend(DIR, dir.fd()).run(&[&link]).unwrap_err().to_string(), "symlinkat: File exists");
    }
}
