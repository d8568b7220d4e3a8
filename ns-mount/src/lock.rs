//! Read-only and hidden paths, as a table.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]
#![allow(clippy::disallowed_types, reason = "the table is made and dropped in the parent")]

use crate::api::RUN_HOST;
use crate::error::Error;
use crate::flags::MountFlags;
use crate::path::InRoot;
use crate::proc::PROC;
use crate::root::ROOT;
use crate::sysfs::SYS;
use crate::tree::{attach, bind_of, is_directory, set_flags, with};
use ns_core::{Child, ChildFd, Errno, Fault, Slot, Step, Wires};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// Below /run/host: what is put over the boot id, and over kmsg.
pub(crate) const BOOT_ID_NAME: &str = ".boot-id";
pub(crate) const KMSG_NAME: &str = ".kmsg";

/// Paths that are made read-only, hidden or replaced, in their order. Needs [`ROOT`], and /run/host ([`run_host`](crate::run_host)) for
/// what hides.
///
/// The default tables are no paths of the tree's: they are resolved from the mounts at /proc ([`PROC`]), /sys ([`SYS`]) and /run/host
/// ([`RUN_HOST`]), so that whoever can rename directories in the tree meanwhile, and mounts with them, leads no row elsewhere.
///
/// Made outside the payload's user namespace, and copied by its `unshare(CLONE_NEWNS)`, the rows are locked: container root can't unmount
/// or remount them, nor mount a proc without them. Without a user namespace it can, if it has CAP_SYS_ADMIN.
///
/// ```
/// use ns_mount::Lock;
/// let lock = Lock::new().read_only("/proc/sys")?.writable("/proc/sys/net")?.hidden("/proc/kcore")?.optional();
/// assert_eq!(lock.to_string(), "lock ro /proc/sys, rw /proc/sys/net, hide /proc/kcore");
/// # Ok::<(), ns_mount::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lock {
    /// The mount that all rows are in, directly below the tree's root; without one the tree's root.
    within: Option<Slot>,
    rows: Vec<Row>,
    reg: InRoot,
    dir: InRoot,
}

#[derive(Clone, Debug)]
struct Row {
    path: InRoot,
    what: What,
    optional: bool,
}

#[derive(Clone, Debug)]
enum What {
    /// With `later`, the flag is set when the writable rows below have been bound.
    ReadOnly {
        later: bool,
    },
    Hidden,
    Writable,
    Replaced(InRoot),
}

#[allow(clippy::disallowed_methods, reason = "runs in the parent")]
impl Default for Lock {
    fn default() -> Lock {
        let fixed = InRoot::fixed;
        Lock { within: None, rows: Vec::new(), reg: fixed("/run/host/inaccessible/reg"), dir: fixed("/run/host/inaccessible/dir") }
    }
}

#[allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
impl Lock {
    /// An empty table.
    pub fn new() -> Lock {
        Lock::default()
    }

    fn within(slot: Slot) -> Lock {
        Lock { within: Some(slot), ..Lock::default() }
    }

