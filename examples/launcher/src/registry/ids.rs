//! Ranges of user ids, each of one container at a time.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;
use std::path::Path;

use ns_core::Errno;
use siphasher::sip::SipHasher24;

use super::Places;
use super::lock::{Attempt, LockFile, Mode};
use crate::settings::MachineName;
use crate::{Error, Kind, escape::Escaped};

/// What the lock files of systemd-nspawn are about.
const BLOCK: u32 = 0x1_0000;
/// The first and the last start of a block that may be picked, as systemd-nspawn does.
const FIRST: u32 = 0x8_0000;
const LAST: u32 = 0x6FFF_0000;
/// As many blocks are tried: on a machine with a thousand containers one in 29 is taken.
const TRIES: u64 = 100;
/// Each block is a lock that the keeper holds, and a keeper holds some sixty descriptors at most.
pub(super) const MAX_BLOCKS: usize = 48;
/// The host's lists of users and their ids are read to here.
const MAX_LIST: u64 = 16 * 1024 * 1024;
/// Of the hash; any number will do, as long as it stays: a machine gets the same range again.
const KEY: (u64, u64) = (0x6e73_6b69_745f_6964, 0x5f72_616e_6765_7321);

/// A range of the host's ids that is this container's alone, for as long as this or a copy of its descriptors is open.
#[derive(Debug)]
pub struct IdRange {
    start: u32,
    len: u32,
    locks: Vec<LockFile>,
}

impl IdRange {
    /// 65,536 ids that belong to nobody, and that neither systemd-nspawn nor another of ours uses; the first choice follows from the name.
    ///
    /// Not free is a block with an id of `/etc/passwd` or `/etc/group`, or that touches a line of `/etc/subuid` or `/etc/subgid`.
    ///
    /// # Errors
    /// A hundred blocks were taken; or the lists can't be read, or the lock files not be made.
    pub fn pick(places: &Places, machine: &MachineName) -> Result<IdRange, Error> {
        let given = Given::read(&places.etc)?;
        for start in candidates(machine).filter(|start| !given.touches(*start)) {
            if let Some(lock) = lock(places, start)? {
                return Ok(IdRange { start, len: BLOCK, locks: vec![lock] });
            }
        }
        let text = format!("No free range of user ids was found for machine '{machine}' in {TRIES} tries");
        Err(Error::new(Kind::Busy, text).with_errno(Errno::EBUSY).hint("name one with --private-users=START"))
    }

    /// The range that the user named; it is taken even if it belongs to somebody, but not while another container has it.
    ///
    /// # Errors
    /// [`Kind::Busy`]: another container has a part of it.
    pub fn at(places: &Places, start: u32, len: u32) -> Result<IdRange, Error> {
        let blocks: Vec<u32> = blocks(start, len).take(MAX_BLOCKS + 1).collect();
        if blocks.len() > MAX_BLOCKS {
            return Err(Error::usage(format!("The range of user ids {start}:{len} is too large: at most {MAX_BLOCKS} times {BLOCK}")));
        }
        let mut locks = Vec::new();
        for block in blocks {
            let busy =
                || Error::new(Kind::Busy, format!("The range of user ids {start}:{len} is in use: another container has {block}:{BLOCK}"));
            locks.push(lock(places, block)?.ok_or_else(|| busy().with_errno(Errno::EBUSY))?);
        }
        Ok(IdRange { start, len, locks })
    }

    /// The first id.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// How many.
    pub fn count(&self) -> u32 {
        self.len
    }

    /// What the keeper has to inherit.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.locks.iter().filter_map(LockFile::fd)
    }
}

fn lock(places: &Places, block: u32) -> Result<Option<LockFile>, Error> {
    match LockFile::take(places.id_locks()?.join(block.to_string()), Mode::Exclusive)? {
        Attempt::Held(lock) => Ok(Some(lock)),
        Attempt::Busy(_) => Ok(None),
    }
}

