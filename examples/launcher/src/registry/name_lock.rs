//! The lock of a machine's name: one machine at a time, and nothing of it is made or removed without.

use std::os::fd::BorrowedFd;

use ns_core::Errno;

use super::Places;
use super::lock::{self, Attempt, LockFile, Mode};
use super::owner::{Claim, Owner, claim};
use crate::settings::MachineName;
use crate::{Error, Kind};

/// A machine's name that is ours alone. The keeper gets its descriptor too: it is held until the payload is gone.
#[derive(Debug)]
pub struct NameLock {
    file: LockFile,
    name: MachineName,
}

impl NameLock {
    /// Takes it at once or says who has it. One that was left behind says who had it until [`NameLock::settle`].
    ///
    /// # Errors
    /// [`Kind::Busy`] (`EBUSY`): one line with the holder's pid. Anything else: the lock's directory or file can't be made.
    pub fn take(places: &Places, owner: &Owner) -> Result<NameLock, Error> {
        let name = owner.machine.clone();
        match claim(&places.tree_locks()?.join(lock::of_name(&name)), Mode::Exclusive, owner)? {
            Claim::Held(file) => Ok(NameLock { file, name }),
            Claim::Busy(holder) => Err(busy(&name, holder)),
        }
    }

    /// Takes it to clean up; `None`: somebody has it, so that there is nothing to clean up.
    pub(super) fn take_to_collect(places: &Places, name: &MachineName) -> Result<Option<NameLock>, Error> {
        match LockFile::take(places.tree_locks()?.join(lock::of_name(name)), Mode::Exclusive)? {
            Attempt::Busy(_) => Ok(None),
            Attempt::Held(file) => {
                file.describe(std::str::from_utf8(Owner::COLLECTOR).unwrap_or_default())?;
                Ok(Some(NameLock { file, name: name.clone() }))
            }
        }
    }

    /// Says who has it, once nothing is left of whoever had it before.
    ///
    /// # Errors
    /// It can't be written.
    pub fn settle(&mut self, owner: &Owner) -> Result<(), Error> {
        self.file.settle(&owner.line(Mode::Exclusive), Mode::Exclusive)
    }

    /// Lets go though something is left of the machine: the file says so, as it did.
    pub fn abandon(self) {
        let found = self.file.found().to_vec();
        self.file.abandon(&found);
    }

    /// Whose it is.
    pub fn name(&self) -> &MachineName {
        &self.name
    }

    /// Whether somebody had it and ended without giving it back, so that more may be left of his machine.
    pub fn was_left_behind(&self) -> bool {
        !self.file.found().is_empty()
    }

    /// What the keeper has to inherit.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.fd()
    }

    /// Lets go, when nothing of the machine is left.
    ///
    /// # Errors
    /// A keeper still holds it, so that the name stays taken and the file stays.
    pub fn release(self) -> Result<(), Error> {
        match self.file.release() {
            true => Ok(()),
            false => Err(Error::new(Kind::Busy, "The machine's name is still held by the container's keeper").with_errno(Errno::EBUSY)),
        }
    }
}

fn busy(name: &MachineName, holder: Option<Owner>) -> Error {
    let text = match holder {
        Some(Owner { machine, pid }) => format!("Machine '{name}' already exists: container {machine}, pid {pid}."),
        None => format!("Machine '{name}' is busy: what was left of it is being removed."),
    };
    Error::new(Kind::Busy, text).with_errno(Errno::EBUSY)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn owner(name: &str) -> Owner {
        Owner { machine: MachineName::new(name).unwrap(), pid: std::process::id() }
    }

    #[test]
    fn one_machine_of_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::below(dir.path());
        let first = NameLock::take(&places, &owner("box")).unwrap();
        assert!(!first.was_left_behind());
        let began = Instant::now();
        let e = NameLock::take(&places, &owner("box")).unwrap_err();
        assert!(began.elapsed() < Duration::from_millis(50));
        assert_eq!(e.to_string(), format!("Machine 'box' already exists: container box, pid {}.", std::process::id()));
        assert_eq!((e.kind(), e.errno()), (Kind::Busy, Some(Errno::EBUSY)));
        assert!(NameLock::take_to_collect(&places, first.name()).unwrap().is_none());
        let other = NameLock::take(&places, &owner("box2")).unwrap();
        drop((first, other));
        assert_eq!(places.run.join("locks").read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_start_waits_for_a_collector_and_knows_of_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::below(dir.path());
        let name = owner("box").machine;
        let collector = NameLock::take_to_collect(&places, &name).unwrap().unwrap();
        let e = NameLock::take(&places, &owner("box")).unwrap_err().to_string();
        assert_eq!(e, "Machine 'box' is busy: what was left of it is being removed.");
        let release = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(10));
            collector.release().unwrap();
        });
        assert!(!NameLock::take(&places, &owner("box")).unwrap().was_left_behind());
        release.join().unwrap();
        std::fs::write(places.run.join("locks/name-box"), "2147483647 box\n").unwrap();
        assert!(NameLock::take(&places, &owner("box")).unwrap().was_left_behind());
    }
}
