//! A file of the child's own, opened when its root is in place.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use super::at::At;
use crate::error::Error;
use crate::raw::Errno;
use crate::step::{Call, Child, ChildFd, Fault, Slot, Step, Wires};
use rustix::fs::{FileType, OFlags, fstat, fstatfs};
use rustix::io::retry_on_intr;
use rustix::termios::tcgetattr;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

/// What is opened, and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Anything,
    Terminal,
    PseudoTerminal,
    Directory,
}

/// `openat2(path, O_RDWR|O_NOCTTY|O_CLOEXEC)` into a slot: a console, say, once the tree is the child's root.
///
/// ```
/// use ns_core::{Slot, steps::{Open, Session}};
/// const CONSOLE: Slot = Slot::new("the console");
/// let open = Open::new("/dev/console", CONSOLE)?.pseudo_terminal();
/// let session = Session::new().controlling(CONSOLE);
/// assert_eq!(open.to_string(), "open /dev/console, a pseudo-terminal, as the console");
/// # Ok::<(), ns_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Open {
    at: At,
    slot: Slot,
    flags: OFlags,
    expected: Expected,
}

#[allow(clippy::disallowed_methods, reason = "runs in the parent")]
impl Open {
    /// `path`, for reading and writing, into `slot`. An existing file: nothing is made.
    pub fn new(path: impl AsRef<std::path::Path>, slot: Slot) -> Result<Open, Error> {
        Ok(Open { at: At::new(path)?, slot, flags: OFlags::RDWR | OFlags::NOCTTY, expected: Expected::Anything })
    }

    /// `path`, a directory, `O_PATH`: for the steps that work below one.
    pub fn directory(path: impl AsRef<std::path::Path>, slot: Slot) -> Result<Open, Error> {
        Ok(Open { at: At::new(path)?, slot, flags: OFlags::PATH | OFlags::DIRECTORY, expected: Expected::Directory })
    }

    /// The path is below this directory and stays there.
    #[must_use]
    pub fn in_dir(self, dir: Slot) -> Open {
        Open { at: self.at.below(dir), ..self }
    }

    /// For reading only.
    #[must_use]
    pub fn read_only(self) -> Open {
        Open { flags: self.flags - OFlags::RDWR, ..self }
    }

    /// A symbolic link as the last name is `ELOOP`.
    #[must_use]
    pub fn no_follow(self) -> Open {
        Open { flags: self.flags | OFlags::NOFOLLOW, ..self }
    }

    /// It must be a terminal: `ioctl_tty(2)` TCGETS answers, or the step fails with `ENOTTY`.
    #[must_use]
    pub fn terminal(self) -> Open {
        Open { expected: Expected::Terminal, ..self }
    }

    /// It must be the slave of a pty, on a devpts: a terminal, major number 136 to 143, `statfs(2)` says devpts; else `ENOTTY`. A node
    /// that somebody planted in a tree is none.
    #[must_use]
    pub fn pseudo_terminal(self) -> Open {
        Open { expected: Expected::PseudoTerminal, ..self }
    }
}

impl Open {
    /// Does it now; `dir` in place of the slot's directory.
    pub fn open(&self, dir: Option<BorrowedFd<'_>>) -> Result<ChildFd, Fault> {
        let fd = self.at.open(dir, self.flags, 0)?;
        match self.check(fd.as_fd()) {
            Ok(()) => Ok(fd),
            Err(fault) => {
                fd.close();
                Err(fault)
            }
        }
    }

    fn check(&self, fd: BorrowedFd<'_>) -> Result<(), Fault> {
        match self.expected {
            Expected::Anything | Expected::Directory => Ok(()),
            Expected::Terminal => is_terminal(fd),
            Expected::PseudoTerminal => is_pty(fd),
        }
    }
}

fn is_terminal(fd: BorrowedFd<'_>) -> Result<(), Fault> {
    retry_on_intr(|| tcgetattr(fd)).map(drop).call("ioctl TCGETS")
}

fn is_pty(fd: BorrowedFd<'_>) -> Result<(), Fault> {
    /// `UNIX98_PTY_SLAVE_MAJOR` and the seven after it.
    const SLAVES: std::ops::RangeInclusive<u32> = 136..=143;
    const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
    is_terminal(fd)?;
    let stat = retry_on_intr(|| fstat(fd)).call("fstat")?;
    let slave = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && SLAVES.contains(&rustix::fs::major(stat.st_rdev));
    let devpts = retry_on_intr(|| fstatfs(fd)).call("fstatfs")?.f_type as u64 == DEVPTS_SUPER_MAGIC;
    match slave && devpts {
        true => Ok(()),
        false => Err(Fault::new("fstat", Errno::ENOTTY).saying(b"not the slave of a pty, on a devpts")),
    }
}

// SAFETY: system calls on memory of `self`.
unsafe impl Step for Open {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        let fd = self.open(self.at.dir(child)?)?;
        child.keep(self.slot, fd).map(drop)
    }

    fn wires(&self, wires: &mut Wires) {
        self.at.wires(wires);
        wires.fills(self.slot);
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.expected {
            Expected::Anything => "",
            Expected::Terminal => ", a terminal,",
            Expected::PseudoTerminal => ", a pseudo-terminal,",
            Expected::Directory => ", a directory,",
        };
        write!(f, "open {}{kind} as {}", self.at, self.slot)
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::indexing_slicing,
    reason = "tests run in the parent"
)]
mod tests {
    use super::*;
    use crate::steps::trial::{Trial, scratch};

    const TTY: Slot = Slot::new("a terminal");
    const DIR: Slot = Slot::new("a directory");

    fn fails(step: &Open) -> Fault {
        let dir = scratch();
        std::os::unix::fs::symlink("/dev/null", dir.path().join("link")).unwrap();
        Trial::new().lend(DIR, dir.fd()).slot(TTY).run(&[step]).map(|()| panic!("{step} went well")).unwrap_err().fault()
    }

    #[test]
    fn a_pty_is_told_from_what_is_none() {
        let pair = crate::pty::open().unwrap();
        let slave = format!("/dev/pts/{}", crate::pty::number(&pair.master).unwrap());
        Trial::new().slot(TTY).run(&[&Open::new(&slave, TTY).unwrap().pseudo_terminal()]).unwrap();
        assert_eq!(fails(&Open::new("/dev/null", TTY).unwrap().terminal()).errno, Errno::ENOTTY);
        assert_eq!(fails(&Open::new("/dev/null", TTY).unwrap().pseudo_terminal()).errno, Errno::ENOTTY);
    }

    #[test]
    fn a_planted_node_is_no_pty() {
        use rustix::fs::{CWD, Mode, makedev, mknodat};
        let pair = crate::pty::open().unwrap();
        let number = crate::pty::number(&pair.master).unwrap();
        let dir = scratch();
        let node = dir.path().join("console");
        mknodat(CWD, &node, FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(136, number)).unwrap();
        let step = Open::new(&node, TTY).unwrap();
        let refused = step.clone().pseudo_terminal();
        assert!(Trial::new().slot(TTY).run(&[&refused]).is_err());
    }

    #[test]
    fn links_are_followed_below_the_directory_or_not_at_all() {
        assert_eq!(fails(&Open::new("link", TTY).unwrap().in_dir(DIR)).errno, Errno::ENOENT);
        assert_eq!(fails(&Open::new("link", TTY).unwrap().in_dir(DIR).no_follow().read_only()).errno, Errno::ELOOP);
        assert_eq!(fails(&Open::directory("/dev/null", TTY).unwrap()).errno, Errno::ENOTDIR);
    }
}
