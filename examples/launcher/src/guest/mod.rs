//! What a tree says of itself.
//!
//! A tree may have been made by anybody, and its files may change while they are read. So each is found with `openat2` from the tree's
//! own descriptor, where neither `..` nor a link leads out and `/proc`'s links lead nowhere; it is opened for reading only after its
//! type is known, through the very inode that was looked at, so that no device is ever opened and no FIFO waited for; and not more
//! than [`MAX`] bytes are read.

mod image;
mod init;
mod machine_id;
mod mounted;
mod os_release;
mod root_user;
mod running;
mod user;

use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use ns_core::Errno;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat, openat2, stat};
use rustix::io::Errno as Rustix;

pub use image::IMAGE_DIRECTORIES;
pub use init::{Init, InitKind, Inittab, Login};
pub use machine_id::MachineId;
pub use mounted::Mounted;
pub use os_release::OsRelease;
pub use root_user::RootUser;
pub use user::User;

use crate::interrupted::again;
use crate::settings::root_refused;
use crate::{Error, Kind, escape::Escaped};

/// No file of a tree is read beyond this, and a longer one is refused.
pub const MAX: u64 = 64 * 1024;
/// `openat2` says `EAGAIN` when anything on the machine was renamed or mounted while it climbed over `..`. A thousand times in a row
/// (some milliseconds) is somebody who does it on purpose.
const RETRIES: u32 = 1024;

/// A tree's directory, open with `O_PATH`: it can be given to steps, and nothing is looked up by its path again.
#[derive(Debug)]
pub struct Tree {
    fd: OwnedFd,
    path: PathBuf,
    id: FileId,
    resolve: ResolveFlags,
}

/// Neither `..` nor a link leads out of the tree, and `/proc`'s links lead nowhere.
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Which file it is, by whatever path: `stat(2)`'s `st_dev` and `st_ino`. `Display` is `DEV:INO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The file system.
    pub dev: u64,
    /// The file on it.
    pub ino: u64,
}

impl FileId {
    /// `fstat(2)`
    pub(crate) fn of(fd: impl AsFd) -> Result<FileId, Errno> {
        let stat = again(|| fstat(&fd))?;
        Ok(FileId { dev: stat.st_dev, ino: stat.st_ino })
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.dev, self.ino)
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Tree {
    /// Opens a tree by the path that the user gave, which may have links in it.
    ///
    /// # Errors
    /// It isn't there, is no directory, may not be entered, or is the host's own root, whatever the path says.
    pub fn open(path: &Path) -> Result<Tree, Error> {
        let failed = |errno| match errno {
            Rustix::NOTDIR => Error::new(Kind::Tree, format!("{} is not a directory", Escaped::path(path))).with_errno(Errno::ENOTDIR),
            errno => Error::call(Kind::Tree, format!("open tree {}: openat", Escaped::path(path)), errno),
        };
        let fd = again(|| openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())).map_err(failed)?;
        let id = FileId::of(&fd).map_err(|e| Error::call(Kind::Tree, format!("open tree {}: fstat", Escaped::path(path)), e))?;
        match again(|| stat(c"/")) {
            Err(e) => Err(Error::call(Kind::Host, "look at the host's root: stat", e)),
            Ok(root) if id == (FileId { dev: root.st_dev, ino: root.st_ino }) => Err(root_refused()),
            _ => Ok(Tree { fd, path: path.to_owned(), id, resolve: INSIDE }),
        }
    }

    /// The path that the user gave, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is, without links: `/proc/self/fd/FD`. `None`: it has no path any more, or none that can be seen from here.
    pub fn real_path(&self) -> Option<PathBuf> {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", self.fd.as_raw_fd())).ok()?;
        let found = stat(&path).ok()?;
        (FileId { dev: found.st_dev, ino: found.st_ino } == self.id).then_some(path)
    }

