//! A cgroup: a directory of the cgroup2 file system, held open.

use crate::controllers::Controllers;
use crate::dir;
use crate::errno::{Errno, errno};
use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use rustix::fs::{AtFlags, Mode, mkdirat, unlinkat};
use rustix::io::{fcntl_dupfd_cloexec, retry_on_intr};
use std::borrow::Cow;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A cgroup, by a descriptor of its directory; the path is for messages only. Closing it leaves the cgroup as it is:
/// [`Cgroup::remove`] removes it.
///
/// Its [`AsFd`] is what `clone3(2)` takes for `CLONE_INTO_CGROUP` (Linux 5.7).
pub struct Cgroup {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for Cgroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cgroup({})", self.path.display())
    }
}

impl Cgroup {
    pub(crate) fn new(fd: OwnedFd, path: PathBuf) -> Cgroup {
        Cgroup { fd, path }
    }

    /// `mkdirat(2)` and `openat(2)`: makes a cgroup. EEXIST where it is there already, EAGAIN where `cgroup.max.depth` or
    /// `cgroup.max.descendants` of a cgroup above is reached.
    pub fn create(parent: &Cgroup, name: &Name) -> Result<Cgroup> {
        parent.make(name)?;
        Cgroup::open_made(parent, name)
    }

    /// One that can't be opened isn't left behind.
    fn open_made(parent: &Cgroup, name: &Name) -> Result<Cgroup> {
        Cgroup::open(parent, name).inspect_err(|_| {
            // The first error is the one to tell.
            let _ = unlinkat(parent, name.as_str(), AtFlags::REMOVEDIR);
        })
    }

    /// `openat(2)`: opens a cgroup that is there.
    pub fn open(parent: &Cgroup, name: &Name) -> Result<Cgroup> {
        let path = parent.path.join(name.as_str());
        match dir::open(parent, name.as_str()) {
            Ok(fd) => Ok(Cgroup::new(fd, path)),
            Err(e) => Err(hinted(Error::call("open cgroup", &path, "openat", e), e)),
        }
    }

    /// Opens it, and makes it where it isn't there. `ENOENT` when others keep removing it: see [`Error::can_retry`].
    pub(crate) fn open_or_create(parent: &Cgroup, name: &Name) -> Result<Cgroup> {
        match parent.make(name) {
            Ok(()) => Cgroup::open_made(parent, name),
            Err(e) if e.errno() == Some(Errno::EEXIST) => Cgroup::open(parent, name),
            Err(e) => Err(e),
        }
    }

    /// `None` where it isn't there.
    pub(crate) fn open_if_present(parent: &Cgroup, name: &Name) -> Result<Option<Cgroup>> {
        match Cgroup::open(parent, name) {
            Ok(cgroup) => Ok(Some(cgroup)),
            Err(e) if e.is_gone() => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub(crate) fn make(&self, name: &Name) -> Result<()> {
        retry_on_intr(|| mkdirat(self, name.as_str(), Mode::from_raw_mode(0o755))).map_err(|e| {
            let path = self.path.join(name.as_str());
            hinted(Error::call("create cgroup", &path, "mkdirat", errno(e)), errno(e))
        })
    }

    /// Where it was found, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A second handle on the same cgroup.
    pub fn try_clone(&self) -> Result<Cgroup> {
        match retry_on_intr(|| fcntl_dupfd_cloexec(&self.fd, 3)) {
            Ok(fd) => Ok(Cgroup::new(fd, self.path.clone())),
            Err(e) => Err(Error::call("another handle of", &self.path, "fcntl", errno(e))),
        }
    }

    /// Moves a process into this cgroup, by its pid in the caller's pid namespace: `cgroup.procs`. 0 is the caller.
    ///
    /// A pid may have passed on to another process meanwhile, except for the caller's own child that wasn't waited for; start a process
    /// in its cgroup with `CLONE_INTO_CGROUP` where possible. EBUSY for a cgroup that passes controllers on, ESRCH without a process.
    pub fn enter(&self, pid: u32) -> Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Moves this cgroup's own processes into a cgroup below it, made where needed, so that it can pass controllers on:
    /// a cgroup other than the root has either processes or controllers for its children. For a manager in a cgroup delegated to it.
    ///
    /// TimedOut where processes keep being started while it moves them.
    pub fn vacate(&self, into: &Name) -> Result<Cgroup> {
        let below = Cgroup::open_or_create(self, into)?;
        for _ in 0..VACATE_ROUNDS {
            let procs = self.procs()?;
            if procs.is_empty() {
                return Ok(below);
            }
            procs.into_iter().try_for_each(|pid| below.enter(pid).or_else(unless_ended))?;
        }
        Err(Error::refused(ErrorKind::TimedOut, "move the processes out of", &self.path, "new ones appear all the time"))
    }

    /// `cgroup.controllers`: what this cgroup was given by its parent.
    pub fn controllers(&self) -> Result<Controllers> {
        self.read("cgroup.controllers").map(|t| Controllers::parse(&t))
    }

    /// `cgroup.subtree_control`: what it passes on to the cgroups below it.
    pub fn enabled(&self) -> Result<Controllers> {
        self.read("cgroup.subtree_control").map(|t| Controllers::parse(&t))
    }
}

/// Each round moves all processes there were; those started meanwhile are few and their parents have gone by then.
const VACATE_ROUNDS: u32 = 16;

fn unless_ended(e: Error) -> Result<()> {
    if e.errno() == Some(Errno::ESRCH) { Ok(()) } else { Err(e) }
}

pub(crate) fn hinted(e: Error, errno: Errno) -> Error {
    match errno {
        Errno::EAGAIN => e.hinted("cgroup.max.depth or cgroup.max.descendants of a cgroup above it is reached"),
        Errno::ENOTDIR => e.hinted("the kernel has a file of this name; choose another name").of_kind(ErrorKind::Invalid),
        Errno::EACCES | Errno::EPERM | Errno::EROFS => e.hinted(right_hint(errno)),
        _ => e,
    }
}

pub(crate) fn right_hint(errno: Errno) -> Cow<'static, str> {
    match errno {
        Errno::EROFS => "cgroup2 is mounted read-only here: mount -o remount,rw it".into(),
        _ => "run as root, or in a cgroup that is delegated to you: systemd-run --user --scope -p Delegate=yes COMMAND".into(),
    }
}
