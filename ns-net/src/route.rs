//! Routes: made, listed.

use crate::address::{Scope, family, octets, read_ip};
use crate::error::{Error, Kind, Result};
use crate::ipnet::IpNet;
use crate::link::LinkRef;
use crate::message::{Batch, Call, Flags, Message};
use crate::reply::{attributes, read_u32};
use crate::socket::Socket;
use linux_raw_sys::netlink as nl;
use std::fmt;
use std::net::IpAddr;

/// A routing table: `RT_TABLE_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteTable(pub u32);

impl RouteTable {
    /// `RT_TABLE_MAIN`: the one that is meant unless said otherwise.
    pub const MAIN: RouteTable = RouteTable(nl::rt_class_t::RT_TABLE_MAIN as u32);
    /// `RT_TABLE_LOCAL`: addresses of this machine.
    pub const LOCAL: RouteTable = RouteTable(nl::rt_class_t::RT_TABLE_LOCAL as u32);
}

/// `ip route`'s word or number.
impl fmt::Display for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RouteTable::MAIN => f.write_str("main"),
            RouteTable::LOCAL => f.write_str("local"),
            RouteTable(number) => number.fmt(f),
        }
    }
}

/// What becomes of a packet: `RTN_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteKind(pub u8);

impl RouteKind {
    /// `RTN_UNICAST`: sent on.
    pub const UNICAST: RouteKind = RouteKind(1);
    /// `RTN_LOCAL`: it is for this machine.
    pub const LOCAL: RouteKind = RouteKind(2);
}

/// A route to be made: `RTM_NEWROUTE`.
///
/// ```
/// use ns_net::{IfName, IpNet, Route};
/// let route = Route::via("10.200.1.1".parse().unwrap(), IfName::HOST0);
/// assert_eq!(route.to_string(), "ip route add 0.0.0.0/0 via 10.200.1.1 dev host0");
/// // ::1 is this machine's on a further link too: the answers to what was sent there from ::1 are taken.
/// let loopback = IpNet::new("::1".parse().unwrap(), 128)?;
/// let route = Route::local(loopback, IfName::new("ve-web")?).metric(4098);
/// assert_eq!(route.to_string(), "ip -6 route add local ::1/128 dev ve-web table local metric 4098");
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    destination: IpNet,
    link: LinkRef,
    gateway: Option<IpAddr>,
    kind: RouteKind,
    table: RouteTable,
    metric: Option<u32>,
}

impl Route {
    /// A route to what is on the link itself.
    pub fn on_link(destination: IpNet, link: impl Into<LinkRef>) -> Route {
        Route { destination, link: link.into(), gateway: None, kind: RouteKind::UNICAST, table: RouteTable::MAIN, metric: None }
    }

    /// The default route of the gateway's family.
    pub fn via(gateway: IpAddr, link: impl Into<LinkRef>) -> Route {
        let destination = if gateway.is_ipv4() { IpNet::ALL_V4 } else { IpNet::ALL_V6 };
        Route { gateway: Some(gateway), ..Route::on_link(destination, link) }
    }

    /// These addresses are this machine's on the link: in the table `local`.
    pub fn local(destination: IpNet, link: impl Into<LinkRef>) -> Route {
        Route { kind: RouteKind::LOCAL, table: RouteTable::LOCAL, ..Route::on_link(destination, link) }
    }

    /// Through this gateway, of the destination's family (`EINVAL` otherwise).
    pub fn gateway(self, gateway: IpAddr) -> Route {
        Route { gateway: Some(gateway), ..self }
    }

    /// `RTA_PRIORITY`: of several routes the one with the least number is taken; two may not have the same ([`Kind::Exists`]).
    pub fn metric(self, metric: u32) -> Route {
        Route { metric: Some(metric), ..self }
    }

    /// In this table.
    pub fn table(self, table: RouteTable) -> Route {
        Route { table, ..self }
    }

    /// Makes it. [`Kind::Exists`] where the table has one like it.
    pub fn apply(&self, socket: &mut Socket) -> Result<()> {
        self.run("add", Call::NEWROUTE, Flags::CREATE | Flags::EXCL, socket)
    }

    /// `RTM_DELROUTE`: deletes it; `ESRCH` where there is none.
    pub fn remove(&self, socket: &mut Socket) -> Result<()> {
        self.run("remove", Call::DELROUTE, Flags::empty(), socket)
    }

    fn run(&self, verb: &str, call: Call, flags: Flags, socket: &mut Socket) -> Result<()> {
        let index = self.link.resolve(socket)?;
        let mut batch = Batch::new();
        batch.add(format_args!("{verb} {}", self.title()), self.message(call, flags, index));
        socket.run(&batch).map(drop)
    }

    pub(crate) fn title(&self) -> String {
        format!("route to {} on {}", self.destination, self.link)
    }

