//! A tmpfs with what is in it, as rows.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]
#![allow(clippy::disallowed_types, reason = "the table is made and dropped in the parent")]

mod row;

use crate::error::{Error, ErrorKind};
use crate::filesystem::Filesystem;
use crate::flags::MountFlags;
use crate::owner::Owner;
use crate::path::{InRoot, MountPoint};
use crate::root::ROOT;
use crate::shown::Shown;
use crate::tree::{attach_directory, set_flags, with};
use ns_core::{Child, ChildFd, Fault, Slot, Step, Wires};
pub(crate) use row::What;
use row::{Made, Row};
use rustix::fs::Mode;
use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// A tmpfs at a path of the tree, filled while detached, then attached. Needs [`ROOT`].
///
/// Entries are made relative to the mount's descriptor, in their order, with exactly their mode whatever the umask (which is set and put
/// back: a plain method changes it for the whole process meanwhile), and belong to [`Tmpfs::owner`]. See tmpfs(5).
///
/// ```
/// use ns_mount::Tmpfs;
/// let run = Tmpfs::at("/run")?.size("20%")?.mode(0o755).nosuid().nodev().dir("lock", 0o755)?.symlink("log", "../var/log")?;
/// assert_eq!(run.to_string(), "/run: tmpfs nosuid nodev size=20% mode=755: lock/ log->../var/log");
/// # Ok::<(), ns_mount::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tmpfs {
    at: InRoot,
    filesystem: Filesystem,
    owner: Owner,
    read_only: bool,
    rows: Vec<Row>,
    filled: Option<Slot>,
}

#[allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
impl Tmpfs {
    /// An empty one, of the kernel's default size (half the memory), mode 1777.
    pub fn at(path: impl AsRef<Path>) -> Result<Tmpfs, Error> {
        Ok(Tmpfs::on(InRoot::new(path)?))
    }

    pub(crate) fn on(at: InRoot) -> Tmpfs {
        let filesystem = Filesystem::fixed(c"tmpfs", MountFlags::empty());
        Tmpfs { at, filesystem, owner: Owner::default(), read_only: false, rows: Vec::new(), filled: None }
    }

