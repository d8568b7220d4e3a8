//! What machines left that are gone, removed: under the lock of the machine's name, so that no start is in the way of it or it of a start.
//!
//! A crash leaves at most: the record, lock files that nobody holds, the cgroup, and for a while the host's end of a link. Each belongs to
//! a machine by its name, and what is another tool's, or a running machine's, doesn't: the name is held then, its cgroup is locked, and
//! its links bear another note.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use ns_cgroup::{ErrorKind, Hierarchy, Machine, Name};
use ns_core::Errno;
use ns_net::{Link, Socket};

use super::lock::{self, Attempt, LockFile, Mode};
use super::machines::names;
use super::owner::{Owner, PAUSE, TRIES};
use super::{Machines, NameLock, Places, Record, RecordFile};
use crate::guest::Tree;
use crate::settings::MachineName;
use crate::{Error, Kind, escape::Escaped};

/// What was killed is gone by then, unless it is stuck in the kernel.
const EMPTY: Duration = Duration::from_secs(10);
/// `IFALIASZ` without the end.
const LONGEST_NOTE: usize = 255;

/// What was removed, and what could not be.
#[derive(Debug, Default)]
pub struct Collected {
    /// In words, each with what it is: "cgroup of box".
    pub removed: Vec<String>,
    /// Each says what stays and why.
    pub kept: Vec<Error>,
    /// Of these something stays.
    staying: BTreeSet<MachineName>,
}

impl Collected {
    fn note<T>(&mut self, what: impl fmt::Display, done: Result<Option<T>, Error>) {
        match done {
            Ok(Some(_)) => self.removed.push(what.to_string()),
            Ok(None) => {}
            Err(e) => self.kept.push(e),
        }
    }

    /// The first thing that is still in use.
    ///
    /// # Errors
    /// That.
    pub fn all_free(mut self) -> Result<(), Error> {
        match self.kept.iter().position(|e| e.kind() == Kind::Busy) {
            Some(n) => Err(self.kept.swap_remove(n)),
            None => Ok(()),
        }
    }
}

/// Removes what all machines left that are gone.
///
/// # Errors
/// The directories of state can't be read; what could not be removed is told in the result.
pub fn gc(places: &Places) -> Result<Collected, Error> {
    let machines = Machines::at(places.clone());
    let mut all = machines.recorded()?;
    all.extend(machines.places().records_if_present()?.map_or_else(|| Ok(BTreeSet::new()), |records| names(&records, of_temporary))?);
    let mut collected = Collected::default();
    // Who was never here has no such directory.
    let locks = places.run.join("locks");
    all.extend(if locks.is_dir() { names(&locks, lock::name_of)? } else { BTreeSet::new() });
    all.extend(of_cgroups());
    all.extend(of_links(places));
    for name in &all {
        collect_into(places, name, &mut collected);
    }
    tree_locks(places, &locks, &mut collected);
    Ok(collected)
}

/// Removes what the machine of this name left, unless it runs.
pub fn collect(places: &Places, name: &MachineName) -> Collected {
    let mut collected = Collected::default();
    collect_into(places, name, &mut collected);
    collected
}

fn collect_into(places: &Places, name: &MachineName, into: &mut Collected) {
    match NameLock::take_to_collect(places, name) {
        Ok(None) => {}
        Err(e) => into.kept.push(e),
        Ok(Some(lock)) => {
            let left_behind = lock.was_left_behind();
            let before = into.kept.len();
            collect_held(places, &lock, into);
            if into.kept.len() > before {
                into.staying.insert(name.clone());
                // Else nothing would say that it is to be looked after. Of one that was not left behind, nobody knows whether it runs.
                return if left_behind { lock.abandon() } else { drop(lock) };
            }
            match lock.release() {
                Ok(()) if left_behind => into.removed.push(format!("lock of name {name}")),
                Ok(()) => {}
                Err(e) => into.kept.push(e),
            }
        }
    }
}

