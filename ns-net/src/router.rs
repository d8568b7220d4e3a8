//! Router advertisements: how a machine learns its IPv6 prefix, way out and resolver.
#![forbid(unsafe_code)]

use crate::error::{Error, Kind, Result};
use crate::frame::{icmp6, icmp6_frame};
use crate::ipnet::IpNet;
use crate::mac::Mac;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// 33:33 and the last four octets of the group: RFC 2464, 7.
const ALL_NODES_MAC: Mac = Mac::new([0x33, 0x33, 0, 0, 0, 1]);
/// On-link, and for autonomous addresses.
const FLAGS: u8 = 0xc0;
const VALID: u32 = 86_400;
const PREFERRED: u32 = 14_400;
const RESOLVERS: usize = 4;

/// What a machine learns by router advertisements (RFC 4861, 8106): a /64 from which it makes its own address, nothing by DHCPv6.
///
/// A value; [`Autoconf`](crate::Autoconf) serves it.
///
/// ```
/// use ns_net::{Mac, Router};
/// let mac: Mac = "3a:23:55:9e:93:59".parse()?;
/// let router = Router::new("fd12:3456:789a:1::".parse().unwrap(), mac).resolver("fd12:3456:789a:1::1".parse().unwrap());
/// assert_eq!(router.to_string(), "ra fd12:3456:789a:1::/64 from fe80::3823:55ff:fe9e:9359, dns fd12:3456:789a:1::1, for 1800 s");
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    prefix: Ipv6Addr,
    mac: Mac,
    source: Ipv6Addr,
    resolvers: Vec<Ipv6Addr>,
    search: Vec<u8>,
    mtu: Option<u32>,
    lifetime: u16,
}

impl Router {
    /// Advertises the /64 around `prefix`, from the gateway's link: its hardware address, and the link-local address made of that.
    pub fn new(prefix: Ipv6Addr, mac: Mac) -> Router {
        let first = match IpNet::around(prefix.into(), 64).first() {
            IpAddr::V6(first) => first,
            IpAddr::V4(_) => prefix,
        };
        Router { prefix: first, mac, source: mac.link_local(), resolvers: Vec::new(), search: Vec::new(), mtu: None, lifetime: 1800 }
    }

    /// The link's link-local address, where it is another: [`Kind::Invalid`] for what is none.
    pub fn source(self, source: Ipv6Addr) -> Result<Router> {
        if !source.is_unicast_link_local() {
            return Err(Error::refused(Kind::Invalid, format_args!("router {source}"), "advertisements come from a link-local address"));
        }
        Ok(Router { source, ..self })
    }

    /// A DNS server (RDNSS); the first four count.
    pub fn resolver(mut self, address: Ipv6Addr) -> Router {
        self.resolvers.push(address);
        self.resolvers.truncate(RESOLVERS);
        self
    }

