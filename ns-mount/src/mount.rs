//! A file system on a path of the tree: the general step, and devpts, mqueue and cgroup2.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::error::Error;
use crate::filesystem::Filesystem;
use crate::flags::MountFlags;
use crate::owner::Owner;
use crate::path::{InRoot, MountPoint};
use crate::root::ROOT;
use crate::tree::{attach_directory, with};
use ns_core::{Child, ChildFd, Fault, Slot, Step, Wires};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// The container's own devpts; filled by [`Devpts`]. A pty is opened in it ("ptmx") by a step of ns-core.
pub const PTS: Slot = Slot::new("the container's devpts");

/// A file system mounted on a path of the tree, by the builder, in the namespaces that it is in then. Needs [`ROOT`].
#[derive(Clone, Debug)]
pub struct Mount {
    filesystem: Filesystem,
    at: InRoot,
    owner: Owner,
    filled: Option<Slot>,
}

#[allow(clippy::disallowed_methods, reason = "runs in the parent")]
impl Mount {
    /// This file system at this path.
    pub fn new(filesystem: Filesystem, at: impl AsRef<Path>) -> Result<Mount, Error> {
        Ok(Mount::on(filesystem, InRoot::new(at)?))
    }

    pub(crate) fn on(filesystem: Filesystem, at: InRoot) -> Mount {
        Mount { filesystem, at, owner: Owner::default(), filled: None }
    }

    /// The owner of the mount point, where it is missing in the tree: ids as the host sees them.
    #[must_use]
    pub fn owner(mut self, uid: u32, gid: u32) -> Mount {
        self.owner = Owner { uid, gid };
        self
    }

    /// Keeps the mount's descriptor in `slot` for later steps.
    #[must_use]
    pub fn filled(mut self, slot: Slot) -> Mount {
        self.filled = Some(slot);
        self
    }

    fn with_filesystem(mut self, change: impl FnOnce(Filesystem) -> Filesystem) -> Mount {
        self.filesystem = change(self.filesystem);
        self
    }
}

impl Mount {
    /// Mounts it below `root`; returns the mount.
    pub fn mount(&self, root: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
        self.attached(self.filesystem.fsmount()?, root)
    }

    /// Attaches what was mounted otherwise.
    pub(crate) fn attached(&self, mount: ChildFd, root: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
        match self.attach(mount.as_fd(), root) {
            Ok(()) => Ok(mount),
            Err(fault) => {
                mount.close();
                Err(fault)
            }
        }
    }

    pub(crate) fn attach(&self, mount: BorrowedFd<'_>, root: BorrowedFd<'_>) -> Result<(), Fault> {
        let onto = self.at.open_or_make(root, MountPoint::Directory, self.owner)?;
        with(onto, |onto| attach_directory(mount, onto))
    }

    pub(crate) fn filesystem(&self) -> &Filesystem {
        &self.filesystem
    }

    pub(crate) fn at(&self) -> &InRoot {
        &self.at
    }
}

// SAFETY: system calls on the value, the stack and slots.
unsafe impl Step for Mount {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        let mount = self.mount(child.fd(ROOT)?)?;
        match self.filled {
            Some(slot) => child.keep(slot, mount).map(drop),
            None => {
                mount.close();
                Ok(())
            }
        }
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(ROOT);
        if let Some(slot) = self.filled {
            wires.fills(slot);
        }
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(format_args!("{}: {}", self.at, self.filesystem))
    }
}

/// A step that is a [`Mount`] with a name of its own.
macro_rules! named_mount {
    ($name:ident) => {
        impl $name {
            /// The owner of the mount point, where it is missing in the tree: ids as the host sees them.
            #[must_use]
            pub fn owner(self, uid: u32, gid: u32) -> $name {
                $name(self.0.owner(uid, gid))
            }

            /// Mounts it below `root`; returns the mount.
            pub fn mount(&self, root: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
                self.0.mount(root)
            }
        }

        // SAFETY: the mount's own step.
        unsafe impl Step for $name {
            fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
                self.0.run(child)
            }

            fn wires(&self, wires: &mut Wires) {
                self.0.wires(wires);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

/// A devpts of the container's own: `newinstance`, mode 620 for its ptys, ptmx 0666, at most 1,024 ptys, `nosuid noexec`. Fills [`PTS`].
///
/// See "Linux Kernel: The Devpts Filesystem". It is an instance of its own on every kernel from 4.7 on.
#[derive(Clone, Debug)]
pub struct Devpts(Mount);

impl Devpts {
    /// At this path, usually /dev/pts.
    pub fn at(path: impl AsRef<Path>) -> Result<Devpts, Error> {
        let devpts = Filesystem::fixed(c"devpts", MountFlags::NOSUID | MountFlags::NOEXEC);
        let devpts = devpts.word(c"newinstance").number(c"ptmxmode", "0666").number(c"mode", "620").number(c"max", 1024);
        Ok(Devpts(Mount::new(devpts, path)?.filled(PTS)))
    }

    /// `gid=`: the group of its ptys, usually the container's tty group (5) as the host sees it.
    #[must_use]
    pub fn gid(self, gid: u32) -> Devpts {
        Devpts(self.0.with_filesystem(|devpts| devpts.number(c"gid", gid)))
    }

    /// `max=`: how many ptys there may be.
    #[must_use]
    pub fn max(self, ptys: u32) -> Devpts {
        Devpts(self.0.with_filesystem(|devpts| devpts.number(c"max", ptys)))
    }
}

named_mount!(Devpts);

/// The POSIX message queues of the ipc namespace that the builder is in: comes after [`JoinPayload::ipc_cgroup`](crate::JoinPayload).
/// `nosuid nodev noexec`. See mq_overview(7).
#[derive(Clone, Debug)]
pub struct Mqueue(Mount);

impl Mqueue {
    /// At this path, usually /dev/mqueue.
    pub fn at(path: impl AsRef<Path>) -> Result<Mqueue, Error> {
        Ok(Mqueue(Mount::new(Filesystem::fixed(c"mqueue", MountFlags::INERT), path)?))
    }
}

named_mount!(Mqueue);

/// The cgroup2 hierarchy as the cgroup namespace that the builder is in shows it: comes after
/// [`JoinPayload::ipc_cgroup`](crate::JoinPayload), and after [`Sysfs`](crate::Sysfs), which would cover it. `nosuid nodev noexec`.
///
/// On hybrid hosts too it is the whole of v2, with the controllers that v1 leaves it. See cgroup_namespaces(7).
#[derive(Clone, Debug)]
pub struct Cgroup2(Mount);

impl Cgroup2 {
    /// At this path, usually /sys/fs/cgroup.
    pub fn at(path: impl AsRef<Path>) -> Result<Cgroup2, Error> {
        Ok(Cgroup2(Mount::new(Filesystem::fixed(c"cgroup2", MountFlags::INERT), path)?))
    }
}

named_mount!(Cgroup2);
