//! Names of network interfaces.

use std::ffi::OsStr;
use std::fmt;

use crate::{Error, escape::Escaped};

/// A network interface's name, as the kernel takes it: 1 to 15 bytes, neither `.` nor `..`, no slash, colon, space or control.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IfName(String);

/// `IFNAMSIZ` without the end.
const MAX: usize = 15;

impl IfName {
    /// The name, if it is one.
    ///
    /// # Errors
    /// Names what was asked for.
    pub fn new(name: &OsStr) -> Result<IfName, Error> {
        match name.to_str() {
            Some(name) if is_valid(name) => Ok(IfName(name.to_owned())),
            _ => Err(Error::usage(format!("Invalid network interface name '{}'", Escaped::os(name)))),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Stricter than the kernel, which also takes bytes above 0x7f, and `%`, which it reads as a place for a number.
fn is_valid(name: &str) -> bool {
    let length = (1..=MAX).contains(&name.len());
    length && !matches!(name, "." | "..") && name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%'))
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_links() {
        for name in ["lxcbr0", "br-1.5", "a", "123456789012345"] {
            assert_eq!(IfName::new(name.as_ref()).unwrap().as_str(), name);
        }
        for name in ["", ".", "..", "a/b", "a:1", "a b", "a\n", "eth%d", "brücke", "1234567890123456"] {
            assert!(IfName::new(name.as_ref()).is_err(), "{name}");
        }
    }
}
