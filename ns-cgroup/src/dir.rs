//! A cgroup's directory as a descriptor: going down, going up, listing, with a constant number of descriptors.
//!
//! What lies below a container's cgroup was made by the container: it may be deeper than a process has descriptors, or longer than a
//! path may be. A walk therefore holds one descriptor and goes up by `..`, which is sound here: version 2 has no rename, so a cgroup's
//! parent never changes.

use crate::errno::{Errno, errno};
use rustix::fs::{Dir, FileType, Mode, OFlags, openat};
use rustix::io::retry_on_intr;
use std::ffi::{CStr, CString};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// `openat(2)` of a directory, never through a symbolic link.
pub(crate) fn open(at: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    name.into_with_c_str(|name| retry_on_intr(|| openat(&at, name, DIRECTORY, Mode::empty()))).map_err(errno)
}

/// The first directory in this directory, in the kernel's order.
pub(crate) fn first_child(at: BorrowedFd<'_>) -> Result<Option<CString>, Errno> {
    let mut found = None;
    each_child(at, |name| {
        found = Some(name.to_owned());
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// The names of the directories in this directory.
pub(crate) fn children(at: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    first_children(at, usize::MAX)
}

/// The first so many of them, in the kernel's order.
pub(crate) fn first_children(at: BorrowedFd<'_>, most: usize) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    each_child(at, |name| {
        names.push(name.to_owned());
        if names.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(names)
}

fn each_child(at: BorrowedFd<'_>, mut tell: impl FnMut(&CStr) -> ControlFlow<()>) -> Result<(), Errno> {
    let mut entries = match retry_on_intr(|| Dir::read_from(at)) {
        Ok(entries) => entries,
        Err(e) => return unless_gone(errno(e)),
    };
    while let Some(entry) = entries.read() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return unless_gone(errno(e)),
        };
        let is_child = entry.file_type() == FileType::Directory && !matches!(entry.file_name().to_bytes(), b"." | b"..");
        if is_child && tell(entry.file_name()).is_break() {
            break;
        }
    }
    Ok(())
}

/// A directory that was removed meanwhile has nothing in it.
fn unless_gone(e: Errno) -> Result<(), Errno> {
    if matches!(e, Errno::ENOENT | Errno::ENODEV) { Ok(()) } else { Err(e) }
}

/// Calls `visit` for the directory and each one below it, parents first. What is removed meanwhile is passed over.
pub(crate) fn walk(top: BorrowedFd<'_>, mut visit: impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut here = open(top, c".")?;
    visit(here.as_fd())?;
    let mut levels = vec![children(here.as_fd())?];
    while let Some(level) = levels.last_mut() {
        match level.pop() {
            Some(name) => {
                let Some(below) = present(open(&here, &*name))? else { continue };
                here = below;
                visit(here.as_fd())?;
                levels.push(children(here.as_fd())?);
            }
            None => {
                levels.pop();
                if !levels.is_empty() {
                    here = open(&here, c"..")?;
                }
            }
        }
    }
    Ok(())
}

/// `None` for what is not there any more.
pub(crate) fn present<T>(r: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match r {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
        Err(e) => Err(e),
    }
}
