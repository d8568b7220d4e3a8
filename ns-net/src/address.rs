//! Addresses of links.

use crate::error::{Error, Kind, Result};
use crate::link::{Link, LinkRef};
use crate::message::{Batch, Call, Flags, Message};
use crate::socket::Socket;
use linux_raw_sys::netlink as nl;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// An address to be given to a link: `RTM_NEWADDR`.
///
/// An IPv4 address gets its subnet's broadcast address; an IPv6 address is usable at once (`IFA_F_NODAD`: nobody is asked whether it is
/// taken, which needs a carrier and a second).
///
/// ```
/// use ns_net::{Address, IfName};
/// let address = Address::new(IfName::new("host0")?, "10.200.1.2".parse().unwrap(), 28)?;
/// assert_eq!(address.to_string(), "ip address add 10.200.1.2/28 broadcast 10.200.1.15 dev host0");
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    link: LinkRef,
    ip: IpAddr,
    prefix: u8,
}

impl Address {
    /// This address in a subnet of `prefix` bits (at most 32 or 128, [`Kind::Invalid`]).
    pub fn new(link: impl Into<LinkRef>, ip: IpAddr, prefix: u8) -> Result<Address> {
        let most = if ip.is_ipv4() { 32 } else { 128 };
        if prefix > most {
            return Err(Error::refused(Kind::Invalid, format_args!("address {ip}/{prefix}"), format!("a prefix has at most {most} bits")));
        }
        Ok(Address { link: link.into(), ip, prefix })
    }

    /// Gives it to the link. [`Kind::Exists`] (`EEXIST`) where the link has it already.
    pub fn apply(&self, socket: &mut Socket) -> Result<()> {
        let index = match self.link {
            LinkRef::Index(index) => index,
            _ => Link::get(socket, self.link.clone())?.index,
        };
        let mut batch = Batch::new();
        batch.add(format_args!("add address {}/{} to {}", self.ip, self.prefix, self.link), self.message(index));
        socket.run(&batch).map(drop)
    }

    pub(crate) fn message(&self, index: u32) -> Message {
        let message = Message::new(Call::NEWADDR, Flags::CREATE | Flags::EXCL);
        match self.ip {
            IpAddr::V4(ip) => message
                .fixed(&self.ifaddrmsg(nl_family(libc::AF_INET), index))
                .attribute(nl::IFA_LOCAL as u16, &ip.octets())
                .attribute(nl::IFA_ADDRESS as u16, &ip.octets())
                .with(broadcast(ip, self.prefix), |m, b| m.attribute(nl::IFA_BROADCAST as u16, &b.octets())),
            IpAddr::V6(ip) => message
                .fixed(&self.ifaddrmsg(nl_family(libc::AF_INET6), index))
                .attribute(nl::IFA_LOCAL as u16, &ip.octets())
                .attribute(nl::IFA_ADDRESS as u16, &ip.octets())
                .number(nl::IFA_FLAGS as u16, nl::IFA_F_NODAD),
        }
    }

    /// `struct ifaddrmsg`: family, prefix, flags, scope (universe), index.
    fn ifaddrmsg(&self, family: u8, index: u32) -> [u8; 8] {
        let [a, b, c, d] = index.to_ne_bytes();
        [family, self.prefix, 0, 0, a, b, c, d]
    }
}

fn nl_family(family: libc::c_int) -> u8 {
    family as u8
}

/// None in a subnet of one or two addresses (RFC 3021).
fn broadcast(ip: Ipv4Addr, prefix: u8) -> Option<Ipv4Addr> {
    (prefix < 31).then(|| Ipv4Addr::from_bits(ip.to_bits() | u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)))
}

/// The command of `ip(8)`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip address add {}/{}", self.ip, self.prefix)?;
        match self.ip {
            IpAddr::V4(ip) => broadcast(ip, self.prefix).iter().try_for_each(|b| write!(f, " broadcast {b}"))?,
            IpAddr::V6(_) => f.write_str(" nodad")?,
        }
        write!(f, " dev {}", self.link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_fits_its_family() {
        assert_eq!(Address::new(1, "10.0.0.1".parse().unwrap(), 33).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(Address::new(1, "::1".parse().unwrap(), 129).unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn broadcast_is_the_last_of_the_subnet() {
        let ip = Ipv4Addr::new(10, 1, 2, 3);
        assert_eq!(broadcast(ip, 24), Some(Ipv4Addr::new(10, 1, 2, 255)));
        assert_eq!(broadcast(ip, 0), Some(Ipv4Addr::BROADCAST));
        assert_eq!((broadcast(ip, 31), broadcast(ip, 32)), (None, None));
    }
}
