//! What a container has for itself while it runs: its tree, its name, its range of ids.

use crate::registry::{self, IdRange, Mode, NameLock, Owner, Places, TreeLock};
use crate::settings::{PrivateUsers, Settings};
use crate::{Error, Kind, guest::Tree};
use std::os::fd::BorrowedFd;

/// The locks, which the keeper holds too.
#[derive(Debug)]
pub(super) struct Locks {
    tree: TreeLock,
    name: NameLock,
    pub ids: Option<IdRange>,
}

impl Locks {
    /// Takes all of them, and removes what somebody left who was killed with them: before anything is made.
    ///
    /// # Errors
    /// Another container has one; or a process of the one before is still in the kernel.
    pub fn take(places: &Places, settings: &Settings, tree: &Tree) -> Result<Locks, Error> {
        let owner = Owner { machine: settings.machine.clone(), pid: std::process::id() };
        // A read-only container shares its tree with others.
        let mode = if settings.read_only { Mode::Shared } else { Mode::Exclusive };
        let mut name = None;
        // When launcher and keeper are killed in one moment, the kernel lets go of their locks before it has ended the payload.
        let tree = TreeLock::take(places, tree, &owner, mode, |left| {
            name = Some(own_name(places, &owner)?);
            left.iter().filter(|left| left.machine != owner.machine).try_for_each(|left| registry::see_to(places, left))
        })?;
        let name = name.ok_or_else(|| Error::new(Kind::Host, "the machine's name was not taken"))?;
        let ids = range(settings, places)?;
        Ok(Locks { tree, name, ids })
    }

    /// What the keeper has to inherit.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.tree.fds().chain(self.name.fd()).chain(self.ids.iter().flat_map(IdRange::fds))
    }

    /// Lets go of them while something of the machine is left: who comes next finds that out from them.
    pub fn abandon(self) {
        self.tree.abandon();
        self.name.abandon();
    }

    /// Lets go of them, the name last, when nothing is left of the machine.
    ///
    /// # Errors
    /// The keeper still holds one.
    pub fn release(self) -> Result<(), Error> {
        drop(self.ids);
        let released = self.tree.release();
        released.and(self.name.release())
    }
}

fn own_name(places: &Places, owner: &Owner) -> Result<NameLock, Error> {
    let mut name = NameLock::take(places, owner)?;
    if name.was_left_behind() {
        let mut collected = registry::Collected::default();
        registry::collect_held(places, &name, &mut collected);
        collected.all_free()?;
        name.settle(owner)?;
    }
    Ok(name)
}

fn range(settings: &Settings, places: &Places) -> Result<Option<IdRange>, Error> {
    match settings.users {
        PrivateUsers::Pick => IdRange::pick(places, &settings.machine).map(Some),
        PrivateUsers::Range { start, len } => IdRange::at(places, start, len).map(Some),
        PrivateUsers::No | PrivateUsers::Identity => Ok(None),
    }
}