    /// /proc: `sys bus fs irq config.gz` read-only, `sys/net` writable if the network is the payload's own; hidden what tells of the host
    /// (`kcore keys kallsyms sysrq-trigger timer_list latency_stats sched_debug interrupts mtrr acpi asound scsi`); the boot id one of the
    /// container's own; kmsg an empty fifo. Rows but `sys` are skipped where the kernel lacks the file.
    pub fn default_proc(private_network: bool) -> Lock {
        let mut lock = Lock::within(PROC).row(InRoot::fixed("/proc/sys"), What::ReadOnly { later: false });
        if private_network {
            lock = lock.row(InRoot::fixed("/proc/sys/net"), What::Writable);
        }
        for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/config.gz"] {
            lock = lock.row(InRoot::fixed(path), What::ReadOnly { later: false }).optional();
        }
        let hidden = [
            "/proc/kcore",
            "/proc/keys",
            "/proc/kallsyms",
            "/proc/sysrq-trigger",
            "/proc/timer_list",
            "/proc/latency_stats",
            "/proc/sched_debug",
            "/proc/interrupts",
            "/proc/mtrr",
            "/proc/acpi",
            "/proc/asound",
            "/proc/scsi",
        ];
        for path in hidden {
            lock = lock.row(InRoot::fixed(path), What::Hidden).optional();
        }
        lock.row(InRoot::fixed("/proc/sys/kernel/random/boot_id"), What::Replaced(InRoot::fixed("/run/host/.boot-id")))
            .row(InRoot::fixed("/proc/kmsg"), What::Replaced(InRoot::fixed("/run/host/.kmsg")))
            .optional()
    }

    /// /sys: hidden where they exist `firmware kernel/security kernel/debug kernel/tracing kernel/config kernel/btf
    /// devices/virtual/powercap` and each processor's `thermal_throttle` (the processors that this machine has now are looked up). Comes
    /// after [`Sysfs`](crate::Sysfs).
    pub fn default_sys() -> Lock {
        let fixed = ["/sys/firmware", "/sys/kernel/security", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/kernel/config"];
        let more = ["/sys/kernel/btf", "/sys/devices/virtual/powercap"];
        let lock =
            fixed.into_iter().chain(more).fold(Lock::within(SYS), |lock, path| lock.row(InRoot::fixed(path), What::Hidden).optional());
        throttled().into_iter().fold(lock, |lock, path| lock.row(path, What::Hidden).optional())
    }

    /// The mount at this path, or what is there, becomes read-only, with what is mounted below.
    pub fn read_only(self, path: impl AsRef<Path>) -> Result<Lock, Error> {
        Ok(self.row(InRoot::new(path)?, What::ReadOnly { later: false }))
    }

    /// A file is covered by one of mode 000, a directory by an empty one.
    pub fn hidden(self, path: impl AsRef<Path>) -> Result<Lock, Error> {
        Ok(self.row(InRoot::new(path)?, What::Hidden))
    }

    /// Stays writable below a row that is read-only and comes before it.
    pub fn writable(self, path: impl AsRef<Path>) -> Result<Lock, Error> {
        Ok(self.row(InRoot::new(path)?, What::Writable))
    }

    /// A file is covered by another of the tree, read-only; meant for one in /run/host.
    pub fn replaced(self, path: impl AsRef<Path>, source: impl AsRef<Path>) -> Result<Lock, Error> {
        Ok(self.row(InRoot::new(path)?, What::Replaced(InRoot::new(source)?)))
    }

    /// The last row is skipped where its path is missing inside.
    #[must_use]
    pub fn optional(mut self) -> Lock {
        if let Some(row) = self.rows.last_mut() {
            row.optional = true;
        }
        self
    }

    fn row(mut self, path: InRoot, what: What) -> Lock {
        if matches!(what, What::Writable) {
            for row in &mut self.rows {
                if let What::ReadOnly { later } = &mut row.what {
                    *later |= row.path.is_above(&path);
                }
            }
        }
        self.rows.push(Row { path, what, optional: false });
        self
    }
}

/// The processors' directories of this name, of which a kernel has at most some thousands.
#[allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
fn throttled() -> Vec<InRoot> {
    let base = Path::new("/sys/devices/system/cpu");
    let names = std::fs::read_dir(base).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let processors = names.filter(|name| name.as_encoded_bytes().strip_prefix(b"cpu").is_some_and(|n| n.iter().all(u8::is_ascii_digit)));
    let paths = processors.map(|name| base.join(name).join("thermal_throttle")).filter(|path| path.is_dir());
    let mut paths: Vec<_> = paths.take(8_192).filter_map(|path| InRoot::new(path).ok()).collect();
    paths.sort_by(|a, b| a.whole().cmp(b.whole()));
    paths
}

impl Lock {
    /// Locks all rows below `root`, by their paths from there. In the child, or anywhere.
    pub fn apply(&self, root: BorrowedFd<'_>) -> Result<(), Fault> {
        let root = Start { mount: root, parts: 0 };
        self.lock(root, root)
    }

