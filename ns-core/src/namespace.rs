//! Namespaces, `namespaces(7)`: their kinds, descriptors of them, and the steps that join, unshare and lock them.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::raw::{self, Errno};
use crate::step::{Call, Child, Fault, Mark, Slot, Step, Wires};
use linux_raw_sys::general as sys;
use rustix::io::retry_on_intr;
use rustix::mount::{MountPropagationFlags, mount_change};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

bitflags::bitflags! {
    /// A set of namespace kinds, `CLONE_NEW*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Namespaces: u32 {
        /// `CLONE_NEWNS`, `mount_namespaces(7)`.
        const MOUNT = sys::CLONE_NEWNS;
        /// `CLONE_NEWUSER`, `user_namespaces(7)`.
        const USER = sys::CLONE_NEWUSER;
        /// `CLONE_NEWPID`, `pid_namespaces(7)`.
        const PID = sys::CLONE_NEWPID;
        /// `CLONE_NEWIPC`, `ipc_namespaces(7)`.
        const IPC = sys::CLONE_NEWIPC;
        /// `CLONE_NEWUTS`, `uts_namespaces(7)`.
        const UTS = sys::CLONE_NEWUTS;
        /// `CLONE_NEWNET`, `network_namespaces(7)`.
        const NET = sys::CLONE_NEWNET;
        /// `CLONE_NEWCGROUP`, `cgroup_namespaces(7)`.
        const CGROUP = sys::CLONE_NEWCGROUP;
    }
}

/// "user, pid, net".
impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for kind in Kind::ALL {
            if self.contains(kind.flag()) {
                f.write_str(if first { "" } else { ", " })?;
                f.write_str(kind.name())?;
                first = false;
            }
        }
        Ok(())
    }
}

/// One kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `mnt`
    Mount,
    /// `user`
    User,
    /// `pid`
    Pid,
    /// `ipc`
    Ipc,
    /// `uts`
    Uts,
    /// `net`
    Net,
    /// `cgroup`
    Cgroup,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 7] = [Kind::User, Kind::Mount, Kind::Pid, Kind::Ipc, Kind::Uts, Kind::Net, Kind::Cgroup];

    /// The `CLONE_NEW*` flag.
    pub const fn flag(self) -> Namespaces {
        match self {
            Kind::Mount => Namespaces::MOUNT,
            Kind::User => Namespaces::USER,
            Kind::Pid => Namespaces::PID,
            Kind::Ipc => Namespaces::IPC,
            Kind::Uts => Namespaces::UTS,
            Kind::Net => Namespaces::NET,
            Kind::Cgroup => Namespaces::CGROUP,
        }
    }

    /// The name of its file below `/proc/PID/ns`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Mount => "mnt",
            Kind::User => "user",
            Kind::Pid => "pid",
            Kind::Ipc => "ipc",
            Kind::Uts => "uts",
            Kind::Net => "net",
            Kind::Cgroup => "cgroup",
        }
    }
}

/// `setns(2)` on a descriptor of a namespace, or on a pidfd with several kinds at once (Linux 5.8).
///
/// A pid namespace is entered by the next child only: a plan takes [`crate::Plan::join`] for it.
#[derive(Clone, Copy, Debug)]
pub struct Setns {
    slot: Slot,
    kinds: Namespaces,
}

impl Setns {
    /// Joins `kinds` of what is in `slot`.
    pub const fn new(slot: Slot, kinds: Namespaces) -> Setns {
        Setns { slot, kinds }
    }

    /// Does it now, in the calling thread.
    pub fn join(&self, fd: BorrowedFd<'_>) -> Result<(), Fault> {
        raw::setns(fd, self.kinds.bits()).call("setns")
    }
}

impl fmt::Display for Setns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "join the {} namespaces of {}", self.kinds, self.slot)
    }
}

// SAFETY: one system call on a descriptor.
unsafe impl Step for Setns {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        self.join(child.fd(self.slot)?)
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(self.slot);
    }
}

/// `unshare(2)` of namespaces, in the middle of a list.
#[derive(Clone, Copy, Debug)]
pub struct Unshare(pub Namespaces);

