//! Where a file is: a path of the child's own, or below a directory that it holds.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::error::Error;
use crate::step::{Call, Child, ChildFd, Fault, Slot, Wires};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::retry_on_intr;
use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

/// A path, whole and in two parts, and the directory that it is below.
#[derive(Clone, Debug)]
#[allow(clippy::disallowed_types, reason = "made in the parent; the child only reads it")]
pub(super) struct At {
    path: std::ffi::CString,
    parent: std::ffi::CString,
    name: std::ffi::CString,
    dir: Option<Slot>,
}

/// The parent directory of what is to be made: opened, or the one that was given.
pub(super) struct Parent(ChildFd);

impl Parent {
    pub fn close(self) {
        self.0.close();
    }
}

impl AsFd for Parent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl At {
    /// The directory in its slot, in a plan.
    pub fn dir<'p>(&self, child: &Child<'p>) -> Result<Option<BorrowedFd<'p>>, Fault> {
        self.dir.map(|slot| child.fd(slot)).transpose()
    }

    pub fn wires(&self, wires: &mut Wires) {
        if let Some(slot) = self.dir {
            wires.uses(slot);
        }
    }

    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// `openat2(dir, path, flags|O_CLOEXEC, mode)`.
    pub fn open(&self, dir: Option<BorrowedFd<'_>>, flags: OFlags, mode: u32) -> Result<ChildFd, Fault> {
        open(dir, &self.path, flags, Mode::from_raw_mode(mode))
    }

    /// The directory that the last name is in.
    pub fn parent(&self, dir: Option<BorrowedFd<'_>>) -> Result<Parent, Fault> {
        open(dir, &self.parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map(Parent)
    }
}

fn open(dir: Option<BorrowedFd<'_>>, path: &CStr, flags: OFlags, mode: Mode) -> Result<ChildFd, Fault> {
    let inside = if dir.is_some() { ResolveFlags::IN_ROOT } else { ResolveFlags::empty() };
    retry_on_intr(|| openat2(dir.unwrap_or(CWD), path, flags | OFlags::CLOEXEC, mode, inside | ResolveFlags::NO_MAGICLINKS))
        .map(ChildFd::from)
        .call("openat2")
}

#[allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
impl At {
    /// A file that is there, or that is made by opening it.
    pub fn new(path: impl AsRef<std::path::Path>) -> Result<At, Error> {
        let path = path.as_ref();
        let parent = path.parent().unwrap_or(path);
        let parent = if parent.as_os_str().is_empty() { std::path::Path::new(".") } else { parent };
        let name = path.file_name().unwrap_or_default();
        Ok(At { path: c_string(path.as_os_str())?, parent: c_string(parent.as_os_str())?, name: c_string_or_empty(name)?, dir: None })
    }

    /// Something that is to be made: its last name must be one.
    pub fn to_make(path: impl AsRef<std::path::Path>) -> Result<At, Error> {
        let path = path.as_ref();
        match path.file_name() {
            Some(_) => At::new(path),
            None => Err(Error::refused(format!("the path {path:?} has no last name to make something under"))),
        }
    }

    pub fn below(self, dir: Slot) -> At {
        At { dir: Some(dir), ..self }
    }
}

/// A path as the kernel takes it: not empty, no zero byte, below PATH_MAX.
#[allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
fn c_string(path: &std::ffi::OsStr) -> Result<std::ffi::CString, Error> {
    match path.len() {
        0 => Err(Error::refused("an empty path")),
        1..4096 => c_string_or_empty(path),
        _ => Err(Error::refused(format!("a path of {} bytes: the kernel takes 4095", path.len()))),
    }
}

#[allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
pub(super) fn c_string_or_empty(path: &std::ffi::OsStr) -> Result<std::ffi::CString, Error> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_bytes()).map_err(|_| Error::refused(format!("the path {path:?} holds a zero byte")))
}

/// "/a/b", or "a/b below the tree".
#[allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.to_string_lossy().escape_debug())?;
        self.dir.map_or(Ok(()), |slot| write!(f, " below {slot}"))
    }
}