/// Sees to it that nothing runs of who left a lock: before it is anybody else's.
///
/// # Errors
/// [`Kind::Busy`]: something does, or somebody else is still looking.
pub fn see_to(places: &Places, left: &Owner) -> Result<(), Error> {
    let path = places.tree_locks()?.join(lock::of_name(&left.machine));
    for _ in 0..TRIES {
        collect(places, &left.machine).all_free()?;
        match LockFile::held_by(&path) {
            None => return Ok(()),
            // Another machine of this name, which says so only when it has seen to what was left.
            Some(content) if Owner::last_of(&content).is_some_and(|holder| holder != *left) => return Ok(()),
            Some(_) => sleep(PAUSE),
        }
    }
    Err(Error::new(Kind::Busy, format!("Machine '{}' is busy: what was left of it is being removed.", left.machine))
        .with_errno(Errno::EBUSY))
}

/// The same for who holds the name.
pub fn collect_held(places: &Places, lock: &NameLock, into: &mut Collected) {
    let name = lock.name();
    let file = match places.records() {
        Ok(records) => RecordFile::below(&records, name),
        Err(e) => return into.kept.push(e),
    };
    // A damaged one says nothing of locks, which the next start takes over, nor of links, which bear its name.
    let record = file.read().ok().flatten();
    if !lock.was_left_behind() && record.as_ref().is_some_and(|record| !record.is_over()) {
        let text = format!("Machine '{name}' runs, though nobody holds its name: the lock file was removed");
        return into.kept.push(Error::new(Kind::Busy, text));
    }
    let cleared = cgroup(name).and_then(|cleared| ended(record.as_ref()).map(|()| cleared));
    // What is still in it uses the rest, and has to be found.
    let stuck = cleared.is_err();
    into.note(format_args!("cgroup of {name}"), cleared);
    if stuck {
        return;
    }
    links(places, name, into);
    record.iter().for_each(|record| systemd_locks(places, record, into));
    into.note(format_args!("record of {name}"), file.remove().map(|there| there.then_some(())));
}

/// Waits for keeper and payload, which the kernel ends once their locks are free, or a moment before: there may be no cgroup.
fn ended(record: Option<&Record>) -> Result<(), Error> {
    let Some(record) = record.filter(|record| !record.is_over()) else { return Ok(()) };
    for id in [record.leader, record.keeper].into_iter().flatten() {
        if id.open()?.is_some_and(|process| !process.ended_within(EMPTY)) {
            return Err(Error::new(Kind::Busy, format!("Machine '{}': process {} was killed and does not end", record.name, id.pid)));
        }
    }
    Ok(())
}

/// Without cgroup v2 there is none.
fn cgroup(name: &MachineName) -> Result<Option<()>, Error> {
    let Ok(hierarchy) = Hierarchy::find() else { return Ok(None) };
    match Name::new(name.as_str()).and_then(|name| Machine::clear(&hierarchy, &name, EMPTY)) {
        Ok(cleared) => Ok(cleared.then_some(())),
        // Somebody holds it, and not by a name of ours: a machine with its state elsewhere.
        Err(e) if e.errno().is_some_and(|errno| errno.raw_os_error() == Errno::EAGAIN.raw_os_error()) => Ok(None),
        Err(e) if e.kind() == ErrorKind::Busy => Err(Error::new(Kind::Busy, e.to_string())),
        // Who has no cgroup of his own has left none.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::host(e)),
    }
}

fn of_cgroups() -> BTreeSet<MachineName> {
    let found = Hierarchy::find().and_then(|hierarchy| Machine::list(&hierarchy)).unwrap_or_default();
    found.iter().filter_map(|name| MachineName::new(name.as_str()).ok()).collect()
}

/// What a link of this machine's is noted with: other tools give the same names and addresses, and other state has other machines.
/// `None`: it would be too long.
pub fn note_of_link(places: &Places, name: &MachineName) -> Option<String> {
    Some(format!("{}{name}", note(places))).filter(|note| note.len() <= LONGEST_NOTE)
}

fn note(places: &Places) -> String {
    format!("nskit {} ", places.run.as_os_str().as_encoded_bytes().escape_ascii())
}

/// A host whose links can't be listed has none of ours.
fn all_links() -> Vec<Link> {
    Socket::open().and_then(|mut socket| Link::list(&mut socket)).unwrap_or_default()
}

