//! Which init a tree has, and what it understands from outside: a container's process 1 is asked by a signal, and each init has its own.
//!
//! | init | stop | power off | reboot |
//! |---|---|---|---|
//! | systemd | `RTMIN+3` | `RTMIN+4` | `INT` |
//! | sysvinit from 3.10 | `RTMIN+4` | `RTMIN+4` | `INT`, where its inittab has a line for it |
//! | sysvinit before, with a power-fail line that halts | `PWR` | `PWR` | `INT` |
//! | sysvinit before | as for a reboot, which is not followed | none | `INT` |
//! | busybox | `USR2` | `USR2` | `TERM` |
//! | openrc-init | `TERM` | `TERM` | `INT` |
//! | runit that takes `PWR` (2.3; Debian's) | `PWR` | `PWR` | none |
//! | runit before, with `/etc/runit/ctrlaltdel` | `INT` | `INT` | none |
//! | s6-linux-init | `USR1` | `USR1` | `INT` |
//! | s6-svscan, s6-overlay | `TERM` | `TERM` | none |
//! | any other | `RTMIN+3` | `RTMIN+4` | `INT` |
//!
//! From systemd(1), init(8), runit(8), the documentation of s6 and s6-linux-init, and what busybox and openrc-init do. A signal for
//! which process 1 has no handler does nothing: the time-out is what ends it then.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::AsRawFd;

use memchr::memmem::find;
use rustix::fs::{OFlags, readlink};

use super::super::Tree;
use super::inittab::Inittab;
use super::is_program;

/// So much of a program is looked through for its name: Debian's busybox has two megabytes.
const HEAD: u64 = 4 << 20;

const INT: i32 = 2;
const USR1: i32 = 10;
const USR2: i32 = 12;
const TERM: i32 = 15;
const PWR: i32 = 30;
/// `SIGRTMIN`, as user space counts.
const RTMIN: i32 = 34;

/// Whose program process 1 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InitKind {
    /// systemd
    Systemd,
    /// The one that reads `/etc/inittab`, by van Smoorenburg.
    Sysvinit,
    /// openrc-init. OpenRC below another init is that init.
    Openrc,
    /// busybox's
    Busybox,
    /// runit
    Runit,
    /// s6-svscan, bare or by s6-linux-init or s6-overlay.
    S6,
    /// None of these.
    Other,
}

impl InitKind {
    /// All, with their words.
    pub const WORDS: [(&'static str, InitKind); 7] = [
        ("systemd", InitKind::Systemd),
        ("sysvinit", InitKind::Sysvinit),
        ("openrc", InitKind::Openrc),
        ("busybox", InitKind::Busybox),
        ("runit", InitKind::Runit),
        ("s6", InitKind::S6),
        ("other", InitKind::Other),
    ];

    /// Its word in records.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

impl fmt::Display for InitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What process 1 is, and the signals that it takes for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Init {
    /// Whose program.
    pub kind: InitKind,
    /// Asks it to end, in whatever way: the launcher, which sends it, doesn't follow a reboot then.
    pub stop: Option<i32>,
    /// Asks it to power off, whoever sends it. `None`: no signal does, only the launcher can ask (by `SIGTERM` to itself).
    pub power_off: Option<i32>,
    /// Asks it to reboot.
    pub reboot: Option<i32>,
}

impl Init {
    /// One that takes the signals of systemd, as every init did whose container runs elsewhere.
    pub const OTHER: Init = Init { kind: InitKind::Other, stop: Some(RTMIN + 3), power_off: Some(RTMIN + 4), reboot: Some(INT) };

    const fn halts_by(kind: InitKind, halt: Option<i32>, reboot: Option<i32>) -> Init {
        Init { kind, stop: if halt.is_some() { halt } else { reboot }, power_off: halt, reboot }
    }

    /// The same where the user says by which signal it stops.
    #[must_use]
    pub fn asked_by(self, signal: Option<i32>) -> Init {
        match signal {
            None => self,
            signal => Init { stop: signal, power_off: signal, ..self },
        }
    }

    /// Of a tree whose process 1 is this program, an absolute path in it. What can't be read is no hint.
    pub(in super::super) fn of(tree: &Tree, program: &CStr) -> Init {
        let name = resolved_name(tree, program);
        let by_name = Trait::of_name(&name);
        let found = by_name.or_else(|| tree.head(program, HEAD).ok().flatten().and_then(|head| Trait::of_content(&head)));
        found.map_or(Init::OTHER, |found| found.init(tree, program))
    }
}

/// What a name or a content gives away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trait {
    Systemd,
    Sysvinit,
    Openrc,
    Busybox,
    Runit,
    S6LinuxInit,
    S6,
}

/// Programs by their file's name, once links are followed.
const NAMES: [(&[u8], Trait); 9] = [
    (b"systemd", Trait::Systemd),
    (b"openrc-init", Trait::Openrc),
    (b"busybox", Trait::Busybox),
    (b"busybox.static", Trait::Busybox),
    (b"runit", Trait::Runit),
    (b"runit-init", Trait::Runit),
    (b"s6-linux-init", Trait::S6LinuxInit),
    (b"s6-svscan", Trait::S6),
    (b"s6-overlay-suexec", Trait::S6),
];

/// What only these programs, or scripts that start them, contain. The first that is found decides.
const CONTENTS: [(&[u8], Trait); 9] = [
    (b"BusyBox v", Trait::Busybox),
    (b"INIT_VERSION=sysvinit-", Trait::Sysvinit),
    (b"SysV init version", Trait::Sysvinit),
    (b"OpenRC init version", Trait::Openrc),
    (b"systemd.unit=", Trait::Systemd),
    (b"runit.stopit", Trait::Runit),
    (b"/etc/runit/stopit", Trait::Runit),
    (b"s6-linux-init", Trait::S6LinuxInit),
    (b"s6-", Trait::S6),
];

impl Trait {
    fn of_name(name: &[u8]) -> Option<Trait> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, found)| *found)
    }

    fn of_content(content: &[u8]) -> Option<Trait> {
        CONTENTS.iter().find(|(words, found)| find(content, words).is_some() && found.fits(content)).map(|(_, found)| *found)
    }

    /// The short words of s6 may stand in any program, and mean something in a script only.
    fn fits(self, content: &[u8]) -> bool {
        !matches!(self, Trait::S6 | Trait::S6LinuxInit) || content.starts_with(b"#!")
    }

    fn init(self, tree: &Tree, program: &CStr) -> Init {
        match self {
            Trait::Systemd => Init { kind: InitKind::Systemd, ..Init::OTHER },
            Trait::Sysvinit => sysvinit(tree, program),
            Trait::Openrc => Init::halts_by(InitKind::Openrc, Some(TERM), Some(INT)),
            Trait::Busybox => Init::halts_by(InitKind::Busybox, Some(USR2), Some(TERM)),
            Trait::Runit => runit(tree, program),
            Trait::S6LinuxInit => Init::halts_by(InitKind::S6, Some(USR1), Some(INT)),
            Trait::S6 => Init::halts_by(InitKind::S6, Some(TERM), None),
        }
    }
}