    /// A domain to search names in (DNSSL): labels of letters, digits and hyphens.
    pub fn search(self, domain: &str) -> Result<Router> {
        let label = |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if domain.len() > 253 || !domain.split('.').all(label) {
            return Err(Error::refused(Kind::Invalid, format_args!("domain {domain:?}"), "labels of letters, digits and hyphens make one"));
        }
        let labels = domain.split('.').flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat());
        Ok(Router { search: labels.chain([0]).collect(), ..self })
    }

    /// Largest packet in bytes.
    pub fn mtu(self, mtu: u32) -> Router {
        Router { mtu: Some(mtu), ..self }
    }

    /// How long it is the default router after each advertisement: half an hour unless told, 65,535 seconds at most. Zero: it is none.
    pub fn lifetime(self, lifetime: Duration) -> Router {
        Router { lifetime: u16::try_from(lifetime.as_secs()).unwrap_or(u16::MAX), ..self }
    }

    /// How often it is advertised without being asked: three times in its lifetime, and at least every 10 minutes.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.lifetime / 3).clamp(10, 600))
    }

    /// The frame that answers a solicitation, to the neighbour that asked if it has an address; `None` for anything else, whatever the
    /// octets.
    pub fn answer(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let asked = icmp6(frame).filter(|asked| is_solicitation(asked.message))?;
        match asked.source {
            source if source.is_unspecified() => Some(self.advertisement()),
            source if source.is_unicast_link_local() => Some(icmp6_frame([self.mac, asked.from], [self.source, source], self.message())),
            _ => None,
        }
    }

    /// The frame that tells all neighbours.
    pub fn advertisement(&self) -> Vec<u8> {
        icmp6_frame([self.mac, ALL_NODES_MAC], [self.source, ALL_NODES], self.message())
    }

    /// RFC 4861, 4.2. Options: source link-layer address, MTU, prefix, RDNSS, DNSSL; each a multiple of 8 octets, its length in those.
    fn message(&self) -> Vec<u8> {
        let [lifetime, long] = [u32::from(self.lifetime), u32::from(self.lifetime)].map(u32::to_be_bytes);
        // Type, code, checksum; hop limit, no flags, lifetime; reachable and retransmission times: unspecified.
        let mut message = [&[ADVERTISEMENT, 0, 0, 0, 64, 0][..], &lifetime[2..], &[0; 8], &[1, 1], &self.mac.octets()].concat();
        if let Some(mtu) = self.mtu {
            message.extend([&[5, 1, 0, 0][..], &mtu.to_be_bytes()].concat());
        }
        let [valid, preferred] = [VALID, PREFERRED].map(u32::to_be_bytes);
        message.extend([&[3, 4, 64, FLAGS][..], &valid, &preferred, &[0; 4], &self.prefix.octets()].concat());
        if !self.resolvers.is_empty() {
            message.extend([25, 1 + 2 * self.resolvers.len() as u8, 0, 0].iter().chain(&long));
            message.extend(self.resolvers.iter().flat_map(|r| r.octets()));
        }
        if !self.search.is_empty() {
            let len = self.search.len().next_multiple_of(8);
            message.extend([31, 1 + (len / 8) as u8, 0, 0].iter().chain(&long).chain(&self.search));
            message.resize(message.len() + len - self.search.len(), 0);
        }
        message
    }
}

/// RFC 4861, 6.1.1: code 0, 8 octets at least, options with a length.
fn is_solicitation(message: &[u8]) -> bool {
    let mut options = message.get(8..);
    while let Some([_, len, ..]) = options {
        options = options.and_then(|o| o.get(8 * usize::from((*len).max(1))..)).filter(|_| *len > 0);
    }
    matches!(message, [SOLICITATION, 0, ..]) && options.is_some_and(<[u8]>::is_empty)
}

impl Mac {
    /// The link-local address that is made of it (modified EUI-64, RFC 4291): the kernel's, where `addr_gen_mode` is 0.
    pub fn link_local(self) -> Ipv6Addr {
        self.address_in(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0))
    }

    /// The address in this /64 that is made of it: the one that a machine with this hardware address would choose.
    pub fn address_in(self, prefix: Ipv6Addr) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.octets();
        let low = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        Ipv6Addr::from_bits(prefix.to_bits() >> 64 << 64 | u128::from(low))
    }
}

