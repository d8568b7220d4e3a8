//! The lock of a tree: one container at a time, or any number that only read it.

use std::ffi::OsString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread::sleep;

use ns_core::Errno;
use rustix::fs::{AtFlags, Mode as FileMode, OFlags, fstat, openat, statat};
use rustix::process::geteuid;

use super::Places;
use super::lock::{Attempt, LockFile, Mode, Place};
use super::owner::{Claim, Owner, PAUSE, TRIES, claim, claim_unnamed};
use crate::guest::{FileId, Tree};
use crate::{Error, Kind, escape::Escaped};

/// A tree that is ours, alone or with others who read it, by its inode: not under another path or through a bind mount either, nor with
/// systemd-nspawn, whose two lock files are taken too.
///
/// It is held until every copy of its descriptors is closed: the keeper gets [`TreeLock::fds`]. Dropped, it lets go of ours, and
/// removes the files where no keeper has one.
#[derive(Debug)]
pub struct TreeLock {
    ours: LockFile,
    /// `/run/systemd/nspawn/locks/inode-DEV:INO`; none where systemd-nspawn could not take it either: its directory can't be made.
    systemd: Option<LockFile>,
    /// `.#NAME.lck` beside the tree; none where nothing can be made there.
    beside: Option<LockFile>,
}

impl TreeLock {
    /// Takes it at once or says who has it.
    ///
    /// `see_to` gets those who had the tree for themselves and ended without giving it back: what runs of them is on its way out, or stuck
    /// in the kernel. Until it succeeds, the lock's file says what it said, however we end; and nothing is touched where the tree is,
    /// which may be a file system whose writers wait.
    ///
    /// # Errors
    /// [`Kind::Busy`] (`EBUSY`): one line with the holder's name and pid. Anything else: the lock's directory or file can't be made. Those
    /// of `see_to`.
    pub fn take(
        places: &Places,
        tree: &Tree,
        owner: &Owner,
        mode: Mode,
        see_to: impl FnOnce(&[Owner]) -> Result<(), Error>,
    ) -> Result<TreeLock, Error> {
        let name = format!("inode-{}", tree.id());
        let mut ours = match claim(&places.tree_locks()?.join(&name), mode, owner)? {
            Claim::Held(lock) => lock,
            Claim::Busy(holder) => return Err(busy(tree, holder)),
        };
        see_to(&Owner::alone_in(ours.found()))?;
        ours.settle(&owner.line(mode), mode)?;
        let theirs = |claim| match claim {
            Claim::Held(lock) => Ok(lock),
            Claim::Busy(_) => Err(busy(tree, None).hint("systemd-nspawn holds it")),
        };
        let systemd = match places.systemd_tree_locks() {
            Ok(directory) => Some(theirs(claim_unnamed(|| LockFile::take(directory.join(&name), mode))?)?),
            Err(e) if matches!(e.errno(), Some(Errno::EACCES | Errno::EPERM | Errno::EROFS)) => None,
            Err(e) => return Err(e),
        };
        let beside = beside(tree, mode)?.map(theirs).transpose()?;
        Ok(TreeLock { ours, systemd, beside })
    }

    /// What the keeper has to inherit.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let theirs = [&self.systemd, &self.beside].into_iter().flatten();
        [&self.ours].into_iter().chain(theirs).filter_map(LockFile::fd)
    }

    /// Lets go though something still uses the tree: our file stays, and names us to whoever comes next. Nothing is touched where the tree
    /// is.
    pub fn abandon(self) {
        [self.beside, self.systemd, Some(self.ours)].into_iter().flatten().for_each(|lock| lock.abandon(&[]));
    }

    /// Lets go, when the payload has ended and its keeper with it.
    ///
    /// # Errors
    /// A keeper or another reader still holds it, so that the tree stays locked and the file stays.
    pub fn release(self) -> Result<(), Error> {
        let shared = self.ours.is_shared();
        let all = [self.beside, self.systemd, Some(self.ours)].into_iter().flatten();
        match all.map(LockFile::release).filter(|free| !free).count() {
            0 => Ok(()),
            _ if shared => Ok(()),
            _ => Err(Error::new(Kind::Busy, "The tree's lock is still held by the container's keeper").with_errno(Errno::EBUSY)),
        }
    }
}

