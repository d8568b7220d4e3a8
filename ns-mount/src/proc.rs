//! A proc of the payload's process namespace, mounted by a builder outside it.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::filesystem::Filesystem;
use crate::flags::MountFlags;
use crate::mount::Mount;
use crate::path::InRoot;
use crate::root::ROOT;
use crate::tree::with;
use linux_raw_sys::general::{__NR_ioctl, CLONE_FILES, CLONE_NEWPID};
use ns_core::raw::{self, CloneArgs, OnExec};
use ns_core::{Call, Child, ChildFd, Errno, Fault, Slot, Step, Wires};
use rustix::io::retry_on_intr;
use rustix::mount::fsconfig_set_fd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// The container's /proc; filled by [`Proc`].
pub const PROC: Slot = Slot::new("the container's /proc");

/// /proc of the payload's process namespace, `nosuid nodev noexec`. Needs [`ROOT`] and the payload's pidfd. Fills [`PROC`].
///
/// By the mount parameter `pidns` (Linux 6.18) with the namespace's descriptor from the pidfd (`PIDFD_GET_PID_NAMESPACE`, 6.11). Where the
/// kernel lacks either, by a short helper that is born in the payload's namespace with a copy of the builder's memory and the builder's
/// own descriptor table: about 85 µs more. See proc(5), setns(2).
#[derive(Clone, Debug)]
pub struct Proc(Mount);

impl Proc {
    /// At /proc.
    pub fn of_payload() -> Proc {
        Proc(Mount::on(Filesystem::fixed(c"proc", MountFlags::INERT), InRoot::fixed("/proc")))
    }

    /// The owner of the mount point, where it is missing in the tree: ids as the host sees them.
    #[must_use]
    pub fn owner(self, uid: u32, gid: u32) -> Proc {
        Proc(self.0.owner(uid, gid))
    }

    /// Mounts it below `root` for the process namespace of the process behind `payload`; returns the mount.
    pub fn mount(&self, root: BorrowedFd<'_>, payload: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
        let mount = match self.by_parameter(payload) {
            Err(fault) if fault.errno == Errno::EINVAL || fault.errno == Errno::ENOTTY => self.by_helper(payload)?,
            answer => answer?,
        };
        self.0.attached(mount, root)
    }

    /// `fsconfig(FSCONFIG_SET_FD, "pidns", ..)`: `ENOTTY` or `EINVAL` where the kernel doesn't know it.
    fn by_parameter(&self, payload: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
        with(process_namespace(payload)?, |namespace| {
            self.0.filesystem().fsmount_with(|context| retry_on_intr(|| fsconfig_set_fd(context, c"pidns", namespace)).call("fsconfig"))
        })
    }

    /// The helper puts the mount on a descriptor of this table, taken beforehand.
    fn by_helper(&self, payload: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
        let own = Pid::from_raw(raw::getpid()).ok_or(Fault::new("getpid", Errno::ESRCH))?;
        let own = retry_on_intr(|| pidfd_open(own, PidfdFlags::empty())).map(ChildFd::from).call("pidfd_open")?;
        let place = raw::dup_above(payload, 3).map(ChildFd::from_raw).call("fcntl");
        let mounted = place.and_then(|place| match self.help(payload, own.as_fd(), place.as_raw_fd()) {
            Ok(()) => Ok(place),
            Err(fault) => {
                place.close();
                Err(fault)
            }
        });
        own.close();
        mounted
    }

    fn help(&self, payload: BorrowedFd<'_>, own: BorrowedFd<'_>, place: RawFd) -> Result<(), Fault> {
        raw::setns(payload, CLONE_NEWPID).call("setns")?;
        // SAFETY: the child makes system calls on its copy of this stack, and ends by exit_group.
        let helper = unsafe { raw::clone3(CloneArgs { flags: u64::from(CLONE_FILES), ..CloneArgs::default() }) };
        if helper == Ok(None) {
            raw::exit_group(self.put_on(place));
        }
        // Later children of the builder are born in its own namespace again.
        let back = raw::setns(own, CLONE_NEWPID).call("setns");
        let pidfd = helper.call("clone3")?.map(ChildFd::from_raw).ok_or(Fault::new("clone3", Errno::ESRCH))?;
        let left = with(pidfd, |pidfd| raw::waitid(pidfd, true).call("waitid"))?;
        back?;
        const CLD_EXITED: i32 = 1;
        match left {
            Some(left) if left.code == CLD_EXITED && left.status == 0 => Ok(()),
            Some(left) if left.code == CLD_EXITED => Err(Fault::new("fsmount", Errno::new(left.status)).saying(b"in the helper")),
            _ => Err(Fault::new("fsmount", Errno::ESRCH).saying(b"the helper was killed: the payload has gone")),
        }
    }

    /// In the helper: its exit status, an errno.
    fn put_on(&self, place: RawFd) -> i32 {
        let mounted = self.0.filesystem().fsmount();
        let put = mounted.and_then(|mount| with(mount, |mount| raw::dup_to(mount.as_raw_fd(), place, OnExec::Close).call("dup3")));
        put.err().map_or(0, |fault| fault.errno.raw_os_error())
    }
}

/// `ioctl(pidfd, PIDFD_GET_PID_NAMESPACE)`. Linux 6.11; before, `ENOTTY`.
fn process_namespace(pidfd: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
    const PIDFD_GET_PID_NAMESPACE: usize = 0xff05;
    // SAFETY: the request takes no pointer.
    let fd = unsafe { raw::syscall(__NR_ioctl, [pidfd.as_raw_fd() as usize, PIDFD_GET_PID_NAMESPACE, 0, 0, 0, 0]) };
    fd.map(|fd| ChildFd::from_raw(fd as RawFd)).call("ioctl")
}

// SAFETY: system calls on the value, the stack and slots; the helper runs on its own copy of the memory.
unsafe impl Step for Proc {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        let mount = self.mount(child.fd(ROOT)?, child.fd(Slot::PAYLOAD)?)?;
        child.keep(PROC, mount).map(drop)
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(ROOT).uses(Slot::PAYLOAD).fills(PROC);
    }
}

impl fmt::Display for Proc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(format_args!("{}, of the payload's process namespace", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    #[allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "tests run in the parent")]
    fn both_ways_show_the_payloads_processes_alone() {
        testing::in_child(|| {
            testing::own_mounts();
            let payload = testing::Payload::start();
            let by_helper = Proc::of_payload().by_helper(payload.pidfd()).unwrap();
            assert_eq!(testing::pids(by_helper.as_fd()), [1]);
            let by_parameter = Proc::of_payload().by_parameter(payload.pidfd());
            match by_parameter {
                Ok(mount) => assert_eq!(testing::pids(mount.as_fd()), [1]),
                Err(fault) => assert!(matches!(fault.errno, Errno::EINVAL | Errno::ENOTTY), "{fault}"),
            }
            testing::children_are_born_here();
        });
    }
}
