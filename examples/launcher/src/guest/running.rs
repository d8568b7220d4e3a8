//! The root of a process that runs, read without entering its namespaces.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ns_core::{Errno, Namespaces, PidFd};
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

impl Tree {
    /// The root of a process's mount namespace, with all that is mounted in it: what a process that enters it by `setns(2)` finds, wherever
    /// this one has its own root by now. `path` is for messages.
    ///
    /// A thread enters it, opens `/`, and ends.
    ///
    /// # Errors
    /// The process has ended; or it may not be entered.
    pub fn of_namespace(process: &PidFd, path: &Path) -> Result<Tree, Error> {
        let failed = |call: &str, e: Errno| Error::call(Kind::Tree, format!("open the root of a container: {call}"), e);
        let open = || {
            // SAFETY: this thread's root and directory are used by nobody else.
            unsafe { ns_core::raw::unshare(CLONE_FS) }.map_err(|e| failed("unshare", e))?;
            ns_core::raw::setns(process.as_fd(), Namespaces::MOUNT.bits()).map_err(|e| failed("setns", e))?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            openat(CWD, c"/", flags, Mode::empty()).map_err(|e| failed("openat", e.into()))
        };
        let thread = std::thread::scope(|scope| std::thread::Builder::new().spawn_scoped(scope, open).map(|thread| thread.join()));
        let thread = thread.map_err(|e| failed("clone", Errno::new(e.raw_os_error().unwrap_or_default())))?;
        let fd = thread.unwrap_or_else(|_| Err(Error::new(Kind::Host, "a thread has panicked")))?;
        let id = FileId::of(&fd).map_err(|e| failed("fstat", e))?;
        Ok(Tree { fd, path: path.to_owned(), id, resolve: INSIDE })
    }
}

/// `clone(2)`
const CLONE_FS: u32 = 0x200;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_root_of_our_own_mount_namespace() {
        let me = PidFd::of_self().unwrap();
        let root = Tree::of_namespace(&me, "/".as_ref()).unwrap();
        assert_eq!(root.id().ino, std::fs::metadata("/").unwrap().ino());
        // Mounts in it are part of it, and this thread is where it was.
        assert!(root.find(c"proc/self", OFlags::empty()).unwrap().is_some());
        assert!(std::env::current_dir().unwrap().starts_with("/"));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = PidFd::open(child.id()).unwrap();
        child.wait().unwrap();
        assert_eq!(Tree::of_namespace(&gone, "/".as_ref()).unwrap_err().errno(), Some(Errno::ESRCH));
    }

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
