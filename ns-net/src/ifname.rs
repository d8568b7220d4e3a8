//! Names of links: [`IfName`], and the longer [`AltName`].

use crate::error::{Error, Kind, Result};
use std::fmt;
use std::str::FromStr;

/// A link's name, as `dev_valid_name` of the kernel takes it: 1 to 15 bytes, not `.` or `..`, no `/`, `:` or white space.
///
/// [`IfName::new`] is stricter, for names that a caller chooses: printable ASCII; no `%`, in which the kernel sees a pattern (`ve-%d`
/// becomes `ve-0`); not `all` or `default`, which are directories of their own below `/proc/sys/net/ipv4/conf`; not digits alone,
/// which tools take for an index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IfName {
    len: u8,
    bytes: [u8; IfName::MAX],
}

impl IfName {
    /// Longest name: `IFNAMSIZ - 1`.
    pub const MAX: usize = 15;
    /// The name of the container's end of its own veth: `host0`.
    pub const HOST0: IfName = IfName { len: 5, bytes: *b"host0\0\0\0\0\0\0\0\0\0\0" };

    /// Checks a name once; [`Kind::Invalid`] says what is wrong with it.
    pub fn new(name: &str) -> Result<IfName> {
        check(name, IfName::MAX)?;
        IfName::from_kernel(name.as_bytes()).ok_or_else(|| invalid(name, "the kernel takes no such name"))
    }

    /// A name that the kernel said: any that `dev_valid_name` takes.
    pub(crate) fn from_kernel(name: &[u8]) -> Option<IfName> {
        let refused = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'/' | b':' | 0 | 0x0b);
        if name.is_empty() || name.len() > IfName::MAX || name == b"." || name == b".." || name.iter().any(refused) {
            return None;
        }
        let mut bytes = [0; IfName::MAX];
        bytes.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        Some(IfName { len: name.len() as u8, bytes })
    }

    /// The bytes, without a null.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Bytes that are no printable ASCII are escaped: another program may have given the name.
impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(f)
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for IfName {
    type Err = Error;

    fn from_str(name: &str) -> Result<IfName> {
        IfName::new(name)
    }
}

/// A further name of a link, up to 127 bytes (`ALTIFNAMSIZ - 1`), in one space of names with the first ones. Linux 5.5.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AltName(Box<[u8]>);

impl AltName {
    /// Longest name: `ALTIFNAMSIZ - 1`.
    pub const MAX: usize = 127;

    /// Checks a name once, by the rules of [`IfName::new`] but for its length.
    pub fn new(name: &str) -> Result<AltName> {
        check(name, AltName::MAX)?;
        Ok(AltName(name.as_bytes().into()))
    }

    pub(crate) fn from_kernel(name: &[u8]) -> Option<AltName> {
        (!name.is_empty() && name.len() <= AltName::MAX).then(|| AltName(name.into()))
    }

    /// The bytes, without a null.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes that are no printable ASCII are escaped.
impl fmt::Display for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn check(name: &str, max: usize) -> Result<()> {
    let refused = |c: char| !c.is_ascii_graphic() || matches!(c, '/' | ':' | '%');
    match name {
        "" => Err(invalid(name, "it is empty")),
        _ if name.len() > max => Err(invalid(name, &format!("it is longer than {max} bytes"))),
        "." | ".." | "all" | "default" => Err(invalid(name, "the kernel uses it for something else")),
        _ if name.bytes().all(|b| b.is_ascii_digit()) => Err(invalid(name, "digits alone are taken for an index")),
        _ => match name.chars().find(|c| refused(*c)) {
            Some(c) => Err(invalid(name, &format!("{c:?} is not allowed in it"))),
            None => Ok(()),
        },
    }
}

fn invalid(name: &str, why: &str) -> Error {
    let shown: String = name.chars().take(40).collect();
    Error::refused(Kind::Invalid, format_args!("link name {shown:?}"), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_a_link_may_be_called() {
        for good in ["lo", "ve-web", "averylongname15", "eth0.100", "a_b", "x@y", "0a"] {
            assert_eq!(IfName::new(good).unwrap().to_string(), good);
        }
        assert_eq!(IfName::new("host0").unwrap(), IfName::HOST0);
    }

    #[test]
    fn refuses_the_rest_and_says_why() {
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\0b", "ve-%d", "all", "default", "12", "é", "averylongname-16", "a\u{b}"]
        {
            let e = IfName::new(bad).unwrap_err();
            assert_eq!(e.kind(), Kind::Invalid, "{bad:?}");
        }
        assert_eq!(IfName::new("a/b").unwrap_err().to_string(), "link name \"a/b\": '/' is not allowed in it");
        assert!(IfName::new(&"x".repeat(100_000)).unwrap_err().to_string().len() < 100);
    }

    #[test]
    fn holds_what_other_programs_named() {
        assert_eq!(IfName::from_kernel(b"\xffx\x1b").unwrap().to_string(), "\\xffx\\x1b");
        for bad in [&b""[..], b".", b"a b", b"a\x0bb", b"0123456789abcdef"] {
            assert_eq!(IfName::from_kernel(bad), None);
        }
    }

    #[test]
    fn an_altname_may_be_longer() {
        assert!(AltName::new(&"x".repeat(127)).is_ok());
        assert!(AltName::new(&"x".repeat(128)).is_err());
    }
}
