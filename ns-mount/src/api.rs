//! The table of file systems of ours: /dev, /dev/shm, /run, /tmp, /run/host, with systemd-nspawn's sizes.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::path::InRoot;
use crate::root::ROOT;
use crate::tmpfs::Tmpfs;
use crate::tmpfs::What::{self, Char, Dir, Fifo, File, Link, Socket, Uuid};
use crate::tree::set_flags;
use crate::{MountFlags, lock};
use ns_core::{Child, Fault, Slot, Step, Wires};
use std::ffi::CStr;
use std::fmt;
use std::os::fd::BorrowedFd;

/// The mount at /run/host; filled by the step of [`run_host`].
pub const RUN_HOST: Slot = Slot::new("/run/host");

#[allow(clippy::disallowed_methods, reason = "runs in the parent")]
fn link(target: &'static CStr) -> What {
    Link(target.to_owned())
}

/// /dev without a console, for a payload whose standard streams are pipes: a tmpfs (`nosuid noexec`, 4 MiB, 65,536 inodes) with null, zero,
/// full, random, urandom and tty (0666), the links ptmx, fd, stdin, stdout, stderr and core, and the directories pts, shm and mqueue.
pub fn dev_without_console() -> Tmpfs {
    let node = |name, major, minor| (name, 0o666, Char(major, minor));
    let dir = |name| (name, 0o755, Dir);
    let tmpfs = Tmpfs::on(InRoot::fixed("/dev")).nosuid().noexec().strictatime().mode(0o755).inodes(65_536).bytes("4m");
    tmpfs.fixed([
        node("null", 1, 3),
        node("zero", 1, 5),
        node("full", 1, 7),
        node("random", 1, 8),
        node("urandom", 1, 9),
        node("tty", 5, 0),
        ("ptmx", 0, link(c"pts/ptmx")),
        ("fd", 0, link(c"/proc/self/fd")),
        ("stdin", 0, link(c"/proc/self/fd/0")),
        ("stdout", 0, link(c"/proc/self/fd/1")),
        ("stderr", 0, link(c"/proc/self/fd/2")),
        ("core", 0, link(c"/proc/kcore")),
        dir("pts"),
        dir("shm"),
        dir("mqueue"),
    ])
}

/// /dev as [`dev_without_console`] has it, and a link from console to pts/0, the first pty that is opened in the container's own devpts.
pub fn dev() -> Tmpfs {
    dev_without_console().fixed([("console", 0, link(c"pts/0"))])
}

/// /dev/shm: `nosuid nodev`, mode 1777, a tenth of the memory, 409,600 inodes.
pub fn dev_shm() -> Tmpfs {
    Tmpfs::on(InRoot::fixed("/dev/shm")).nosuid().nodev().strictatime().mode(0o1777).inodes(409_600).bytes("10%")
}

/// /tmp: `nosuid nodev`, mode 1777, a tenth of the memory, 409,600 inodes.
pub fn tmp() -> Tmpfs {
    Tmpfs::on(InRoot::fixed("/tmp")).nosuid().nodev().strictatime().mode(0o1777).inodes(409_600).bytes("10%")
}

/// /run: `nosuid nodev`, mode 755, a fifth of the memory, 819,200 inodes, with the directory host.
pub fn run() -> Tmpfs {
    let tmpfs = Tmpfs::on(InRoot::fixed("/run")).nosuid().nodev().strictatime().mode(0o755).inodes(819_200).bytes("20%");
    tmpfs.fixed([("host", 0o755, Dir)])
}

/// /run/host: a small tmpfs of its own (`nosuid nodev noexec`), with inaccessible/{reg,dir,fifo,sock,chr,blk} of mode 000 (systemd's
/// sandboxed units need all six once the directory exists; chr and blk are of device 0:0, and missing where no node can be made), and the
/// two files that [`Lock::default_proc`](crate::Lock::default_proc) puts over the boot id and kmsg. Keeps its mount in [`RUN_HOST`].
///
/// Add what else the guest is told (`os-release`, `container-manager`, `container-uuid`) as rows; end with [`SealRunHost`].
#[allow(clippy::disallowed_types, reason = "runs in the parent")]
pub fn run_host() -> Tmpfs {
    let tmpfs = Tmpfs::on(InRoot::fixed("/run/host")).nosuid().nodev().noexec().mode(0o755).inodes(1_024).bytes("4m").filled(RUN_HOST);
    tmpfs
        .fixed([
            ("inaccessible", 0o755, Dir),
            ("inaccessible/reg", 0, File(Box::default())),
            ("inaccessible/dir", 0, Dir),
            ("inaccessible/fifo", 0, Fifo),
            ("inaccessible/sock", 0, Socket),
            (lock::BOOT_ID_NAME, 0o444, Uuid),
            (lock::KMSG_NAME, 0o600, Fifo),
            ("inaccessible/chr", 0, Char(0, 0)),
        ])
        .optional()
        .fixed([("inaccessible/blk", 0, What::Block(0, 0))])
        .optional()
}

/// Ends what [`run_host`] began: makes /run/host read-only. Comes after all that writes into [`RUN_HOST`].
///
/// The files that [`Lock::default_proc`](crate::Lock::default_proc) has bound elsewhere stay where they are: over a file that is unlinked
/// nothing can be mounted (`ENOENT`), which is what a guest's systemd does for its sandboxed units.
#[derive(Clone, Copy, Debug)]
pub struct SealRunHost;

impl SealRunHost {
    /// Does it, to the mount.
    pub fn apply(&self, run_host: BorrowedFd<'_>) -> Result<(), Fault> {
        set_flags(run_host, MountFlags::RDONLY)
    }
}

// SAFETY: system calls on constants and a slot.
unsafe impl Step for SealRunHost {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        self.apply(child.fd(RUN_HOST)?)
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(ROOT).uses(RUN_HOST);
    }
}

impl fmt::Display for SealRunHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/run/host: read-only")
    }
}
