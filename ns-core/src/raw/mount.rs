//! `mount_setattr(2)`, which rustix does not have.

use super::{Errno, syscall};
use linux_raw_sys::general::{__NR_mount_setattr, AT_EMPTY_PATH, AT_RECURSIVE, MOUNT_ATTR_IDMAP, mount_attr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// What [`mount_setattr`] changes: `struct mount_attr`.
#[derive(Clone, Copy, Default)]
pub struct MountAttr<'a> {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear; an access-time mode needs `MOUNT_ATTR__ATIME` here.
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, `MS_UNBINDABLE`, or 0 to leave it.
    pub propagation: u64,
    /// The user namespace of an id map (`MOUNT_ATTR_IDMAP` is set with it); once a mount, ever.
    pub user_ns: Option<BorrowedFd<'a>>,
    /// With the mounts below it (`AT_RECURSIVE`): all or none are changed.
    pub recursive: bool,
}

/// `mount_setattr(mount, "", AT_EMPTY_PATH[|AT_RECURSIVE], attr, size)`: changes a mount by its descriptor. Linux 5.12.
///
/// `EINVAL` with an id map: a file system below that can't be id-mapped, or one that is mapped already.
pub fn mount_setattr(mount: BorrowedFd<'_>, attr: MountAttr<'_>) -> Result<(), Errno> {
    let flags = AT_EMPTY_PATH | if attr.recursive { AT_RECURSIVE } else { 0 };
    let raw = mount_attr {
        attr_set: attr.set | attr.user_ns.map_or(0, |_| u64::from(MOUNT_ATTR_IDMAP)),
        attr_clr: attr.clear,
        propagation: attr.propagation,
        userns_fd: attr.user_ns.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: both pointers live during the call, which copies them.
    unsafe {
        syscall(
            __NR_mount_setattr,
            [mount.as_raw_fd() as usize, c"".as_ptr() as usize, flags as usize, &raw const raw as usize, size_of::<mount_attr>(), 0],
        )
    }
    .map(drop)
}
