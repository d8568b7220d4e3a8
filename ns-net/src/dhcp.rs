//! A DHCPv4 server for one machine: what is told to whom.
#![forbid(unsafe_code)]

mod message;

use crate::error::{Error, Kind as ErrorKind, Result};
use crate::frame::{Udp4, udp4};
use crate::ipnet::IpNet;
use crate::mac::Mac;
pub(crate) use message::{Kind, Request};
use message::{Reply, option};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
const BROADCAST: Mac = Mac::new([0xff; 6]);
/// More resolvers than this no client uses.
const RESOLVERS: usize = 4;

/// What a machine learns by DHCPv4 (RFC 2131): always the same address, so that no lease has to be remembered.
///
/// A value; [`Autoconf`](crate::Autoconf) serves it. Answers are sent to the client's own address, or to all if it asks for that; rapid
/// commit (RFC 4039) is for clients that ask for it; a request for any other address is refused by a NAK, which makes the client start
/// anew. Requests through a relay and BOOTP are not answered.
///
/// ```
/// use ns_net::Dhcp;
/// let dhcp = Dhcp::new("10.200.1.2".parse().unwrap(), 28, "10.200.1.1".parse().unwrap())?.routed().resolver("10.200.1.1".parse().unwrap());
/// assert_eq!(dhcp.to_string(), "dhcp 10.200.1.2/28 from 10.200.1.1, router 10.200.1.1, dns 10.200.1.1, for 3600 s");
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dhcp {
    address: Ipv4Addr,
    prefix: u8,
    server: Ipv4Addr,
    router: Option<Ipv4Addr>,
    resolvers: Vec<Ipv4Addr>,
    domain: Option<String>,
    mtu: Option<u16>,
    lease: u32,
    only: Option<Mac>,
}

impl Dhcp {
    /// This address, in a subnet of `prefix` bits, from a server that calls itself `server`. [`Kind::Invalid`](ErrorKind::Invalid) unless
    /// both are different addresses of the subnet.
    pub fn new(address: Ipv4Addr, prefix: u8, server: Ipv4Addr) -> Result<Dhcp> {
        let invalid = |why: &str| Error::refused(ErrorKind::Invalid, format_args!("DHCP of {address}/{prefix} from {server}"), why);
        if prefix > 30 || prefix == 0 {
            return Err(invalid("a subnet with a server has 1 to 30 bits"));
        }
        let subnet = IpNet::around(address.into(), prefix);
        if address == server || !subnet.contains(server.into()) {
            return Err(invalid("the server needs another address of the same subnet"));
        }
        let (router, resolvers, domain, mtu, only) = (None, Vec::new(), None, None, None);
        Ok(Dhcp { address, prefix, server, router, resolvers, domain, mtu, lease: 3600, only })
    }

    /// The server is the way to everywhere else.
    pub fn routed(self) -> Dhcp {
        Dhcp { router: Some(self.server), ..self }
    }

    /// A DNS server; the first four count.
    pub fn resolver(mut self, address: Ipv4Addr) -> Dhcp {
        self.resolvers.push(address);
        self.resolvers.truncate(RESOLVERS);
        self
    }

    /// The machine's domain (option 15): letters, digits, hyphens and dots.
    pub fn domain(self, domain: &str) -> Result<Dhcp> {
        let fits = (1..=253).contains(&domain.len()) && domain.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
        if !fits {
            return Err(Error::refused(
                ErrorKind::Invalid,
                format_args!("domain {domain:?}"),
                "letters, digits, hyphens and dots make one",
            ));
        }
        Ok(Dhcp { domain: Some(domain.to_owned()), ..self })
    }

    /// Largest packet in bytes (option 26); clients ignore less than 576.
    pub fn mtu(self, mtu: u16) -> Dhcp {
        Dhcp { mtu: Some(mtu), ..self }
    }

    /// How long the address is good for: an hour unless told. The client asks again after half of it. At least a second, and less than 136
    /// years, which would mean for ever.
    pub fn lease(self, lease: Duration) -> Dhcp {
        Dhcp { lease: u32::try_from(lease.as_secs()).unwrap_or(u32::MAX).clamp(1, u32::MAX - 1), ..self }
    }

    /// Answers this client only: without, whoever is behind the link gets the address, be it two.
    pub fn only(self, mac: Mac) -> Dhcp {
        Dhcp { only: Some(mac), ..self }
    }

    /// The frame that answers a client's frame, sent from the hardware address `from`; `None` for what isn't to be answered, whatever the
    /// octets.
    pub fn answer(&self, frame: &[u8], from: Mac) -> Option<Vec<u8>> {
        self.respond(&Request::of_frame(frame)?, from)
    }

