//! Writing a child's id maps, `user_namespaces(7)`: by its builder, or by the caller.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::raw::{self, Errno};
use crate::step::{Call, ChildFd, Fault};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::retry_on_intr;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// A short path, made on the stack.
pub(super) struct Name {
    bytes: [u8; 64],
    len: usize,
}

impl Name {
    pub fn new() -> Name {
        Name { bytes: [0; 64], len: 0 }
    }

    pub fn text(mut self, text: &str) -> Name {
        // One byte is left for the NUL.
        for (to, from) in self.bytes.iter_mut().take(63).skip(self.len).zip(text.as_bytes()) {
            *to = *from;
            self.len += 1;
        }
        self
    }

    pub fn number(self, number: u32) -> Name {
        let mut digits = [b'0'; 10];
        let mut rest = number;
        let mut used = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            used += 1;
            if rest == 0 {
                break;
            }
        }
        let text = digits.get(10 - used..).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default();
        self.text(text)
    }

    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

fn open_at(dir: BorrowedFd<'_>, name: &Name, flags: OFlags) -> Result<ChildFd, Fault> {
    retry_on_intr(|| openat(dir, name.as_c_str(), flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty()))
        .map(ChildFd::from)
        .call("openat")
}

/// The number of a pidfd's process in the pid namespace of `proc`: `Pid:` of `self/fdinfo/FD`. The builder may live in another.
pub(super) fn pid_in(proc: BorrowedFd<'_>, pidfd: BorrowedFd<'_>) -> Result<u32, Fault> {
    let file = open_at(proc, &Name::new().text("self/fdinfo/").number(pidfd.as_raw_fd() as u32), OFlags::RDONLY)?;
    let mut text = [0; 512];
    let len = raw::read(file.as_fd(), &mut text).call("read");
    file.close();
    let text = text.get(..len?).unwrap_or_default();
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Pid:"));
    let number = line.and_then(|line| std::str::from_utf8(line.trim_ascii()).ok()).and_then(|digits| digits.parse::<i32>().ok());
    number.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0).ok_or(Fault::new("fdinfo", Errno::ESRCH))
}

fn write_file(proc: BorrowedFd<'_>, pid: u32, file: &'static str, text: &[u8]) -> Result<(), Fault> {
    let fd = open_at(proc, &Name::new().number(pid).text("/").text(file), OFlags::WRONLY)?;
    let written = raw::write(fd.as_fd(), text);
    fd.close();
    written.map(drop).map_err(|errno| Fault::new(file, errno))
}

/// Writes `setgroups` (where groups are denied), `uid_map` and `gid_map` of a child.
pub(super) fn write_maps(proc: BorrowedFd<'_>, child: BorrowedFd<'_>, uids: &[u8], gids: &[u8], deny: bool) -> Result<(), Fault> {
    let pid = pid_in(proc, child)?;
    if deny {
        write_file(proc, pid, "setgroups", b"deny")?;
    }
    write_file(proc, pid, "uid_map", uids)?;
    write_file(proc, pid, "gid_map", gids)
}

/// A child's user namespace: `PID/ns/user`, since PIDFD_GET_USER_NAMESPACE is newer than the floor.
pub(super) fn user_namespace(proc: BorrowedFd<'_>, child: BorrowedFd<'_>) -> Result<ChildFd, Fault> {
    let pid = pid_in(proc, child)?;
    open_at(proc, &Name::new().number(pid).text("/ns/user"), OFlags::RDONLY)
}

#[cfg(test)]
#[allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "tests run in the parent")]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_without_memory() {
        assert_eq!(Name::new().number(0).text("/").number(4294967295).as_c_str(), c"0/4294967295");
        assert_eq!(Name::new().text(&"x".repeat(100)).as_c_str().count_bytes(), 63);
    }
}
