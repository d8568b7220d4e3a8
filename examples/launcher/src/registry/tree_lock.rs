//! The lock of a tree: one container at a time.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::thread::sleep;
use std::time::Duration;

use ns_core::Errno;

use super::Places;
use super::lock::{Attempt, LockFile};
use crate::guest::Tree;
use crate::settings::MachineName;
use crate::{Error, Kind, escape::Escaped};

/// Who takes a lock, told to those who come too late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The machine's name.
    pub machine: MachineName,
    /// The launcher's process.
    pub pid: u32,
}

/// A tree that is ours alone, by its inode: not under another path or through a bind mount either, nor with systemd-nspawn.
///
/// It is held until every copy of its descriptors is closed: the keeper gets [`TreeLock::fds`]. Dropped, it lets go of ours, and
/// removes the files where no keeper has one.
#[derive(Debug)]
pub struct TreeLock {
    ours: LockFile,
    /// `None` where systemd-nspawn could not take it either: its directory can't be made.
    systemd: Option<LockFile>,
}

/// How often a lock is tried again whose holder hasn't written its name yet, which takes it microseconds.
const UNNAMED: u32 = 20;
const PAUSE: Duration = Duration::from_millis(1);

impl TreeLock {
    /// Takes it at once or says who has it.
    ///
    /// # Errors
    /// [`Kind::Busy`] (`EBUSY`): one line with the holder's name and pid. Anything else: the lock's directory or file can't be made.
    pub fn take(places: &Places, tree: &Tree, owner: &Owner) -> Result<TreeLock, Error> {
        let name = format!("inode-{}", tree.id());
        let ours = match patient(|| LockFile::take(places.tree_locks()?.join(&name)))? {
            Attempt::Held(lock) => lock,
            Attempt::Busy(content) => return Err(busy(tree, Owner::parse(&content))),
        };
        ours.describe(&owner.to_string())?;
        let systemd = match places.systemd_tree_locks() {
            Ok(directory) => Some(LockFile::take(directory.join(&name))?),
            Err(e) if matches!(e.errno(), Some(Errno::EACCES | Errno::EPERM | Errno::EROFS)) => None,
            Err(e) => return Err(e),
        };
        match systemd {
            Some(Attempt::Busy(_)) => Err(busy(tree, None).hint("systemd-nspawn holds it")),
            Some(Attempt::Held(lock)) => Ok(TreeLock { ours, systemd: Some(lock) }),
            None => Ok(TreeLock { ours, systemd: None }),
        }
    }

    /// What the keeper has to inherit.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [self.ours.fd(), self.systemd.as_ref().and_then(LockFile::fd)].into_iter().flatten()
    }

    /// Lets go, when the payload has ended and its keeper with it.
    ///
    /// # Errors
    /// A keeper still holds it, so that the tree stays locked and the file stays.
    pub fn release(self) -> Result<(), Error> {
        let all = self.systemd.is_none_or(LockFile::release);
        match self.ours.release() && all {
            true => Ok(()),
            false => Err(Error::new(Kind::Busy, "The tree's lock is still held by the container's keeper").with_errno(Errno::EBUSY)),
        }
    }
}

fn patient(attempt: impl Fn() -> Result<Attempt, Error>) -> Result<Attempt, Error> {
    for _ in 0..UNNAMED {
        match attempt()? {
            Attempt::Busy(content) if content.is_empty() => sleep(PAUSE),
            done => return Ok(done),
        }
    }
    attempt()
}

fn busy(tree: &Tree, owner: Option<Owner>) -> Error {
    let path = Escaped::path(tree.path());
    let text = match owner {
        Some(Owner { machine, pid }) => format!("Directory tree {path} is currently busy: container {machine}, pid {pid}."),
        None => format!("Directory tree {path} is currently busy."),
    };
    Error::new(Kind::Busy, text).with_errno(Errno::EBUSY)
}

impl Owner {
    /// What a lock file holds: the pid, a space, the name.
    pub(super) fn parse(content: &[u8]) -> Option<Owner> {
        let (pid, machine) = std::str::from_utf8(content).ok()?.strip_suffix('\n')?.split_once(' ')?;
        Some(Owner { machine: MachineName::new(machine).ok()?, pid: pid.parse().ok()? })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.pid, self.machine)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::create_dir;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::Instant;