/// The starts of the blocks that a range touches.
pub(super) fn blocks(start: u32, len: u32) -> impl Iterator<Item = u32> {
    let last = start.saturating_add(len.saturating_sub(1));
    (start / BLOCK..=last / BLOCK).map(|n| n * BLOCK)
}

fn candidates(machine: &MachineName) -> impl Iterator<Item = u32> {
    let count = u64::from((LAST - FIRST) / BLOCK + 1);
    (0..TRIES).map(move |attempt| {
        let hash = SipHasher24::new_with_keys(KEY.0, KEY.1.wrapping_add(attempt)).hash(machine.as_str().as_bytes());
        // The remainder is below the count.
        FIRST + (hash % count) as u32 * BLOCK
    })
}

/// Ids that belong to somebody.
#[derive(Debug, Default, PartialEq, Eq)]
struct Given(Vec<RangeInclusive<u64>>);

impl Given {
    fn read(etc: &Path) -> Result<Given, Error> {
        let mut given = Given::default();
        for (name, parse) in [("passwd", single as fn(&str) -> _), ("group", single), ("subuid", several), ("subgid", several)] {
            let text = list(&etc.join(name))?;
            given.0.extend(text.lines().flat_map(parse));
        }
        Ok(given)
    }

    fn touches(&self, block: u32) -> bool {
        let (first, last) = (u64::from(block), u64::from(block) + u64::from(BLOCK) - 1);
        self.0.iter().any(|range| *range.start() <= last && *range.end() >= first)
    }
}

/// A line of passwd (a user's and a group's id) or group (a group's, and then names, which are no numbers).
fn single(line: &str) -> Vec<RangeInclusive<u64>> {
    line.split(':').skip(2).take(2).filter_map(|id| id.parse().ok()).map(|id| id..=id).collect()
}

/// A line of subuid or subgid: somebody, a first id, a number of ids.
fn several(line: &str) -> Vec<RangeInclusive<u64>> {
    let mut numbers = line.split(':').skip(1).map(|n| n.trim().parse::<u32>().ok().map(u64::from));
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(first), Some(count @ 1..)) => vec![first..=first + count - 1],
        _ => vec![],
    }
}

/// A list of the host's; an absent one is empty.
/// As long as such a file is, mostly: with less it is read by small pieces.
const PAGE: usize = 4096;

