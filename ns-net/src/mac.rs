//! Hardware addresses of Ethernet links.

use crate::error::{Error, Kind, Result};
use std::fmt;
use std::str::FromStr;

/// A 48-bit hardware address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac([u8; 6]);

impl Mac {
    /// These octets, which the kernel takes for a link unless they are all zero or a multicast address.
    pub const fn new(octets: [u8; 6]) -> Mac {
        Mac(octets)
    }

    /// The first six octets of a hash, made a locally administered unicast address: `first & 0xfe | 0x02`.
    pub const fn of_hash(hash: u64) -> Mac {
        let [first, b, c, d, e, f, _, _] = hash.to_le_bytes();
        Mac([first & 0xfe | 0x02, b, c, d, e, f])
    }

    /// The octets.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

/// "02:28:60:40:6f:91"
impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Six pairs of hexadecimal digits with colons between them; not a multicast address and not all zero ([`Kind::Invalid`]).
impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Mac> {
        let invalid = |why: &str| Error::refused(Kind::Invalid, format_args!("hardware address {text:?}"), why);
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
            *octet = part.and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or_else(|| invalid("not six pairs of digits"))?;
        }
        let [first, ..] = octets;
        match parts.next() {
            Some(_) => Err(invalid("not six pairs of digits")),
            None if first & 1 == 1 => Err(invalid("a multicast address")),
            None if octets == [0; 6] => Err(invalid("all zero")),
            None => Ok(Mac(octets)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let mac = Mac::new([2, 0x28, 0x60, 0x40, 0x6f, 0x91]);
        assert_eq!(mac.to_string(), "02:28:60:40:6f:91");
        assert_eq!("02:28:60:40:6F:91".parse::<Mac>().unwrap(), mac);
    }

    #[test]
    fn refuses_what_no_link_can_have() {
        for bad in [
            "",
            "02",
            "02:28:60:40:6f",
            "02:28:60:40:6f:91:00",
            "2:28:60:40:6f:91",
            "+2:28:60:40:6f:91",
            "01:00:00:00:00:00",
            "00:00:00:00:00:00",
        ] {
            assert_eq!(bad.parse::<Mac>().unwrap_err().kind(), Kind::Invalid, "{bad}");
        }
    }

    #[test]
    fn a_hash_becomes_a_local_unicast_address() {
        assert_eq!(Mac::of_hash(u64::MAX).octets(), [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(Mac::of_hash(0).octets(), [2, 0, 0, 0, 0, 0]);
    }
}