/// "ra fd12:3456:789a:1::/64 from fe80::3823:55ff:fe9e:9359, dns fd12:3456:789a:1::1, for 1800 s"
impl fmt::Display for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ra {}/64 from {}", self.prefix, self.source)?;
        self.resolvers.iter().try_for_each(|resolver| write!(f, ", dns {resolver}"))?;
        self.mtu.iter().try_for_each(|mtu| write!(f, ", mtu {mtu}"))?;
        write!(f, ", for {} s", self.lifetime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Icmp6, be16, octets};

    const GUEST: Mac = Mac::new([2, 0, 0, 0, 0, 2]);
    const HOST: Mac = Mac::new([2, 0, 0, 0, 0, 1]);

    fn router() -> Router {
        Router::new("fd00:1:2:3:4::5".parse().unwrap(), HOST).resolver("fd00:1:2:3::1".parse().unwrap())
    }

    fn ask(source: &str, message: &[u8]) -> Vec<u8> {
        icmp6_frame([GUEST, ALL_NODES_MAC], [source.parse().unwrap(), "ff02::2".parse().unwrap()], message.to_vec())
    }

    const BARE: [u8; 8] = [SOLICITATION, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn a_neighbour_is_answered_and_one_without_an_address_with_all() {
        let router = router();
        let frame = router.answer(&ask("fe80::2", &BARE)).unwrap();
        assert_eq!((&frame[..6], &frame[38..54]), (&GUEST.octets()[..], &"fe80::2".parse::<Ipv6Addr>().unwrap().octets()[..]));
        assert_eq!(router.answer(&ask("::", &BARE)).unwrap(), router.advertisement());
        let with_address = [&BARE[..], &[1, 1, 2, 0, 0, 0, 0, 2]].concat();
        assert!(router.answer(&ask("fe80::2", &with_address)).is_some());
    }

    #[test]
    fn what_is_no_solicitation_is_not_answered() {
        let wrong: [&[u8]; 6] = [
            &BARE[..7],
            &[134, 0, 0, 0, 0, 0, 0, 0],
            &[133, 1, 0, 0, 0, 0, 0, 0],
            &[133, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            &[133, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0],
            &[133, 0, 0, 0, 0, 0, 0, 0, 1],
        ];
        wrong.iter().for_each(|message| assert_eq!(router().answer(&ask("fe80::2", message)), None, "{message:?}"));
        assert_eq!(router().answer(&ask("2001:db8::1", &BARE)), None, "not a neighbour's address");
    }

    #[test]
    fn an_advertisement_says_what_was_set() {
        let router = router().mtu(1400).search("machines").unwrap().lifetime(Duration::from_secs(900));
        let frame = router.advertisement();
        let Icmp6 { from, source, message } = icmp6(&frame).unwrap();
        assert_eq!((from, source), (HOST, "fe80::ff:fe00:1".parse().unwrap()));
        assert_eq!((message[0], message[4], message[5], be16(message, 6)), (ADVERTISEMENT, 64, 0, Some(900)));
        let mut options = &message[16..];
        let mut codes = Vec::new();
        while let [code, len, ..] = options {
            codes.push((*code, *len));
            options = &options[8 * usize::from(*len)..];
        }
        assert_eq!(codes, [(1, 1), (5, 1), (3, 4), (25, 3), (31, 3)]);
        // The prefix: its option is at 32, with 16 octets before it.
        assert_eq!(octets::<16>(message, 48).map(Ipv6Addr::from), Some("fd00:1:2:3::".parse().unwrap()));
        assert_eq!(&message[message.len() - 16..], b"\x08machines\0\0\0\0\0\0\0");
        assert!(super::Router::search(router, "a..b").is_err());
    }

    #[test]
    fn random_damage_is_survived() {
        let mut random = crate::random::Random::new(2);
        let good = ask("fe80::2", &[&BARE[..], &[1, 1, 2, 0, 0, 0, 0, 2]].concat());
        for _ in 0..20_000 {
            let _ = router().answer(&random.damaged(&good, 4));
            let _ = is_solicitation(&random.octets(40));
        }
    }

    /// What Linux gave a link with this address.
    #[test]
    fn link_local_addresses_are_the_kernels() {
        let mac: Mac = "da:fb:5c:16:4a:cc".parse().unwrap();
        assert_eq!(mac.link_local().to_string(), "fe80::d8fb:5cff:fe16:4acc");
        assert_eq!(mac.address_in("fd00::1".parse().unwrap()).to_string(), "fd00::d8fb:5cff:fe16:4acc");
    }
}