    /// `size=`: bytes, with `k`, `m`, `g`, or a percentage of the memory, `10%`.
    pub fn size(mut self, size: &str) -> Result<Tmpfs, Error> {
        let digits = size.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', '%']).unwrap_or(size);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            let shown = Shown(size.as_bytes());
            return Err(Error::new(ErrorKind::Value, format!("{}: size \"{shown}\" is no number of bytes, k, m, g or %", self.at)));
        }
        self.filesystem = self.filesystem.number(c"size", size);
        Ok(self)
    }

    /// `nr_inodes=`: how many files it may hold.
    #[must_use]
    pub fn inodes(mut self, count: u64) -> Tmpfs {
        self.filesystem = self.filesystem.number(c"nr_inodes", count);
        self
    }

    /// `mode=`: of its root directory.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Tmpfs {
        self.filesystem = self.filesystem.number(c"mode", format_args!("{mode:o}"));
        self
    }

    /// `uid=`, `gid=`, and the owner of every entry and of a mount point that is missing: ids as the host sees them.
    #[must_use]
    pub fn owner(mut self, uid: u32, gid: u32) -> Tmpfs {
        self.owner = Owner { uid, gid };
        self.filesystem = self.filesystem.number(c"uid", uid).number(c"gid", gid);
        self
    }

    /// Any other parameter, checked by the kernel when it is mounted.
    pub fn param(mut self, key: &str, value: &str) -> Result<Tmpfs, Error> {
        self.filesystem = self.filesystem.param(key, value)?;
        Ok(self)
    }

    /// Set-uid bits have no effect.
    #[must_use]
    pub fn nosuid(self) -> Tmpfs {
        self.flags(MountFlags::NOSUID)
    }

    /// Device nodes can't be opened.
    #[must_use]
    pub fn nodev(self) -> Tmpfs {
        self.flags(MountFlags::NODEV)
    }

    /// Nothing is executed.
    #[must_use]
    pub fn noexec(self) -> Tmpfs {
        self.flags(MountFlags::NOEXEC)
    }

    /// Every access updates the access time.
    #[must_use]
    pub fn strictatime(self) -> Tmpfs {
        self.flags(MountFlags::STRICTATIME)
    }

    /// Read-only, once it is filled.
    #[must_use]
    pub fn read_only(mut self) -> Tmpfs {
        self.read_only = true;
        self
    }

    /// Keeps the mount's descriptor in `slot` for later steps.
    #[must_use]
    pub fn filled(mut self, slot: Slot) -> Tmpfs {
        self.filled = Some(slot);
        self
    }

    fn flags(mut self, flags: MountFlags) -> Tmpfs {
        self.filesystem = self.filesystem.mount_flags(flags);
        self
    }

    /// A directory. Like all rows relative to the mount, without `..`; the directories above come first.
    pub fn dir(self, path: impl AsRef<Path>, mode: u32) -> Result<Tmpfs, Error> {
        self.row(path.as_ref(), mode, What::Dir)
    }

    /// A regular file that holds `bytes`.
    pub fn file(self, path: impl AsRef<Path>, mode: u32, bytes: impl Into<Vec<u8>>) -> Result<Tmpfs, Error> {
        self.row(path.as_ref(), mode, What::File(bytes.into().into()))
    }

    /// A regular file that holds a random UUID and a newline, another one each time the step runs: a boot id.
    pub fn random_uuid(self, path: impl AsRef<Path>, mode: u32) -> Result<Tmpfs, Error> {
        self.row(path.as_ref(), mode, What::Uuid)
    }

    /// A fifo.
    pub fn fifo(self, path: impl AsRef<Path>, mode: u32) -> Result<Tmpfs, Error> {
        self.row(path.as_ref(), mode, What::Fifo)
    }

    /// A unix socket's node that nobody listens on.
    pub fn socket(self, path: impl AsRef<Path>, mode: u32) -> Result<Tmpfs, Error> {
        self.row(path.as_ref(), mode, What::Socket)
    }

    /// A character device. Where the kernel allows no node to be made (`EPERM`: no CAP_MKNOD, a user namespace), the host's node of the same
    /// path under /dev and the same number is bound in its place.
    pub fn char_device(self, path: impl AsRef<Path>, mode: u32, major: u32, minor: u32) -> Result<Tmpfs, Error> {
        self.row(path.as_ref(), mode, What::Char(major, minor))
    }

    /// A block device; like [`Tmpfs::char_device`].
    pub fn block_device(self, path: impl AsRef<Path>, mode: u32, major: u32, minor: u32) -> Result<Tmpfs, Error> {
        self.row(path.as_ref(), mode, What::Block(major, minor))
    }

    /// A symbolic link to `target`, which is not looked at.
    pub fn symlink(self, path: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<Tmpfs, Error> {
        let shown = Shown(target.as_ref().as_os_str().as_bytes()).to_string();
        let target = CString::new(target.as_ref().as_os_str().as_bytes())
            .map_err(|_| Error::new(ErrorKind::Path, format!("link target \"{shown}\" has a NUL byte in it")))?;
        self.row(path.as_ref(), 0o777, What::Link(target))
    }

    /// The last row may fail: the entry is then missing.
    #[must_use]
    pub fn optional(mut self) -> Tmpfs {
        if let Some(row) = self.rows.last_mut() {
            row.optional = true;
        }
        self
    }

    fn row(mut self, path: &Path, mode: u32, what: What) -> Result<Tmpfs, Error> {
        let bytes = path.as_os_str().as_bytes();
        let plain = path.components().all(|part| matches!(part, Component::Normal(_))) && !bytes.is_empty();
        let Some(name) = CString::new(bytes).ok().filter(|_| plain) else {
            let shown = Shown(bytes);
            return Err(Error::new(ErrorKind::Path, format!("{}: entry \"{shown}\" is no relative path without ..", self.at)));
        };
        let host = CString::new([b"/", self.at.whole().to_bytes(), b"/", bytes].concat()).unwrap_or_default();
        self.rows.push(Row { path: name, mode, what, optional: false, host });
        Ok(self)
    }

    /// A size of ours, known to be right.
    pub(crate) fn bytes(mut self, size: &'static str) -> Tmpfs {
        self.filesystem = self.filesystem.number(c"size", size);
        self
    }

    /// Rows of ours, known to be right.
    pub(crate) fn fixed(mut self, rows: impl IntoIterator<Item = (&'static str, u32, What)>) -> Tmpfs {
        for (path, mode, what) in rows {
            let host = CString::new([b"/", self.at.whole().to_bytes(), b"/", path.as_bytes()].concat()).unwrap_or_default();
            self.rows.push(Row { path: CString::new(path).unwrap_or_default(), mode, what, optional: false, host });
        }
        self
    }
}

impl Tmpfs {
    /// Mounts, fills and attaches it below `root`; returns the mount. In the child, or anywhere.
    pub fn mount(&self, root: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
        let mount = self.filesystem.fsmount()?;
        match self.fill_and_attach(mount.as_fd(), root) {
            Ok(()) => Ok(mount),
            Err(fault) => {
                mount.close();
                Err(fault)
            }
        }
    }

    fn fill_and_attach(&self, mount: BorrowedFd<'_>, root: BorrowedFd<'_>) -> Result<(), Fault> {
        let old = rustix::process::umask(Mode::empty());
        let filled = self.fill(mount);
        rustix::process::umask(old);
        let stand_ins = filled?;
        if self.read_only {
            set_flags(mount, MountFlags::RDONLY)?;
        }
        let onto = self.at.open_or_make(root, MountPoint::Directory, self.owner)?;
        with(onto, |onto| attach_directory(mount, onto))?;
        if stand_ins { self.bind_host_nodes(mount) } else { Ok(()) }
    }

    /// Whether a device's place was taken by an empty file.
    fn fill(&self, mount: BorrowedFd<'_>) -> Result<bool, Fault> {
        let mut stand_ins = false;
        for (number, row) in (0..).zip(&self.rows) {
            match row.make(mount, self.owner) {
                Ok(Made::Entry) => {}
                Ok(Made::StandIn) => stand_ins = true,
                Err(_) if row.optional => {}
                Err(fault) => return Err(fault.at_row(number)),
            }
        }
        Ok(stand_ins)
    }

    fn bind_host_nodes(&self, mount: BorrowedFd<'_>) -> Result<(), Fault> {
        for (number, row) in (0..).zip(&self.rows) {
            match row.bind_host_node(mount) {
                Err(fault) if !row.optional => return Err(fault.at_row(number)),
                _ => {}
            }
        }
        Ok(())
    }
}

// SAFETY: system calls on the table, the stack and slots.
unsafe impl Step for Tmpfs {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        let mount = self.mount(child.fd(ROOT)?)?;
        match self.filled {
            Some(slot) => child.keep(slot, mount).map(drop),
            None => {
                mount.close();
                Ok(())
            }
        }
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(ROOT);
        if let Some(slot) = self.filled {
            wires.fills(slot);
        }
    }

    fn row(&self, row: u32) -> Option<&dyn fmt::Display> {
        self.rows.get(row as usize).map(|row| row as &dyn fmt::Display)
    }
}

impl fmt::Display for Tmpfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let then = if self.read_only { ", then ro" } else { "" };
        f.write_fmt(format_args!("{}: {}{then}", self.at, self.filesystem))?;
        self.rows.iter().enumerate().try_for_each(|(n, row)| f.write_fmt(format_args!("{}{row}", if n == 0 { ": " } else { " " })))
    }
}
