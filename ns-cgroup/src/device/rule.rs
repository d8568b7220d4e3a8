//! Rules: `c 1:3 rwm`.

use crate::error::{Error, ErrorKind, Result};
use bitflags::bitflags;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Block or character.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum DeviceType {
    /// `b`
    Block,
    /// `c`
    Char,
}

bitflags! {
    /// What is done with a device. The values are the kernel's BPF_DEVCG_ACC_*.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct DeviceAccess: u32 {
        /// `m`: making a node, `mknod(2)`.
        const MKNOD = 1;
        /// `r`
        const READ = 2;
        /// `w`
        const WRITE = 4;
    }
}

/// Allows something: `c 1:3 rwm`, with `*` for any major or minor number, `a` for any type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct DeviceRule {
    /// `None`: block and character.
    pub kind: Option<DeviceType>,
    /// `None`: any.
    pub major: Option<u32>,
    /// `None`: any.
    pub minor: Option<u32>,
    /// What is allowed.
    pub access: DeviceAccess,
}

impl DeviceRule {
    /// A character device, all access.
    pub const fn char(major: u32, minor: Option<u32>) -> DeviceRule {
        DeviceRule { kind: Some(DeviceType::Char), major: Some(major), minor, access: DeviceAccess::all() }
    }

    /// A block device, all access.
    pub const fn block(major: u32, minor: Option<u32>) -> DeviceRule {
        DeviceRule { kind: Some(DeviceType::Block), major: Some(major), minor, access: DeviceAccess::all() }
    }

    /// The same device, with less access.
    pub const fn with(self, access: DeviceAccess) -> DeviceRule {
        DeviceRule { access, ..self }
    }

    /// Whether the rule is about this device.
    pub fn covers(&self, kind: DeviceType, major: u32, minor: u32) -> bool {
        self.kind.is_none_or(|k| k == kind) && self.major.is_none_or(|m| m == major) && self.minor.is_none_or(|m| m == minor)
    }
}

/// `c 1:3 rwm`, as [`Display`](fmt::Display) writes it. The majors go to 4,095 and the minors to 1,048,575, as in the kernel.
impl FromStr for DeviceRule {
    type Err = Error;
    fn from_str(s: &str) -> Result<DeviceRule> {
        let fault =
            || Error::refused(ErrorKind::Invalid, "device rule", Path::new(&s.escape_debug().to_string()), "not like \"c 1:3 rwm\"");
        let mut words = s.split(' ');
        let (Some(kind), Some(number), Some(access), None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err(fault());
        };
        let (major, minor) = number.split_once(':').ok_or_else(fault)?;
        Ok(DeviceRule {
            kind: kind_of(kind).ok_or_else(fault)?,
            major: number_of(major, 0xfff).ok_or_else(fault)?,
            minor: number_of(minor, 0xf_ffff).ok_or_else(fault)?,
            access: access_of(access).ok_or_else(fault)?,
        })
    }
}

fn kind_of(word: &str) -> Option<Option<DeviceType>> {
    match word {
        "a" => Some(None),
        "b" => Some(Some(DeviceType::Block)),
        "c" => Some(Some(DeviceType::Char)),
        _ => None,
    }
}

fn number_of(word: &str, largest: u32) -> Option<Option<u32>> {
    match word {
        "*" => Some(None),
        _ if word.bytes().all(|b| b.is_ascii_digit()) => word.parse().ok().filter(|n| *n <= largest).map(Some),
        _ => None,
    }
}

const LETTERS: [(char, DeviceAccess); 3] = [('r', DeviceAccess::READ), ('w', DeviceAccess::WRITE), ('m', DeviceAccess::MKNOD)];

/// Each letter at most once, at least one.
fn access_of(word: &str) -> Option<DeviceAccess> {
    let all = word.chars().try_fold(DeviceAccess::empty(), |all, c| {
        let (_, access) = LETTERS.iter().find(|(letter, _)| *letter == c)?;
        (!all.contains(*access)).then(|| all | *access)
    });
    all.filter(|a| !a.is_empty())
}

impl fmt::Display for DeviceAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        LETTERS.iter().filter(|(_, a)| self.contains(*a)).try_for_each(|(letter, _)| write!(f, "{letter}"))
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            None => 'a',
            Some(DeviceType::Block) => 'b',
            Some(DeviceType::Char) => 'c',
        };
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        write!(f, "{kind} {}:{} {}", number(self.major), number(self.minor), self.access)
    }
}

/// A list of what is allowed; everything else is denied. Its [`Display`](fmt::Display) is a rule a line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeviceRules(Vec<DeviceRule>);

/// null, zero, full, random, urandom; tty, ptmx; the slaves of devpts.
const CONTAINER: [DeviceRule; 8] = [
    DeviceRule::char(1, Some(3)),
    DeviceRule::char(1, Some(5)),
    DeviceRule::char(1, Some(7)),
    DeviceRule::char(1, Some(8)),
    DeviceRule::char(1, Some(9)),
    DeviceRule::char(5, Some(0)),
    DeviceRule::char(5, Some(2)),
    DeviceRule::char(136, None),
];

impl DeviceRules {
    /// Nothing is allowed.
    pub fn none() -> DeviceRules {
        DeviceRules::default()
    }

    /// What every container has: null, zero, full, random, urandom, tty, ptmx, and the terminals of its devpts.
    pub fn container() -> DeviceRules {
        DeviceRules(CONTAINER.to_vec())
    }

    /// Allows more: a device that is bound into the container.
    pub fn allow(mut self, rule: DeviceRule) -> DeviceRules {
        self.0.push(rule);
        self
    }

    /// The rules.
    pub fn iter(&self) -> impl Iterator<Item = &DeviceRule> {
        self.0.iter()
    }

    /// What the rules say: at least one is about the device, and those that are allow together all that is asked for.
    pub fn allows(&self, kind: DeviceType, major: u32, minor: u32, access: DeviceAccess) -> bool {
        let about = |r: &&DeviceRule| r.covers(kind, major, minor);
        let together: DeviceAccess = self.iter().filter(about).map(|r| r.access).collect();
        self.iter().any(|r| about(&r)) && together.contains(access)
    }
}

impl FromIterator<DeviceRule> for DeviceRules {
    fn from_iter<I: IntoIterator<Item = DeviceRule>>(rules: I) -> DeviceRules {
        DeviceRules(rules.into_iter().collect())
    }
}

impl fmt::Display for DeviceRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|rule| writeln!(f, "{rule}"))
    }
}
