//! The machine's cgroup: made once, delegated afresh at each boot, guarded by the device program.

use crate::Error;
use ns_cgroup::{Cgroup, DeviceRules, ErrorKind, Hierarchy, Limit, Limits, Machine, Name};
use std::time::Duration;

/// As many tasks as systemd's template gives a container.
const PIDS_MAX: u64 = 16_384;
/// We hold the tree's lock, and nobody the machine's: what is still in it lost its launcher and keeper in one moment.
/// What was killed is gone by then, unless it is stuck in the kernel.
const EMPTY: Duration = Duration::from_secs(10);

/// The cgroup of a machine; without a cgroup2 hierarchy there is none.
#[derive(Debug)]
pub(super) struct MachineCgroup(Machine);

/// What was made, and what people should know of it.
pub(super) struct Made {
    pub cgroup: Option<MachineCgroup>,
    pub notices: Vec<String>,
}

impl MachineCgroup {
    /// Makes it, and attaches the device program.
    ///
    /// # Errors
    /// A container without a user namespace is not started without the program: mknod(2) would be the host's.
    pub fn make(name: &str, private_users: bool, boot: bool) -> Result<Made, Error> {
        let machine = match Hierarchy::find().and_then(|hierarchy| Machine::create_emptied(&hierarchy, &Name::new(name)?, EMPTY)) {
            Ok(machine) => machine,
            // A name that is taken is no want of rights: going on without would be one of two in one cgroup, unlimited.
            Err(e) if boot || !private_users || e.kind() == ErrorKind::Busy => return Err(Error::host(e)),
            Err(e) => return Ok(Made { cgroup: None, notices: vec![format!("No cgroup: {e}")] }),
        };
        let mut notices = Vec::new();
        if let Err(e) = DeviceRules::container().compile().attach(machine.cgroup()) {
            if !private_users {
                let _ = machine.remove();
                return Err(Error::host(e).hint("without a user namespace the device program is what keeps the host's devices away"));
            }
            notices.push(format!("No device program: {e}"));
        }
        let limits = Limits::new().or_default(Limit::pids_max(PIDS_MAX));
        match limits.apply(machine.cgroup()) {
            Ok(applied) if applied.missing().is_empty() => {}
            Ok(_) => notices.push(format!("No limit of {PIDS_MAX} tasks: the pids controller is not available in cgroup v2 here.")),
            Err(e) => notices.push(e.to_string()),
        }
        Ok(Made { cgroup: Some(MachineCgroup(machine)), notices })
    }

    /// `payload/`, empty and the container's own.
    pub fn payload(&self, root: (u32, u32)) -> Result<Cgroup, Error> {
        self.0.payload(root.0, root.1).map_err(Error::host)
    }

    /// Lets a payload that somebody has frozen hear a signal. One that can't be thawed doesn't hear it, and is killed at the limit.
    pub fn thaw(&self) {
        let _ = self.0.cgroup().thaw();
    }

    /// How often the kernel ended something in it for want of memory.
    pub fn oom_kills(&self) -> u64 {
        self.0.cgroup().oom_kills().ok().flatten().unwrap_or(0)
    }

    /// Ends what is left in it, and removes it.
    pub fn remove(self) -> Result<(), Error> {
        self.0.kill(EMPTY).map_err(Error::host)?;
        self.0.remove().map_err(Error::host)
    }
}
