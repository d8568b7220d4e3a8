//! Which of the host's user ids a container's ids are.

use std::fmt;

use crate::{Error, escape::Escaped};

/// `--private-users`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateUsers {
    /// A free range of 65,536 ids, picked by the machine's name.
    Pick,
    /// No user namespace: container root is the host's root, held by capabilities, filter and mounts only.
    No,
    /// The container's ids 0 to 65535 are the host's, in a user namespace.
    Identity,
    /// The container's 0 is the host's `start`, and so on for `len` ids.
    Range {
        /// The first id on the host, never 0.
        start: u32,
        /// How many, never 0; `start + len - 1` is an id.
        len: u32,
    },
}

/// As many as a container of any distribution needs, and as the other tools hand out.
const LEN: u32 = 65536;

impl PrivateUsers {
    pub(super) fn parse(value: &str) -> Result<PrivateUsers, Error> {
        match value {
            "pick" | "yes" | "true" | "on" => Ok(PrivateUsers::Pick),
            "no" | "false" | "off" => Ok(PrivateUsers::No),
            "identity" => Ok(PrivateUsers::Identity),
            // systemd reads them as yes and no; as ids they would mean something else.
            "0" | "1" => Err(bad(value, "say yes, no, identity or START:LENGTH")),
            range => parse_range(range).map_err(|why| bad(value, why)),
        }
    }
}

fn bad(value: &str, why: &str) -> Error {
    Error::usage(format!("Invalid value '{}' for --private-users", Escaped::text(value))).hint(why)
}

fn parse_range(text: &str) -> Result<PrivateUsers, &'static str> {
    let (start, len) = match text.split_once(':') {
        Some((start, len)) => (number(start)?, number(len)?),
        None => (number(text)?, LEN),
    };
    match (start, len) {
        (0, _) => Err("the host's id 0 is not given to a container; 'identity' maps 0 to itself"),
        (_, 0) => Err("the range is empty"),
        // 4294967295 stands for "unchanged" in chown(2), so the sum itself has to be a number below.
        (start, len) if start.checked_add(len).is_none() => Err("the range ends above 4294967294"),
        (start, len) => Ok(PrivateUsers::Range { start, len }),
    }
}

/// Decimal digits only: no sign, no space, no leading zero that might be meant as octal.
fn number(text: &str) -> Result<u32, &'static str> {
    const EXPECTED: &str = "expected yes, no, pick, identity or START[:LENGTH]";
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match digits && (text == "0" || !text.starts_with('0')) {
        true => text.parse().map_err(|_| "ids end at 4294967294"),
        false => Err(EXPECTED),
    }
}

impl fmt::Display for PrivateUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrivateUsers::Pick => f.write_str("pick"),
            PrivateUsers::No => f.write_str("no"),
            PrivateUsers::Identity => f.write_str("identity"),
            PrivateUsers::Range { start, len } => write!(f, "{start}:{len}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let range = |start, len| PrivateUsers::Range { start, len };
        let table = [
            ("yes", PrivateUsers::Pick),
            ("pick", PrivateUsers::Pick),
            ("no", PrivateUsers::No),
            ("off", PrivateUsers::No),
            ("identity", PrivateUsers::Identity),
            ("131072", range(131072, 65536)),
            ("1:1", range(1, 1)),
            ("2:65536", range(2, 65536)),
            ("4294901759", range(4294901759, 65536)),
            ("4294967294:1", range(4294967294, 1)),
            ("1:4294967294", range(1, 4294967294)),
        ];
        for (text, users) in table {
            assert_eq!(PrivateUsers::parse(text).unwrap(), users, "{text}");
            assert_eq!(PrivateUsers::parse(&users.to_string()).unwrap(), users, "{text}");
        }
    }

    #[test]
    fn nonsense() {
        let table = [
            "",
            "0",
            "1",
            "0:65536",
            "-1",
            "+5",
            " 5",
            "5 ",
            "5:",
            ":5",
            "5:0",
            "5:-1",
            "5:5:5",
            "0x10",
            "010",
            "1e5",
            "Yes",
            "managed",
            "５",
            "4294967295",
            "4294967296",
            "4294967295:1",
            "4294901760",
            "2:4294967294",
            "1:4294967295",
            "99999999999999999999",
            "5\n",
            "\u{202e}",
        ];
        for text in table {
            let e = PrivateUsers::parse(text).unwrap_err().to_string();
            assert!(e.starts_with("Invalid value '") && !e.contains(['\n', '\u{202e}']), "{text}: {e}");
        }
    }
}