fn of_links(places: &Places) -> BTreeSet<MachineName> {
    let ours = note(places);
    let note = |link: &Link| MachineName::new(link.alias.as_deref()?.strip_prefix(&ours)?).ok();
    all_links().iter().filter_map(note).collect()
}

fn links(places: &Places, name: &MachineName, into: &mut Collected) {
    let Some(ours) = note_of_link(places, name) else { return };
    for link in all_links().into_iter().filter(|link| link.alias.as_ref() == Some(&ours)) {
        let deleted = Socket::open().and_then(|mut socket| Link::delete(&mut socket, &link));
        into.note(
            format_args!("link {} of {name}", link.name),
            match deleted {
                Err(e) if e.kind() == ns_net::Kind::NotFound => Ok(None),
                deleted => deleted.map(Some).map_err(Error::host),
            },
        );
    }
}

/// Files of systemd's locks of the tree and the ids, where nobody has them: it has others of its own, which are left alone.
fn systemd_locks(places: &Places, record: &Record, into: &mut Collected) {
    let inode = places.systemd.join("nspawn/locks").join(format!("inode-{}", record.tree));
    let ids = record.ids.iter().flat_map(|row| super::ids::blocks(row.outside, row.count).take(super::ids::MAX_BLOCKS));
    let ids = ids.map(|block| places.systemd.join("nspawn-uid").join(block.to_string()));
    for path in [inode].into_iter().chain(ids) {
        unheld(path, into);
    }
    if let Some(beside) = Tree::open(&record.root).ok().filter(|tree| tree.id() == record.tree) {
        into.note(format_args!("lock beside {}", Escaped::path(&record.root)), super::tree_lock::clear_beside(&beside));
    }
}

/// Of trees, for all machines: whose they were doesn't matter if nobody has them.
fn tree_locks(places: &Places, locks: &std::path::Path, into: &mut Collected) {
    let files = locks.read_dir().into_iter().flatten().flatten().map(|entry| entry.file_name());
    for file in files.filter(|file| file.as_encoded_bytes().starts_with(b"inode-")) {
        match LockFile::take(locks.join(&file), Mode::Exclusive) {
            Ok(Attempt::Busy(_)) => {}
            // The next start has to know who had the tree.
            Ok(Attempt::Held(lock)) if is_needed(places, &file, &lock, into) => lock.abandon(&[]),
            Ok(Attempt::Held(lock)) => {
                unheld(places.systemd.join("nspawn/locks").join(&file), into);
                let what = format!("lock {}", Escaped::path(&locks.join(&file)));
                into.note(what, Ok(lock.release().then_some(())));
            }
            Err(e) => into.kept.push(e),
        }
    }
}

/// Something is left of a machine that has had this tree. Asked under its lock: whoever had it before has a record, if anything.
fn is_needed(places: &Places, file: &std::ffi::OsStr, lock: &LockFile, collected: &Collected) -> bool {
    let is_staying = Owner::all_in(lock.found()).any(|owner| collected.staying.contains(&owner.machine));
    let records = places.records_if_present().ok().flatten();
    let names = records.as_ref().and_then(|records| names(records, |file| file.strip_suffix(".json")).ok()).unwrap_or_default();
    let mut read = names.iter().filter_map(|name| RecordFile::below(records.as_ref()?, name).read().ok().flatten());
    is_staying || read.any(|record| file == format!("inode-{}", record.tree).as_str())
}

/// Removes a lock file that is there, and that nobody holds.
fn unheld(path: PathBuf, into: &mut Collected) {
    if !path.exists() {
        return;
    }
    let what = format!("lock {}", Escaped::path(&path));
    let taken = LockFile::take(path, Mode::Exclusive);
    into.note(what, taken.map(|attempt| if let Attempt::Held(lock) = attempt { lock.release().then_some(()) } else { None }));
}

/// What a launcher that was killed while it wrote left beside the record.
fn of_temporary(file: &str) -> Option<&str> {
    file.strip_prefix('.')?.strip_suffix(".json")
}

#[cfg(test)]
#[path = "collect_tests.rs"]
mod tests;
