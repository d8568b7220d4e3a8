//! Pseudo-terminals, `pty(7)`: one opened in a container's own devpts by a step, and what the caller does with its master.
//!
//! A pty belongs to its devpts: when that has gone, the master reads `EIO` for good, so that each boot has one of its own.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
mod window;

pub use window::WindowSize;

use crate::error::Error;
use crate::raw::{Errno, syscall};
use crate::step::{Call, Child, ChildFd, Fault, Slot, Step, Wires};
use linux_raw_sys::general::__NR_ioctl;
use linux_raw_sys::ioctl::{TIOCGPTN, TIOCSPTLCK};
use rustix::fs::{Mode, OFlags, ResolveFlags, fchmod, fchown, openat2};
use rustix::io::retry_on_intr;
use rustix::process::{Gid, Uid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Opens a pty in a devpts that is a descriptor, attached or not, and sends its master to the caller.
///
/// `openat2(devpts, "ptmx", O_RDWR|O_NOCTTY|O_CLOEXEC)`, then `ioctl_tty(2)` TIOCSPTLCK, TIOCGPTN and TIOCGPTPEER (Linux 4.13): no path
/// of the tree is involved. The slave's node gets owner and mode by descriptor.
///
/// ```
/// use ns_core::{Slot, pty::Pty};
/// const DEVPTS: Slot = Slot::new("devpts");
/// const MASTER: Slot = Slot::new("the console's master");
/// let console = Pty::in_devpts(DEVPTS, MASTER).expecting(0).owned_by(0, 0).mode(0o600);
/// assert_eq!(console.to_string(), "open pty 0 in devpts, of 0:0, 0600; send its master to the caller");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pty {
    devpts: Slot,
    master: Slot,
    slave: Option<Slot>,
    expected: Option<u32>,
    owner: Option<(u32, u32)>,
    mode: Option<u32>,
}

/// Master and slave, in a child.
#[derive(Debug)]
pub struct ChildPty {
    /// The side of whoever shows the terminal.
    pub master: ChildFd,
    /// The side of whoever runs on it.
    pub slave: ChildFd,
}

impl Pty {
    /// A pty of the devpts in `devpts`; its master is kept in `master` and sent.
    pub const fn in_devpts(devpts: Slot, master: Slot) -> Pty {
        Pty { devpts, master, slave: None, expected: None, owner: None, mode: None }
    }

    /// Keeps the slave too.
    #[must_use]
    pub const fn slave(self, slot: Slot) -> Pty {
        Pty { slave: Some(slot), ..self }
    }

    /// Fails with `EBUSY` where it gets another number: /dev/console is a link to pts/0.
    #[must_use]
    pub const fn expecting(self, number: u32) -> Pty {
        Pty { expected: Some(number), ..self }
    }

    /// Owner of the slave, as the child's user namespace numbers them.
    #[must_use]
    pub const fn owned_by(self, uid: u32, gid: u32) -> Pty {
        Pty { owner: Some((uid, gid)), ..self }
    }

    /// Mode of the slave, in place of the devpts' `mode=` option: 0620 or 0600.
    #[must_use]
    pub const fn mode(self, mode: u32) -> Pty {
        Pty { mode: Some(mode & 0o777), ..self }
    }

    /// Does it now, in the devpts of this descriptor.
    pub fn make(&self, devpts: BorrowedFd<'_>) -> Result<ChildPty, Fault> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let master = retry_on_intr(|| openat2(devpts, c"ptmx", flags, Mode::empty(), stay)).map(ChildFd::from).call("openat2")?;
        match self.prepare(master.as_fd()) {
            Ok(slave) => Ok(ChildPty { master, slave }),
            Err(fault) => {
                master.close();
                Err(fault)
            }
        }
    }

    fn prepare(&self, master: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
        let number = number_of(master).call("ioctl TIOCGPTN")?;
        if self.expected.is_some_and(|expected| expected != number) {
            return Err(Fault::new("ioctl TIOCGPTN", Errno::EBUSY).saying(b"the pty has another number than was expected"));
        }
        unlock(master).call("ioctl TIOCSPTLCK")?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = retry_on_intr(|| ioctl_tiocgptpeer(master, flags)).map(ChildFd::from).call("ioctl TIOCGPTPEER")?;
        match self.hand_over(slave.as_fd()) {
            Ok(()) => Ok(slave),
            Err(fault) => {
                slave.close();
                Err(fault)
            }
        }
    }

