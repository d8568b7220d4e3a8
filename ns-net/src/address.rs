//! Addresses of links.

use crate::error::{Error, Kind, Result};
use crate::link::LinkRef;
use crate::message::{Batch, Call, Flags, Message};
use crate::reply::{attributes, read_u32};
use crate::socket::Socket;
use linux_raw_sys::netlink as nl;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

bitflags::bitflags! {
    /// `IFA_F_*` of an address. Unknown bits are kept.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct AddressFlags: u32 {
        /// `IFA_F_NODAD`: nobody was asked whether it is taken.
        const NODAD = nl::IFA_F_NODAD;
        /// `IFA_F_DADFAILED`: somebody has it.
        const DADFAILED = nl::IFA_F_DADFAILED;
        /// `IFA_F_DEPRECATED`: not for new connections.
        const DEPRECATED = nl::IFA_F_DEPRECATED;
        /// `IFA_F_TENTATIVE`: not usable yet.
        const TENTATIVE = nl::IFA_F_TENTATIVE;
        /// `IFA_F_PERMANENT`: without a lifetime.
        const PERMANENT = nl::IFA_F_PERMANENT;
        /// `IFA_F_NOPREFIXROUTE`: no route to its subnet was made.
        const NOPREFIXROUTE = nl::IFA_F_NOPREFIXROUTE;
        const _ = !0;
    }
}

/// How far an address or a route reaches: `RT_SCOPE_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope(pub u8);

impl Scope {
    /// Everywhere: `RT_SCOPE_UNIVERSE`.
    pub const UNIVERSE: Scope = Scope(nl::rt_scope_t::RT_SCOPE_UNIVERSE as u8);
    /// On this link: `RT_SCOPE_LINK`.
    pub const LINK: Scope = Scope(nl::rt_scope_t::RT_SCOPE_LINK as u8);
    /// On this machine: `RT_SCOPE_HOST`.
    pub const HOST: Scope = Scope(nl::rt_scope_t::RT_SCOPE_HOST as u8);
}

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
    flags: AddressFlags,
}

impl Address {
    /// This address in a subnet of `prefix` bits (at most 32 or 128, [`Kind::Invalid`]).
    pub fn new(link: impl Into<LinkRef>, ip: IpAddr, prefix: u8) -> Result<Address> {
        let most = if ip.is_ipv4() { 32 } else { 128 };
        if prefix > most {
            return Err(Error::refused(Kind::Invalid, format_args!("address {ip}/{prefix}"), format!("a prefix has at most {most} bits")));
        }
        let flags = if ip.is_ipv6() { AddressFlags::NODAD } else { AddressFlags::empty() };
        Ok(Address { link: link.into(), ip, prefix, flags })
    }

    /// Without the kernel's own route to its subnet, for callers who give the link routes themselves. Linux 4.4 for IPv4.
    pub fn no_prefix_route(self) -> Address {
        Address { flags: self.flags | AddressFlags::NOPREFIXROUTE, ..self }
    }

    /// `RTM_GETADDR` with `NLM_F_DUMP`: all addresses of the namespace, of both families.
    pub fn list(socket: &mut Socket) -> Result<Vec<AddressEntry>> {
        const WHAT: &str = "list addresses";
        let answers = socket.list(WHAT, Message::new(Call::GETADDR, Flags::empty()).fixed(&[0; IFADDRMSG]))?;
        let garbled = || Error::refused(Kind::Garbled, WHAT, "RTM_GETADDR: the answer describes no address");
        answers.iter().map(|a| AddressEntry::parse(&a.body).ok_or_else(garbled)).collect()
    }

    /// Gives it to the link. [`Kind::Exists`] (`EEXIST`) where the link has it already.
    pub fn apply(&self, socket: &mut Socket) -> Result<()> {
        let index = self.link.resolve(socket)?;
        let mut batch = Batch::new();
        batch.add(self.title(), self.message(index));
        socket.run(&batch).map(drop)
    }

    /// `RTM_DELADDR`: takes it from the link. [`Kind::Invalid`] (`EADDRNOTAVAIL`) where the link hasn't got it.
    pub fn remove(&self, socket: &mut Socket) -> Result<()> {
        let index = self.link.resolve(socket)?;
        let mut batch = Batch::new();
        batch.add(format_args!("remove address {}/{} of {}", self.ip, self.prefix, self.link), self.removal(index));
        socket.run(&batch).map(drop)
    }