    use tempfile::TempDir;

    use super::*;

    fn set_up() -> (TempDir, Places) {
        let dir = tempfile::tempdir().unwrap();
        create_dir(dir.path().join("tree")).unwrap();
        let places = Places::below(dir.path());
        (dir, places)
    }

    fn owner(name: &str) -> Owner {
        Owner { machine: MachineName::new(name).unwrap(), pid: 77 }
    }

    fn files(places: &Places) -> usize {
        let count = |path: &Path| path.read_dir().map_or(0, Iterator::count);
        count(&places.run.join("locks")) + count(&places.systemd.join("nspawn/locks"))
    }

    #[test]
    fn the_second_is_told_of_the_first_at_once_by_any_path() {
        let (dir, places) = set_up();
        let tree = Tree::open(&dir.path().join("tree")).unwrap();
        let lock = TreeLock::take(&places, &tree, &owner("box")).unwrap();
        symlink("tree", dir.path().join("other")).unwrap();
        let other = Tree::open(&dir.path().join("other")).unwrap();
        let started = Instant::now();
        let e = TreeLock::take(&places, &other, &owner("late")).unwrap_err();
        assert!(started.elapsed() < Duration::from_millis(100));
        let shown = dir.path().join("other");
        assert_eq!(e.to_string(), format!("Directory tree {} is currently busy: container box, pid 77.", shown.display()));
        assert_eq!((e.kind(), e.errno()), (Kind::Busy, Some(Errno::EBUSY)));
        assert_eq!(files(&places), 2);
        lock.release().unwrap();
        assert_eq!(files(&places), 0);
        drop(TreeLock::take(&places, &other, &owner("late")).unwrap());
        assert_eq!(files(&places), 0);
    }

    #[test]
    fn systemd_nspawn_and_we_keep_each_other_out() {
        let (dir, places) = set_up();
        let tree = Tree::open(&dir.path().join("tree")).unwrap();
        let theirs = places.systemd_tree_locks().unwrap().join(format!("inode-{}:{}", tree.id().dev, tree.id().ino));
        let Attempt::Held(lock) = LockFile::take(theirs.clone()).unwrap() else { panic!("held by nobody") };
        let e = TreeLock::take(&places, &tree, &owner("box")).unwrap_err().to_string();
        assert!(e.ends_with(" is currently busy.; systemd-nspawn holds it"), "{e}");
        drop(lock);
        let ours = TreeLock::take(&places, &tree, &owner("box")).unwrap();
        assert!(matches!(LockFile::take(theirs).unwrap(), Attempt::Busy(_)));
        assert_eq!(ours.fds().count(), 2);
    }

    #[test]
    fn a_keeper_holds_it_after_us() {
        let (dir, places) = set_up();
        let tree = Tree::open(&dir.path().join("tree")).unwrap();
        let lock = TreeLock::take(&places, &tree, &owner("box")).unwrap();
        let keeper: Vec<_> = lock.fds().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
        assert_eq!(lock.release().unwrap_err().kind(), Kind::Busy);
        let e = TreeLock::take(&places, &tree, &owner("late")).unwrap_err().to_string();
        assert!(e.contains("container box, pid 77"), "{e}");
        drop(keeper);
        TreeLock::take(&places, &tree, &owner("late")).unwrap().release().unwrap();
        assert_eq!(files(&places), 0);
    }

    #[test]
    fn a_file_of_nonsense_names_nobody() {
        for content in [&b""[..], b"77", b"77 box", b"x box\n", b"-1 box\n", b"77 b\x1bx\n", b"77 box\nmore\n", b"\xff"] {
            assert_eq!(Owner::parse(content), None, "{}", content.escape_ascii());
        }
        assert_eq!(Owner::parse(b"77 box\n"), Some(owner("box")));
    }

    #[test]
    fn a_run_that_cannot_be_written_names_the_path() {
        let (dir, _) = set_up();
        let tree = Tree::open(&dir.path().join("tree")).unwrap();
        let e = TreeLock::take(&Places::below("/proc".as_ref()), &tree, &owner("box")).unwrap_err().to_string();
        assert!(e.starts_with("make directory /proc/nskit for locks: mkdir: "), "{e}");
    }
}
