//! `pivot_root(2)`: the host's root goes.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::root::ROOT;
use linux_raw_sys::general::MS_SHARED;
use ns_core::raw::{MountAttr, mount_setattr};
use ns_core::{Call, Child, Errno, Fault, Step, Wires};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::retry_on_intr;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{chdir, fchdir, pivot_root};
use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

/// `retry_on_intr(|| fchdir(root))`, `pivot_root(".", ".")`, `umount2(".", MNT_DETACH)`, `chdir("/")`; checks that `/` is the tree; then makes all of it
/// shared, so that what is bound later in the builder's mount namespace reaches the payload's copy.
///
/// Shared not before: a peer group must not hold the host's root (and pivot_root answers `EINVAL`). Comes last of what mounts. Needs
/// [`ROOT`]. `EINVAL` also where the host's root is the initial ramfs: a system that never switched its root can't pivot.
#[derive(Clone, Copy, Debug)]
pub struct LeaveHost;

impl LeaveHost {
    /// Does it to the caller's mount namespace.
    pub fn leave(&self, root: BorrowedFd<'_>) -> Result<(), Fault> {
        retry_on_intr(|| fchdir(root)).call("fchdir")?;
        retry_on_intr(|| pivot_root(c".", c".")).call("pivot_root").map_err(|fault| match fault.errno {
            Errno::EINVAL => fault.saying(b"/ is shared, no mount, or the initial ramfs"),
            _ => fault,
        })?;
        retry_on_intr(|| unmount(c".", UnmountFlags::DETACH)).call("umount2")?;
        retry_on_intr(|| chdir(c"/")).call("chdir")?;
        verify(root)?;
        let shared = MountAttr { propagation: u64::from(MS_SHARED), recursive: true, ..MountAttr::default() };
        mount_setattr(root, shared).call("mount_setattr")
    }
}

/// Both the root and the working directory are the tree's, on the very mount. `STATX_MNT_ID` is Linux 5.8.
fn verify(root: BorrowedFd<'_>) -> Result<(), Fault> {
    let tree = place(root, c"")?;
    for path in [c"/", c"."] {
        if place(CWD.as_fd(), path)? != tree {
            return Err(Fault::new("statx", Errno::ESTALE).saying(b"after pivot_root the root is not the tree"));
        }
    }
    Ok(())
}

fn place(dir: BorrowedFd<'_>, path: &CStr) -> Result<(u64, u64, u32, u32), Fault> {
    const STATX_MNT_ID: StatxFlags = StatxFlags::MNT_ID;
    let found = retry_on_intr(|| statx(dir, path, AtFlags::EMPTY_PATH, StatxFlags::INO | STATX_MNT_ID)).call("statx")?;
    Ok((found.stx_mnt_id, found.stx_ino, found.stx_dev_major, found.stx_dev_minor))
}

// SAFETY: system calls on constants, the stack and a slot.
unsafe impl Step for LeaveHost {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        self.leave(child.fd(ROOT)?)
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(ROOT);
    }
}

impl fmt::Display for LeaveHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("leave the host: pivot_root, the old root unmounted; then share /, recursively")
    }
}