    pub(crate) fn message(&self, call: Call, flags: Flags, index: u32) -> Message {
        Message::new(call, flags)
            .fixed(&self.rtmsg())
            .with(Some(self.destination).filter(|d| d.prefix() > 0), |m, d| {
                m.attribute(nl::rtattr_type_t::RTA_DST as u16, &octets(d.first()))
            })
            .with(self.gateway, |m, gateway| m.attribute(nl::rtattr_type_t::RTA_GATEWAY as u16, &octets(gateway)))
            .number(nl::rtattr_type_t::RTA_OIF as u16, index)
            .with(self.metric, |m, metric| m.number(nl::rtattr_type_t::RTA_PRIORITY as u16, metric))
            .number(nl::rtattr_type_t::RTA_TABLE as u16, self.table.0)
    }

    /// `struct rtmsg`: family, bits of destination and source, service, table (0: see `RTA_TABLE`), protocol, scope, kind, flags.
    fn rtmsg(&self) -> [u8; RTMSG] {
        let scope = match (self.kind, self.gateway) {
            (RouteKind::LOCAL, _) => Scope::HOST,
            (_, None) => Scope::LINK,
            _ => Scope::UNIVERSE,
        };
        [family(self.destination.first()), self.destination.prefix(), 0, 0, 0, nl::RTPROT_STATIC as u8, scope.0, self.kind.0, 0, 0, 0, 0]
    }
}

/// The command of `ip(8)`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = if self.destination.first().is_ipv6() { "-6 " } else { "" };
        let kind = if self.kind == RouteKind::LOCAL { "local " } else { "" };
        write!(f, "ip {v6}route add {kind}{}", self.destination)?;
        self.gateway.iter().try_for_each(|gateway| write!(f, " via {gateway}"))?;
        write!(f, " dev {}", self.link)?;
        if self.table != RouteTable::MAIN {
            write!(f, " table {}", self.table)?;
        }
        self.metric.iter().try_for_each(|metric| write!(f, " metric {metric}"))
    }
}

const RTMSG: usize = size_of::<nl::rtmsg>();

/// A route that exists, as the kernel described it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteEntry {
    /// `RTA_DST`, `rtm_dst_len`
    pub destination: IpNet,
    /// `RTA_GATEWAY`; none for what is on the link, and none of a route with several next hops.
    pub gateway: Option<IpAddr>,
    /// `RTA_OIF`: the link's index; none of a route with several next hops.
    pub link: Option<u32>,
    /// `RTA_TABLE`
    pub table: RouteTable,
    /// `rtm_type`
    pub kind: RouteKind,
    /// `rtm_protocol`: who made it; 2 the kernel, 9 a router's advertisement.
    pub protocol: u8,
    /// `RTA_PRIORITY`
    pub metric: u32,
}

impl Route {
    /// `RTM_GETROUTE` with `NLM_F_DUMP`: all routes of all tables of the namespace, of both families.
    pub fn list(socket: &mut Socket) -> Result<Vec<RouteEntry>> {
        const WHAT: &str = "list routes";
        let garbled = || Error::refused(Kind::Garbled, WHAT, "RTM_GETROUTE: the answer describes no route");
        let mut all = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut rtmsg = [0; RTMSG];
            rtmsg[0] = family as u8;
            let answers = socket.list(WHAT, Message::new(Call::GETROUTE, Flags::empty()).fixed(&rtmsg))?;
            let entries: Result<Vec<RouteEntry>> = answers.iter().map(|a| RouteEntry::parse(&a.body).ok_or_else(garbled)).collect();
            all.extend(entries?);
        }
        Ok(all)
    }
}

impl RouteEntry {
    /// Reads the body of an `RTM_NEWROUTE` or `RTM_DELROUTE`: `struct rtmsg` and attributes. `None` when it is none, whatever the bytes.
    pub fn parse(body: &[u8]) -> Option<RouteEntry> {
        let &[family, prefix, _, _, table, protocol, _, kind, ..] = body else { return None };
        let default = if i32::from(family) == libc::AF_INET { IpNet::ALL_V4 } else { IpNet::ALL_V6 };
        let mut entry = RouteEntry {
            destination: default,
            gateway: None,
            link: None,
            table: RouteTable(table.into()),
            kind: RouteKind(kind),
            protocol,
            metric: 0,
        };
        let mut ip = default.first();
        for attribute in attributes(body.get(RTMSG..)?) {
            let (kind, value) = attribute.ok()?;
            match u32::from(kind) {
                DST => ip = read_ip(value)?,
                GATEWAY => entry.gateway = read_ip(value),
                OIF => entry.link = read_u32(value, 0),
                TABLE => entry.table = RouteTable(read_u32(value, 0)?),
                PRIORITY => entry.metric = read_u32(value, 0)?,
                _ => {}
            }
        }
        let of_family = self::family(ip) == family;
        Some(RouteEntry { destination: IpNet::new(ip, prefix).ok().filter(|_| of_family)?, ..entry })
    }
}

const DST: u32 = nl::rtattr_type_t::RTA_DST as u32;
const GATEWAY: u32 = nl::rtattr_type_t::RTA_GATEWAY as u32;
const OIF: u32 = nl::rtattr_type_t::RTA_OIF as u32;
const TABLE: u32 = nl::rtattr_type_t::RTA_TABLE as u32;
const PRIORITY: u32 = nl::rtattr_type_t::RTA_PRIORITY as u32;
