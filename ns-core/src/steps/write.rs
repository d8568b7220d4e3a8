//! Bytes into a file.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use super::at::At;
use crate::error::Error;
use crate::raw::{self, Errno};
use crate::step::{Call, Child, Fault, Slot, Step, Wires};
use rustix::fs::OFlags;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

/// Writes bytes to a file with one `write(2)`, as files of /proc and cgroups take a value.
///
/// `openat2(path, O_WRONLY|O_CLOEXEC|O_NOCTTY|O_NONBLOCK)`: it waits for no fifo's reader (`ENXIO`). A write that ends early is `EIO`.
///
/// ```
/// use ns_core::{Slot, steps::Write};
/// let few = Write::new("sys/user/max_user_namespaces", "256")?.in_dir(Slot::PROC);
/// assert_eq!(few.to_string(), "write \"256\" to sys/user/max_user_namespaces below the caller's /proc");
/// # Ok::<(), ns_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[allow(clippy::disallowed_types, reason = "made in the parent; the child only reads it")]
pub struct Write {
    at: At,
    bytes: Box<[u8]>,
    create: Option<u32>,
    if_present: bool,
}

#[allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "runs in the parent")]
impl Write {
    /// `bytes` to the file at `path`, which must be there.
    pub fn new(path: impl AsRef<std::path::Path>, bytes: impl Into<Vec<u8>>) -> Result<Write, Error> {
        Ok(Write { at: At::new(path)?, bytes: bytes.into().into_boxed_slice(), create: None, if_present: false })
    }

    /// The path is below this directory and stays there.
    #[must_use]
    pub fn in_dir(self, dir: Slot) -> Write {
        Write { at: self.at.below(dir), ..self }
    }

    /// Makes the file where it is missing (`O_CREAT|O_TRUNC`); the umask applies to `mode`.
    #[must_use]
    pub fn create(self, mode: u32) -> Write {
        Write { create: Some(mode & 0o7777), ..self }
    }

    /// Does nothing where the file is missing (`ENOENT`): for a knob that not every kernel has.
    #[must_use]
    pub fn if_present(self) -> Write {
        Write { if_present: true, ..self }
    }
}

impl Write {
    /// Does it now; `dir` in place of the slot's directory.
    pub fn apply(&self, dir: Option<BorrowedFd<'_>>) -> Result<(), Fault> {
        let create = self.create.map_or(OFlags::empty(), |_| OFlags::CREATE | OFlags::TRUNC);
        let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | create;
        let file = match self.at.open(dir, flags, self.create.unwrap_or(0)) {
            Err(fault) if self.if_present && fault.errno == Errno::ENOENT => return Ok(()),
            answer => answer?,
        };
        let answer = raw::write(file.as_fd(), &self.bytes);
        file.close();
        match answer.call("write")? {
            written if written == self.bytes.len() => Ok(()),
            _ => Err(Fault::new("write", Errno::EIO).saying(b"the kernel took less than was given")),
        }
    }
}

// SAFETY: system calls on memory of `self`.
unsafe impl Step for Write {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        self.apply(self.at.dir(child)?)
    }

    fn wires(&self, wires: &mut Wires) {
        self.at.wires(wires);
    }
}

/// `write "256" to /proc/sys/user/max_user_namespaces`, of long values the beginning.
#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 40;
        let start = self.bytes.get(..SHOWN).unwrap_or(&self.bytes);
        write!(f, "write \"{}\"", start.escape_ascii())?;
        if start.len() < self.bytes.len() {
            write!(f, "... ({} bytes)", self.bytes.len())?;
        }
        write!(f, " to {}", self.at)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests run in the parent")]
mod tests {
    use super::*;
    use crate::steps::trial::{Trial, scratch};

    const DIR: Slot = Slot::new("a directory");

    #[test]
    fn writes_creates_and_stays_below_its_directory() {
        let dir = scratch();
        std::fs::write(dir.path().join("old"), "longer than new").unwrap();
        std::os::unix::fs::symlink("/old", dir.path().join("link")).unwrap();
        let steps: [&dyn Step; 4] = [
            &Write::new("link", "new").unwrap().in_dir(DIR).create(0o600),
            &Write::new("/../../made", "x").unwrap().in_dir(DIR).create(0o640),
            &Write::new(dir.path().join("absolute"), "y").unwrap().create(0o600),
            &Write::new("missing", "z").unwrap().in_dir(DIR).if_present(),
        ];
        Trial::new().lend(DIR, dir.fd()).run(&steps).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!((read("old"), read("made"), read("absolute")), ("new".into(), "x".into(), "y".into()));
        assert!(!dir.path().join("missing").exists());
    }

    #[test]
    fn failures_name_the_call() {
        let missing = Write::new("/no/such/file", "x").unwrap();
        assert_eq!(Trial::new().run(&[&missing]).unwrap_err().to_string(), "openat2: No such file or directory");
        let magic = Write::new("/proc/self/fd/2", "x").unwrap();
        assert_eq!(Trial::new().run(&[&magic]).unwrap_err().errno, Errno::ELOOP);
        let refused = Write::new("/proc/self/oom_score_adj", "many").unwrap();
        assert_eq!(Trial::new().run(&[&refused]).unwrap_err().to_string(), "write: Invalid argument");
    }

    #[test]
    fn bad_paths_are_refused_when_made() {
        assert_eq!(Write::new("", "x").unwrap_err().to_string(), "an empty path");
        assert!(Write::new("a\0b", "x").is_err());
        assert!(Write::new("x".repeat(4096), "x").is_err());
    }

    #[test]
    fn long_values_are_shown_in_part() {
        let long = Write::new("/x", vec![b'a'; 100]).unwrap().to_string();
        assert_eq!(long, format!("write \"{}\"... (100 bytes) to /x", "a".repeat(40)));
    }
}
