//! The machine's cgroup: made once, delegated afresh at each boot, guarded by the device program.

use crate::Error;
use ns_cgroup::{Cgroup, DeviceRules, ErrorKind, Hierarchy, Limit, Limits, Machine, Name};
use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

/// As many tasks as systemd's template gives a container.
const PIDS_MAX: u64 = 16_384;
/// We hold the tree's lock, and nobody the machine's: what is still in it lost its launcher and keeper in one moment.
/// What was killed is gone by then, unless it is stuck in the kernel.
const EMPTY: Duration = Duration::from_secs(10);

/// The cgroup of a machine; without a cgroup2 hierarchy there is none.
#[derive(Debug)]
pub(super) struct MachineCgroup {
    machine: Machine,
    guarded: Cell<bool>,
}

/// What was made, and what people should know of it.
pub(super) struct Made {
    pub cgroup: Option<MachineCgroup>,
    pub notice: Option<String>,
}

impl MachineCgroup {
    /// Makes it. Nothing of a container's own may run in it before [`MachineCgroup::guard`].
    ///
    /// # Errors
    /// It can't be made, and is needed.
    pub fn make(name: &str, private_users: bool, boot: bool) -> Result<Made, Error> {
        match Hierarchy::find().and_then(|hierarchy| Machine::create_emptied(&hierarchy, &Name::new(name)?, EMPTY)) {
            Ok(machine) => Ok(Made { cgroup: Some(MachineCgroup { machine, guarded: Cell::new(false) }), notice: None }),
            Err(e) if boot || !private_users || !is_absent(&e) => Err(Error::host(e)),
            Err(e) => Ok(Made { cgroup: None, notice: Some(format!("No cgroup: {e}")) }),
        }
    }

    /// Attaches the device program and sets the limits, at the first boot; they stay over reboots. Says what couldn't be had.
    ///
    /// # Errors
    /// A container without a user namespace is not started without the program: mknod(2) would be the host's.
    pub fn guard(&self, private_users: bool) -> Result<Vec<String>, Error> {
        let mut notices = Vec::new();
        if self.guarded.get() {
            return Ok(notices);
        }
        match DeviceRules::container().compile().attach(self.machine.cgroup()) {
            Ok(()) => {}
            Err(e) if private_users && takes_no_program(&e) => notices.push(format!("No device program: {e}")),
            Err(e) if private_users => return Err(Error::host(e)),
            Err(e) => return Err(Error::host(e).hint("without a user namespace the device program is what keeps the host's devices away")),
        }
        let limits = Limits::new().or_default(Limit::pids_max(PIDS_MAX));
        match limits.apply(self.machine.cgroup()) {
            Ok(applied) if applied.missing().is_empty() => {}
            Ok(_) => notices.push(format!("No limit of {PIDS_MAX} tasks: the pids controller is not available in cgroup v2 here.")),
            Err(e) if matches!(e.kind(), ErrorKind::NotPermitted | ErrorKind::ReadOnly) => {
                notices.push(format!("No limit of {PIDS_MAX} tasks: {e}"))
            }
            Err(e) => return Err(Error::host(e)),
        }
        self.guarded.set(true);
        Ok(notices)
    }

    /// `payload/`, empty and the container's own.
    pub fn payload(&self, root: (u32, u32)) -> Result<Cgroup, Error> {
        self.machine.payload(root.0, root.1).map_err(Error::host)
    }

    /// As the hierarchy has it.
    pub fn cgroup(&self) -> &Cgroup {
        self.machine.cgroup()
    }

    /// What runs in it, or has ended and is not waited for. A list that can't be read is empty: it only serves to say more.
    pub fn processes(&self) -> Vec<u32> {
        self.machine.cgroup().procs_below().unwrap_or_default()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.machine.cgroup().path()
    }

    /// How often the kernel ended something in it for want of memory.
    pub fn oom_kills(&self) -> u64 {
        self.machine.cgroup().oom_kills().ok().flatten().unwrap_or(0)
    }

    /// Ends what is left in it, and removes it.
    pub fn remove(self) -> Result<(), Error> {
        // Where that failed and something is left, it can't be removed either; the first error is the one to tell.
        let killed = self.machine.kill(EMPTY).map_err(Error::host);
        let removed = self.machine.remove().map_err(Error::host);
        killed.and(removed)
    }
}

/// There is no hierarchy here that could be had, as in many containers. Any other failure says nothing of that: not that the name is taken,
/// nor that the kernel had no room.
fn is_absent(e: &ns_cgroup::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotMounted | ErrorKind::ReadOnly) || e.errno() == Some(ns_cgroup::Errno::EACCES)
}

/// The kernel has no such programs, or an outer container lets none be loaded. With ids of its own a container has the host's devices'
/// owners against it as well.
fn takes_no_program(e: &ns_cgroup::Error) -> bool {
    use ns_cgroup::Errno;
    e.errno().is_some_and(|errno| [Errno::EPERM, Errno::EACCES, Errno::ENOSYS, Errno::EINVAL].contains(&errno))
}
