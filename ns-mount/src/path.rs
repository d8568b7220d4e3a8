//! Paths inside the tree: checked once, resolved by `openat2(2)` from the attached root.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]
#![allow(clippy::disallowed_types, reason = "the path and its parts are made and dropped in the parent")]

use crate::error::{Error, ErrorKind};
use crate::owner::Owner;
use crate::shown::Shown;
use ns_core::{Call, ChildFd, Errno, Fault};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, mkdirat, mknodat, openat2};
use rustix::io::retry_on_intr;
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// Where the container's file systems of ours are: nothing in them is reached through a symbolic link, which could only be planted.
const OURS: [&[u8]; 5] = [b"dev", b"proc", b"sys", b"run", b"tmp"];

/// A rename or mount elsewhere on the machine during a resolution that meets `..` in a link makes openat2 answer `EAGAIN`; a machine
/// that does so this often in a row is not going to stop.
const RETRIES: u32 = 128;

/// A path inside the tree: absolute, without `..`, resolved from the root's descriptor and never out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InRoot {
    /// Without its leading slash; `.` for the root itself.
    whole: CString,
    parts: Box<[Part]>,
    ours: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    /// From the root to this part.
    prefix: CString,
    name: CString,
}

/// What is made where nothing is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MountPoint {
    Directory,
    File,
}

#[allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
impl InRoot {
    /// Checks a path: absolute, no `..`, no NUL byte. `.` and doubled slashes are dropped.
    pub fn new(path: impl AsRef<Path>) -> Result<InRoot, Error> {
        let path = path.as_ref();
        let shown = Shown(path.as_os_str().as_bytes()).to_string();
        let wrong = |why: &str| Error::new(ErrorKind::Path, format!("path \"{shown}\" in the tree {why}"));
        if !path.is_absolute() {
            return Err(wrong("is not absolute"));
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(wrong("has a .. in it"));
        }
        if path.as_os_str().as_bytes().contains(&0) {
            return Err(wrong("has a NUL byte in it"));
        }
        Ok(InRoot::joined(path))
    }

    /// A path of ours, known to be right.
    pub(crate) fn fixed(path: &'static str) -> InRoot {
        InRoot::joined(Path::new(path))
    }

    /// Of the normal components alone: whatever else is in `path` is not taken over.
    fn joined(path: &Path) -> InRoot {
        let mut whole = Vec::new();
        let mut parts = Vec::new();
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            if !whole.is_empty() {
                whole.push(b'/');
            }
            whole.extend_from_slice(name.as_bytes());
            let (Ok(prefix), Ok(name)) = (CString::new(whole.clone()), CString::new(name.as_bytes())) else { continue };
            parts.push(Part { prefix, name });
        }
        let ours = parts.first().is_some_and(|first| OURS.contains(&first.name.to_bytes()));
        let whole = parts.last().map_or_else(|| c".".to_owned(), |last| last.prefix.clone());
        InRoot { whole, parts: parts.into(), ours }
    }

    /// Whether `other` is below this path.
    pub(crate) fn is_above(&self, other: &InRoot) -> bool {
        other.parts.len() > self.parts.len() && other.parts.starts_with(&self.parts)
    }

    /// Whether it is the root itself.
    pub(crate) fn is_root(&self) -> bool {
        self.parts.is_empty()
    }
}

impl InRoot {
    /// The path without its leading slash.
    pub(crate) fn whole(&self) -> &CStr {
        &self.whole
    }

    /// `openat2(root, path, {O_PATH|O_CLOEXEC, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS})`, below /dev, /proc, /sys, /run and /tmp with
    /// `RESOLVE_NO_SYMLINKS` too. Linux 5.6. In the child, or anywhere.
    ///
    /// Symbolic links of the tree are followed as the container would follow them. `EAGAIN` and `EINTR` are retried 128 times; `ELOOP`: a link where a
    /// file system of ours belongs.
    pub fn open(&self, root: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
        self.resolve(root, &self.whole)
    }

    /// The same by its rest after so many parts, from the root of what is mounted there: no rename in the tree leads it elsewhere.
    pub(crate) fn open_in(&self, mount: BorrowedFd<'_>, parts: usize) -> Result<ChildFd, Fault> {
        let start = match parts.checked_sub(1) {
            None => 0,
            Some(last) => self.parts.get(last).map_or(0, |part| part.prefix.as_bytes().len() + 1),
        };
        let rest = self.whole.as_bytes_with_nul().get(start..).and_then(|rest| CStr::from_bytes_with_nul(rest).ok());
        self.resolve(mount, rest.ok_or(Fault::new("openat2", Errno::EINVAL))?)
    }

