//! `open_tree(2)`, `mount_setattr(2)`, `move_mount(2)`: cloning a tree, making it harmless while detached, attaching it.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::error::Error;
use crate::flags::MountFlags;
use crate::shown::Shown;
use linux_raw_sys::general::MS_PRIVATE;
use ns_core::raw::{MountAttr, mount_setattr};
use ns_core::{Call, ChildFd, Errno, Fault};
use rustix::io::retry_on_intr;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether the mounts below are meant too: `AT_RECURSIVE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    This,
    Below,
}

/// `open(path, O_PATH|O_DIRECTORY|O_CLOEXEC)`: resolves a tree's directory once; all else goes through the descriptor. In the parent.
///
/// `ENOENT`, `ENOTDIR`, `EACCES` as open(2) gives them.
#[allow(clippy::disallowed_types, clippy::disallowed_macros, clippy::disallowed_methods, reason = "runs in the parent")]
pub fn open_tree(path: &Path) -> Result<std::os::fd::OwnedFd, Error> {
    use rustix::fs::{Mode, OFlags, open};
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::call(format!("tree {}", Shown(path.as_os_str().as_bytes())), "open", e))
}

/// `open_tree(dir, "", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE|AT_EMPTY_PATH)`: a detached clone of what is mounted at and below
/// the directory, to be given to [`Root`](crate::Root) or [`Bind::from_slot`](crate::Bind::from_slot). Linux 5.2, see open_tree(2).
/// In the parent; one who lacks CAP_SYS_ADMIN in its mount namespace's user namespace gets `EPERM`.
///
/// It is private already when it is returned: a clone of a shared mount is a peer of it, and what a container later mounts below such a
/// one appears on the host.
#[allow(clippy::disallowed_types, reason = "runs in the parent")]
pub fn detach(dir: BorrowedFd<'_>) -> Result<std::os::fd::OwnedFd, Error> {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    let clone = bind_of(dir, c"", MountFlags::empty()).map_err(|fault| Error::call("clone of a tree", fault.call, fault.errno))?;
    // SAFETY: just made, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(clone.as_raw_fd()) })
}

/// A detached clone, still as shared as what it was made of: [`harmless`] comes next, always.
pub(crate) fn clone_of(dir: BorrowedFd<'_>, path: &CStr, reach: Reach) -> Result<ChildFd, Fault> {
    let below = if reach == Reach::Below { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH | below;
    retry_on_intr(|| rustix::mount::open_tree(dir, path, flags)).map(ChildFd::from).call("open_tree")
}

/// Private, with these flags, while detached.
pub(crate) fn harmless(mount: BorrowedFd<'_>, flags: MountFlags, reach: Reach) -> Result<(), Fault> {
    id_mapped(mount, flags, reach, None)
}

/// The same with an id map, all or nothing.
pub(crate) fn id_mapped(mount: BorrowedFd<'_>, flags: MountFlags, reach: Reach, user_ns: Option<BorrowedFd<'_>>) -> Result<(), Fault> {
    let attr = MountAttr {
        set: flags.bits(),
        propagation: u64::from(MS_PRIVATE),
        user_ns,
        recursive: reach == Reach::Below,
        ..MountAttr::default()
    };
    mount_setattr(mount, attr).call(if user_ns.is_some() { "mount_setattr(IDMAP)" } else { "mount_setattr" })
}

/// Sets flags of a mount, detached or not.
pub(crate) fn set_flags(mount: BorrowedFd<'_>, flags: MountFlags) -> Result<(), Fault> {
    mount_setattr(mount, MountAttr { set: flags.bits(), ..MountAttr::default() }).call("mount_setattr")
}

/// A harmless clone of `path` at `dir`.
pub(crate) fn bind_of(dir: BorrowedFd<'_>, path: &CStr, flags: MountFlags) -> Result<ChildFd, Fault> {
    let clone = clone_of(dir, path, Reach::Below)?;
    match harmless(clone.as_fd(), flags, Reach::Below) {
        Ok(()) => Ok(clone),
        Err(fault) => {
            clone.close();
            Err(fault)
        }
    }
}

/// `move_mount(mount, "", onto, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)`. `onto` was opened in this mount namespace.
pub(crate) fn attach(mount: BorrowedFd<'_>, onto: BorrowedFd<'_>) -> Result<(), Fault> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    retry_on_intr(|| rustix::mount::move_mount(mount, c"", onto, c"", flags)).call("move_mount")
}

/// The same for a mount whose root is a directory, with words where something else is in the way.
pub(crate) fn attach_directory(mount: BorrowedFd<'_>, onto: BorrowedFd<'_>) -> Result<(), Fault> {
    match attach(mount, onto) {
        Err(fault) if fault.errno == Errno::EINVAL && !is_directory(onto).unwrap_or(true) => {
            Err(Fault::new("move_mount", Errno::ENOTDIR).saying(b"the tree has something else where a directory must be"))
        }
        attached => attached,
    }
}

/// Calls `then` with a descriptor, and closes it whatever came of it.
pub(crate) fn with<T>(fd: ChildFd, then: impl FnOnce(BorrowedFd<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
    let answer = then(fd.as_fd());
    fd.close();
    answer
}

/// Whether the descriptor is of a directory.
pub(crate) fn is_directory(fd: BorrowedFd<'_>) -> Result<bool, Fault> {
    use rustix::fs::{FileType, fstat};
    retry_on_intr(|| fstat(fd)).call("fstat").map(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