    /// The same for a default table, by the mount that its rows are in and that at /run/host, wherever they are.
    pub fn apply_in(&self, mount: BorrowedFd<'_>, run_host: BorrowedFd<'_>) -> Result<(), Fault> {
        self.lock(Start { mount, parts: 1 }, Start { mount: run_host, parts: 2 })
    }

    fn lock(&self, base: Start<'_>, covers: Start<'_>) -> Result<(), Fault> {
        for (number, row) in (0..).zip(&self.rows) {
            self.apply_row(row, base, covers).map_err(|fault| fault.at_row(number))?;
        }
        for (number, row) in (0..).zip(&self.rows) {
            row.finish(base).map_err(|fault| fault.at_row(number))?;
        }
        Ok(())
    }

    fn apply_row(&self, row: &Row, base: Start<'_>, covers: Start<'_>) -> Result<(), Fault> {
        match base.open(&row.path) {
            Ok(onto) => with(onto, |onto| with(self.cover(row, onto, covers)?, |cover| attach(cover, onto))),
            Err(fault) if row.optional && fault.errno == Errno::ENOENT => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// The mount that covers the row's path.
    fn cover(&self, row: &Row, onto: BorrowedFd<'_>, covers: Start<'_>) -> Result<ChildFd, Fault> {
        match &row.what {
            What::ReadOnly { later: false } => bind_of(onto, c"", MountFlags::RDONLY),
            What::ReadOnly { later: true } | What::Writable => bind_of(onto, c"", MountFlags::empty()),
            What::Hidden => dead_bind(if is_directory(onto)? { &self.dir } else { &self.reg }, covers),
            What::Replaced(source) => dead_bind(source, covers),
        }
    }
}

/// Where paths are resolved from: what is mounted at the first parts of each.
#[derive(Clone, Copy)]
struct Start<'a> {
    mount: BorrowedFd<'a>,
    parts: usize,
}

impl Start<'_> {
    fn open(self, path: &InRoot) -> Result<ChildFd, Fault> {
        path.open_in(self.mount, self.parts)
    }
}

/// A bind of another path, resolved like every path in the tree.
fn dead_bind(source: &InRoot, covers: Start<'_>) -> Result<ChildFd, Fault> {
    let opened = covers.open(source).map_err(|fault| match fault.errno {
        Errno::ENOENT => fault.saying(b"what covers it is missing in /run/host"),
        _ => fault,
    })?;
    with(opened, |source| bind_of(source, c"", MountFlags::DEAD))
}

impl Row {
    /// What was bound on itself is now on top of its path, and the writable rows on top of that.
    fn finish(&self, base: Start<'_>) -> Result<(), Fault> {
        match self.what {
            What::ReadOnly { later: true } => match base.open(&self.path) {
                Ok(mount) => with(mount, |mount| set_flags(mount, MountFlags::RDONLY)),
                Err(fault) if self.optional && fault.errno == Errno::ENOENT => Ok(()),
                Err(fault) => Err(fault),
            },
            _ => Ok(()),
        }
    }
}

// SAFETY: system calls on the table, the stack and a slot.
unsafe impl Step for Lock {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        match self.within {
            Some(mount) => self.apply_in(child.fd(mount)?, child.fd(RUN_HOST)?),
            None => self.apply(child.fd(ROOT)?),
        }
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(ROOT);
        if let Some(mount) = self.within {
            wires.uses(mount).uses(RUN_HOST);
        }
    }

    fn row(&self, row: u32) -> Option<&dyn fmt::Display> {
        self.rows.get(row as usize).map(|row| row as &dyn fmt::Display)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::ReadOnly { .. } => f.write_fmt(format_args!("ro {}", self.path)),
            What::Hidden => f.write_fmt(format_args!("hide {}", self.path)),
            What::Writable => f.write_fmt(format_args!("rw {}", self.path)),
            What::Replaced(source) => f.write_fmt(format_args!("{source} over {}", self.path)),
        }
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lock ")?;
        self.rows.iter().enumerate().try_for_each(|(n, row)| f.write_fmt(format_args!("{}{row}", if n == 0 { "" } else { ", " })))
    }
}
