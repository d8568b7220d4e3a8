//! Removing cgroups, depth first.

use crate::cgroup::Cgroup;
use crate::dir::{self, present};
use crate::errno::{Errno, errno};
use crate::error::{Error, Result};
use rustix::fs::{AtFlags, FsWord, fstatfs, unlinkat};
use rustix::io::retry_on_intr;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// A cgroup is busy for a moment after its last process ended.
const BUSY_PATIENCE: Duration = Duration::from_millis(500);
const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// Nobody is left who could make new cgroups as fast as they are removed; if somebody does, the work ends all the same.
const WHOLE_PATIENCE: Duration = Duration::from_secs(60);

impl Cgroup {
    /// Removes this cgroup and all below it: `unlinkat(2)` with AT_REMOVEDIR, depth first, with a constant number of descriptors
    /// whatever a container made there. What others remove meanwhile is no error.
    ///
    /// EBUSY, after half a second, where processes are left; the ones below that were empty are gone then.
    pub fn remove(self) -> Result<()> {
        let fail = |call, e| Error::call("remove cgroup", self.path(), call, e);
        let parent = dir::open(&self, c"..").map_err(|e| fail("openat", e))?;
        // Before anything below is touched: everybody's cgroups are below the root.
        if !is_cgroup2(parent.as_fd()).map_err(|e| fail("fstatfs", e))? {
            return Err(fail("fstatfs", Errno::EBUSY).hinted("it is the root of the hierarchy"));
        }
        self.remove_below()?;
        let name = CString::new(self.path().file_name().unwrap_or(OsStr::new("")).as_bytes()).unwrap_or_default();
        rmdir(parent.as_fd(), &name, BUSY_PATIENCE).map_err(|e| hinted(fail("unlinkat", e)))
    }

    fn remove_below(&self) -> Result<()> {
        let walked = dir::open(self, c".").map(|top| Walk { here: top, names: Vec::new(), until: Instant::now() + WHOLE_PATIENCE }.run());
        match walked {
            Ok(Ok(())) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(Error::call("remove the cgroups below", self.path(), "openat", e)),
            Ok(Err((names, e))) => {
                let path = names.iter().fold(self.path().to_path_buf(), |p, n| p.join(OsStr::from_bytes(n.to_bytes())));
                Err(hinted(Error::call("remove cgroup", &path, "unlinkat", e)))
            }
        }
    }
}

struct Walk {
    here: OwnedFd,
    names: Vec<CString>,
    until: Instant,
}

impl Walk {
    fn run(mut self) -> std::result::Result<(), (Vec<CString>, Errno)> {
        loop {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(e) => return Err((self.names, e)),
            }
        }
    }

    /// Down into the first child; where there is none, up, removing the one that was left. False at the top.
    fn step(&mut self) -> std::result::Result<bool, Errno> {
        if Instant::now() > self.until {
            return Err(Errno::ETIMEDOUT);
        }
        if let Some(child) = dir::first_child(self.here.as_fd())? {
            if let Some(below) = present(dir::open(&self.here, &*child))? {
                self.here = below;
                self.names.push(child);
            }
            return Ok(true);
        }
        let Some(name) = self.names.last() else { return Ok(false) };
        self.here = dir::open(&self.here, c"..")?;
        rmdir(self.here.as_fd(), name, BUSY_PATIENCE)?;
        self.names.pop();
        Ok(true)
    }
}

/// `unlinkat(2)` of an empty cgroup, again while it is busy. Gone already is fine.
pub(crate) fn rmdir(at: BorrowedFd<'_>, name: &CStr, patience: Duration) -> std::result::Result<(), Errno> {
    let until = Instant::now() + patience;
    loop {
        match present(retry_on_intr(|| unlinkat(at, name, AtFlags::REMOVEDIR)).map_err(errno)) {
            Err(Errno::EBUSY) if Instant::now() < until => std::thread::sleep(BUSY_PAUSE),
            answer => return answer.map(|_| ()),
        }
    }
}

fn hinted(e: Error) -> Error {
    match e.errno() {
        Some(Errno::EBUSY) => e.hinted("processes are still in it"),
        Some(Errno::ETIMEDOUT) => e.hinted("new cgroups are made as fast as they are removed"),
        Some(errno @ (Errno::EACCES | Errno::EPERM | Errno::EROFS)) => e.hinted(crate::cgroup::right_hint(errno)),
        _ => e,
    }
}

/// CGROUP2_SUPER_MAGIC
const MAGIC: FsWord = 0x6367_7270;

pub(crate) fn is_cgroup2(fd: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
    retry_on_intr(|| fstatfs(fd)).map(|s| s.f_type == MAGIC).map_err(errno)
}
