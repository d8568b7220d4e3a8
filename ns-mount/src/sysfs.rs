//! /sys: read-only, whole or as a skeleton of the payload's network namespace.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::filesystem::Filesystem;
use crate::flags::MountFlags;
use crate::mount::Mount;
use crate::path::InRoot;
use crate::root::ROOT;
use crate::tmpfs::{Tmpfs, What};
use crate::tree::{attach, bind_of, with};
use ns_core::{Call, Child, ChildFd, Errno, Fault, Slot, Step, Wires};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::retry_on_intr;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{chdir, fchdir};
use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

/// The container's /sys; filled by [`Sysfs`].
pub const SYS: Slot = Slot::new("the container's /sys");

/// The sysfs that the skeleton's parts are clones of. Whoever closes the last descriptor of a mount that is not attached waits until no
/// processor can be looking at it, milliseconds on a busy machine: so it stays open until the builder has nothing more to do.
const SOURCE: Slot = Slot::new("the payload's sysfs");

/// What the skeleton shows of sysfs.
const SHOWN: [&CStr; 6] = [c"block", c"bus", c"class", c"dev", c"devices", c"kernel"];

/// /sys of the network namespace that the builder is in, read-only, `nosuid nodev noexec`: a read-only /sys is what tells a guest that
/// devices are not its business. Comes before [`Cgroup2`](crate::Cgroup2). Needs [`ROOT`]; fills [`SYS`].
///
/// A payload in a user namespace of its own mounts a fresh, writable sysfs on Linux 6.1 and 6.12 whatever is done here: there the modes of
/// its files protect it, and nothing else. See sysfs(5).
#[derive(Clone, Debug)]
pub struct Sysfs {
    sysfs: Mount,
    skeleton: Option<Tmpfs>,
}

impl Sysfs {
    /// All of it, for a payload that shares its network with the host.
    pub fn whole() -> Sysfs {
        Sysfs { sysfs: Mount::on(Filesystem::fixed(c"sysfs", MountFlags::DEAD), InRoot::fixed("/sys")), skeleton: None }
    }

    /// For a payload with a network namespace of its own, after [`JoinPayload::network`](crate::JoinPayload::network): a read-only tmpfs
    /// with block, bus, class, dev, devices and kernel of a sysfs of that namespace, and the directories fs/cgroup and fs/bpf.
    pub fn skeleton() -> Sysfs {
        let tmpfs = Tmpfs::on(InRoot::fixed("/sys")).nosuid().nodev().noexec().mode(0o555).inodes(1_024).bytes("4m").read_only();
        let dirs = ["block", "bus", "class", "dev", "devices", "kernel", "fs", "fs/cgroup", "fs/bpf"];
        Sysfs { skeleton: Some(tmpfs.fixed(dirs.map(|name| (name, 0o755, What::Dir)))), ..Sysfs::whole() }
    }

    /// The owner of the mount point and of the skeleton: ids as the host sees them.
    #[must_use]
    pub fn owner(self, uid: u32, gid: u32) -> Sysfs {
        Sysfs { sysfs: self.sysfs.owner(uid, gid), skeleton: self.skeleton.map(|tmpfs| tmpfs.owner(uid, gid)) }
    }

    /// Mounts it below `root`. Before Linux 6.15 the skeleton leaves the working directory at `/`.
    pub fn mount(&self, root: BorrowedFd<'_>) -> Result<(), Fault> {
        let (sys, source) = self.mounted(root)?;
        sys.close();
        if let Some(source) = source {
            source.close();
        }
        Ok(())
    }

    /// Returns what is at /sys, and the sysfs that the skeleton's parts are clones of.
    fn mounted(&self, root: BorrowedFd<'_>) -> Result<(ChildFd, Option<ChildFd>), Fault> {
        let Some(tmpfs) = &self.skeleton else { return Ok((self.sysfs.mount(root)?, None)) };
        let sysfs = self.sysfs.filesystem().fsmount()?;
        match self.assemble(tmpfs, sysfs.as_fd(), root) {
            Ok(sys) => Ok((sys, Some(sysfs))),
            Err(fault) => {
                sysfs.close();
                Err(fault)
            }
        }
    }

    /// Before Linux 6.15 only what is attached can be cloned, and a detached mount can't be mounted on: there sysfs is attached, cloned,
    /// unmounted again, and only then the tmpfs comes, and the clones onto it.
    fn assemble(&self, tmpfs: &Tmpfs, sysfs: BorrowedFd<'_>, root: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
        match parts(sysfs) {
            [Err(fault), ..] if fault.errno == Errno::EINVAL => {
                self.sysfs.attach(sysfs, root)?;
                let parts = parts(sysfs);
                let put = unmount_it(sysfs).and_then(|()| put_together(tmpfs, &parts, root));
                close_all(parts);
                put
            }
            parts => {
                let put = put_together(tmpfs, &parts, root);
                close_all(parts);
                put
            }
        }
    }
}

type Parts = [Result<ChildFd, Fault>; SHOWN.len()];

fn parts(sysfs: BorrowedFd<'_>) -> Parts {
    SHOWN.map(|name| bind_of(sysfs, name, MountFlags::DEAD))
}

fn close_all(parts: Parts) {
    parts.into_iter().flatten().for_each(ChildFd::close);
}

fn put_together(tmpfs: &Tmpfs, parts: &Parts, root: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
    let mount = tmpfs.mount(root)?;
    let mut rows = parts.iter().zip(SHOWN).zip(0..);
    match rows.try_for_each(|((part, name), row)| attach_one(part, mount.as_fd(), name).map_err(|fault| fault.at_row(row))) {
        Ok(()) => Ok(mount),
        Err(fault) => {
            mount.close();
            Err(fault)
        }
    }
}

fn attach_one(clone: &Result<ChildFd, Fault>, mount: BorrowedFd<'_>, name: &CStr) -> Result<(), Fault> {
    let clone = match clone {
        Ok(clone) => clone.as_fd(),
        // A kernel without block devices, say.
        Err(fault) if fault.errno == Errno::ENOENT => return Ok(()),
        Err(fault) => return Err(*fault),
    };
    let onto = retry_on_intr(|| openat(mount, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())).map(ChildFd::from);
    with(onto.call("openat")?, |onto| attach(clone, onto))
}

/// By the working directory: umount2(2) takes no descriptor.
fn unmount_it(mount: BorrowedFd<'_>) -> Result<(), Fault> {
    retry_on_intr(|| fchdir(mount)).call("fchdir")?;
    let done = retry_on_intr(|| unmount(c".", UnmountFlags::DETACH)).call("umount2");
    retry_on_intr(|| chdir(c"/")).call("chdir")?;
    done
}

// SAFETY: system calls on the value, the stack and a slot.
unsafe impl Step for Sysfs {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        let (sys, source) = self.mounted(child.fd(ROOT)?)?;
        child.keep(SYS, sys)?;
        source.map_or(Ok(()), |source| child.keep(SOURCE, source).map(drop))
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(ROOT).fills(SYS);
        if self.skeleton.is_some() {
            wires.fills(SOURCE);
        }
    }

    fn row(&self, row: u32) -> Option<&dyn fmt::Display> {
        self.skeleton.as_ref().and_then(|tmpfs| tmpfs.row(row))
    }
}

impl fmt::Display for Sysfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.skeleton.is_none() {
            return fmt::Display::fmt(&self.sysfs, f);
        }
        f.write_fmt(format_args!("{}: read-only tmpfs with block bus class dev devices kernel of sysfs", self.sysfs.at()))
    }
}
