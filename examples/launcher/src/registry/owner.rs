//! Who has a lock, told to those who come too late.

use std::fmt;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};

use super::lock::{Attempt, LockFile, Mode};
use crate::Error;
use crate::settings::MachineName;

/// Who takes a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The machine's name.
    pub machine: MachineName,
    /// The launcher's process.
    pub pid: u32,
}

/// What became of a claim.
pub(super) enum Claim {
    Held(LockFile),
    /// Somebody has it, who may have said who he is.
    Busy(Option<Owner>),
}

/// How often a lock is tried again whose holder is nobody to name: one that has yet to write his name, which takes microseconds; one that
/// looks whether he was the last; a keeper that ends its payload; a collector.
pub(super) const TRIES: u32 = 40;
pub(super) const PAUSE: Duration = Duration::from_millis(1);
/// Behind the name of one who shares.
const SHARED: &str = "shared";

/// Takes a lock, and says in the file who has it: at once, or, where somebody left it behind, when the holder has seen to what is left of
/// him and settles it. Until then it is held alone, also to be shared: two could not know of each other whether one of them has.
pub(super) fn claim(path: &std::path::Path, mode: Mode, owner: &Owner) -> Result<Claim, Error> {
    let mut last = Vec::new();
    for _ in 0..TRIES {
        match LockFile::take(path.to_owned(), mode)? {
            Attempt::Held(lock) if is_left_behind(&lock) && mode == Mode::Shared => {
                lock.abandon(&[]);
                match LockFile::take(path.to_owned(), Mode::Exclusive)? {
                    Attempt::Held(lock) => return Ok(Claim::Held(lock.unsettled())),
                    Attempt::Busy(content) => last = content,
                }
            }
            Attempt::Held(lock) if is_left_behind(&lock) => return Ok(Claim::Held(lock.unsettled())),
            Attempt::Held(lock) => {
                match mode {
                    Mode::Exclusive => lock.describe(&owner.line(mode))?,
                    Mode::Shared => lock.describe_also(&owner.line(mode))?,
                }
                return Ok(Claim::Held(lock));
            }
            Attempt::Busy(content) => last = content,
        }
        match Owner::in_the_way(&last, mode) {
            Some(owner) => return Ok(Claim::Busy(Some(owner))),
            None => sleep(PAUSE),
        }
    }
    Ok(Claim::Busy(Owner::last_of(&last)))
}

/// Whoever had it for himself ended without giving it back.
fn is_left_behind(lock: &LockFile) -> bool {
    if lock.is_shared() { !Owner::alone_in(lock.found()).is_empty() } else { !lock.found().is_empty() }
}

/// Takes a lock that others describe in their own way, or not at all.
pub(super) fn claim_unnamed(take: impl Fn() -> Result<Attempt, Error>) -> Result<Claim, Error> {
    for _ in 0..TRIES {
        match take()? {
            Attempt::Held(lock) => return Ok(Claim::Held(lock)),
            Attempt::Busy(_) => sleep(PAUSE),
        }
    }
    Ok(Claim::Busy(None))
}

impl Owner {
    /// What a lock file says while it is held to clean up after a crash.
    pub(super) const COLLECTOR: &'static [u8] = b"collector\n";

    /// Whoever keeps a claim of this mode from being granted, if he lives.
    fn in_the_way(content: &[u8], mode: Mode) -> Option<Owner> {
        // Who shares does not keep another from sharing, but for a moment when he lets go.
        let all = lines(content).filter(|(_, shared)| mode == Mode::Exclusive || !shared);
        all.map(|(owner, _)| owner).filter(Owner::lives).last()
    }

    /// The last of those named.
    pub(super) fn last_of(content: &[u8]) -> Option<Owner> {
        lines(content).last().map(|(owner, _)| owner)
    }

    /// Those who had a lock for themselves and left it behind.
    pub(super) fn alone_in(content: &[u8]) -> Vec<Owner> {
        lines(content).filter(|(_, shared)| !shared).map(|(owner, _)| owner).collect()
    }

    /// All that a lock file names.
    pub(super) fn all_in(content: &[u8]) -> impl Iterator<Item = Owner> {
        lines(content).map(|(owner, _)| owner)
    }

    /// As a lock file has it.
    pub(super) fn line(&self, mode: Mode) -> String {
        match mode {
            Mode::Exclusive => format!("{self}\n"),
            Mode::Shared => format!("{self} {SHARED}\n"),
        }
    }

    /// By its number, which another process may have by now: only words depend on it.
    fn lives(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
    }
}

/// Whole lines: the pid, a space, the name, and whether it is shared. What is none names nobody.
fn lines(content: &[u8]) -> impl Iterator<Item = (Owner, bool)> {
    let whole = content.split_inclusive(|b| *b == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
    whole.filter_map(|line| {
        let (pid, machine) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        let (machine, shared) = match machine.split_once(' ') {
            Some((machine, SHARED)) => (machine, true),
            _ => (machine, false),
        };
        let pid = Some(pid).filter(|pid| pid.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
        Some((Owner { machine: MachineName::new(machine).ok()?, pid }, shared))
    })
}

/// As in a lock file.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(pid: u32, name: &str) -> Owner {
        Owner { machine: MachineName::new(name).unwrap(), pid }
    }

    #[test]
    fn a_file_of_nonsense_names_nobody() {
        for content in [
            &b""[..],
            b"77",
            b"77 box",
            b"x box\n",
            b"-1 box\n",
            b"+1 box\n",
            b"77 b\x1bx\n",
            b"\xff\n",
            b"77 box other\n",
            Owner::COLLECTOR,
        ] {
            assert_eq!(Owner::last_of(content), None, "{}", content.escape_ascii());
        }
        assert_eq!(Owner::last_of(b"77 box\n"), Some(owner(77, "box")));
        assert_eq!(Owner::last_of(b"76 a shared\nnonsense\n77 box shared\n78 c"), Some(owner(77, "box")));
    }

    #[test]
    fn who_lives_and_does_not_share_is_in_the_way() {
        let (me, dead) = (std::process::id(), i32::MAX);
        let shared = format!("{me} a shared\n{dead} b shared\n");
        assert_eq!(Owner::in_the_way(shared.as_bytes(), Mode::Exclusive), Some(owner(me, "a")));
        assert_eq!(Owner::in_the_way(shared.as_bytes(), Mode::Shared), None);
        let alone = format!("{me} a\n");
        assert_eq!(Owner::in_the_way(alone.as_bytes(), Mode::Shared), Some(owner(me, "a")));
        assert_eq!(Owner::in_the_way(format!("{dead} a\n").as_bytes(), Mode::Exclusive), None);
        assert_eq!(Owner::alone_in(b"1 a\n2 b shared\n3 c\n"), [owner(1, "a"), owner(3, "c")]);
    }
}
