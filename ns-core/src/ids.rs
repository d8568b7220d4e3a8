//! User and group id maps, `user_namespaces(7)`.

use crate::error::Error;
use std::fmt;

/// One line of a map: `count` ids from `inside` on are `outside` and those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// First id in the namespace.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = |first: u32| u64::from(first) + u64::from(self.count) - 1;
        write!(f, "{}..{} -> {}..{}", self.inside, last(self.inside), self.outside, last(self.outside))
    }
}

/// Maps of users and groups of several ranges, checked: what the kernel would refuse with a bare `EINVAL` is refused here by name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct IdMap {
    uids: Vec<IdRange>,
    gids: Vec<IdRange>,
    deny_setgroups: bool,
}

/// The kernel's limit since Linux 4.15.
const MAX_RANGES: usize = 340;

impl IdMap {
    /// Users and groups alike: `inside`.. is `outside`.., `count` of them.
    pub fn range(inside: u32, outside: u32, count: u32) -> Result<IdMap, Error> {
        IdMap::default().uids(inside, outside, count)?.gids(inside, outside, count)
    }

    /// One more range of users.
    pub fn uids(mut self, inside: u32, outside: u32, count: u32) -> Result<IdMap, Error> {
        add(&mut self.uids, IdRange { inside, outside, count })?;
        Ok(self)
    }

    /// One more range of groups.
    pub fn gids(mut self, inside: u32, outside: u32, count: u32) -> Result<IdMap, Error> {
        add(&mut self.gids, IdRange { inside, outside, count })?;
        Ok(self)
    }

    /// Writes "deny" to `/proc/PID/setgroups` first, as a caller without CAP_SETGID must.
    #[must_use]
    pub fn deny_setgroups(mut self) -> IdMap {
        self.deny_setgroups = true;
        self
    }

    /// The id outside that user `inside` is.
    pub fn outside_uid(&self, inside: u32) -> Option<u32> {
        find(&self.uids, inside)
    }

    /// The id outside that group `inside` is.
    pub fn outside_gid(&self, inside: u32) -> Option<u32> {
        find(&self.gids, inside)
    }

    pub(crate) fn is_complete(&self) -> bool {
        !self.uids.is_empty() && !self.gids.is_empty()
    }

    pub(crate) fn denies_setgroups(&self) -> bool {
        self.deny_setgroups
    }

    /// The texts for `uid_map` and `gid_map`: each is one `write(2)`.
    pub(crate) fn texts(&self) -> (Vec<u8>, Vec<u8>) {
        let text = |ranges: &[IdRange]| {
            ranges.iter().map(|r| format!("{} {} {}\n", r.inside, r.outside, r.count)).collect::<String>().into_bytes()
        };
        (text(&self.uids), text(&self.gids))
    }
}

fn add(ranges: &mut Vec<IdRange>, new: IdRange) -> Result<(), Error> {
    let overlaps = |a: u32, b: u32, old: &IdRange| {
        u64::from(a) < u64::from(b) + u64::from(old.count) && u64::from(b) < u64::from(a) + u64::from(new.count)
    };
    let wrong = if new.count == 0 {
        Some("is empty")
    // The last id is no id: -1 means "leave it" to setresuid(2).
    } else if new.inside.checked_add(new.count).is_none() || new.outside.checked_add(new.count).is_none() {
        Some("goes past the last id")
    } else if ranges.iter().any(|old| overlaps(new.inside, old.inside, old) || overlaps(new.outside, old.outside, old)) {
        Some("overlaps another")
    } else if ranges.len() == MAX_RANGES {
        Some("is one more than the kernel's 340")
    } else {
        None
    };
    match wrong {
        Some(why) => Err(Error::refused(format!("id map: the range of {} from {} to {} {why}", new.count, new.inside, new.outside))),
        None => {
            ranges.push(new);
            Ok(())
        }
    }
}

fn find(ranges: &[IdRange], inside: u32) -> Option<u32> {
    ranges.iter().find(|r| inside >= r.inside && inside - r.inside < r.count).map(|r| r.outside + (inside - r.inside))
}

/// "map ids 0..65535 -> 458752..524287", users and groups apart where they differ.
impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, what: &str, ranges: &[IdRange]| {
            write!(f, "map {what}")?;
            ranges.iter().enumerate().try_for_each(|(n, r)| write!(f, "{} {r}", if n > 0 { "," } else { "" }))
        };
        if self.uids == self.gids {
            return list(f, "ids", &self.uids);
        }
        list(f, "users", &self.uids)?;
        list(f, "; groups", &self.gids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_looks_up() {
        let map = IdMap::range(0, 458752, 65536).unwrap();
        assert_eq!(map.to_string(), "map ids 0..65535 -> 458752..524287");
        assert_eq!((map.outside_uid(5), map.outside_gid(65536)), (Some(458757), None));
        assert_eq!(map.texts().0, b"0 458752 65536\n");
    }

    #[test]
    fn refuses_what_the_kernel_would() {
        assert!(IdMap::range(0, 1, 0).is_err());
        assert!(IdMap::range(0, u32::MAX, 1).is_err());
        assert!(IdMap::range(u32::MAX - 1, 0, 2).is_err());
        assert!(IdMap::range(0, 100, 10).unwrap().uids(9, 200, 1).is_err());
        assert!(IdMap::range(0, 100, 10).unwrap().uids(10, 109, 1).is_err());
        assert!(IdMap::range(0, 100, 10).unwrap().uids(10, 110, 1).is_ok());
    }
}
