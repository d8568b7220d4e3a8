//! The cgroup2 file system: where it is mounted, and where in it this process may work.

use crate::cgroup::Cgroup;
use crate::controllers::Controllers;
use crate::dir;
use crate::errno::{Errno, errno};
use crate::error::{Error, ErrorKind, Result};
use crate::file::whole;
use crate::mountinfo::{self, Mount};
use crate::remove::is_cgroup2;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, StatVfsMountFlags, fstatvfs, openat, openat2};
use rustix::io::retry_on_intr;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// How the host mounts its cgroups.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Kind {
    /// Version 2 only: it may have every controller.
    Pure,
    /// Version 1 hierarchies are mounted beside it, and have the controllers that they use: processes can be kept together, killed,
    /// frozen, and given a device program, but often not limited.
    Hybrid,
}

/// The cgroup2 hierarchy, by its mounted root.
#[derive(Debug)]
pub struct Hierarchy {
    root: Cgroup,
    kind: Kind,
    /// The cgroup that is mounted, as this process's cgroup namespace names it: `/` but for a bind of a part.
    mounted: PathBuf,
}

/// 64 MiB: a hundred thousand mounts have a quarter of that.
const LONGEST_TABLE: usize = 64 << 20;
/// In a delegated cgroup: where its manager's own processes are, so that the cgroup itself can pass controllers on.
const SUPERVISOR: &str = "supervisor";

