//! One lock file.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno as Nix;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use ns_core::Errno;
use rustix::fs::{AtFlags, CWD, FileType, OFlags, fstat, ftruncate, openat, unlinkat};
use rustix::io::pwrite;

use crate::interrupted::again;
use crate::settings::MachineName;
use crate::{Error, Kind, escape::Escaped};

/// A lock that is held. Dropped, it lets go, and removes the file unless another process holds the same lock, or it was left behind and
/// is not settled yet.
#[derive(Debug)]
pub(super) struct LockFile {
    /// `None` only while being dropped.
    fd: Option<OwnedFd>,
    place: Place,
    mode: Mode,
    found: Vec<u8>,
    /// The file outlasts us: what it says is all that is known of somebody who had it.
    stays: bool,
}

/// Where a lock file is.
#[derive(Debug)]
pub(super) struct Place {
    /// `None`: the path is absolute.
    directory: Option<OwnedFd>,
    path: PathBuf,
}

/// Who else may have it at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `F_RDLCK`: others who share it.
    Shared,
    /// `F_WRLCK`: nobody.
    Exclusive,
}

/// What became of an attempt.
pub(super) enum Attempt {
    Held(LockFile),
    /// Somebody else has it; the file's content says who.
    Busy(Vec<u8>),
}

/// Each round that is lost means that a holder removed the file between our opening and locking it, having just ended.
const ROUNDS: u32 = 1000;
/// Of one that is shared by thousands.
const CONTENT: u64 = 64 * 1024;

const NAME: &str = "name-";

/// The file for a machine's name.
pub(super) fn of_name(name: &MachineName) -> String {
    format!("{NAME}{name}")
}

/// The other way round.
pub(super) fn name_of(file: &str) -> Option<&str> {
    file.strip_prefix(NAME)
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Place {
        Place { directory: None, path }
    }
}

impl Place {
    /// A file in a directory that is open.
    pub fn in_directory(directory: OwnedFd, name: impl Into<PathBuf>) -> Place {
        Place { directory: Some(directory), path: name.into() }
    }

    fn at(&self) -> BorrowedFd<'_> {
        self.directory.as_ref().map_or(CWD, AsFd::as_fd)
    }

    /// `None` if it isn't there and isn't to be made.
    fn open(&self, create: OFlags) -> Result<Option<OwnedFd>, Error> {
        self.open_for(OFlags::RDWR, create)
    }

    fn open_for(&self, access: OFlags, create: OFlags) -> Result<Option<OwnedFd>, Error> {
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        match again(|| openat(self.at(), &self.path, flags | create, rustix::fs::Mode::from_raw_mode(0o600))) {
            Ok(fd) => Ok(Some(fd)),
            Err(rustix::io::Errno::NOENT) if create.is_empty() => Ok(None),
            Err(errno) => Err(self.failed("open", errno.into())),
        }
    }

    fn remove(&self) -> bool {
        again(|| unlinkat(self.at(), &self.path, AtFlags::empty())).is_ok()
    }

    fn failed(&self, call: &str, errno: Errno) -> Error {
        Error::call(Kind::Host, format!("lock {}: {call}", Escaped::path(&self.path)), errno)
    }
}