    /// The same; what is missing is made first, by `owner`, whom an id map knows.
    pub(crate) fn open_or_make(&self, root: BorrowedFd<'_>, kind: MountPoint, owner: Owner) -> Result<ChildFd, Fault> {
        match self.open(root) {
            Err(fault) if fault.errno == Errno::ENOENT => owner.act(|| self.make(root, kind)),
            answer => answer,
        }
    }

    fn resolve(&self, root: BorrowedFd<'_>, path: &CStr) -> Result<ChildFd, Fault> {
        let links = if self.ours { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | links;
        for _ in 0..RETRIES {
            match openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).map(ChildFd::from) {
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                answer => return answer.call("openat2").map_err(|fault| self.explained(fault)),
            }
        }
        Err(Fault::new("openat2", Errno::EAGAIN))
    }

    fn explained(&self, fault: Fault) -> Fault {
        match fault.errno {
            Errno::ELOOP if self.ours => fault.saying(b"a symbolic link in the tree, where a directory of its own must be"),
            _ => fault,
        }
    }

    /// Goes down part by part, each resolved from the root again, so that a link on the way leads where the container would go.
    fn make(&self, root: BorrowedFd<'_>, kind: MountPoint) -> Result<ChildFd, Fault> {
        let old = rustix::process::umask(Mode::from_raw_mode(0o022));
        let made = self.walk(root, kind);
        rustix::process::umask(old);
        made
    }

    fn walk(&self, root: BorrowedFd<'_>, kind: MountPoint) -> Result<ChildFd, Fault> {
        let mut here: Option<ChildFd> = None;
        let mut left = self.parts.len();
        for part in &self.parts {
            left -= 1;
            let dir = here.as_ref().map_or(root, |fd| fd.as_fd());
            let next = match self.resolve(root, &part.prefix) {
                Err(fault) if fault.errno == Errno::ENOENT => {
                    part.make(dir, if left == 0 { kind } else { MountPoint::Directory }).and_then(|()| self.resolve(root, &part.prefix))
                }
                answer => answer,
            };
            if let Some(done) = here.take() {
                done.close();
            }
            here = Some(next?);
        }
        here.ok_or(Fault::new("openat2", Errno::ENOENT))
    }
}

impl Part {
    fn make(&self, dir: BorrowedFd<'_>, kind: MountPoint) -> Result<(), Fault> {
        let name = self.name.as_c_str();
        let made = match kind {
            MountPoint::Directory => retry_on_intr(|| mkdirat(dir, name, Mode::from_raw_mode(0o755))).call("mkdirat"),
            MountPoint::File => retry_on_intr(|| mknodat(dir, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)).call("mknodat"),
        };
        made.map_err(|fault| match fault.errno {
            Errno::EEXIST => fault.saying(b"a symbolic link that leads nowhere is in the way"),
            Errno::EROFS => fault.saying(b"the mount point is missing and the tree is read-only"),
            Errno::EOVERFLOW => fault.saying(b"the mount point is missing and its owner is not in the id map"),
            _ => fault,
        })
    }
}

impl fmt::Display for InRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/")?;
        if self.is_root() { Ok(()) } else { fmt::Display::fmt(&Shown(self.whole.to_bytes()), f) }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "tests run in the parent")]
mod tests {
    use super::*;

    #[test]
    fn wrong_paths_are_refused_with_words() {
        for (path, why) in [("a", "not absolute"), ("", "not absolute"), ("/a/../b", ".."), ("/a\0b", "NUL"), ("/..", "..")] {
            let error = InRoot::new(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Path);
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn a_path_is_normalised() {
        let path = InRoot::new("//a/./b//c/").unwrap();
        assert_eq!((path.to_string().as_str(), path.whole()), ("/a/b/c", c"a/b/c"));
        assert_eq!(InRoot::new("/").unwrap().whole(), c".");
        assert!(InRoot::new("/proc/sys").unwrap().is_above(&InRoot::new("/proc/sys/net").unwrap()));
        assert!(!InRoot::new("/proc/sys").unwrap().is_above(&InRoot::new("/proc/sysrq-trigger").unwrap()));
    }
}
