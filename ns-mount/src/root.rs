//! The tree as the root: made harmless, id-mapped, stacked on `/`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::flags::MountFlags;
use crate::tree::{Reach, attach, id_mapped, set_flags, with};
use linux_raw_sys::general::{MOUNT_ATTR_RDONLY, MS_PRIVATE};
use ns_core::raw::{self, MountAttr, mount_setattr};
use ns_core::{Call, Child, ChildFd, Fault, Mark, Slot, Step, Wires};
use rustix::fs::{Mode, OFlags, fstatfs, open};
use rustix::io::retry_on_intr;
use std::fmt;
use std::os::fd::BorrowedFd;

/// The attached tree's root; filled by [`Root`].
pub const ROOT: Slot = Slot::new("the tree's root");

/// The root of a tree that is to become read-only; filled by [`Root`] with [`Root::read_only`].
pub const READ_ONLY: Slot = Slot::new("the root of a read-only tree");

/// `mount_setattr("/", MS_PRIVATE, AT_RECURSIVE)`: nothing that the builder mounts appears on the host, nothing of the host's later arrives.
/// Comes first. See mount_namespaces(7).
#[derive(Clone, Copy, Debug)]
pub struct PrivateHost;

impl PrivateHost {
    /// Does it to the caller's mount namespace, which must not be the host's own.
    pub fn apply(&self) -> Result<(), Fault> {
        let private = MountAttr { propagation: u64::from(MS_PRIVATE), recursive: true, ..MountAttr::default() };
        with(slash()?, |root| mount_setattr(root, private).call("mount_setattr"))
    }
}

fn slash() -> Result<ChildFd, Fault> {
    retry_on_intr(|| open(c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())).map(ChildFd::from).call("open")
}

// SAFETY: system calls on constants and the stack.
unsafe impl Step for PrivateHost {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }
}

impl fmt::Display for PrivateHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("make / private, recursively")
    }
}

/// Takes a detached tree ([`detach`](crate::detach)), makes it private, without devices and id-mapped in one `mount_setattr(2)` while it
/// is detached (all of it or nothing), and stacks it on `/`, so that no directory of the host's is needed. Fills [`ROOT`].
///
/// A tree is id-mapped once: its descriptor is given to a start, not lent. Linux 5.12.
#[derive(Clone, Copy, Debug)]
pub struct Root {
    tree: Slot,
    id_mapped: bool,
    read_only: bool,
    flags: MountFlags,
}

impl Root {
    /// The tree in this slot. Device nodes in it can't be opened (`nodev`).
    pub const fn new(tree: Slot) -> Root {
        Root { tree, id_mapped: false, read_only: false, flags: MountFlags::NODEV }
    }

    /// Id-maps the tree, and every mount in it, by the payload's user namespace: files of id 0 belong to the container's root.
    #[must_use]
    pub const fn id_mapped(self) -> Root {
        Root { id_mapped: true, ..self }
    }

    /// Set-uid bits and file capabilities of the tree have no effect.
    #[must_use]
    pub const fn nosuid(self) -> Root {
        Root { flags: self.flags.union(MountFlags::NOSUID), ..self }
    }

    /// The mounts below the tree's root become read-only at once; its root mount by [`ReadOnlyRoot`], the last step but
    /// [`LeaveHost`](crate::LeaveHost), since the mount points that the tree lacks are made in it until then.
    #[must_use]
    pub const fn read_only(self) -> Root {
        Root { read_only: true, ..self }
    }

    /// Makes `tree` harmless and attaches it, with an id map where `user_ns` is given. A tree with which it failed is of no further use.
    ///
    /// `EINVAL` of the id map: see [`id_mappable`](crate::id_mappable).
    pub fn attach(&self, tree: BorrowedFd<'_>, user_ns: Option<BorrowedFd<'_>>) -> Result<(), Fault> {
        let below = if self.read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        let writable = retry_on_intr(|| fstatfs(tree)).call("fstatfs")?.f_flags as u64 & u64::from(MOUNT_ATTR_RDONLY) == 0;
        id_mapped(tree, self.flags | below, Reach::Below, user_ns)?;
        if self.read_only && writable {
            let back = MountAttr { clear: MountFlags::RDONLY.bits(), ..MountAttr::default() };
            mount_setattr(tree, back).call("mount_setattr")?;
        }
        with(slash()?, |root| attach(tree, root))
    }
}

// SAFETY: system calls on constants, the stack and slots.
unsafe impl Step for Root {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        let tree = child.fd(self.tree)?;
        let user_ns = if self.id_mapped { Some(child.fd(Slot::USER_NS)?) } else { None };
        self.attach(tree, user_ns)?;
        child.keep(ROOT, another(tree)?)?;
        if self.read_only {
            child.keep(READ_ONLY, another(tree)?)?;
        }
        Ok(())
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(self.tree).fills(ROOT);
        if self.id_mapped {
            wires.uses(Slot::USER_NS).after(Mark::IDS);
        }
        if self.read_only {
            wires.fills(READ_ONLY);
        }
    }
}

fn another(fd: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
    raw::dup_above(fd, 3).map(ChildFd::from_raw).call("fcntl")
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.id_mapped { "id-map" } else { "take" };
        let below = if self.read_only { ", read-only below its root" } else { "" };
        f.write_fmt(format_args!("{verb} <{}>, private, {}{below}, attach over /", self.tree, self.flags))
    }
}

/// `mount_setattr(root, MOUNT_ATTR_RDONLY)`: the tree's root mount becomes read-only, and nothing else does, so that what was mounted on it
/// stays as it is. Needs a [`Root`] that was told so ([`Root::read_only`]), which has dealt with the tree's own mounts.
#[derive(Clone, Copy, Debug)]
pub struct ReadOnlyRoot;

impl ReadOnlyRoot {
    /// Does it.
    pub fn apply(&self, root: BorrowedFd<'_>) -> Result<(), Fault> {
        set_flags(root, MountFlags::RDONLY)
    }
}

// SAFETY: a system call on the stack and a slot.
unsafe impl Step for ReadOnlyRoot {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        self.apply(child.fd(READ_ONLY)?)
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(READ_ONLY);
    }
}

impl fmt::Display for ReadOnlyRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("make the tree's root read-only")
    }
}
