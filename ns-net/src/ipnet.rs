//! Blocks of addresses, as routes and subnets have them.

use crate::error::{Error, Kind, Result};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A block of IPv4 or IPv6 addresses: its first one and how many bits all have in common.
///
/// ```
/// use ns_net::IpNet;
/// let net: IpNet = "10.200.1.0/28".parse()?;
/// assert!(net.contains("10.200.1.14".parse().unwrap()) && net.overlaps("10.0.0.0/8".parse()?));
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpNet {
    first: IpAddr,
    prefix: u8,
}

impl IpNet {
    /// All of IPv4: a default route's.
    pub const ALL_V4: IpNet = IpNet { first: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix: 0 };
    /// All of IPv6.
    pub const ALL_V6: IpNet = IpNet { first: IpAddr::V6(Ipv6Addr::UNSPECIFIED), prefix: 0 };

    /// The block of this prefix around an address. [`Kind::Invalid`] for more than 32 or 128 bits.
    pub fn new(address: IpAddr, prefix: u8) -> Result<IpNet> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        if prefix > most {
            return Err(Error::refused(Kind::Invalid, format_args!("{address}/{prefix}"), format!("a prefix has at most {most} bits")));
        }
        Ok(IpNet::around(address, prefix))
    }

    /// The same, where the prefix is known to fit.
    pub(crate) fn around(address: IpAddr, prefix: u8) -> IpNet {
        let first = match address {
            IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask4(prefix))),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask6(prefix))),
        };
        IpNet { first, prefix }
    }

    /// Its first address.
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// How many bits its addresses have in common.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether the address is one of its.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && IpNet::around(address, self.prefix) == self
    }

    /// Whether all of the other's addresses are its.
    pub fn covers(self, other: IpNet) -> bool {
        self.prefix <= other.prefix && self.contains(other.first)
    }

    /// Whether they have an address in common.
    pub fn overlaps(self, other: IpNet) -> bool {
        self.covers(other) || other.covers(self)
    }
}

fn mask4(prefix: u8) -> u32 {
    !u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)
}

fn mask6(prefix: u8) -> u128 {
    !u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)
}

/// "10.200.1.0/28"
impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl fmt::Debug for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `ADDRESS/PREFIX`; an address alone is a block of one. Bits after the prefix are cleared.
impl FromStr for IpNet {
    type Err = Error;

    fn from_str(text: &str) -> Result<IpNet> {
        let invalid = || Error::refused(Kind::Invalid, format_args!("{text:?}"), "not ADDRESS/PREFIX");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        match prefix {
            None => Ok(IpNet::around(address, if address.is_ipv4() { 32 } else { 128 })),
            Some(p) if p.bytes().all(|b| b.is_ascii_digit()) => IpNet::new(address, p.parse().map_err(|_| invalid())?),
            Some(_) => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn reads_what_it_writes_and_clears_the_rest() {
        for (text, is) in [("10.1.2.3/8", "10.0.0.0/8"), ("1.2.3.4", "1.2.3.4/32"), ("fd00::1/64", "fd00::/64"), ("::/0", "::/0")] {
            assert_eq!(net(text).to_string(), is);
        }
        for bad in ["", "/", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/+8", "::/129", "1.2.3/8", "1.2.3.4/8/8", "1.2.3.4/999"] {
            assert_eq!(bad.parse::<IpNet>().unwrap_err().kind(), Kind::Invalid, "{bad}");
        }
    }

    #[test]
    fn overlaps_are_found_both_ways_and_within_a_family() {
        assert!(net("10.0.0.0/8").overlaps(net("10.9.0.0/16")) && net("10.9.0.0/16").overlaps(net("10.0.0.0/8")));
        assert!(!net("10.0.0.0/9").overlaps(net("10.128.0.0/9")));
        assert!(!net("0.0.0.0/0").overlaps(net("::/0")));
        assert!(net("0.0.0.0/0").covers(net("255.255.255.255")) && !net("10.0.0.0/9").covers(net("10.0.0.0/8")));
    }
}
