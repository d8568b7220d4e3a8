//! One lock file.

use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno as Nix;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use ns_core::Errno;
use rustix::fs::{Mode, OFlags, fstat, ftruncate, open};

use crate::settings::MachineName;
use crate::{Error, Kind, escape::Escaped};

/// A lock that is held. Dropped, it lets go, and removes the file unless another process holds the same lock.
#[derive(Debug)]
pub(super) struct LockFile {
    /// `None` only while being dropped.
    fd: Option<OwnedFd>,
    path: PathBuf,
}

/// What became of an attempt.
pub(super) enum Attempt {
    Held(LockFile),
    /// Somebody else has it; the file's content says who.
    Busy(Vec<u8>),
}

/// Each round that is lost means that a holder removed the file between our opening and locking it, having just ended.
const ROUNDS: u32 = 1000;
/// No lock file says more.
const CONTENT: u64 = 256;

const NAME: &str = "name-";

/// The file for a machine's name.
pub(super) fn of_name(name: &MachineName) -> String {
    format!("{NAME}{name}")
}

/// The other way round.
pub(super) fn name_of(file: &str) -> Option<&str> {
    file.strip_prefix(NAME)
}

impl LockFile {
    /// Whether somebody holds it, and what the file says then: `fcntl(F_OFD_GETLK)`, which takes nothing and disturbs nobody.
    ///
    /// `None`: nobody, or we may not know.
    pub(super) fn held_by(path: &Path) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let fd = open(path, flags, Mode::empty()).ok()?;
        let mut lock = whole(libc::F_WRLCK);
        fcntl(&fd, FcntlArg::F_OFD_GETLK(&mut lock)).ok()?;
        (lock.l_type != libc::F_UNLCK as libc::c_short).then(|| content(fd))
    }

    /// Makes the file if it is missing, and locks it without waiting.
    pub(super) fn take(path: PathBuf) -> Result<Attempt, Error> {
        for _ in 0..ROUNDS {
            let Some(fd) = opened(&path, OFlags::CREATE)? else { continue };
            match lock(&fd) {
                Err(Nix::EAGAIN | Nix::EACCES) => return Ok(Attempt::Busy(content(fd))),
                Err(errno) => return Err(failed(&path, "fcntl", Errno::new(errno as i32))),
                Ok(()) if is_linked(&fd) => return Ok(Attempt::Held(LockFile { fd: Some(fd), path })),
                Ok(()) => {}
            }
        }
        Err(failed(&path, "fcntl", Errno::EAGAIN))
    }

    /// Says in the file who holds it.
    pub(super) fn describe(&self, text: &str) -> Result<(), Error> {
        let Some(fd) = &self.fd else { return Ok(()) };
        ftruncate(fd, 0).map_err(|e| failed(&self.path, "ftruncate", e.into()))?;
        let mut file = std::fs::File::from(fd.try_clone().map_err(|e| failed(&self.path, "fcntl", number(&e)))?);
        let written = file.rewind().and_then(|()| file.write_all(text.as_bytes()));
        written.map_err(|e| failed(&self.path, "write", number(&e)))
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
        if self.fd.take().is_none() {
            return true;
        }
        let Ok(Some(fd)) = opened(&self.path, OFlags::empty()) else { return true };
        match lock(&fd) {
            Ok(()) => {
                // What can't be removed is taken over by the next start.
                let removed = !is_linked(&fd) || std::fs::remove_file(&self.path).is_ok();
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

/// `None` if it isn't there and isn't to be made.
fn opened(path: &Path, create: OFlags) -> Result<Option<OwnedFd>, Error> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    match open(path, flags | create, Mode::from_raw_mode(0o600)) {
        Ok(fd) => Ok(Some(fd)),
        Err(rustix::io::Errno::NOENT) if create.is_empty() => Ok(None),
        Err(errno) => Err(failed(path, "open", errno.into())),
    }
}

/// `fcntl(F_OFD_SETLK)`: the whole file, exclusively.
fn lock(fd: &OwnedFd) -> Result<(), Nix> {
    fcntl(fd, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))).map(drop)
}

fn whole(kind: libc::c_int) -> libc::flock {
    libc::flock { l_type: kind as libc::c_short, l_whence: libc::SEEK_SET as libc::c_short, l_start: 0, l_len: 0, l_pid: 0 }
}

fn is_linked(fd: &OwnedFd) -> bool {
    fstat(fd).is_ok_and(|stat| stat.st_nlink > 0)
}

fn content(fd: OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What can't be read is told as an unknown holder.
    let _ = std::fs::File::from(fd).take(CONTENT).read_to_end(&mut bytes);
    bytes
}

fn number(e: &std::io::Error) -> Errno {
    Errno::new(e.raw_os_error().unwrap_or_default())
}

fn failed(path: &Path, call: &str, errno: Errno) -> Error {
    Error::call(Kind::Host, format!("lock {}: {call}", Escaped::path(path)), errno)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn held(path: &Path) -> Option<LockFile> {
        match LockFile::take(path.to_owned()).unwrap() {
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
        assert!(matches!(LockFile::take(path.clone()).unwrap(), Attempt::Busy(text) if text == b"me"));
        assert!(lock.release());
        assert!(!path.exists());
        assert!(held(&path).is_some());
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
        assert!(held(&path).is_some());
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_lock_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        let errno = |name: &str| LockFile::take(dir.path().join(name)).map(drop).unwrap_err().errno();
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