    pub(crate) fn respond(&self, request: &Request<'_>, from: Mac) -> Option<Vec<u8>> {
        if self.only.is_some_and(|mac| mac != request.mac) {
            return None;
        }
        let kind = self.decide(request)?;
        Some(self.envelope(request, kind, from).frame(&self.message(request, kind)))
    }

    /// The kinds of request are told apart by what they carry: RFC 2131, table 4.
    fn decide(&self, request: &Request<'_>) -> Option<Kind> {
        let granted = |asked: Ipv4Addr| if asked == self.address { Kind::Ack } else { Kind::Nak };
        match (request.kind, request.server, request.requested) {
            (Kind::Discover, ..) => Some(if request.rapid_commit { Kind::Ack } else { Kind::Offer }),
            (Kind::Inform, ..) => Some(Kind::Inform),
            // It has taken another server's offer.
            (Kind::Request, Some(server), _) if server != self.server => None,
            // It takes ours, or has just started and remembers an address.
            (Kind::Request, _, Some(requested)) => Some(granted(requested)),
            // It renews.
            (Kind::Request, None, None) if !request.client.is_unspecified() => Some(granted(request.client)),
            _ => None,
        }
    }

    fn message(&self, request: &Request<'_>, kind: Kind) -> Vec<u8> {
        let server = self.server.octets();
        match kind {
            Kind::Nak => Reply::to(request, kind, Ipv4Addr::UNSPECIFIED).option(option::SERVER, &server),
            // Who has an address already and asks for the rest is given no lease.
            Kind::Inform => self.settings(Reply::to(request, Kind::Ack, Ipv4Addr::UNSPECIFIED).option(option::SERVER, &server)),
            _ => {
                let reply = Reply::to(request, kind, self.address).option(option::SERVER, &server);
                let reply = self.settings(reply.option(option::LEASE, &self.lease.to_be_bytes()));
                let rapid = request.kind == Kind::Discover && kind == Kind::Ack;
                if rapid { reply.option(option::RAPID_COMMIT, &[]) } else { reply }
            }
        }
        .finish(request)
    }

    fn settings(&self, reply: Reply) -> Reply {
        let mask = (!u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0)).to_be_bytes();
        let resolvers: Vec<u8> = self.resolvers.iter().flat_map(|r| r.octets()).collect();
        let mtu = self.mtu.map(u16::to_be_bytes);
        let rows = [
            (option::ROUTER, self.router.map(|r| r.octets().to_vec())),
            (option::DNS, (!resolvers.is_empty()).then_some(resolvers)),
            (option::DOMAIN, self.domain.as_ref().map(|d| d.as_bytes().to_vec())),
            (option::MTU, mtu.map(|m| m.to_vec())),
        ];
        let reply = reply.option(option::MASK, &mask);
        rows.iter().fold(reply, |reply, (code, value)| match value {
            Some(value) => reply.option(*code, value),
            None => reply,
        })
    }

    /// To the client's address, even if it hasn't got it yet; to all where it asks so, or loses it.
    fn envelope(&self, request: &Request<'_>, kind: Kind, from: Mac) -> Udp4 {
        let to_all = kind == Kind::Nak || (request.wants_broadcast() && request.client.is_unspecified());
        let ip = match kind {
            _ if to_all => Ipv4Addr::BROADCAST,
            _ if !request.client.is_unspecified() => request.client,
            _ => self.address,
        };
        let to = if to_all { BROADCAST } else { request.mac };
        Udp4 { from, to, source: SocketAddrV4::new(self.server, SERVER_PORT), destination: SocketAddrV4::new(ip, CLIENT_PORT) }
    }
}

impl<'a> Request<'a> {
    /// A client's message in a frame to the servers' port.
    pub fn of_frame(frame: &'a [u8]) -> Option<Request<'a>> {
        Request::parse(udp4(frame, SERVER_PORT)?)
    }
}

/// "dhcp 10.200.1.2/28 from 10.200.1.1, router 10.200.1.1, dns 10.200.1.1, for 3600 s"
impl fmt::Display for Dhcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dhcp {}/{} from {}", self.address, self.prefix, self.server)?;
        self.router.iter().try_for_each(|router| write!(f, ", router {router}"))?;
        self.resolvers.iter().try_for_each(|resolver| write!(f, ", dns {resolver}"))?;
        self.domain.iter().try_for_each(|domain| write!(f, ", domain {domain}"))?;
        self.mtu.iter().try_for_each(|mtu| write!(f, ", mtu {mtu}"))?;
        write!(f, ", for {} s", self.lease)?;
        self.only.iter().try_for_each(|mac| write!(f, ", to {mac} only"))
    }
}

#[cfg(test)]
mod tests;
