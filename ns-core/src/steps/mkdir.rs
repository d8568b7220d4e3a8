//! A directory.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use super::at::At;
use crate::error::Error;
use crate::raw::Errno;
use crate::step::{Call, Child, ChildFd, Fault, Slot, Step, Wires};
use rustix::fs::{Mode, OFlags, fchmod, fchown, mkdirat, openat};
use rustix::io::retry_on_intr;
use rustix::process::{Gid, Uid};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

/// `mkdirat(parent, name)`, then `fchmod(2)` to exactly the mode, whatever the umask. `mkdir(2)`, `EEXIST` where there is something.
///
/// ```
/// use ns_core::steps::Mkdir;
/// let dir = Mkdir::new("/run/host", 0o755)?.owned_by(0, 0);
/// assert_eq!(dir.to_string(), "make the directory /run/host, 0755, of 0:0");
/// # Ok::<(), ns_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mkdir {
    at: At,
    mode: u32,
    owner: Option<(u32, u32)>,
    or_existing: bool,
    slot: Option<Slot>,
}

#[allow(clippy::disallowed_methods, reason = "runs in the parent")]
impl Mkdir {
    /// A directory at `path`, whose parent is there, with this mode.
    pub fn new(path: impl AsRef<std::path::Path>, mode: u32) -> Result<Mkdir, Error> {
        Ok(Mkdir { at: At::to_make(path)?, mode: mode & 0o7777, owner: None, or_existing: false, slot: None })
    }

    /// The path is below this directory and stays there.
    #[must_use]
    pub fn in_dir(self, dir: Slot) -> Mkdir {
        Mkdir { at: self.at.below(dir), ..self }
    }

    /// Its owner, as the child's user namespace numbers them. `fchown(2)`.
    #[must_use]
    pub fn owned_by(self, uid: u32, gid: u32) -> Mkdir {
        Mkdir { owner: Some((uid, gid)), ..self }
    }

    /// A directory that is there already will do (a symbolic link won't); it gets mode and owner too.
    #[must_use]
    pub fn or_existing(self) -> Mkdir {
        Mkdir { or_existing: true, ..self }
    }

    /// Keeps a descriptor of it, for later steps.
    #[must_use]
    pub fn kept_in(self, slot: Slot) -> Mkdir {
        Mkdir { slot: Some(slot), ..self }
    }
}

impl Mkdir {
    /// Does it now; `dir` in place of the slot's directory. The new directory, open for reading.
    pub fn make(&self, dir: Option<BorrowedFd<'_>>) -> Result<ChildFd, Fault> {
        let parent = self.at.parent(dir)?;
        let made = self.make_in(parent.as_fd());
        parent.close();
        let made = made?;
        match self.finish(made.as_fd()) {
            Ok(()) => Ok(made),
            Err(fault) => {
                made.close();
                Err(fault)
            }
        }
    }

    fn make_in(&self, parent: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
        match retry_on_intr(|| mkdirat(parent, self.at.name(), Mode::from_raw_mode(self.mode & 0o700))).call("mkdirat") {
            Err(fault) if !(self.or_existing && fault.errno == Errno::EEXIST) => return Err(fault),
            _ => {}
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry_on_intr(|| openat(parent, self.at.name(), flags, Mode::empty())).map(ChildFd::from).call("openat")
    }

    /// Owner first: a change of it clears set-id bits.
    fn finish(&self, made: BorrowedFd<'_>) -> Result<(), Fault> {
        if let Some((uid, gid)) = self.owner {
            retry_on_intr(|| fchown(made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))).call("fchown")?;
        }
        retry_on_intr(|| fchmod(made, Mode::from_raw_mode(self.mode))).call("fchmod")
    }
}

// SAFETY: system calls on memory of `self`.
unsafe impl Step for Mkdir {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        let made = self.make(self.at.dir(child)?)?;
        match self.slot {
            Some(slot) => child.keep(slot, made).map(drop),
            None => {
                made.close();
                Ok(())
            }
        }
    }

    fn wires(&self, wires: &mut Wires) {
        self.at.wires(wires);
        if let Some(slot) = self.slot {
            wires.fills(slot);
        }
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Mkdir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "make the directory {}, {:04o}", self.at, self.mode)?;
        self.owner.map_or(Ok(()), |(uid, gid)| write!(f, ", of {uid}:{gid}"))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests run in the parent")]
mod tests {
    use super::*;
    use crate::steps::trial::{Trial, scratch};
    use crate::steps::{Symlink, Umask, Write};
    use std::os::unix::fs::MetadataExt;

    const DIR: Slot = Slot::new("a directory");
    const NEW: Slot = Slot::new("the new one");

    #[test]
    fn makes_it_with_mode_and_owner_whatever_the_umask() {
        let dir = scratch();
        let steps: [&dyn Step; 4] = [
            &Umask::new(0o077),
            &Mkdir::new("new", 0o2755).unwrap().in_dir(DIR).owned_by(7, 8).kept_in(NEW),
            &Mkdir::new("/new/..//new", 0o2755).unwrap().in_dir(DIR).owned_by(7, 8).or_existing(),
            &Write::new("file", "x").unwrap().in_dir(NEW).create(0o600),
        ];
        Trial::new().lend(DIR, dir.fd()).slot(NEW).run(&steps).unwrap();
        let made = std::fs::metadata(dir.path().join("new")).unwrap();
        assert_eq!((made.mode() & 0o7777, made.uid(), made.gid()), (0o2755, 7, 8));
        assert!(dir.path().join("new/file").exists());
    }

    #[test]
    fn what_is_there_is_no_new_directory() {
        let dir = scratch();
        let link = Symlink::new("/tmp", "link").unwrap().in_dir(DIR);
        let plain = Mkdir::new("link", 0o755).unwrap().in_dir(DIR);
        let existing = plain.clone().or_existing();
        assert_eq!(Trial::new().lend(DIR, dir.fd()).run(&[&link, &plain]).unwrap_err().to_string(), "mkdirat: File exists");
        assert_eq!(Trial::new().lend(DIR, dir.fd()).run(&[&existing]).unwrap_err().errno, Errno::ENOTDIR);
        assert!(Mkdir::new("/", 0o755).is_err() && Mkdir::new("a/..", 0o755).is_err());
    }
}