/// From 3.10 on it takes `SIGRTMIN+4`; before, what its inittab does at a power failure or at ctrl-alt-del is all there is.
fn sysvinit(tree: &Tree, program: &CStr) -> Init {
    let inittab = tree.read(c"etc/inittab").ok().flatten().map(|text| Inittab::parse(&text)).unwrap_or_default();
    let reboot = inittab.ctrl_alt_del.then_some(INT);
    let version = tree.head(program, HEAD).ok().flatten().and_then(|head| sysvinit_version(&head));
    let halt = match version {
        Some(version) if version >= (3, 10) => Some(RTMIN + 4),
        _ => inittab.power_fail_halts.then_some(PWR),
    };
    Init::halts_by(InitKind::Sysvinit, halt, reboot)
}

/// As in `INIT_VERSION=sysvinit-3.06`.
fn sysvinit_version(program: &[u8]) -> Option<(u32, u32)> {
    const WORDS: &[u8] = b"INIT_VERSION=sysvinit-";
    let rest = &program[find(program, WORDS)? + WORDS.len()..];
    let (major, rest) = number(rest)?;
    let (minor, _) = number(rest.strip_prefix(b".")?)?;
    Some((major, minor))
}

fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take(9).take_while(|b| b.is_ascii_digit()).count();
    let value = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    Some((value, &text[digits..]))
}

/// From 2.3 on it takes `SIGPWR` where `/etc/runit/pwrfail` may be executed; Debian's before that always does, and is known by where it
/// keeps its flags. Others have ctrl-alt-del, whose usual script asks for a halt.
fn runit(tree: &Tree, program: &CStr) -> Init {
    let debian = tree.head(program, HEAD).ok().flatten().is_some_and(|head| find(&head, b"/run/runit.stopit").is_some());
    let halt = if debian || is_program(tree, c"/etc/runit/pwrfail") {
        Some(PWR)
    } else {
        is_program(tree, c"/etc/runit/ctrlaltdel").then_some(INT)
    };
    Init::halts_by(InitKind::Runit, halt, None)
}

/// The name of the file that a path leads to.
fn resolved_name(tree: &Tree, program: &CStr) -> Vec<u8> {
    let found = tree.find(program, OFlags::empty()).ok().flatten();
    let path = found.and_then(|fd| readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new()).ok());
    path.map(|path| path.as_bytes().rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec()).unwrap_or_default()
}

#[cfg(test)]
#[path = "kind_tests.rs"]
mod tests;