impl LockFile {
    /// Whether somebody holds it, and what the file says then: `fcntl(F_OFD_GETLK)`, which takes nothing and disturbs nobody.
    ///
    /// `None`: nobody, or we may not know.
    pub(super) fn held_by(path: &Path) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let fd = again(|| openat(CWD, path, flags, rustix::fs::Mode::empty())).ok()?;
        let mut lock = whole(Mode::Exclusive);
        fcntl(&fd, FcntlArg::F_OFD_GETLK(&mut lock)).ok()?;
        (lock.l_type != libc::F_UNLCK as libc::c_short).then(|| content(&fd))
    }

    /// Makes the file if it is missing, and locks it without waiting.
    pub(super) fn take(place: impl Into<Place>, mode: Mode) -> Result<Attempt, Error> {
        let place = place.into();
        let open = |place: &Place| place.open(OFlags::CREATE);
        LockFile::take_opened(place, mode, open)?.ok_or_else(|| Error::new(Kind::Host, "a lock file that was made isn't there"))
    }

    /// Shares one that is there, and leaves it there; `None`: there is none. Nothing is opened for writing, which would wait, and could not
    /// be interrupted, on a file system that is frozen.
    pub(super) fn share_if_present(place: impl Into<Place>) -> Result<Option<Attempt>, Error> {
        let found = LockFile::take_opened(place.into(), Mode::Shared, |place| place.open_for(OFlags::RDONLY, OFlags::empty()))?;
        Ok(found.map(|attempt| match attempt {
            Attempt::Held(lock) => Attempt::Held(lock.unsettled()),
            busy => busy,
        }))
    }

    fn take_opened(place: Place, mode: Mode, open: impl Fn(&Place) -> Result<Option<OwnedFd>, Error>) -> Result<Option<Attempt>, Error> {
        for _ in 0..ROUNDS {
            let Some(fd) = open(&place)? else { return Ok(None) };
            match lock(&fd, mode) {
                Err(Nix::EAGAIN | Nix::EACCES) => return Ok(Some(Attempt::Busy(content(&fd)))),
                Err(errno) => return Err(undone(fd, place, mode, "fcntl", Errno::new(errno as i32))),
                Ok(()) => {}
            }
            let stat = match again(|| fstat(&fd)) {
                Ok(stat) => stat,
                Err(e) => return Err(undone(fd, place, mode, "fstat", e.into())),
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(Error::new(Kind::Host, format!("lock {}: it is no regular file", Escaped::path(&place.path))));
            }
            if stat.st_nlink > 0 {
                let found = if stat.st_size > 0 { content(&fd) } else { Vec::new() };
                return Ok(Some(Attempt::Held(LockFile { fd: Some(fd), place, mode, found, stays: false })));
            }
        }
        Err(place.failed("fcntl", Errno::EAGAIN))
    }

    pub(super) fn is_shared(&self) -> bool {
        self.mode == Mode::Shared
    }

    /// Of one that was left behind: the file stays, with what it says, until [`LockFile::settle`].
    pub(super) fn unsettled(mut self) -> LockFile {
        self.stays = true;
        self
    }

    /// Nothing is left of those that the file names: it is ours, or shared from now on.
    pub(super) fn settle(&mut self, text: &str, mode: Mode) -> Result<(), Error> {
        if !self.stays {
            return Ok(());
        }
        self.describe(text)?;
        if let (Some(fd), Mode::Shared) = (&self.fd, mode) {
            lock(fd, mode).map_err(|errno| self.place.failed("fcntl", Errno::new(errno as i32)))?;
        }
        (self.stays, self.mode) = (false, mode);
        Ok(())
    }

    /// Lets go, and leaves the file for whoever cleans up, with this text in it if any is given. Nothing is opened or removed.
    pub(super) fn abandon(mut self, text: &[u8]) {
        if let (Some(fd), false) = (&self.fd, text.is_empty()) {
            // What can't be written back was not overwritten either, or is an owner's line that names the same machine.
            let _ = again(|| ftruncate(fd, 0)).and_then(|()| again(|| pwrite(fd, text, 0)));
        }
        self.stays = true;
    }

    /// What the file said when it was locked: who else shares it, or whoever held it and ended without removing it.
    pub(super) fn found(&self) -> &[u8] {
        &self.found
    }

    /// Says in the file who holds it, instead of what it said.
    pub(super) fn describe(&self, text: &str) -> Result<(), Error> {
        let Some(fd) = &self.fd else { return Ok(()) };
        again(|| ftruncate(fd, 0)).map_err(|e| self.place.failed("ftruncate", e.into()))?;
        self.write(text, 0)
    }

    /// Says it after what it said, for one of those who share it.
    pub(super) fn describe_also(&self, text: &str) -> Result<(), Error> {
        let Some(fd) = &self.fd else { return Ok(()) };
        let end = again(|| fstat(fd)).map_err(|e| self.place.failed("fstat", e.into()))?.st_size.unsigned_abs();
        // Nothing but a message depends on names that get lost when thousands have come while one of them was always there.
        if end > CONTENT / 2 { self.describe(text) } else { self.write(text, end) }
    }

    fn write(&self, text: &str, at: u64) -> Result<(), Error> {
        let Some(fd) = &self.fd else { return Ok(()) };
        match again(|| pwrite(fd, text.as_bytes(), at)) {
            Ok(n) if n == text.len() => Ok(()),
            Ok(_) => Err(self.place.failed("write", Errno::ENOSPC)),
            Err(e) => Err(self.place.failed("write", e.into())),
        }
    }

    /// The descriptor that holds the lock, for as long as it or a copy of it is open.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Lets go; false if another process holds the same lock, so that the file had to stay.
    pub(super) fn release(mut self) -> bool {
        self.let_go()
    }

    /// Only a holder may remove the file, else two could hold locks of two files of one name. Whether we were the last holder is known
    /// by closing ours and locking again: then nobody else has it, and by removing it under that lock nobody can be in between.
    fn let_go(&mut self) -> bool {
        if self.fd.take().is_none() || self.stays {
            return true;
        }
        let Ok(Some(fd)) = self.place.open(OFlags::empty()) else { return true };
        match lock(&fd, Mode::Exclusive) {
            Ok(()) => {
                // What can't be removed is taken over by the next start.
                let gone = again(|| fstat(&fd)).is_ok_and(|stat| stat.st_nlink == 0);
                let removed = gone || self.place.remove();
                drop(fd);
                removed
            }
            Err(_) => false,
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// As one that was held: the file goes, unless another has it.
fn undone(fd: OwnedFd, place: Place, mode: Mode, call: &str, errno: Errno) -> Error {
    let e = place.failed(call, errno);
    drop(LockFile { fd: Some(fd), place, mode, found: Vec::new(), stays: false });
    e
}

/// `fcntl(F_OFD_SETLK)`: the whole file.
fn lock(fd: &OwnedFd, mode: Mode) -> Result<(), Nix> {
    again(|| fcntl(fd, FcntlArg::F_OFD_SETLK(&whole(mode)))).map(drop)
}

fn whole(mode: Mode) -> libc::flock {
    let kind = match mode {
        Mode::Shared => libc::F_RDLCK,
        Mode::Exclusive => libc::F_WRLCK,
    };
    libc::flock { l_type: kind as libc::c_short, l_whence: libc::SEEK_SET as libc::c_short, l_start: 0, l_len: 0, l_pid: 0 }
}

/// What can't be read is told as an unknown holder.
fn content(fd: &OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(fd) = fd.try_clone() {
        let _ = std::fs::File::from(fd).take(CONTENT).read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn held(path: &Path) -> Option<LockFile> {
        match LockFile::take(path.to_owned(), Mode::Exclusive).unwrap() {
            Attempt::Held(lock) => Some(lock),
            Attempt::Busy(_) => None,
        }
    }

    #[test]
    fn one_holds_and_the_other_reads_who() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let lock = held(&path).unwrap();
        lock.describe("a longer text").unwrap();
        lock.describe("me").unwrap();
        assert!(matches!(LockFile::take(path.clone(), Mode::Shared).unwrap(), Attempt::Busy(text) if text == b"me"));
        assert_eq!(LockFile::held_by(&path).unwrap(), b"me");
        assert!(lock.release());
        assert!(!path.exists());
        assert!(LockFile::held_by(&path).is_none() && !path.exists());
        assert!(held(&path).is_some());
    }

    #[test]
    fn those_who_share_it_keep_others_out_and_the_last_removes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let share = || match LockFile::take(path.clone(), Mode::Shared).unwrap() {
            Attempt::Held(lock) => lock,
            Attempt::Busy(_) => panic!("held by nobody"),
        };
        let one = share();
        one.describe_also("one ").unwrap();
        let two = share();
        assert_eq!(two.found(), b"one ");
        two.describe_also("two").unwrap();
        assert!(matches!(LockFile::take(path.clone(), Mode::Exclusive).unwrap(), Attempt::Busy(text) if text == b"one two"));
        assert!(!one.release() && path.exists() && held(&path).is_none());
        assert!(two.release() && !path.exists());
        let alone = held(&path).unwrap();
        assert!(matches!(LockFile::take(path.clone(), Mode::Shared).unwrap(), Attempt::Busy(_)));
        drop(alone);
    }

    #[test]
    fn what_thousands_have_said_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let lock = held(&path).unwrap();
        (0..5000).for_each(|_| lock.describe_also("a line of thirty-two letters or so\n").unwrap());
        assert!(path.metadata().unwrap().len() <= CONTENT);
    }

    #[test]
    fn a_process_that_inherited_it_holds_it_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let lock = held(&path).unwrap();
        let copy = lock.fd().unwrap().try_clone_to_owned().unwrap();
        let mut keeper = Command::new("sleep").arg("60").stdin(Stdio::from(copy)).spawn().unwrap();
        assert!(!lock.release());
        assert!(path.exists() && held(&path).is_none());
        keeper.kill().unwrap();
        keeper.wait().unwrap();
        assert!(held(&path).is_some());
        assert!(!path.exists());
    }

    #[test]
    fn a_file_left_by_a_crash_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "dead").unwrap();
        assert_eq!(held(&path).unwrap().found(), b"dead");
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_lock_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        let refused = |name: &str| LockFile::take(dir.path().join(name), Mode::Exclusive).map(drop).unwrap_err();
        let errno = |name: &str| refused(name).errno();
        rustix::fs::mknodat(CWD, dir.path().join("fifo"), FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(refused("fifo").to_string().ends_with("it is no regular file"));
        assert_eq!(errno("link"), Some(Errno::ELOOP));
        assert_eq!(errno("none/x"), Some(Errno::ENOENT));
        assert_eq!(errno("."), Some(Errno::EISDIR));
    }

    #[test]
    fn never_two_hold_it_while_files_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let (inside, taken) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while taken.load(Ordering::SeqCst) < 500 {
                        let Some(lock) = held(&path) else { continue };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        taken.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
    }
}
