//! All running machines.

use std::collections::BTreeSet;
use std::path::Path;

use ns_core::Errno;

use super::lock::{self, LockFile};
use super::owner::Owner;
use super::record_file::RecordFile;
use super::{Places, Record};
use crate::settings::MachineName;
use crate::{Error, Kind, escape::Escaped};

/// The running machines of this host, or of an ordinary user: read from their records, changed by nobody but their launchers.
///
/// A machine runs if its record says so and one of its processes lives, or if somebody holds its name. What a crash left of others is
/// not listed.
#[derive(Clone, Debug)]
pub struct Machines {
    places: Places,
}

/// A machine that runs, or may.
#[derive(Clone, Debug)]
pub enum Machine {
    /// What is known of it.
    Known(Box<Record>),
    /// Its record is missing or can't be understood.
    Damaged {
        /// The machine's name, which its record's file or its lock has.
        name: MachineName,
        /// What is wrong, in a line that is safe to print.
        why: String,
        /// The launcher that says it holds the machine's name: just a number, not to be sent anything.
        pid: Option<u32>,
    },
}

impl Machine {
    /// Its name.
    pub fn name(&self) -> &MachineName {
        match self {
            Machine::Known(record) => &record.name,
            Machine::Damaged { name, .. } => name,
        }
    }
}

impl Machines {
    /// Those of [`Places::of_host`].
    ///
    /// # Errors
    /// As there.
    pub fn of_host() -> Result<Machines, Error> {
        Places::of_host().map(Machines::at)
    }

    /// Those that keep their state there.
    pub fn at(places: Places) -> Machines {
        Machines { places }
    }

    /// Where their state is.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// The directory of records can't be read, or others may write to it.
    pub fn list(&self) -> Result<Vec<Machine>, Error> {
        let mut names = self.recorded()?;
        names.extend(self.locked());
        names.iter().filter_map(|name| self.get(name).transpose()).collect()
    }

    /// The machine of this name; `None`: none runs.
    ///
    /// # Errors
    /// As [`Machines::list`].
    pub fn get(&self, name: &MachineName) -> Result<Option<Machine>, Error> {
        let Some(directory) = self.places.records_if_present()? else { return Ok(self.without_record(name)) };
        let found = RecordFile::below(&directory, name).read();
        Ok(match found {
            Ok(Some(record)) if !record.is_over() => Some(Machine::Known(Box::new(record))),
            Ok(_) => self.without_record(name),
            Err(e) => Some(Machine::Damaged { name: name.clone(), why: e.to_string(), pid: self.holder(name).flatten() }),
        })
    }

    /// One that has its name and no record but an earlier one's: its launcher is about to write it, or somebody has removed it.
    fn without_record(&self, name: &MachineName) -> Option<Machine> {
        let pid = self.holder(name)?;
        Some(Machine::Damaged { name: name.clone(), why: "it has no record, or none yet".to_owned(), pid })
    }

    /// Who holds its name: `None`: nobody, or we may not know; `Some(None)`: somebody.
    fn holder(&self, name: &MachineName) -> Option<Option<u32>> {
        let path = self.places.run.join("locks").join(lock::of_name(name));
        let content = LockFile::held_by(&path)?;
        // A collector is no machine.
        (content != Owner::COLLECTOR).then(|| Owner::last_of(&content).map(|owner| owner.pid))
    }

    pub(super) fn recorded(&self) -> Result<BTreeSet<MachineName>, Error> {
        let Some(directory) = self.places.records_if_present()? else { return Ok(BTreeSet::new()) };
        names(&directory, |file| file.strip_suffix(".json"))
    }

    /// An ordinary user may not look into root's directory of locks, and has to do with the records.
    fn locked(&self) -> BTreeSet<MachineName> {
        names(&self.places.run.join("locks"), lock::name_of).unwrap_or_default()
    }
}

/// The machines that a directory's files are named after.
pub(super) fn names(directory: &Path, name: impl Fn(&str) -> Option<&str>) -> Result<BTreeSet<MachineName>, Error> {
    let failed = |e: &std::io::Error| {
        let errno = Errno::new(e.raw_os_error().unwrap_or_default());
        Error::call(Kind::Host, format!("list {}: readdir", Escaped::path(directory)), errno)
    };
    let mut found = BTreeSet::new();
    for entry in directory.read_dir().map_err(|e| failed(&e))? {
        let file = entry.map_err(|e| failed(&e))?.file_name();
        found.extend(file.to_str().and_then(&name).and_then(|name| MachineName::new(name).ok()));
    }
    Ok(found)
}

#[cfg(test)]
#[path = "machines_tests.rs"]
mod tests;
