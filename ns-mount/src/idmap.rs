//! Which file systems take an id map: asked of the kernel, in the parent.

use crate::error::{Error, ErrorKind};
use crate::shown::Shown;
use ns_core::Errno;
use ns_core::raw::{self, CloneArgs, MountAttr, mount_setattr};
use rustix::fs::{CWD, fstatfs};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Whether a tree, with all that is mounted below it, can be id-mapped: tried on a clone of each mount that is dropped again, so the answer
/// is this kernel's. For the parent, before a start or to explain one that failed with `EINVAL` of `mount_setattr(IDMAP)`.
///
/// The error names the mount, its file system and what to choose. ext4, xfs, btrfs, squashfs, f2fs, erofs, vfat take id maps, tmpfs from
/// Linux 6.3; overlay, ramfs, proc, sysfs, devpts and most network file systems don't. Needs CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID
/// in the mount namespace's user namespace; `tree` was opened in the caller's mount namespace.
pub fn id_mappable(tree: BorrowedFd<'_>) -> Result<(), Error> {
    let probe = UserNs::new()?;
    let path = path_of(tree)?;
    try_one(tree, &path, &probe)?;
    for mount in mounts_below(&path)? {
        let flags = OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        // A mount that lies beneath another can't be reached, nor is it in a clone's way.
        if let Ok(fd) = open_tree(CWD, &mount, flags) {
            try_one(fd.as_fd(), &mount, &probe)?;
        }
    }
    Ok(())
}

fn try_one(mount: BorrowedFd<'_>, path: &Path, probe: &UserNs) -> Result<(), Error> {
    let shown = Shown(path.as_os_str().as_bytes());
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let clone = open_tree(mount, "", flags).map_err(|e| Error::call(format!("clone of {shown}"), "open_tree", e))?;
    let attr = MountAttr { user_ns: Some(probe.fd.as_fd()), ..MountAttr::default() };
    match mount_setattr(clone.as_fd(), attr) {
        Ok(()) => Ok(()),
        Err(Errno::EINVAL) => Err(refused(mount, &shown)),
        Err(Errno::EPERM) => {
            Err(Error::new(ErrorKind::IdMap, format!("{shown} is id-mapped already, or its file system belongs to another user"))
                .hint("choose the tree itself, not an id-mapped mount of it"))
        }
        Err(errno) => Err(Error::call(format!("id map of {shown}"), "mount_setattr", errno)),
    }
}

fn refused(mount: BorrowedFd<'_>, shown: &Shown<'_>) -> Error {
    let name = file_system(mount);
    let hint = match name {
        "overlay" => "id-map its layers and put the overlay over them, or copy the tree to ext4, xfs or btrfs",
        "tmpfs" => "tmpfs takes an id map from Linux 6.3 on: copy the tree to ext4, xfs or btrfs",
        _ => "copy the tree to a file system that does, such as ext4, xfs or btrfs, or unmount it",
    };
    Error::new(ErrorKind::IdMap, format!("{shown} can't be id-mapped: {name} takes no id map on this kernel")).hint(hint)
}

/// The file system's name by its magic number, statfs(2).
fn file_system(mount: BorrowedFd<'_>) -> &'static str {
    const NAMES: [(u32, &str); 22] = [
        (0x794c_7630, "overlay"),
        (0x0102_1994, "tmpfs"),
        (0x8584_58f6, "ramfs"),
        (0x9fa0, "proc"),
        (0x6265_6572, "sysfs"),
        (0x1cd1, "devpts"),
        (0x6367_7270, "cgroup2"),
        (0x0027_e0eb, "cgroup"),
        (0x6969, "nfs"),
        (0x6573_5546, "fuse"),
        (0x0102_1997, "9p"),
        (0xff53_4d42, "cifs"),
        (0xfe53_4d42, "smb2"),
        (0xef53, "ext4"),
        (0x5846_5342, "xfs"),
        (0x9123_683e, "btrfs"),
        (0x7371_7368, "squashfs"),
        (0xe0f5_e1e2, "erofs"),
        (0x2fc1_2fc1, "zfs"),
        (0x9660, "iso9660"),
        (0x6462_6720, "debugfs"),
        (0x4d44, "vfat"),
    ];
    let magic = fstatfs(mount).map_or(0, |stat| stat.f_type as u32);
    NAMES.iter().find(|(number, _)| *number == magic).map_or("its file system", |(_, name)| name)
}

fn path_of(fd: BorrowedFd<'_>) -> Result<PathBuf, Error> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(|e| io("the tree's path", "readlink", &e))
}

/// The mount points strictly below a path, from mountinfo: proc_pid_mountinfo(5).
fn mounts_below(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let table = std::fs::read("/proc/self/mountinfo").map_err(|e| io("the mount table", "read", &e))?;
    let points = table.split(|b| *b == b'\n').filter_map(|line| line.split(|b| *b == b' ').nth(4)).map(unescaped);
    Ok(points.filter(|point| point != path && point.starts_with(path)).collect())
}

/// `\040` and the like, by which the table writes blanks, newlines and backslashes.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\').and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => (bytes.push(byte), rest = &after[3..]).1,
            None => (bytes.push(*first), rest = after).1,
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

fn io(what: &str, call: &'static str, e: &std::io::Error) -> Error {
    Error::call(what, call, Errno::new(e.raw_os_error().unwrap_or(0)))
}

/// A user namespace with one id mapped, kept by its descriptor after its only process has left.
struct UserNs {
    fd: OwnedFd,
}

impl UserNs {
    fn new() -> Result<UserNs, Error> {
        let words = |e: std::io::Error| io("user namespace to try an id map with", "clone3", &e);
        let (wait, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| words(e.into()))?;
        const CLONE_NEWUSER: u64 = linux_raw_sys::general::CLONE_NEWUSER as u64;
        // SAFETY: the child makes system calls on its copy of the stack, and ends by exit_group.
        let child = unsafe { raw::clone3(CloneArgs { flags: CLONE_NEWUSER, ..CloneArgs::default() }) };
        let pidfd = match child {
            Ok(None) => {
                raw::close(go.as_raw_fd());
                let _ended = raw::read(wait.as_fd(), &mut [0]);
                raw::exit_group(0)
            }
            // SAFETY: just made, owned by nobody else.
            Ok(Some(pidfd)) => unsafe { OwnedFd::from_raw_fd(pidfd) },
            Err(errno) => return Err(Error::call("user namespace to try an id map with", "clone3", errno)),
        };
        let made = map_one_id(pidfd.as_fd()).map_err(words);
        drop(go);
        // The child has nothing left to wait for.
        let _reaped = raw::waitid(pidfd.as_fd(), true);
        Ok(UserNs { fd: made? })
    }
}

fn map_one_id(pidfd: BorrowedFd<'_>) -> std::io::Result<OwnedFd> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).map_or("", str::trim);
    std::fs::write(format!("/proc/{pid}/uid_map"), "0 65536 1")?;
    std::fs::write(format!("/proc/{pid}/gid_map"), "0 65536 1")?;
    Ok(File::open(format!("/proc/{pid}/ns/user"))?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_tables_escapes_are_undone() {
        assert_eq!(unescaped(br"/a\040b\134c\9"), PathBuf::from(r"/a b\c\9"));
    }
}
