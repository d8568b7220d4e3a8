//! On which mount a tree, or a file of it, is, and how that is mounted.

use std::ffi::{CStr, OsString};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::OFlags;

use super::Tree;

/// A mount that something of a tree is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where, on the host.
    pub point: PathBuf,
    /// The mount's own options, as `ro,noexec`.
    pub options: String,
}

/// A mount table is not read beyond this: it only says more of an error.
const MAX: u64 = 16 << 20;

impl Mounted {
    /// Whether it has this option.
    pub fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|word| word == option)
    }

    /// The mount of this number, in a table as `/proc/PID/mountinfo` has it: see `proc_pid_mountinfo(5)`.
    pub fn parse(table: &[u8], id: u64) -> Option<Mounted> {
        let rows = table.split(|b| *b == b'\n').map(|row| row.split(|b| *b == b' ').collect::<Vec<_>>());
        rows.into_iter().find_map(|row| match row.as_slice() {
            [number, _, _, _, point, options, ..] if *number == id.to_string().as_bytes() => {
                Some(Mounted { point: OsString::from_vec(unescaped(point)).into(), options: String::from_utf8_lossy(options).into_owned() })
            }
            _ => None,
        })
    }
}

/// `\040` and the like, by which the table writes blanks, tabs, newlines and backslashes.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\').and_then(|code| std::str::from_utf8(code).ok());
        let (byte, used) = match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => (byte, 3),
            None => (*first, 0),
        };
        bytes.push(byte);
        rest = &after[used..];
    }
    bytes
}

impl Tree {
    /// The mount that a path of the tree is on, for the words of an error: `None` where that can't be found out.
    pub fn mount_of(&self, path: &CStr) -> Option<Mounted> {
        let found = self.find(path, OFlags::empty()).ok()??;
        let number = mount_id(&found)?;
        let mut table = Vec::new();
        std::fs::File::open("/proc/self/mountinfo").ok()?.take(MAX).read_to_end(&mut table).ok()?;
        Mounted::parse(&table, number)
    }
}

fn mount_id(fd: &OwnedFd) -> Option<u64> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/x rw\n\
        31 22 0:30 /a /srv/with\\040blank ro,noexec,idmapped - btrfs /dev/y rw\nshort 1 2\n";

    #[test]
    fn a_row_by_its_number() {
        let found = Mounted::parse(TABLE, 31).unwrap();
        assert_eq!((found.point.to_str().unwrap(), found.options.as_str()), ("/srv/with blank", "ro,noexec,idmapped"));
        assert!(found.has("noexec") && found.has("ro") && !found.has("exec") && !found.has("rw"));
        assert_eq!(Mounted::parse(TABLE, 3), None);
        assert_eq!(Mounted::parse(b"", 22), None);
    }

    #[test]
    fn escapes_are_undone_and_other_backslashes_stay() {
        assert_eq!(unescaped(br"/a\040b\134c\9\0"), br"/a b\c\9\0");
    }

    #[test]
    fn the_mount_of_a_directory_is_found() {
        let tree = Tree::open("/proc".as_ref()).unwrap();
        assert_eq!(tree.mount_of(c"self").unwrap().point.to_str(), Some("/proc"));
        assert_eq!(tree.mount_of(c"no/such"), None);
    }
}