impl Hierarchy {
    /// Finds the mounted cgroup2 file system in `/proc/thread-self/mountinfo`: at `/sys/fs/cgroup` (pure), `/sys/fs/cgroup/unified` (hybrid), or
    /// wherever it is, a writable one before a read-only one.
    ///
    /// NotMounted and ReadOnly say what to mount.
    pub fn find() -> Result<Hierarchy> {
        let table = table()?;
        let mut read_only = None;
        for mount in candidates(&table) {
            match Hierarchy::of(mount, &table) {
                Ok(found) => return Ok(found),
                Err(e) if e.kind() == ErrorKind::ReadOnly => read_only = Some(e),
                // Out of reach or under another mount: the table has it, but opening its place leads elsewhere.
                Err(e) if leads_elsewhere(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Err(read_only.unwrap_or_else(|| not_mounted(kind(&table))))
    }

    /// The cgroup2 file system mounted at this very path.
    pub fn at(path: impl AsRef<Path>) -> Result<Hierarchy> {
        let path = path.as_ref();
        let table = table()?;
        // The last one mounted there is the one that is seen.
        let mount = table.iter().rev().find(|m| m.point == path && m.fstype == "cgroup2");
        let fallback = Mount { root: PathBuf::from("/"), point: path.to_path_buf(), fstype: "cgroup2".into() };
        Hierarchy::of(mount.unwrap_or(&fallback), &table)
    }

    fn of(mount: &Mount, table: &[Mount]) -> Result<Hierarchy> {
        let fail = |call, e| Error::call("open the cgroup2 file system at", &mount.point, call, e);
        let fd = dir::open(CWD, &mount.point).map_err(|e| fail("openat", e))?;
        if !is_cgroup2(fd.as_fd()).map_err(|e| fail("fstatfs", e))? {
            let said = "no cgroup2 file system is there";
            return Err(Error::refused(ErrorKind::NotMounted, "open the cgroup2 file system at", &mount.point, said));
        }
        let flags = retry_on_intr(|| fstatvfs(&fd)).map_err(|e| fail("fstatfs", errno(e)))?.f_flag;
        if flags.contains(StatVfsMountFlags::RDONLY) {
            let hint = format!("mount -o remount,rw {}", mount.point.display());
            return Err(fail("statfs", Errno::EROFS).hinted(hint));
        }
        Ok(Hierarchy { root: Cgroup::new(fd, mount.point.clone()), kind: kind(table), mounted: mount.root.clone() })
    }

    /// Pure or hybrid.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The controllers that the mounted root has.
    pub fn controllers(&self) -> Result<Controllers> {
        self.root.controllers()
    }

    /// The mounted root.
    pub fn root(&self) -> &Cgroup {
        &self.root
    }

    /// The cgroup at this path: absolute, as [`Cgroup::path`] gives it, and below the mounted root; opened with `openat2(2)`, never through a
    /// link. NotFound where there is none.
    pub fn cgroup(&self, path: &Path) -> Result<Cgroup> {
        match path.strip_prefix(self.root.path()).ok().filter(|below| inside(below)) {
            Some(below) => self.descend(below),
            None => Err(Error::refused(ErrorKind::NotFound, "open cgroup", path, format!("it isn't below {}", self.root.path().display()))),
        }
    }

    /// The cgroup that this process is in: `/proc/thread-self/cgroup`, opened with `openat2(2)` below the root.
    pub fn own(&self) -> Result<Cgroup> {
        let text = read_proc(Path::new("/proc/thread-self/cgroup"))?;
        let own = own_path(&text);
        let below = own.as_deref().and_then(|own| own.strip_prefix(&self.mounted).ok()).filter(|below| inside(below));
        let Some(below) = below else {
            let said = "it isn't below what is mounted here";
            return Err(Error::refused(ErrorKind::NotFound, "find this process's own cgroup in", self.root.path(), said));
        };
        self.descend(below)
    }

    /// The cgroup that a manager without rights at the root works in: its own, or the one above where its own is named `supervisor`, as
    /// [`Cgroup::vacate`] leaves it.
    pub fn delegated(&self) -> Result<Cgroup> {
        let own = self.own()?;
        match own.path().parent() {
            Some(above) if own.path().ends_with(SUPERVISOR) => {
                let fd = dir::open(&own, c"..").map_err(|e| Error::call("open cgroup", above, "openat", e))?;
                Ok(Cgroup::new(fd, above.to_path_buf()))
            }
            _ => Ok(own),
        }
    }

    fn descend(&self, below: &Path) -> Result<Cgroup> {
        let path = self.root.path().join(below);
        let wanted = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        match retry_on_intr(|| openat2(&self.root, wanted, flags, Mode::empty(), resolve)) {
            Ok(fd) => Ok(Cgroup::new(fd, path)),
            Err(e) => Err(Error::call("open cgroup", &path, "openat2", errno(e))),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Kind::Pure { "pure" } else { "hybrid" })
    }
}

/// Anything else says nothing of whether there is a hierarchy.
fn leads_elsewhere(e: &Error) -> bool {
    let elsewhere = [Errno::ENOENT, Errno::ENOTDIR, Errno::EACCES, Errno::ELOOP, Errno::ENODEV];
    e.kind() == ErrorKind::NotMounted || e.errno().is_some_and(|errno| elsewhere.contains(&errno))
}

/// By the thread's own directory: a thread may have a mount namespace of its own.
fn table() -> Result<Vec<Mount>> {
    read_proc(Path::new("/proc/thread-self/mountinfo")).map(|t| mountinfo::parse(&t))
}

fn read_proc(path: &Path) -> Result<Vec<u8>> {
    let open = retry_on_intr(|| openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())).map_err(errno);
    let read = open.and_then(|fd: OwnedFd| whole(fd.as_fd(), LONGEST_TABLE));
    read.map_err(|e| Error::call("read", path, "read", e).hinted("/proc must be mounted"))
}

fn kind(table: &[Mount]) -> Kind {
    if table.iter().any(|m| m.fstype == "cgroup") { Kind::Hybrid } else { Kind::Pure }
}

/// Whole hierarchies before parts, the usual places before others, and of two mounts at one place the one that is seen.
fn candidates(table: &[Mount]) -> Vec<&Mount> {
    let mut found: Vec<&Mount> = table.iter().rev().filter(|m| m.fstype == "cgroup2").collect();
    found.sort_by_key(|m| {
        let usual = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].iter().position(|p| m.point == Path::new(p));
        (m.root != Path::new("/"), usual.unwrap_or(2))
    });
    found
}

fn not_mounted(kind: Kind) -> Error {
    let hint = match kind {
        Kind::Pure => "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        Kind::Hybrid => "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
    };
    Error::refused(ErrorKind::NotMounted, "find cgroups", Path::new(""), "no cgroup2 file system is mounted").hinted(hint)
}

/// The line of version 2 is `0::PATH`.
pub(crate) fn own_path(text: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let line = text.split(|&b| b == b'\n').find_map(|l| l.strip_prefix(b"0::"))?;
    line.starts_with(b"/").then(|| PathBuf::from(std::ffi::OsStr::from_bytes(line)))
}

/// A process of another cgroup namespace is shown at `/..`.
fn inside(below: &Path) -> bool {
    below.components().all(|c| matches!(c, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(root: &str, point: &str, fstype: &str) -> Mount {
        Mount { root: root.into(), point: point.into(), fstype: fstype.into() }
    }

    #[test]
    fn the_usual_places_come_first_and_the_last_mount_is_seen() {
        let table = [
            mount("/part", "/sys/fs/cgroup", "cgroup2"),
            mount("/", "/else", "cgroup2"),
            mount("/", "/sys/fs/cgroup/unified", "cgroup2"),
            mount("/", "/sys/fs/cgroup", "cgroup2"),
            mount("/", "/sys/fs/cgroup/memory", "cgroup"),
        ];
        let order: Vec<_> = candidates(&table).iter().map(|m| (m.point.to_str().unwrap(), m.root.to_str().unwrap())).collect();
        let whole = [("/sys/fs/cgroup", "/"), ("/sys/fs/cgroup/unified", "/"), ("/else", "/")];
        assert_eq!(order, [whole.as_slice(), &[("/sys/fs/cgroup", "/part")]].concat());
        assert_eq!((kind(&table), kind(&table[..4])), (Kind::Hybrid, Kind::Pure));
    }

    #[test]
    fn the_own_cgroup_is_the_line_of_version_2() {
        assert_eq!(own_path(b"9:name=systemd:/x\n0::/a/b\n").unwrap(), Path::new("/a/b"));
        assert_eq!(own_path(b"9:pids:/x\n"), None);
        assert!(inside(Path::new("a/b")) && inside(Path::new("")) && !inside(Path::new("../a")));
    }

    #[test]
    fn errors_say_what_to_mount() {
        let e = not_mounted(Kind::Hybrid);
        assert_eq!(e.kind(), ErrorKind::NotMounted);
        assert!(
            e.to_string().starts_with("find cgroups: no cgroup2 file system is mounted; mkdir -p /sys/fs/cgroup/unified && mount"),
            "{e}"
        );
    }
}
