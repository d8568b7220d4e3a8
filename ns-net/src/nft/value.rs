//! What rules and maps are about: families, names, fields and their values.

use crate::error::{Error, Kind, Result};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Which packets a table sees: `NFPROTO_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `inet`: IPv4 and IPv6.
    Inet,
    /// `ip`: IPv4.
    Ip,
    /// `ip6`: IPv6.
    Ip6,
}

impl Family {
    /// `NFPROTO_*`
    pub const fn number(self) -> u8 {
        match self {
            Family::Inet => 1,
            Family::Ip => 2,
            Family::Ip6 => 10,
        }
    }

    /// The family of this number.
    pub(crate) fn of(number: u8) -> Option<Family> {
        [Family::Inet, Family::Ip, Family::Ip6].into_iter().find(|family| family.number() == number)
    }

    /// The family of an address.
    pub fn of_address(ip: IpAddr) -> Family {
        if ip.is_ipv4() { Family::Ip } else { Family::Ip6 }
    }
}

/// `nft`'s word.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Inet => "inet",
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
        })
    }
}

/// The name of a table, chain or map: a letter, then letters, digits, `.`, `-`, `_`; 128 bytes at most.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

impl Name {
    /// Longest name that is taken; the kernel's limit is 255.
    pub const MAX: usize = 128;

    /// Checks a name once ([`Kind::Invalid`]).
    pub fn new(name: &str) -> Result<Name> {
        let letters = name.starts_with(|c: char| c.is_ascii_alphabetic());
        let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if letters && rest && name.len() <= Name::MAX {
            return Ok(Name(name.into()));
        }
        let shown: String = name.chars().take(40).collect();
        let why = "a letter, then letters, digits, '.', '-' and '_', 128 at most";
        Err(Error::refused(Kind::Invalid, format_args!("name {shown:?} in a rule set"), why))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// `IPPROTO_TCP`
    Tcp,
    /// `IPPROTO_UDP`
    Udp,
}

impl Protocol {
    /// `IPPROTO_*`
    pub const fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

/// "tcp", "udp"
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Protocol> {
        match text {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            _ => Err(Error::refused(Kind::Invalid, format_args!("protocol {text:?}"), "tcp or udp")),
        }
    }
}

/// A part of a map's key or data. In a key it stands for what the packet has: its destination, protocol or destination's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `ipv4_addr`
    Ipv4,
    /// `ipv6_addr`
    Ipv6,
    /// `inet_proto`
    Protocol,
    /// `inet_service`
    Port,
}

impl Field {
    /// The number of the type in `nft`, which the kernel only keeps.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Field::Ipv4 => 7,
            Field::Ipv6 => 8,
            Field::Protocol => 12,
            Field::Port => 13,
        }
    }

    /// Bytes.
    pub(crate) const fn len(self) -> u32 {
        match self {
            Field::Ipv4 => 4,
            Field::Ipv6 => 16,
            Field::Protocol => 1,
            Field::Port => 2,
        }
    }

    /// Registers of 32 bits.
    pub(crate) const fn registers(self) -> u32 {
        self.len().div_ceil(4)
    }
}

/// `nft`'s word.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::Ipv4 => "ipv4_addr",
            Field::Ipv6 => "ipv6_addr",
            Field::Protocol => "inet_proto",
            Field::Port => "inet_service",
        })
    }
}

/// A value of a [`Field`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// Of [`Field::Ipv4`] or [`Field::Ipv6`].
    Address(IpAddr),
    /// Of [`Field::Protocol`].
    Protocol(Protocol),
    /// Of [`Field::Port`].
    Port(u16),
}

impl Value {
    /// Of which field it is.
    pub fn field(self) -> Field {
        match self {
            Value::Address(IpAddr::V4(_)) => Field::Ipv4,
            Value::Address(IpAddr::V6(_)) => Field::Ipv6,
            Value::Protocol(_) => Field::Protocol,
            Value::Port(_) => Field::Port,
        }
    }

    /// The bytes in a packet's order.
    pub(crate) fn bytes(self) -> Vec<u8> {
        match self {
            Value::Address(ip) => crate::address::octets(ip),
            Value::Protocol(protocol) => vec![protocol.number()],
            Value::Port(port) => port.to_be_bytes().to_vec(),
        }
    }
}

/// As `nft` takes it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Address(ip) => ip.fmt(f),
            Value::Protocol(protocol) => protocol.fmt(f),
            Value::Port(port) => port.fmt(f),
        }
    }
}

/// Several of them, as a concatenation.
pub(crate) struct Concatenated<'a, T>(pub &'a [T]);

impl<T: fmt::Display> fmt::Display for Concatenated<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(n, one)| write!(f, "{}{one}", if n > 0 { " . " } else { "" }))
    }
}

/// The bytes of a concatenation: each part is padded to whole registers, unless it is the only one.
pub(crate) fn concatenated(values: &[Value]) -> Vec<u8> {
    let alone = values.len() == 1;
    let padded = |value: &Value| {
        let mut bytes = value.bytes();
        if !alone {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    };
    values.iter().flat_map(padded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_nft_takes() {
        for good in ["nsk-web", "a", "t4", "DOCKER-USER", "filter_FORWARD", &"x".repeat(128)] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "4t", "-a", "a b", "a;", "a\"", "é", "a\n", &"x".repeat(129)] {
            assert_eq!(Name::new(bad).unwrap_err().kind(), Kind::Invalid, "{bad:?}");
        }
    }

    #[test]
    fn parts_of_a_concatenation_fill_registers() {
        assert_eq!(concatenated(&[Value::Port(0x1234)]), [0x12, 0x34]);
        let both = [Value::Protocol(Protocol::Udp), Value::Port(53)];
        assert_eq!(concatenated(&both), [17, 0, 0, 0, 0, 53, 0, 0]);
        assert_eq!(Concatenated(&both).to_string(), "udp . 53");
    }
}