fn list(path: &Path) -> Result<String, Error> {
    let failed = |e: std::io::Error| {
        let errno = Errno::new(e.raw_os_error().unwrap_or_default());
        Error::call(Kind::Host, format!("read {} for a free range of user ids", Escaped::path(path)), errno)
    };
    let file = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(String::new()),
        file => file.map_err(failed)?,
    };
    let mut bytes = Vec::with_capacity(PAGE);
    file.take(MAX_LIST + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > MAX_LIST {
        true => Err(failed(Errno::EFBIG.into())),
        false => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use tempfile::TempDir;

    use super::*;

    fn set_up() -> (TempDir, Places) {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::below(dir.path());
        create_dir_all(&places.etc).unwrap();
        (dir, places)
    }

    fn name(name: &str) -> MachineName {
        MachineName::new(name).unwrap()
    }

    #[test]
    fn candidates_are_blocks_of_their_range_and_stay() {
        for machine in ["a", "box", "debian12"] {
            let starts: Vec<u32> = candidates(&name(machine)).collect();
            assert!(starts.iter().all(|s| s % BLOCK == 0 && (FIRST..=LAST).contains(s)));
            assert_eq!(starts.len(), 100);
            assert!(starts[0] != starts[1]);
        }
        assert_eq!(candidates(&name("box")).next(), Some(BOX));
    }

    /// The first choice for "box"; were it to change, the containers of that name would get other ids.
    const BOX: u32 = 1_210_187_776;

    #[test]
    fn the_same_machine_gets_the_same_and_two_never_share() {
        let (_dir, places) = set_up();
        let first = IdRange::pick(&places, &name("box")).unwrap();
        assert_eq!((first.start(), first.count()), (BOX, 65536));
        let second = IdRange::pick(&places, &name("box")).unwrap();
        assert_ne!(second.start(), first.start());
        let locks = || places.systemd.join("nspawn-uid").read_dir().unwrap().count();
        assert_eq!(locks(), 2);
        drop(first);
        assert_eq!(IdRange::pick(&places, &name("box")).unwrap().start(), BOX);
        drop(second);
        assert_eq!(locks(), 0);
    }

    #[test]
    fn what_belongs_to_somebody_is_passed_over() {
        let lines = [
            ("passwd", format!("u:x:{}:100::/:/bin/sh\n", BOX + 65534)),
            ("passwd", format!("u:x:1000:{BOX}::/:/bin/sh\n")),
            ("group", format!("g:x:{}:\n", BOX + 5)),
            ("group", format!("g:x:{}:a,b\n", BOX + 65535)),
            ("subuid", format!("u:{}:2\n", BOX - 1)),
            ("subgid", format!("nonsense\n# c\nu:{}:1\n", BOX + 65535)),
            ("subuid", "u:1:4294967295\n".to_owned()),
        ];
        for (file, line) in lines {
            let (_dir, places) = set_up();
            write(places.etc.join(file), &line).unwrap();
            match IdRange::pick(&places, &name("box")) {
                Ok(range) => assert_ne!(range.start(), BOX, "{file}: {line}"),
                Err(e) => assert!(line.contains("4294967295") && e.kind() == Kind::Busy, "{e}"),
            }
        }
        let beside = [
            ("subuid", format!("u:{}:1\n", BOX - 1)),
            ("subgid", format!("u:{}:9\n", BOX + 65536)),
            ("passwd", "\u{1}::::\n:::\n".to_owned()),
        ];
        for (file, line) in beside {
            let (_dir, places) = set_up();
            write(places.etc.join(file), &line).unwrap();
            assert_eq!(IdRange::pick(&places, &name("box")).unwrap().start(), BOX, "{file}: {line}");
        }
    }

    #[test]
    fn a_named_range_locks_all_it_touches() {
        let (_dir, places) = set_up();
        let one = IdRange::at(&places, 131072, 65536).unwrap();
        assert_eq!((one.start(), one.count(), one.fds().count()), (131072, 65536, 1));
        let e = IdRange::at(&places, 196607, 1).unwrap_err();
        assert_eq!((e.kind(), e.errno()), (Kind::Busy, Some(Errno::EBUSY)));
        assert!(IdRange::at(&places, 100_000, 65536).is_err());
        drop(one);
        assert_eq!(IdRange::at(&places, 100_000, 65536).unwrap().fds().count(), 2);
        assert_eq!(IdRange::at(&places, 4294901760, 65535).unwrap().fds().count(), 1);
        assert_eq!(IdRange::at(&places, 65536, 48 * 65536).unwrap().fds().count(), MAX_BLOCKS);
        assert_eq!(IdRange::at(&places, 1, u32::MAX - 1).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn the_files_are_those_of_systemd_nspawn() {
        let (_dir, places) = set_up();
        let path = places.id_locks().unwrap().join(BOX.to_string());
        let Attempt::Held(lock) = LockFile::take(path.clone(), Mode::Exclusive).unwrap() else { panic!("held by nobody") };
        let ours = IdRange::pick(&places, &name("box")).unwrap();
        assert_ne!(ours.start(), BOX);
        drop((lock, ours));
        assert!(!path.exists());
    }

    #[test]
    fn lists_are_bounded() {
        let (_dir, places) = set_up();
        File::create(places.etc.join("subuid")).unwrap().set_len(4 << 30).unwrap();
        assert_eq!(IdRange::pick(&places, &name("box")).unwrap_err().errno(), Some(Errno::EFBIG));
    }
}
