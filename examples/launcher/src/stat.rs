//! `/proc/PID/stat`, `proc_pid_stat(5)`: what a process is called, what it does, and since when.

use std::fs::File;
use std::io::{self, Read};

/// A line has 52 numbers and a name of 64 bytes.
const LINE: u64 = 4096;

/// Some fields of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Field 2: the name that the process gave itself; any bytes.
    pub comm: Vec<u8>,
    /// Field 3: `R` runs, `S` sleeps, `D` can't be interrupted, `T` is stopped, `t` is traced, `Z` has ended.
    pub state: u8,
    /// Field 22: in clock ticks after the host's boot.
    pub start_time: u64,
}

impl Stat {
    /// Of a process by its pid; `None`: there is none.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn of(pid: u32) -> io::Result<Option<Stat>> {
        let mut line = Vec::new();
        match File::open(format!("/proc/{pid}/stat")).and_then(|file| file.take(LINE).read_to_end(&mut line)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(None),
            Err(e) => Err(e),
            Ok(_) => Ok(Stat::parse(&line)),
        }
    }

    /// Reads a line. The name may hold any byte, parentheses and spaces among them: what comes after it begins behind the last one.
    pub fn parse(line: &[u8]) -> Option<Stat> {
        let (begin, end) = (line.iter().position(|b| *b == b'(')?, line.iter().rposition(|b| *b == b')')?);
        let comm = line.get(begin + 1..end)?.to_vec();
        let mut fields = std::str::from_utf8(&line[end + 1..]).ok()?.split_ascii_whitespace();
        let &[state] = fields.next()?.as_bytes() else { return None };
        // The next is field 4.
        let start_time = fields.nth(22 - 4)?.parse().ok()?;
        Some(Stat { comm, state, start_time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_own() {
        let own = Stat::of(std::process::id()).unwrap().unwrap();
        assert!(own.start_time > 0 && matches!(own.state, b'R' | b'S'), "{own:?}");
        assert_eq!(Stat::of(u32::MAX).unwrap(), None);
    }

    #[test]
    fn a_name_may_hold_any_byte() {
        let rest = " D 1 2 3 4 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 987654 1 2";
        for name in [&b"sh"[..], b"a) Z 1 (b", b"", b"\xff\n) S 1", b"(("] {
            let line = [b"77 (", name, b")", rest.as_bytes()].concat();
            assert_eq!(Stat::parse(&line), Some(Stat { comm: name.to_vec(), state: b'D', start_time: 987_654 }), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_line_is_none() {
        for line in [&b""[..], b"77", b"77 (sh", b"77 sh) S", b")(", b"77 (sh) DD 1", b"77 (sh) D 1 2 3", b"77 (sh) \xff 1"] {
            assert_eq!(Stat::parse(line), None, "{}", line.escape_ascii());
        }
    }
}
