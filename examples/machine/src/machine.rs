//! Machines by name, and what of one is asked for over and over.

use std::path::{Path, PathBuf};

use ns_cgroup::{Cgroup, Hierarchy};
use ns_core::PidFd;
use nskit_launcher::escape::Escaped;
use nskit_launcher::guest::{OsRelease, Tree};
use nskit_launcher::registry::{Machine, Machines, ProcessId, Record};
use nskit_launcher::settings::MachineName;
use nskit_launcher::{Error, Kind};

/// The machine of this name.
///
/// # Errors
/// None runs, or its record can't be understood.
pub fn find(name: &MachineName) -> Result<Record, Error> {
    match Machines::of_host()?.get(name)? {
        Some(Machine::Known(record)) => Ok(*record),
        Some(Machine::Damaged { why, pid, .. }) => Err(damaged(name, &why, pid)),
        None => Err(unknown(name)),
    }
}

pub(crate) fn unknown(name: &MachineName) -> Error {
    Error::new(Kind::Usage, format!("Machine '{name}' is not known")).hint("ns-machine list shows those that run")
}

/// What is known of a machine without a readable record.
pub(crate) fn damaged(name: &MachineName, why: &str, pid: Option<u32>) -> Error {
    let error = Error::new(Kind::Damaged, format!("Machine '{name}' can't be looked at: {why}"));
    match pid {
        Some(pid) => error.hint(format!("it belongs to process {pid}; ns-machine terminate {name} ends it")),
        None => error.hint("nobody holds its name; ns-machine gc removes what is left of it"),
    }
}

/// A process of a machine, held so that it can't be mistaken for another.
///
/// # Errors
/// It has ended, or there is none so far; `what` is what the machine calls it.
pub fn process(record: &Record, what: &str, id: Option<ProcessId>) -> Result<PidFd, Error> {
    let none = || Error::new(Kind::Host, format!("Machine '{}' has no {what}: it is {}", record.name, record.current_state()));
    id.ok_or_else(none)?.open()?.ok_or_else(none)
}

/// What a process calls itself; empty where it has ended.
pub fn comm(id: ProcessId) -> String {
    let text = std::fs::read_to_string(format!("/proc/{}/comm", id.pid)).unwrap_or_default();
    // Only while it lives was the file its own.
    if id.lives() { Escaped::text(text.trim_end_matches('\n')).to_string() } else { String::new() }
}

/// The machine's cgroup; `None` where it has none.
pub fn cgroup(record: &Record) -> Option<Cgroup> {
    let path = record.cgroup.as_deref()?;
    Hierarchy::find().and_then(|hierarchy| hierarchy.cgroup(path)).ok()
}

/// The same to act on: certainly not one that was made since the record was read.
///
/// # Errors
/// The machine has ended since, and another of its name may have been started.
pub fn own_cgroup(record: &Record) -> Result<Option<Cgroup>, Error> {
    let cgroup = cgroup(record);
    // A record goes after its cgroup and before its name: while this one is there, what was opened before is no other machine's.
    match find(&record.name)? {
        now if now.supervisor == record.supervisor => Ok(cgroup),
        _ => Err(replaced(record)),
    }
}

/// It was looked at twice, and was another.
pub(crate) fn replaced(record: &Record) -> Error {
    Error::new(Kind::Host, format!("Machine '{}' has ended, and another of its name was started", record.name))
}

/// The same by the path that it has in the hierarchy, as `nskit/NAME`: what comes closest to a unit.
pub fn unit(record: &Record) -> Option<PathBuf> {
    let path = record.cgroup.as_deref()?;
    let below = Hierarchy::find().ok().and_then(|hierarchy| path.strip_prefix(hierarchy.root().path()).ok().map(Path::to_owned));
    Some(below.unwrap_or_else(|| path.to_owned()))
}

/// What the machine's operating system says of itself: in its first process's root or, where something else is there, in its tree.
pub fn os_release(record: &Record) -> Option<OsRelease> {
    let leader = record.leader.and_then(|leader| leader.open().ok().flatten());
    let root = leader.and_then(|leader| Tree::of_process(&leader, record.tree.dev, &record.root).ok());
    let inside = root.and_then(|root| root.os_release().ok().flatten());
    inside.or_else(|| {
        let tree = Tree::open(&record.root).ok().filter(|tree| tree.id() == record.tree)?;
        tree.os_release().ok().flatten()
    })
}

/// What a library says of the host is the line.
pub(crate) fn failed(e: impl std::fmt::Display) -> Error {
    Error::new(Kind::Host, e.to_string())
}
