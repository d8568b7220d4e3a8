//! A mount table, `/proc/PID/mountinfo`, as far as finding a cgroup hierarchy needs it: proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// The directory of the file system that is mounted: `/`, or a cgroup's path for a bind of a part.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// The file system's type: `cgroup2`, `cgroup`.
    pub fstype: String,
}

/// Reads a mount table. Lines that don't have the documented form are passed over: the kernel writes none, and one strange mount must
/// not hide the others.
pub fn parse(table: &[u8]) -> Vec<Mount> {
    table.split(|&b| b == b'\n').filter_map(line).collect()
}

// 36 35 98:0 /root /point rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue
fn line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let root = fields.nth(3)?;
    let point = fields.next()?;
    // The options, then any number of optional fields, then a lone hyphen.
    fields.next()?;
    fields.by_ref().find(|f| *f == b"-")?;
    let fstype = String::from_utf8(unescape(fields.next()?)).ok()?;
    // A mount's point begins with a slash, unless it is out of reach from this process's root.
    let reachable = point.starts_with(b"/") && !fstype.is_empty();
    reachable.then(|| Mount { root: path(root), point: path(point), fstype })
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

/// Undoes the kernel's `\ooo`, which stands for space, tab, newline, backslash and `#`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, after) = octal(rest).unwrap_or((first, tail));
        out.push(byte);
        rest = after;
    }
    out
}

fn octal(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'\\', digits @ ..] = text else { return None };
    let (three, rest) = digits.split_at_checked(3)?;
    let value = three.iter().try_fold(0u32, |sum, &d| (b'0'..=b'7').contains(&d).then(|| sum * 8 + u32::from(d - b'0')))?;
    u8::try_from(value).ok().map(|byte| (byte, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Option<Mount> {
        parse(text.as_bytes()).pop()
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        let m = one("41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n").unwrap();
        assert_eq!((m.root.to_str(), m.point.to_str(), &*m.fstype), (Some("/"), Some("/sys/fs/cgroup/unified"), "cgroup2"));
        let m = one("41 31 0:38 /a /b rw shared:1 master:2 propagate_from:3 unbindable - cgroup2  rw,nsdelegate").unwrap();
        assert_eq!((m.root.to_str(), &*m.fstype), (Some("/a"), "cgroup2"));
    }

    #[test]
    fn undoes_escapes() {
        let m = one(r"1 2 0:3 /x /a\040b\011c\012d\134e\043 rw - cgroup2 n rw").unwrap();
        assert_eq!(m.point.to_str(), Some("/a b\tc\nd\\e#"));
        // What is no escape stays: eight is no octal digit, 777 is no byte, and the end comes too early.
        let m = one(r"1 2 0:3 /x /a\088\777\04 rw - cgroup2 n rw").unwrap();
        assert_eq!(m.point.to_str(), Some(r"/a\088\777\04"));
        let m = one(r"1 2 0:3 /x /\377 rw - cgroup2 n rw").unwrap();
        assert_eq!(m.point.as_os_str().len(), 2);
    }

    #[test]
    fn passes_over_what_has_another_form() {
        for bad in [
            "",
            " ",
            "\n\n",
            "1 2 3",
            "1 2 0:3 / /p rw",
            "1 2 0:3 / /p rw -",
            "1 2 0:3 / /p rw - ",
            "1 2 0:3 / p rw - cgroup2 n rw",
            "- - - - - - -",
        ] {
            assert_eq!(one(bad), None, "{bad:?}");
        }
        let table =
            [b"\xff\xfe\n1 2 0:3 / /\xff rw - cgroup2 n rw\n1 2 0:3 / /p rw - \xff n rw\n1 2".as_slice(), &[b' '; 100_000]].concat();
        assert_eq!(parse(&table).len(), 1);
        // A source or options that look like the separator come after it.
        assert_eq!(one("1 2 0:3 / /p rw - ext4 - - cgroup2").unwrap().fstype, "ext4");
    }
}