    fn hand_over(&self, slave: BorrowedFd<'_>) -> Result<(), Fault> {
        if let Some((uid, gid)) = self.owner {
            retry_on_intr(|| fchown(slave, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))).call("fchown")?;
        }
        self.mode.map_or(Ok(()), |mode| retry_on_intr(|| fchmod(slave, Mode::from_raw_mode(mode))).call("fchmod"))
    }
}

// SAFETY: system calls on memory of `self` and of the stack.
unsafe impl Step for Pty {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        let pty = self.make(child.fd(self.devpts)?)?;
        child.keep(self.master, pty.master)?;
        match self.slave {
            Some(slot) => child.keep(slot, pty.slave).map(drop)?,
            None => pty.slave.close(),
        }
        child.send(self.master)
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(self.devpts).fills(self.master);
        if let Some(slot) = self.slave {
            wires.fills(slot);
        }
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Pty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expected {
            Some(number) => write!(f, "open pty {number} in {}", self.devpts)?,
            None => write!(f, "open a pty in {}", self.devpts)?,
        }
        if let Some((uid, gid)) = self.owner {
            write!(f, ", of {uid}:{gid}")?;
        }
        if let Some(mode) = self.mode {
            write!(f, ", {mode:04o}")?;
        }
        f.write_str("; send its master to the caller")
    }
}

/// `ioctl(master, TIOCGPTN, &number)`
fn number_of(master: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut number = 0u32;
    // SAFETY: the request writes one unsigned int.
    unsafe { syscall(__NR_ioctl, [master.as_raw_fd() as usize, TIOCGPTN as usize, &raw mut number as usize, 0, 0, 0]) }?;
    Ok(number)
}

/// `ioctl(master, TIOCSPTLCK, &0)`
fn unlock(master: BorrowedFd<'_>) -> Result<(), Errno> {
    let off = 0i32;
    // SAFETY: the request reads one int.
    unsafe { syscall(__NR_ioctl, [master.as_raw_fd() as usize, TIOCSPTLCK as usize, &raw const off as usize, 0, 0, 0]) }.map(drop)
}

#[allow(clippy::disallowed_types, clippy::disallowed_macros, reason = "runs in the parent")]
impl Pty {
    /// The same in the caller, in a directory that may be anything: a running container's `/dev/pts`. Refuses what is no devpts
    /// (`fstatfs(2)`), and never follows a link or a mount in it. The owner is numbered as in the caller's user namespace.
    pub fn open(&self, devpts: impl AsFd) -> Result<Pair, Error> {
        const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
        let failed = |fault: Fault| Error::call(format!("open a pty in a container: {}", fault.call), fault.errno);
        let found = rustix::fs::fstatfs(&devpts).call("fstatfs").map_err(failed)?;
        if found.f_type as u64 != DEVPTS_SUPER_MAGIC {
            return Err(Error::refused("open a pty in a container: there is no devpts"));
        }
        let ChildPty { master, slave } = self.make(devpts.as_fd()).map_err(failed)?;
        // SAFETY: both were just opened, and are nobody else's.
        let own = |fd: ChildFd| unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd.as_raw_fd()) };
        Ok(Pair { master: own(master), slave: own(slave) })
    }
}

/// Master and slave, in the caller.
#[derive(Debug)]
#[allow(clippy::disallowed_types, reason = "lives in the parent")]
pub struct Pair {
    /// The side of whoever shows the terminal.
    pub master: std::os::fd::OwnedFd,
    /// The side of whoever runs on it.
    pub slave: std::os::fd::OwnedFd,
}

/// `posix_openpt(O_RDWR|O_NOCTTY|O_CLOEXEC)` in the caller's own devpts, unlocked, with its peer: a pty of the host's, for a payload
/// that has no devpts. For containers that have one there is [`Pty`].
pub fn open() -> Result<Pair, Error> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags).map_err(|e| Error::call("open of /dev/ptmx", Errno::new(e.raw_os_error())))?;
    unlock(master.as_fd()).map_err(|e| Error::call("unlocking a pty: ioctl TIOCSPTLCK", e))?;
    let slave = peer(&master)?;
    Ok(Pair { master, slave })
}

/// `ioctl(master, TIOCGPTPEER, O_RDWR|O_NOCTTY|O_CLOEXEC)`: the slave, whatever is mounted over its path. Linux 4.13.
#[allow(clippy::disallowed_types, reason = "runs in the parent")]
pub fn peer(master: impl AsFd) -> Result<std::os::fd::OwnedFd, Error> {
    ioctl_tiocgptpeer(master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .map_err(|e| Error::call("opening the slave of a pty: ioctl TIOCGPTPEER", Errno::new(e.raw_os_error())))
}

/// `ioctl(master, TIOCGPTN)`: the slave is /dev/pts/NUMBER in its devpts. `ENOTTY` where it is no master.
pub fn number(master: impl AsFd) -> Result<u32, Error> {
    number_of(master.as_fd()).map_err(|e| Error::call("number of a pty: ioctl TIOCGPTN", e))
}

#[cfg(test)]
#[allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::indexing_slicing,
    reason = "tests run in the parent"
)]
mod tests {
    use super::*;
    use crate::steps::trial::{Trial, scratch};
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
    use std::os::unix::fs::MetadataExt;

