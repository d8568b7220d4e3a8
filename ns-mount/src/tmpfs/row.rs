//! One entry of a tmpfs.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]
#![allow(clippy::disallowed_types, reason = "the row is made and dropped in the parent")]

use crate::flags::MountFlags;
use crate::owner::Owner;
use crate::shown::Shown;
use crate::tree::{Reach, attach, clone_of, harmless, with};
use linux_raw_sys::general::__NR_getrandom;
use ns_core::{Call, ChildFd, Errno, Fault, raw};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, major, makedev, minor, mkdirat, mknodat, openat, statat, symlinkat,
};
use rustix::io::retry_on_intr;
use std::ffi::CString;
use std::fmt;
use std::os::fd::BorrowedFd;

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub path: CString,
    pub mode: u32,
    pub what: What,
    pub optional: bool,
    /// The host's path of the same name, for a device that can't be made.
    pub host: CString,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Dir,
    File(Box<[u8]>),
    Uuid,
    Fifo,
    Socket,
    Char(u32, u32),
    Block(u32, u32),
    Link(CString),
}

/// What [`Row::make`] has made.
pub(crate) enum Made {
    Entry,
    /// An empty file in a device's place, for the host's node to be bound on once the tmpfs is attached.
    StandIn,
}

impl Row {
    /// Makes the entry in the mount, while the umask is 0.
    pub fn make(&self, mount: BorrowedFd<'_>, owner: Owner) -> Result<Made, Fault> {
        match &self.what {
            What::Dir => retry_on_intr(|| mkdirat(mount, self.path.as_c_str(), self.mode())).call("mkdirat")?,
            What::File(bytes) => self.write(mount, bytes)?,
            What::Uuid => self.write(mount, &random_uuid()?)?,
            What::Fifo => self.node(mount, FileType::Fifo, 0)?,
            What::Socket => self.node(mount, FileType::Socket, 0)?,
            What::Link(target) => retry_on_intr(|| symlinkat(target.as_c_str(), mount, self.path.as_c_str())).call("symlinkat")?,
            What::Char(major, minor) => return self.device(mount, FileType::CharacterDevice, makedev(*major, *minor), owner),
            What::Block(major, minor) => return self.device(mount, FileType::BlockDevice, makedev(*major, *minor), owner),
        }
        self.chown(mount, owner)?;
        Ok(Made::Entry)
    }

    fn mode(&self) -> Mode {
        Mode::from_raw_mode(self.mode)
    }

    fn node(&self, mount: BorrowedFd<'_>, kind: FileType, device: u64) -> Result<(), Fault> {
        retry_on_intr(|| mknodat(mount, self.path.as_c_str(), kind, self.mode(), device)).call("mknodat")
    }

    fn device(&self, mount: BorrowedFd<'_>, kind: FileType, device: u64, owner: Owner) -> Result<Made, Fault> {
        match self.node(mount, kind, device) {
            Ok(()) => self.chown(mount, owner).map(|()| Made::Entry),
            Err(fault) if fault.errno == Errno::EPERM => self.node(mount, FileType::RegularFile, 0).map(|()| Made::StandIn),
            Err(fault) => Err(fault),
        }
    }

    fn write(&self, mount: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), Fault> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = retry_on_intr(|| openat(mount, self.path.as_c_str(), flags, self.mode())).map(ChildFd::from).call("openat")?;
        with(file, |file| {
            let mut left = bytes;
            while !left.is_empty() {
                let written = raw::write(file, left).call("write")?;
                left = left.get(written..).unwrap_or_default();
            }
            Ok(())
        })
    }

    /// A new file belongs to the caller: only another owner needs the call. A chown clears set-id bits, which no row of ours has.
    fn chown(&self, mount: BorrowedFd<'_>, owner: Owner) -> Result<(), Fault> {
        if owner == Owner::default() {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        retry_on_intr(|| chownat(mount, self.path.as_c_str(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)).call("fchownat")
    }

    /// Binds the host's node onto a stand-in; nothing where the entry is no stand-in.
    pub fn bind_host_node(&self, mount: BorrowedFd<'_>) -> Result<(), Fault> {
        let (kind, device) = match self.what {
            What::Char(major, minor) => (FileType::CharacterDevice, (major, minor)),
            What::Block(major, minor) => (FileType::BlockDevice, (major, minor)),
            _ => return Ok(()),
        };
        let entry = retry_on_intr(|| statat(mount, self.path.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)).call("fstatat")?;
        if FileType::from_raw_mode(entry.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        let node = clone_of(CWD, &self.host, Reach::This)?;
        with(node, |node| {
            let found = retry_on_intr(|| fstat(node)).call("fstat")?;
            let same = FileType::from_raw_mode(found.st_mode) == kind && (major(found.st_rdev), minor(found.st_rdev)) == device;
            if !same {
                return Err(Fault::new("open_tree", Errno::ENODEV).saying(b"the host's node of this name is another device"));
            }
            harmless(node, MountFlags::NOSUID | MountFlags::NOEXEC, Reach::This)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let onto = retry_on_intr(|| openat(mount, self.path.as_c_str(), flags, Mode::empty())).map(ChildFd::from).call("openat")?;
            with(onto, |onto| attach(node, onto))
        })
    }
}

/// A version 4 UUID in text, and a newline. Linux 3.17 for getrandom(2).
fn random_uuid() -> Result<[u8; 37], Fault> {
    let mut random = [0; 16];
    // SAFETY: the kernel writes at most 16 bytes into the array.
    unsafe { raw::syscall(__NR_getrandom, [random.as_mut_ptr() as usize, random.len(), 0, 0, 0, 0]) }.call("getrandom")?;
    let bits = (u128::from_be_bytes(random) & !(0xf << 76 | 0x3 << 62)) | 0x4 << 76 | 0x2 << 62;
    let mut text = [b'-'; 37];
    let mut nibble = 32;
    for (n, to) in text.iter_mut().enumerate() {
        if matches!(n, 8 | 13 | 18 | 23) {
            continue;
        }
        if n == 36 {
            *to = b'\n';
            break;
        }
        nibble -= 1;
        let digit = (bits >> (4 * nibble) & 0xf) as u8;
        *to = digit + if digit < 10 { b'0' } else { b'a' - 10 };
    }
    Ok(text)
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Shown(self.path.to_bytes()), f)?;
        match &self.what {
            What::Dir => f.write_str("/"),
            What::File(bytes) => f.write_fmt(format_args!("({} bytes)", bytes.len())),
            What::Uuid => f.write_str("(random uuid)"),
            What::Fifo => f.write_str("|"),
            What::Socket => f.write_str("="),
            What::Char(major, minor) => f.write_fmt(format_args!("(c {major}:{minor})")),
            What::Block(major, minor) => f.write_fmt(format_args!("(b {major}:{minor})")),
            What::Link(target) => f.write_fmt(format_args!("->{}", Shown(target.to_bytes()))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::indexing_slicing, reason = "tests run in the parent")]
mod tests {
    #[test]
    fn a_random_uuid_is_one() {
        let text = super::random_uuid().unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.ends_with('\n') && text.len() == 37);
        assert_eq!(text.trim_end().split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(&text[14..15] == "4" && "89ab".contains(&text[19..20]), "{text}");
        assert_ne!(super::random_uuid().unwrap(), super::random_uuid().unwrap());
    }
}
