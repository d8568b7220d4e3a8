//! The root of a process that runs, read without entering its namespaces.

use std::os::fd::OwnedFd;
use std::path::Path;

use ns_core::{Errno, PidFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, makedev, openat, statx};

use super::{FileId, INSIDE, Tree};
use crate::{Error, Kind};

impl Tree {
    /// The root directory of a process, by `/proc/PID/root`, if it is on the file system `dev` where the process's tree is; `path` is for
    /// messages.
    ///
    /// Everything else that it can see it may have mounted itself, and who reads from a file system of its making waits for its answers.
    /// So the root is asked for its device only in a way that no file system is asked (`AT_STATX_DONT_SYNC`), and whatever is mounted
    /// in it is not entered.
    ///
    /// # Errors
    /// It has ended, or its root is elsewhere by now.
    pub fn of_process(process: &PidFd, dev: u64, path: &Path) -> Result<Tree, Error> {
        let gone = || Error::new(Kind::Tree, "the process has ended").with_errno(Errno::ESRCH);
        let pid = process.pid().ok_or_else(gone)?;
        let root = format!("/proc/{pid}/root");
        let failed = |call: &str, e: rustix::io::Errno| Error::call(Kind::Tree, format!("open {root}: {call}"), e);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd: OwnedFd = openat(CWD, root.as_str(), flags, Mode::empty()).map_err(|e| failed("openat", e))?;
        if process.has_ended() {
            return Err(gone());
        }
        let asked = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let stat = statx(&fd, c"", asked, StatxFlags::INO).map_err(|e| failed("statx", e))?;
        let id = FileId { dev: makedev(stat.stx_dev_major, stat.stx_dev_minor), ino: stat.stx_ino };
        match id.dev == dev {
            true => Ok(Tree { fd, path: path.to_owned(), id, resolve: INSIDE | ResolveFlags::NO_XDEV }),
            false => Err(Error::new(Kind::Tree, format!("the root of process {pid} is on another file system than its tree"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn our_own_root() {
        let me = PidFd::of_self().unwrap();
        let root = std::fs::metadata("/").unwrap();
        let tree = Tree::of_process(&me, root.dev(), "/".as_ref()).unwrap();
        assert_eq!(tree.id(), FileId { dev: root.dev(), ino: root.ino() });
        assert!(tree.has_directory(c"etc").unwrap());
        // What is mounted in it is not entered.
        assert_eq!(tree.find(c"proc/self", OFlags::empty()).unwrap_err().errno(), Some(Errno::EXDEV));
        let e = Tree::of_process(&me, root.dev() + 1, "/".as_ref()).unwrap_err();
        assert!(e.to_string().ends_with("is on another file system than its tree"), "{e}");
    }

    #[test]
    fn of_one_that_has_ended() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pidfd = PidFd::open(child.id()).unwrap();
        child.wait().unwrap();
        assert_eq!(Tree::of_process(&pidfd, 0, "/".as_ref()).unwrap_err().errno(), Some(Errno::ESRCH));
    }
}