/// systemd's lock for tools that look at one directory: in the directory that has the tree, found through the tree itself, so that no
/// path is followed twice.
///
/// None where we can't or should not write there: another's directory, or one that others may write to. The other two locks do then.
fn beside(tree: &Tree, mode: Mode) -> Result<Option<Claim>, Error> {
    let Some((directory, file)) = place_beside(tree) else { return Ok(None) };
    if mode == Mode::Shared {
        // Readers keep nobody out by making one, whom our other locks don't keep out; and they can read where nobody can write.
        return shared_beside(&directory, &file);
    }
    let claimed = claim_unnamed(|| LockFile::take(Place::in_directory(copy(&directory)?, &file), mode));
    match claimed {
        Err(e) if e.errno().is_some_and(|errno| UNWRITABLE.contains(&errno)) => Ok(None),
        claimed => claimed.map(Some),
    }
}

fn shared_beside(directory: &OwnedFd, file: &OsString) -> Result<Option<Claim>, Error> {
    let there = || LockFile::share_if_present(Place::in_directory(copy(directory)?, file));
    for _ in 0..TRIES {
        match there()? {
            None => return Ok(None),
            Some(Attempt::Held(lock)) => return Ok(Some(Claim::Held(lock))),
            Some(Attempt::Busy(_)) => sleep(PAUSE),
        }
    }
    Ok(Some(Claim::Busy(None)))
}

fn place_beside(tree: &Tree) -> Option<(OwnedFd, OsString)> {
    let directory = openat(tree, c"..", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, FileMode::empty()).ok()?;
    let name = tree.real_path()?.file_name()?.to_owned();
    let is_ours = fstat(&directory).is_ok_and(|stat| stat.st_uid == geteuid().as_raw() && stat.st_mode & 0o022 == 0);
    let found = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW);
    let is_tree = found.is_ok_and(|stat| FileId { dev: stat.st_dev, ino: stat.st_ino } == tree.id());
    let file = [".#".as_ref(), name.as_os_str(), ".lck".as_ref()].into_iter().collect();
    (is_ours && is_tree).then_some((directory, file))
}

fn copy(directory: &OwnedFd) -> Result<OwnedFd, Error> {
    crate::interrupted::again(|| directory.try_clone()).map_err(|e| Error::call(Kind::Host, "lock the tree: fcntl", number(&e)))
}

/// Removes the file beside the tree if it is there and nobody holds it.
pub(super) fn clear_beside(tree: &Tree) -> Result<Option<()>, Error> {
    let Some((directory, file)) = place_beside(tree) else { return Ok(None) };
    if statat(&directory, &file, AtFlags::SYMLINK_NOFOLLOW).is_err() {
        return Ok(None);
    }
    match LockFile::take(Place::in_directory(directory, file), Mode::Exclusive)? {
        Attempt::Held(lock) => Ok(lock.release().then_some(())),
        Attempt::Busy(_) => Ok(None),
    }
}

/// Nothing can be made there.
const UNWRITABLE: [Errno; 6] = [Errno::EROFS, Errno::EACCES, Errno::EPERM, Errno::ENOSPC, Errno::EDQUOT, Errno::ENAMETOOLONG];

fn number(e: &std::io::Error) -> Errno {
    Errno::new(e.raw_os_error().unwrap_or_default())
}

fn busy(tree: &Tree, owner: Option<Owner>) -> Error {
    let path = Escaped::path(tree.path());
    let text = match owner {
        Some(Owner { machine, pid }) => format!("Directory tree {path} is currently busy: container {machine}, pid {pid}."),
        None => format!("Directory tree {path} is currently busy."),
    };
    Error::new(Kind::Busy, text).with_errno(Errno::EBUSY)
}

#[cfg(test)]
#[path = "tree_lock_tests.rs"]
mod tests;
