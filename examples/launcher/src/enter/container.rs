//! The machine that is entered, as its record says; opened once.

use std::path::Path;

use ns_cgroup::{Hierarchy, Joined};
use ns_core::credentials::CapSet;
use ns_core::{Kind as NsKind, Namespaces, PidFd};
use rustix::fs::fstat;

use crate::guest::Tree;
use crate::registry::{NetworkKind, Record, State};
use crate::{Error, Kind};

/// A running machine.
pub(super) struct Container<'a> {
    pub record: &'a Record,
    /// Its process 1.
    pub leader: PidFd,
    /// What a process that enters it finds at `/`.
    pub root: Tree,
}

impl<'a> Container<'a> {
    pub fn open(record: &'a Record) -> Result<Container<'a>, Error> {
        let name = &record.name;
        let leader = match (record.current_state(), record.leader) {
            (State::Running, Some(leader)) => leader.open()?,
            (State::Opening, _) => return Err(Error::new(Kind::Busy, format!("Machine {name} is still being started"))),
            _ => None,
        };
        let leader = leader.ok_or_else(|| ended(record))?;
        check_user_namespace(record, &leader)?;
        check_rights(record)?;
        let root = Tree::of_namespace(&leader, Path::new("")).map_err(|e| if leader.has_ended() { ended(record) } else { e })?;
        Ok(Container { record, leader, root })
    }

    /// The namespaces that it doesn't share with the host.
    pub fn namespaces(&self) -> Namespaces {
        let own = Namespaces::MOUNT | Namespaces::PID | Namespaces::IPC | Namespaces::UTS | Namespaces::CGROUP;
        let user = if self.record.user_namespace { Namespaces::USER } else { Namespaces::empty() };
        let network = if self.record.network.kind == NetworkKind::Private { Namespaces::NET } else { Namespaces::empty() };
        own | user | network
    }

    /// A user's id as the host numbers it.
    pub fn outside(&self, id: u32) -> Option<u32> {
        if !self.record.user_namespace {
            return Some(id);
        }
        let row = self.record.ids.iter().find(|row| id >= row.inside && id - row.inside < row.count)?;
        row.outside.checked_add(id - row.inside)
    }

    /// A cgroup beside the payload's, under the machine's limits and device program; `None` for a machine that has none.
    pub fn join(&self) -> Result<Option<Joined>, Error> {
        let Some(path) = &self.record.cgroup else { return Ok(None) };
        let failed = |e| if self.leader.has_ended() { ended(self.record) } else { Error::host(e) };
        let machine = Hierarchy::find().and_then(|hierarchy| hierarchy.cgroup(path)).map_err(failed)?;
        if machine.is_frozen().map_err(failed)? {
            // Who is born in it would never get to its program.
            return Err(Error::new(Kind::Busy, format!("Machine {} is frozen", self.record.name)).hint("thaw it first"));
        }
        Joined::create_in(&machine).map(Some).map_err(failed)
    }

    pub fn error(&self, e: Error) -> Error {
        if self.leader.has_ended() { ended(self.record) } else { e }
    }
}

fn ended(record: &Record) -> Error {
    Error::new(Kind::Host, format!("Machine {} has ended", record.name))
}

/// The record of a user namespace that isn't there would make the program the host's root.
fn check_user_namespace(record: &Record, leader: &PidFd) -> Result<(), Error> {
    let of = |process: &PidFd| -> Result<(u64, u64), Error> {
        let found = process.namespace(NsKind::User).map_err(Error::host)?;
        let stat = fstat(&found).map_err(|e| Error::call(Kind::Host, "look at a user namespace: fstat", e))?;
        Ok((stat.st_dev, stat.st_ino))
    };
    if record.user_namespace && of(leader)? == of(&PidFd::of_self().map_err(Error::host)?)? {
        let what = "its record says that it has a user namespace, and its process 1 is in ours";
        return Err(Error::new(Kind::Host, format!("Machine {} can't be entered: {what}", record.name)));
    }
    Ok(())
}

/// In a user namespace of its own every capability is there; else it has to be ours.
fn check_rights(record: &Record) -> Result<(), Error> {
    let refused = |why: String| Err(Error::new(Kind::Host, format!("Machine {} can't be entered: {why}", record.name)));
    let missing = match record.user_namespace {
        true => CapSet::EMPTY,
        false => record.protections.capabilities - CapSet::own_bounding().map_err(Error::host)?,
    };
    if !missing.is_empty() {
        return refused(format!("its programs have capabilities that aren't to be had here: {missing}"));
    }
    match record.protections.filter.as_deref() {
        None | Some("os") => Ok(()),
        Some(other) => refused(format!("its filter '{}' is none of ours", crate::escape::Escaped::text(other))),
    }
}