    const DEVPTS: Slot = Slot::new("devpts");
    const MASTER: Slot = Slot::new("a master");
    const SLAVE: Slot = Slot::new("a slave");

    /// A devpts that is attached nowhere.
    fn devpts() -> std::os::fd::OwnedFd {
        let context = fsopen(c"devpts", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        fsconfig_set_string(context.as_fd(), c"ptmxmode", c"0666").unwrap();
        fsconfig_create(context.as_fd()).unwrap();
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap()
    }

    #[test]
    fn the_master_arrives_and_the_slave_has_its_owner() {
        use std::io::{Read, Write};
        let devpts = devpts();
        let step = Pty::in_devpts(DEVPTS, MASTER).slave(SLAVE).expecting(0).owned_by(3, 4).mode(0o620);
        Trial::new()
            .lend(DEVPTS, devpts.as_fd())
            .slot(MASTER)
            .slot(SLAVE)
            .look(&[&step], |mut seen| {
                let (slot, master) = seen.sent.remove(0);
                assert_eq!((slot, number(&master).unwrap()), (MASTER, 0));
                let stat = rustix::fs::statat(&devpts, c"0", rustix::fs::AtFlags::empty()).unwrap();
                assert_eq!((stat.st_mode & 0o7777, stat.st_uid, stat.st_gid), (0o620, 3, 4));
                let mut slave = std::fs::File::from(peer(&master).unwrap());
                slave.write_all(b"hello\n").unwrap();
                let mut bytes = [0; 16];
                let n = std::fs::File::from(master).read(&mut bytes).unwrap();
                assert_eq!(&bytes[..n], b"hello\r\n");
            })
            .unwrap();
    }

    #[test]
    fn another_number_is_refused() {
        let devpts = devpts();
        let step = Pty::in_devpts(DEVPTS, MASTER).expecting(1);
        let fault = Trial::new().lend(DEVPTS, devpts.as_fd()).slot(MASTER).run(&[&step]).unwrap_err();
        assert_eq!(fault.to_string(), "ioctl TIOCGPTN: Device or resource busy: the pty has another number than was expected");
    }

    #[test]
    fn what_is_no_devpts_is_refused() {
        let dir = scratch();
        std::os::unix::fs::symlink("/dev/ptmx", dir.path().join("ptmx")).unwrap();
        let step = Pty::in_devpts(DEVPTS, MASTER);
        let fault = Trial::new().lend(DEVPTS, dir.fd()).slot(MASTER).run(&[&step]).unwrap_err();
        assert_eq!(fault.errno, Errno::ELOOP);
    }

    #[test]
    fn a_caller_opens_one_where_there_is_a_devpts() {
        let step = Pty::in_devpts(DEVPTS, MASTER).owned_by(3, 4).mode(0o620);
        let devpts = devpts();
        let pair = step.open(&devpts).unwrap();
        let stat = rustix::fs::fstat(&pair.slave).unwrap();
        assert_eq!((stat.st_mode & 0o7777, stat.st_uid, stat.st_gid), (0o620, 3, 4));
        assert_eq!(number(&pair.master).unwrap(), 0);
        let dir = scratch();
        std::os::unix::fs::symlink("/dev/ptmx", dir.path().join("ptmx")).unwrap();
        assert_eq!(step.open(dir.fd()).unwrap_err().to_string(), "open a pty in a container: there is no devpts");
    }

    #[test]
    fn the_callers_own_pty_has_a_size() {
        let pair = open().unwrap();
        let size = WindowSize { rows: 50, columns: 132, ..WindowSize::default() };
        size.set(&pair.master).unwrap();
        assert_eq!(WindowSize::of(&pair.slave).unwrap(), size);
        let stat = rustix::fs::fstat(&pair.slave).unwrap();
        assert_eq!(std::fs::metadata(format!("/dev/pts/{}", number(&pair.master).unwrap())).unwrap().rdev(), stat.st_rdev);
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(WindowSize::of(&null).unwrap_err().to_string(), "window size: ioctl TIOCGWINSZ: Inappropriate ioctl for device");
        assert!(number(&null).is_err() && peer(&null).is_err());
    }
}
