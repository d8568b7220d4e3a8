//! Binding a directory or file of the host's into the tree.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]
#![allow(clippy::disallowed_types, reason = "paths are made and dropped in the parent")]

use crate::error::{Error, ErrorKind};
use crate::flags::MountFlags;
use crate::owner::Owner;
use crate::path::{InRoot, MountPoint};
use crate::root::ROOT;
use crate::shown::Shown;
use crate::tree::{Reach, attach, clone_of, id_mapped, is_directory, with};
use ns_core::{Child, Errno, Fault, Mark, Slot, Step, Wires};
use rustix::fs::CWD;
use std::ffi::CString;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A bind of a source of the host's at a target in the tree: always private, `nodev` unless told otherwise, its flags on every mount below
/// it too. Needs [`ROOT`]. A target that is missing is made, a file or a directory as the source is.
///
/// The flags and the id map are set in one call while the clone is detached, and an error of it ends the bind: it never arrives writable or
/// unmapped. `open_tree(2)` 5.2, `mount_setattr(2)` 5.12.
#[derive(Clone, Debug)]
pub struct Bind {
    source: Source,
    target: InRoot,
    flags: MountFlags,
    reach: Reach,
    id_mapped: bool,
    owner: Owner,
    optional: bool,
}

#[derive(Clone, Debug)]
enum Source {
    Path(CString),
    Slot(Slot),
}

#[allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
impl Bind {
    /// `source` is an absolute path of the host's, resolved by the builder, links followed; `target` a path in the tree.
    pub fn new(source: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<Bind, Error> {
        let path = source.as_ref();
        let bytes = path.as_os_str().as_bytes();
        let Some(source) = CString::new(bytes).ok().filter(|_| path.is_absolute()) else {
            return Err(Error::new(ErrorKind::Path, format!("bind source \"{}\" is no absolute path", Shown(bytes))));
        };
        Bind::of(Source::Path(source), target)
    }

    /// The source is a detached mount in `slot`, made by [`detach`](crate::detach); a start uses it up, so it is given, not lent.
    pub fn from_slot(slot: Slot, target: impl AsRef<Path>) -> Result<Bind, Error> {
        Bind::of(Source::Slot(slot), target)
    }

    fn of(source: Source, target: impl AsRef<Path>) -> Result<Bind, Error> {
        let target = InRoot::new(target)?;
        if target.is_root() {
            return Err(Error::new(ErrorKind::Path, "a bind over the tree's root would cover everything"));
        }
        let flags = MountFlags::NODEV;
        Ok(Bind { source, target, flags, reach: Reach::Below, id_mapped: false, owner: Owner::default(), optional: false })
    }

    /// Nothing can be written there.
    #[must_use]
    pub fn read_only(self) -> Bind {
        Bind { flags: self.flags | MountFlags::RDONLY, ..self }
    }

    /// Set-uid bits and file capabilities have no effect.
    #[must_use]
    pub fn nosuid(self) -> Bind {
        Bind { flags: self.flags | MountFlags::NOSUID, ..self }
    }

    /// Device nodes may be opened, if the source's mount allows it.
    #[must_use]
    pub fn devices(self) -> Bind {
        Bind { flags: self.flags - MountFlags::NODEV, ..self }
    }

    /// Without what is mounted below the source.
    #[must_use]
    pub fn non_recursive(self) -> Bind {
        Bind { reach: Reach::This, ..self }
    }

    /// Id-maps it by the payload's user namespace: files of id 0 belong to the container's root.
    #[must_use]
    pub fn id_mapped(self) -> Bind {
        Bind { id_mapped: true, ..self }
    }

    /// The owner of the target, where it is missing in the tree: ids as the host sees them.
    #[must_use]
    pub fn owner(self, uid: u32, gid: u32) -> Bind {
        Bind { owner: Owner { uid, gid }, ..self }
    }

    /// Skipped where the source is missing.
    #[must_use]
    pub fn optional(self) -> Bind {
        Bind { optional: true, ..self }
    }
}

impl Bind {
    /// Binds below `root`, id-mapped by `user_ns` where it is given. Not for a source in a slot.
    pub fn bind(&self, root: BorrowedFd<'_>, user_ns: Option<BorrowedFd<'_>>) -> Result<(), Fault> {
        let Source::Path(path) = &self.source else { return Err(Fault::new("slot", Errno::EBADF)) };
        match clone_of(CWD, path, self.reach) {
            Ok(clone) => with(clone, |clone| self.attach(clone, root, user_ns)),
            Err(fault) if self.optional && fault.errno == Errno::ENOENT => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// The same for a detached mount.
    pub fn attach(&self, mount: BorrowedFd<'_>, root: BorrowedFd<'_>, user_ns: Option<BorrowedFd<'_>>) -> Result<(), Fault> {
        id_mapped(mount, self.flags, self.reach, user_ns)?;
        let kind = if is_directory(mount)? { MountPoint::Directory } else { MountPoint::File };
        with(self.target.open_or_make(root, kind, self.owner)?, |onto| match (kind, is_directory(onto)?) {
            (MountPoint::Directory, false) => {
                Err(Fault::new("move_mount", Errno::ENOTDIR).saying(b"the source is a directory, the target is not"))
            }
            (MountPoint::File, true) => {
                Err(Fault::new("move_mount", Errno::EISDIR).saying(b"the target is a directory, the source is not"))
            }
            _ => attach(mount, onto),
        })
    }
}

// SAFETY: system calls on the value, the stack and slots.
unsafe impl Step for Bind {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        let user_ns = if self.id_mapped { Some(child.fd(Slot::USER_NS)?) } else { None };
        match self.source {
            Source::Path(_) => self.bind(child.fd(ROOT)?, user_ns),
            Source::Slot(slot) => self.attach(child.fd(slot)?, child.fd(ROOT)?, user_ns),
        }
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(ROOT);
        if let Source::Slot(slot) = self.source {
            wires.uses(slot);
        }
        if self.id_mapped {
            wires.uses(Slot::USER_NS).after(Mark::IDS);
        }
    }
}

/// "bind of /usr at /srv, ro nodev".
impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Path(path) => f.write_fmt(format_args!("bind of {} at {}", Shown(path.to_bytes()), self.target))?,
            Source::Slot(slot) => f.write_fmt(format_args!("bind of <{slot}> at {}", self.target))?,
        }
        if !self.flags.is_empty() {
            f.write_fmt(format_args!(", {}", self.flags))?;
        }
        f.write_str(if self.reach == Reach::This { ", without what is below" } else { "" })?;
        f.write_str(if self.id_mapped { ", id-mapped" } else { "" })?;
        f.write_str(if self.optional { ", if it exists" } else { "" })
    }
}