    /// Which directory it is.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Finds a file in the tree; `None` if there is none.
    fn find(&self, path: &CStr, extra: OFlags) -> Result<Option<OwnedFd>, Error> {
        let flags = OFlags::PATH | OFlags::CLOEXEC | extra;
        for _ in 0..RETRIES {
            match openat2(&self.fd, path, flags, Mode::empty(), self.resolve) {
                Ok(fd) => return Ok(Some(fd)),
                Err(Rustix::NOENT | Rustix::NOTDIR) => return Ok(None),
                Err(Rustix::AGAIN | Rustix::INTR) => {}
                Err(errno) => return Err(Error::call(Kind::Tree, format!("look for {}: openat2", self.inside(path)), errno)),
            }
        }
        Err(Error::call(Kind::Tree, format!("look for {}: openat2", self.inside(path)), Errno::EAGAIN)
            .hint("something is renamed or mounted all the time"))
    }

    /// A regular file's bytes, of which there may be [`MAX`]; `None` if there is none.
    fn read(&self, path: &CStr) -> Result<Option<Vec<u8>>, Error> {
        match self.head(path, MAX + 1)? {
            Some(bytes) if bytes.len() as u64 > MAX => {
                Err(Error::new(Kind::Tree, format!("{} is longer than {MAX} bytes", self.inside(path))))
            }
            bytes => Ok(bytes),
        }
    }

    /// A regular file's first bytes, so many; `None` if there is none.
    fn head(&self, path: &CStr, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(found) = self.find(path, OFlags::empty())? else { return Ok(None) };
        let failed = |call: &str, errno: Errno| Error::call(Kind::Tree, format!("read {}: {call}", self.inside(path)), errno);
        let stat = again(|| fstat(&found)).map_err(|e| failed("fstat", e.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::new(Kind::Tree, format!("{} is not a regular file", self.inside(path))));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        let fd = again(|| open(path.as_str(), flags, Mode::empty())).map_err(|e| failed("open", e.into()))?;
        let mut bytes = Vec::new();
        let result = File::from(fd).take(limit).read_to_end(&mut bytes);
        result.map_err(|e| failed("read", Errno::new(e.raw_os_error().unwrap_or_default())))?;
        Ok(Some(bytes))
    }

    /// A directory in the tree, to be used by its descriptor.
    pub(crate) fn directory(&self, path: &CStr) -> Result<Option<OwnedFd>, Error> {
        self.find(path, OFlags::DIRECTORY)
    }

    fn has_directory(&self, path: &CStr) -> Result<bool, Error> {
        self.find(path, OFlags::DIRECTORY).map(|found| found.is_some())
    }

    fn inside(&self, path: &CStr) -> String {
        format!("{}/{}", Escaped::path(&self.path), Escaped::c(path))
    }

    /// `etc/os-release`, else `usr/lib/os-release`.
    ///
    /// # Errors
    /// It is there, but no regular file, too long, or behind links that lead nowhere.
    pub fn os_release(&self) -> Result<Option<OsRelease>, Error> {
        for path in [c"etc/os-release", c"usr/lib/os-release"] {
            if let Some(bytes) = self.read(path)? {
                return Ok(Some(OsRelease::parse(&bytes)));
            }
        }
        Ok(None)
    }

    /// `etc/machine-id`; `None` if it is absent, empty, `uninitialized` or not an id.
    ///
    /// # Errors
    /// As for [`Tree::os_release`].
    pub fn machine_id(&self) -> Result<Option<MachineId>, Error> {
        Ok(self.read(c"etc/machine-id")?.as_deref().and_then(MachineId::parse))
    }

    /// What `etc/passwd` says of the user with id 0.
    ///
    /// # Errors
    /// As for [`Tree::os_release`].
    pub fn root_user(&self) -> Result<RootUser, Error> {
        Ok(self.read(c"etc/passwd")?.as_deref().map(RootUser::parse).unwrap_or_default())
    }

    /// Inits to try in this order, as absolute paths in the tree: those of three places that are there.
    ///
    /// # Errors
    /// There is none.
    pub fn inits(&self) -> Result<Vec<CString>, Error> {
        init::candidates(self)
    }

    /// Whose program the init at this path is, and what it understands: by its name, its content's first megabytes, and what the tree
    /// configures for it. Never fails: what can't be read is [`InitKind::Other`].
    pub fn init(&self, program: &CStr) -> Init {
        Init::of(self, program)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
