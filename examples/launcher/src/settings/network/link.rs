//! Links by their names outside and inside.

use super::IfName;
use crate::{Error, escape::Escaped};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// Where the outer end of the container's link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attach {
    /// `-n`: on the host.
    Host,
    /// `--network-bridge`: a port of this bridge, which is there.
    Bridge(IfName),
    /// `--network-zone`: a port of this zone's bridge, made with its first member and gone with its last.
    Zone(Zone),
}

/// The name of a zone, whose bridge is `vz-NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(String);

impl Zone {
    /// The name, if it is the rest of a bridge's: 1 to 12 bytes, as [`IfName`]'s.
    ///
    /// # Errors
    /// Names what was asked for.
    pub fn new(name: &OsStr) -> Result<Zone, Error> {
        let wrong = || Error::usage(format!("Invalid network zone name '{}': 1 to 12 letters and digits", Escaped::os(name)));
        let text = name.to_str().filter(|text| !text.is_empty()).ok_or_else(wrong)?;
        IfName::new(format!("vz-{text}").as_ref()).map_err(|_| wrong())?;
        Ok(Zone(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A link's name outside, and the name inside if another was asked for: `HOST[:CONT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Outside.
    pub outer: IfName,
    /// Inside; `None`: what the kind of link has by default.
    pub inner: Option<IfName>,
}

impl Inner {
    /// Reads `HOST[:CONT]`.
    ///
    /// # Errors
    /// One of them is no interface's name.
    pub fn parse(value: &OsStr) -> Result<Inner, Error> {
        let mut parts = value.as_bytes().splitn(2, |byte| *byte == b':').map(|part| IfName::new(OsStr::from_bytes(part)));
        let outer = parts.next().unwrap_or_else(|| IfName::new(OsStr::new("")))?;
        Ok(Inner { outer, inner: parts.next().transpose()? })
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.outer, f)?;
        self.inner.iter().try_for_each(|inner| write!(f, ":{inner}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_inside_are_optional() {
        for text in ["eth0", "eth0:lan", "a:b"] {
            assert_eq!(Inner::parse(text.as_ref()).unwrap().to_string(), text);
        }
        for text in ["", ":", "a:", ":b", "a:b:c", "a/b", "1234567890123456", "a:1234567890123456"] {
            assert!(Inner::parse(text.as_ref()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_zone_is_the_rest_of_a_name() {
        assert_eq!(Zone::new("web".as_ref()).unwrap().as_str(), "web");
        for text in ["", "a/b", "a b", "1234567890123", "ö"] {
            assert!(Zone::new(text.as_ref()).is_err(), "{text}");
        }
    }
}