    pub(crate) fn title(&self) -> String {
        format!("add address {}/{} to {}", self.ip, self.prefix, self.link)
    }

    pub(crate) fn removal(&self, index: u32) -> Message {
        let octets = octets(self.ip);
        Message::new(Call::DELADDR, Flags::empty()).fixed(&self.ifaddrmsg(index)).attribute(IFA_LOCAL, octets.as_slice())
    }

    pub(crate) fn message(&self, index: u32) -> Message {
        let octets = octets(self.ip);
        let broadcast = if let IpAddr::V4(ip) = self.ip { broadcast(ip, self.prefix) } else { None };
        Message::new(Call::NEWADDR, Flags::CREATE | Flags::EXCL)
            .fixed(&self.ifaddrmsg(index))
            .attribute(IFA_LOCAL, octets.as_slice())
            .attribute(IFA_ADDRESS, octets.as_slice())
            .with(broadcast, |m, b| m.attribute(nl::IFA_BROADCAST as u16, &b.octets()))
            .with((!self.flags.is_empty()).then_some(self.flags), |m, flags| m.number(IFA_FLAGS, flags.bits()))
    }

    /// `struct ifaddrmsg`: family, prefix, flags, scope (universe), index.
    fn ifaddrmsg(&self, index: u32) -> [u8; IFADDRMSG] {
        let [a, b, c, d] = index.to_ne_bytes();
        [family(self.ip), self.prefix, 0, 0, a, b, c, d]
    }
}

const IFADDRMSG: usize = size_of::<nl::ifaddrmsg>();
const IFA_ADDRESS: u16 = nl::IFA_ADDRESS as u16;
const IFA_LOCAL: u16 = nl::IFA_LOCAL as u16;
const IFA_FLAGS: u16 = nl::IFA_FLAGS as u16;

/// `AF_INET` or `AF_INET6`.
pub(crate) fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

/// An address's bytes, 4 or 16.
pub(crate) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The address in 4 or 16 bytes.
pub(crate) fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// An address that a link has, as the kernel described it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddressEntry {
    /// `ifa_index`: the link's.
    pub link: u32,
    /// `IFA_LOCAL`, or `IFA_ADDRESS` where there is no other.
    pub ip: IpAddr,
    /// `ifa_prefixlen`
    pub prefix: u8,
    /// `ifa_scope`
    pub scope: Scope,
    /// `IFA_FLAGS`
    pub flags: AddressFlags,
}

impl AddressEntry {
    /// Reads the body of an `RTM_NEWADDR` or `RTM_DELADDR`: `struct ifaddrmsg` and attributes. `None` when it is none, whatever the bytes.
    pub fn parse(body: &[u8]) -> Option<AddressEntry> {
        let &[family, prefix, flags, scope, ..] = body else { return None };
        let (mut local, mut address, mut all_flags) = (None, None, None);
        for attribute in attributes(body.get(IFADDRMSG..)?) {
            let (kind, value) = attribute.ok()?;
            match kind {
                IFA_LOCAL => local = read_ip(value),
                IFA_ADDRESS => address = read_ip(value),
                IFA_FLAGS => all_flags = read_u32(value, 0),
                _ => {}
            }
        }
        let ip = local.or(address).filter(|ip| self::family(*ip) == family)?;
        let flags = AddressFlags::from_bits_retain(all_flags.unwrap_or(flags.into()));
        Some(AddressEntry { link: read_u32(body, 4)?, ip, prefix, scope: Scope(scope), flags })
    }

    /// Whether others than this machine can reach it: neither of scope host or link, nor unusable.
    pub fn is_global(&self) -> bool {
        self.scope == Scope::UNIVERSE && !self.flags.intersects(AddressFlags::TENTATIVE | AddressFlags::DADFAILED)
    }
}

/// "10.200.1.2/28 of link 7"
impl fmt::Display for AddressEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} of link {}", self.ip, self.prefix, self.link)
    }
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
        if self.flags.contains(AddressFlags::NOPREFIXROUTE) {
            f.write_str(" noprefixroute")?;
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
