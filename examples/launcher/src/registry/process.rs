//! Processes by something that lasts: a number is given to another process some day.

use std::fs::File;
use std::io::Read;

use ns_core::{Errno, PidFd};

use crate::{Error, Kind};

/// A process by its pid and its start time, `proc_pid_stat(5)`: two processes never have both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// Its number, as seen where the launcher ran; never 0.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: in clock ticks after the host's boot.
    pub start_time: u64,
}

/// A line of `stat` has 52 numbers and a name of 64 bytes.
const LINE: u64 = 4096;

impl ProcessId {
    /// The calling process.
    ///
    /// # Errors
    /// `/proc` can't be read.
    pub fn of_self() -> Result<ProcessId, Error> {
        let pid = std::process::id();
        let failed = || Error::call(Kind::Host, format!("read /proc/{pid}/stat"), Errno::ENOENT).hint("/proc must be mounted");
        start_time(pid)?.map(|start_time| ProcessId { pid, start_time }).ok_or_else(failed)
    }

    /// The process of a pidfd; `None`: it has ended, or can't be seen from here.
    ///
    /// # Errors
    /// `/proc` can't be read.
    pub fn of(pidfd: &PidFd) -> Result<Option<ProcessId>, Error> {
        let Some(pid) = pidfd.pid() else { return Ok(None) };
        let found = start_time(pid)?.map(|start_time| ProcessId { pid, start_time });
        // Only while it lives is the number its own.
        Ok(found.filter(|_| !pidfd.has_ended()))
    }

    /// `pidfd_open(2)` of this very process; `None`: it has ended, whoever has its number now.
    ///
    /// # Errors
    /// `pidfd_open` failed for another reason, as want of descriptors.
    pub fn open(self) -> Result<Option<PidFd>, Error> {
        let pidfd = match PidFd::open(self.pid) {
            Ok(pidfd) => pidfd,
            Err(e) if e.errno() == Some(Errno::ESRCH) => return Ok(None),
            Err(e) => return Err(Error::host(e)),
        };
        // In this order: what was read belongs to the process of the pidfd if that still lives afterwards.
        let same = start_time(self.pid)? == Some(self.start_time);
        Ok(Some(pidfd).filter(|pidfd| same && !pidfd.has_ended()))
    }

    /// Whether it has not ended. One that can't be asked for lives.
    pub fn lives(self) -> bool {
        !matches!(self.open(), Ok(None))
    }
}

/// `None`: there is no such process.
fn start_time(pid: u32) -> Result<Option<u64>, Error> {
    let path = format!("/proc/{pid}/stat");
    let failed = |e: &std::io::Error| Error::call(Kind::Host, format!("read {path}"), Errno::new(e.raw_os_error().unwrap_or_default()));
    let mut line = Vec::new();
    match File::open(&path).and_then(|file| file.take(LINE).read_to_end(&mut line)) {
        Err(e) if [Errno::ENOENT, Errno::ESRCH].map(|errno| Some(errno.raw_os_error())).contains(&e.raw_os_error()) => Ok(None),
        Err(e) => Err(failed(&e)),
        Ok(_) => Ok(parse(&line)),
    }
}

/// The second field is the process's own choice, in parentheses, and may hold any byte: the fields after it begin behind the last one.
fn parse(line: &[u8]) -> Option<u64> {
    let end = line.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(line.get(end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(FIELD - FIRST)?.parse().ok()
}

/// Of the start time, and of what comes after the name.
const FIELD: usize = 22;
const FIRST: usize = 3;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn finds_itself_again() {
        let me = ProcessId::of_self().unwrap();
        assert_eq!(me.open().unwrap().unwrap().pid(), Some(std::process::id()));
        assert_eq!(ProcessId::of(&PidFd::of_self().unwrap()).unwrap(), Some(me));
        assert!(me.lives());
    }

    #[test]
    fn a_recycled_number_is_another_process() {
        let me = ProcessId::of_self().unwrap();
        for start_time in [me.start_time - 1, me.start_time + 1, 0, u64::MAX] {
            let other = ProcessId { start_time, ..me };
            assert!(other.open().unwrap().is_none() && !other.lives());
        }
        for pid in [0, i32::MAX as u32, u32::MAX] {
            assert!(ProcessId { pid, ..me }.open().unwrap().is_none(), "{pid}");
        }
    }

    #[test]
    fn one_that_has_ended_is_none_even_while_nobody_waits_for_it() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = PidFd::open(child.id()).unwrap();
        let id = ProcessId::of(&pidfd).unwrap().unwrap();
        assert!(id.lives());
        child.kill().unwrap();
        assert!(pidfd.ended_within(std::time::Duration::from_secs(10)));
        assert!(!id.lives() && ProcessId::of(&pidfd).unwrap().is_none());
        child.wait().unwrap();
        assert!(!id.lives() && ProcessId::of(&pidfd).unwrap().is_none());
    }

    #[test]
    fn names_that_look_like_fields() {
        let tail = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        for name in ["sh", ") S 1", "a) (b", "\u{1b}[2J", "((("] {
            assert_eq!(parse(format!("77 ({name}){tail}").as_bytes()), Some(4711), "{name}");
        }
        for line in
            [&b""[..], b"77 (sh", b"77 (sh) S 1 2", b")", b"77 (sh) \xff", b"1 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 -1"]
        {
            assert_eq!(parse(line), None, "{}", line.escape_ascii());
        }
    }
}
