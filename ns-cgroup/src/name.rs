//! The name of a cgroup: one component of a path.

use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A name that can be a cgroup's directory and nothing else: no `/`, not `.` or `..`, no control characters, at most 255 bytes, and
/// not beginning with `cgroup.`, which are the kernel's own files.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Name(String);

const LONGEST: usize = 255;

impl Name {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Name> {
        match fault(name) {
            None => Ok(Name(name.to_owned())),
            Some(why) => Err(Error::refused(ErrorKind::Invalid, "name of a cgroup", Path::new(&name.escape_debug().to_string()), why)),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn fault(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("it is empty"),
        "." | ".." => Some("it names a directory that exists everywhere"),
        n if n.len() > LONGEST => Some("it is longer than 255 bytes"),
        n if n.contains('/') => Some("a slash in it"),
        n if n.chars().any(char::is_control) => Some("a control character in it"),
        n if n.starts_with("cgroup.") => Some("the kernel's own files begin with \"cgroup.\""),
        _ => None,
    }
}

impl FromStr for Name {
    type Err = Error;
    fn from_str(s: &str) -> Result<Name> {
        Name::new(s)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_directory_name_is_refused() {
        for bad in ["", ".", "..", "a/b", "/", "a\nb", "a\0", "a\u{85}", "cgroup.procs", "cgroup.", &"a".repeat(256)] {
            assert_eq!(Name::new(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad:?}");
        }
        assert!(Name::new("a\nb").unwrap_err().to_string().contains("a\\nb: a control character"));
    }

    #[test]
    fn machine_names_are_names() {
        for good in ["box", "debian-13.example", "..x", "cgroup", "ä", &"a".repeat(255)] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
    }
}
