//! The machine's record, kept up with what happens to it.

use super::cgroup::MachineCgroup;
use super::network::Wiring;
use crate::Error;
use crate::guest::{Init, MachineId, Tree};
use crate::registry::{BootId, IdRange, IdRow, Links, NetworkKind, Places, ProcessId, Protections, Record, RecordFile, Since, State};
use crate::settings::{NetworkNamespace, Payload, PrivateUsers, Settings};
use ns_core::PidFd;
use std::cell::RefCell;
use std::time::Duration;

/// What was found out of a container and made for it, as others are told.
pub(super) struct Found<'a> {
    pub settings: &'a Settings,
    pub tree: &'a Tree,
    pub machine_id: MachineId,
    pub ids: Option<&'a IdRange>,
    pub cgroup: Option<&'a MachineCgroup>,
    pub wiring: Option<&'a Wiring>,
    pub init: Option<Init>,
    pub protections: Protections,
}

impl Found<'_> {
    fn record(self) -> Result<Record, Error> {
        let settings = self.settings;
        let identity = (settings.users == PrivateUsers::Identity).then_some(IdRow { inside: 0, outside: 0, count: 65536 });
        let range = self.ids.map(|ids| IdRow { inside: 0, outside: ids.start(), count: ids.count() });
        let is_host = matches!(settings.network.namespace, NetworkNamespace::Host);
        Ok(Record {
            name: settings.machine.clone(),
            boot_id: BootId::current()?,
            state: State::Opening,
            class: "container".to_owned(),
            service: "ns-spawn".to_owned(),
            root: self.tree.real_path().unwrap_or_else(|| self.tree.path().to_owned()),
            tree: self.tree.id(),
            machine_id: self.machine_id,
            supervisor: ProcessId::of_self()?,
            keeper: None,
            leader: None,
            since: Since::now(),
            cgroup: self.cgroup.map(|cgroup| cgroup.path().to_owned()),
            boot: matches!(settings.payload, Payload::Boot(_)),
            user_namespace: settings.users != PrivateUsers::No,
            ids: identity.or(range).into_iter().collect(),
            network: Links {
                kind: if is_host { NetworkKind::Host } else { NetworkKind::Private },
                interfaces: self.wiring.map_or_else(|| Ok(Vec::new()), Wiring::host_ends)?,
            },
            protections: self.protections,
            init: self.init.map(|init| init.kind),
            halt_signal: self.init.and_then(|init| init.power_off),
            reboot_signal: self.init.and_then(|init| init.reboot),
            stop_timeout: settings.stop_timeout.map(|limit| limit.min(Duration::from_secs(u32::MAX.into()))),
        })
    }
}

/// What others find the machine by. Written at most thrice in a start and an end, since a start is meant to be fast.
#[derive(Debug)]
pub(super) struct Recorded {
    file: RecordFile,
    record: RefCell<Record>,
}

impl Recorded {
    /// Not written yet.
    ///
    /// # Errors
    /// The directory of records can't be made.
    pub fn new(places: &Places, found: Found<'_>) -> Result<Recorded, Error> {
        let record = found.record()?;
        Ok(Recorded { file: RecordFile::new(places, &record.name)?, record: RefCell::new(record) })
    }

    /// Before the payload runs, at each boot.
    ///
    /// # Errors
    /// It can't be written: a machine that nobody could find is not started.
    pub fn opening(&self, keeper: Option<&PidFd>) -> Result<(), Error> {
        let keeper = keeper.map(ProcessId::of).transpose()?.flatten();
        self.write(|record| (record.state, record.keeper, record.leader) = (State::Opening, keeper, None))
    }

    /// As soon as it runs.
    ///
    /// # Errors
    /// It can't be written: the machine is found by the record before, which says that it is being made.
    pub fn running(&self, payload: Option<&PidFd>) -> Result<(), Error> {
        let leader = payload.map(ProcessId::of).transpose()?.flatten();
        self.write(|record| (record.state, record.leader) = (State::Running, leader))
    }

    /// When it was asked to stop.
    ///
    /// # Errors
    /// It can't be written: the record before says that it runs.
    pub fn closing(&self) -> Result<(), Error> {
        let state = self.record.borrow().state;
        if state == State::Closing { Ok(()) } else { self.write(|record| record.state = State::Closing) }
    }

    fn write(&self, change: impl FnOnce(&mut Record)) -> Result<(), Error> {
        // What can't be written once isn't tried again and again.
        change(&mut self.record.borrow_mut());
        self.file.write(&self.record.borrow())
    }

    /// When nothing of the machine is left but its locks. A record that was never written is no error.
    ///
    /// # Errors
    /// It can't be removed. Nobody takes it for a machine: its processes have ended.
    pub fn remove(self) -> Result<(), Error> {
        self.file.remove().map(drop)
    }

    /// Whether a process of it lives, but for us.
    pub fn lives(&self) -> bool {
        let record = self.record.borrow();
        [record.keeper, record.leader].into_iter().flatten().any(ProcessId::lives)
    }
}