impl Unshare {
    /// Does it now. A multithreaded caller can't unshare `USER`, and unshares the others for the calling thread alone.
    pub fn apply(&self) -> Result<(), Fault> {
        // SAFETY: namespace flags leave the descriptor table alone; NEWNS unshares the calling thread's root and cwd with it.
        unsafe { raw::unshare(self.0.bits()) }.call("unshare")
    }
}

impl fmt::Display for Unshare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unshare {}", self.0)
    }
}

// SAFETY: one system call without pointers.
unsafe impl Step for Unshare {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }
}

/// `unshare(CLONE_NEWNS)` in the payload once the builder is done: the copy of what was mounted outside the payload's user namespace
/// arrives locked, flags and all, `mount_namespaces(7)`. Then the mounts are made shared again, as a guest's init expects.
#[derive(Clone, Copy, Debug)]
pub struct Locked;

impl Locked {
    /// The point after which nothing of the builder's can be undone from inside.
    pub const MARK: Mark = Mark("mounts locked");

    /// Does it now: `unshare(CLONE_NEWNS)`, `chdir("/")`, `mount("/", MS_REC|MS_SLAVE)`, `mount("/", MS_REC|MS_SHARED)`.
    pub fn apply(&self) -> Result<(), Fault> {
        Unshare(Namespaces::MOUNT).apply()?;
        retry_on_intr(|| rustix::process::chdir(c"/")).call("chdir")?;
        // Slaves first: without a user namespace of its own the copy is a peer of the builder's mounts, and what is mounted inside would
        // appear there.
        retry_on_intr(|| mount_change(c"/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)).call("mount")?;
        retry_on_intr(|| mount_change(c"/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)).call("mount")
    }
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unshare mnt: lock what was built")
    }
}

// SAFETY: system calls on constant strings.
unsafe impl Step for Locked {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }

    fn wires(&self, wires: &mut Wires) {
        wires.after(Mark::BUILT).reaches(Locked::MARK);
    }
}

/// A descriptor of a namespace, from `/proc/PID/ns/KIND` or a path where one is bound.
#[derive(Debug)]
#[allow(clippy::disallowed_types, reason = "lives in the parent")]
pub struct NsFd {
    fd: std::os::fd::OwnedFd,
    kind: Kind,
}

#[allow(clippy::disallowed_types, reason = "runs in the parent")]
impl NsFd {
    /// `open(path)`, checked to be a namespace of this kind (`ioctl_nsfs(2)`, NS_GET_NSTYPE): `EINVAL` where it is none.
    pub fn open(path: &std::path::Path, kind: Kind) -> Result<NsFd, Errno> {
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK;
        let fd = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|e| Errno::new(e.raw_os_error()))?;
        NsFd::from_fd(fd, kind)
    }

    /// Checks a descriptor that somebody else opened.
    pub fn from_fd(fd: std::os::fd::OwnedFd, kind: Kind) -> Result<NsFd, Errno> {
        const NS_GET_NSTYPE: usize = 0xb703;
        let args = [std::os::fd::AsRawFd::as_raw_fd(&fd) as usize, NS_GET_NSTYPE, 0, 0, 0, 0];
        // SAFETY: the request takes no argument.
        let found = unsafe { raw::syscall(sys::__NR_ioctl, args) }.map_err(|_| Errno::EINVAL)?;
        if found == kind.flag().bits() as usize { Ok(NsFd { fd, kind }) } else { Err(Errno::EINVAL) }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The descriptor.
    pub fn into_fd(self) -> std::os::fd::OwnedFd {
        self.fd
    }
}

impl AsFd for NsFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "tests run in the parent")]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_descriptor_is_checked_for_its_kind() {
        assert!(NsFd::open(Path::new("/proc/self/ns/net"), Kind::Net).is_ok());
        assert_eq!(NsFd::open(Path::new("/proc/self/ns/net"), Kind::Uts).unwrap_err(), Errno::EINVAL);
        assert_eq!(NsFd::open(Path::new("/dev/null"), Kind::Net).unwrap_err(), Errno::EINVAL);
        assert_eq!(NsFd::open(Path::new("/no/such"), Kind::Net).unwrap_err(), Errno::ENOENT);
    }

    #[test]
    fn sets_read_as_their_files() {
        assert_eq!((Namespaces::NET | Namespaces::USER).to_string(), "user, net");
    }
}
