//! Links that exist: found, listed, changed, deleted.

use crate::channel::Answer;
use crate::error::{Error, Kind, Result};
use crate::ifname::{AltName, IfName};
use crate::mac::Mac;
use crate::message::{Batch, Call, Flags, Message};
use crate::reply::{attributes, read_u32, until_null};
use crate::socket::Socket;
use linux_raw_sys::netlink as nl;
use std::fmt;

bitflags::bitflags! {
    /// `IFF_*`, `netdevice(7)`. Unknown bits are kept.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct LinkFlags: u32 {
        /// `IFF_UP`: switched on.
        const UP = 1;
        /// `IFF_BROADCAST`
        const BROADCAST = 1 << 1;
        /// `IFF_LOOPBACK`
        const LOOPBACK = 1 << 3;
        /// `IFF_POINTOPOINT`
        const POINTOPOINT = 1 << 4;
        /// `IFF_RUNNING`: operational.
        const RUNNING = 1 << 6;
        /// `IFF_NOARP`
        const NOARP = 1 << 7;
        /// `IFF_PROMISC`
        const PROMISC = 1 << 8;
        /// `IFF_MULTICAST`
        const MULTICAST = 1 << 12;
        /// `IFF_LOWER_UP`: has a carrier; a veth's end has when both are up.
        const LOWER_UP = 1 << 16;
        const _ = !0;
    }
}

/// Which link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LinkRef {
    /// By its index, which is never given twice in the life of a network namespace unless chosen.
    Index(u32),
    /// By its name.
    Name(IfName),
    /// By one of its further names.
    AltName(AltName),
}

impl From<u32> for LinkRef {
    fn from(index: u32) -> LinkRef {
        LinkRef::Index(index)
    }
}

impl From<IfName> for LinkRef {
    fn from(name: IfName) -> LinkRef {
        LinkRef::Name(name)
    }
}

impl From<AltName> for LinkRef {
    fn from(name: AltName) -> LinkRef {
        LinkRef::AltName(name)
    }
}

impl From<&Link> for LinkRef {
    fn from(link: &Link) -> LinkRef {
        LinkRef::Index(link.index)
    }
}

impl LinkRef {
    /// The link's index, asked for where it isn't known.
    pub(crate) fn resolve(&self, socket: &mut Socket) -> Result<u32> {
        match self {
            LinkRef::Index(index) => Ok(*index),
            other => Ok(Link::get(socket, other.clone())?.index),
        }
    }
}

/// "ve-web", or "link 7".
impl fmt::Display for LinkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkRef::Index(index) => write!(f, "link {index}"),
            LinkRef::Name(name) => name.fmt(f),
            LinkRef::AltName(name) => name.fmt(f),
        }
    }
}

/// A link, as the kernel described it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// `ifi_index`
    pub index: u32,
    /// `IFLA_IFNAME`
    pub name: IfName,
    /// `IFLA_ALT_IFNAME`
    pub altnames: Vec<AltName>,
    /// `IFLA_IFALIAS`: what somebody has noted about it; bytes that are no printable ASCII are escaped.
    pub alias: Option<String>,
    /// `IFLA_INFO_KIND`: "veth", "bridge"; none for hardware and `lo`.
    pub kind: Option<String>,
    /// `ifi_flags`
    pub flags: LinkFlags,
    /// `IFLA_ADDRESS`, where it is one of 48 bits.
    pub mac: Option<Mac>,
    /// `IFLA_MTU`, bytes.
    pub mtu: u32,
    /// `IFLA_MASTER`: index of the bridge whose port it is.
    pub master: Option<u32>,
    /// `IFLA_LINK`: index of a veth's other end, or of the link that a macvlan is on, in its own namespace.
    pub peer: Option<u32>,
    /// `IFLA_LINK_NETNSID`: where the peer is, if elsewhere: this namespace's id for the other; -1 when it has none.
    pub peer_namespace: Option<i32>,
}

impl Link {
    /// `RTM_GETLINK`: the link of this index or name. [`Kind::NotFound`] (`ENODEV`) without.
    pub fn get(socket: &mut Socket, link: impl Into<LinkRef>) -> Result<Link> {
        let link = link.into();
        let mut batch = Batch::new();
        batch.add(format_args!("look at {link}"), Link::query(&link));
        let answers = socket.run(&batch)?;
        Link::of_answers(&answers, &link)
    }

    /// `RTM_GETLINK` with `NLM_F_DUMP`: all links of the namespace.
    pub fn list(socket: &mut Socket) -> Result<Vec<Link>> {
        let message = Message::new(Call::GETLINK, Flags::empty()).fixed(&ifinfomsg(0, LinkFlags::empty(), LinkFlags::empty()));
        let answers = socket.list("list links", message.number(nl::IFLA_EXT_MASK as u16, SKIP_STATS))?;
        answers.iter().map(|a| Link::parse(&a.body).ok_or_else(|| garbled("list links"))).collect()
    }

    /// `RTM_DELLINK`: deletes the link, and a veth's other end with it. Takes 30 to 40 ms; a namespace's end does it without the wait.
    pub fn delete(socket: &mut Socket, link: impl Into<LinkRef>) -> Result<()> {
        let link = link.into();
        let mut batch = Batch::new();
        batch.add(format_args!("delete {link}"), selecting(Call::DELLINK, &link));
        socket.run(&batch).map(drop)
    }

    /// Reads the body of an `RTM_NEWLINK`: `struct ifinfomsg` and attributes. `None` when it is none, whatever the bytes.
    pub fn parse(body: &[u8]) -> Option<Link> {
        let flags = LinkFlags::from_bits_retain(read_u32(body, 8)?);
        let mut name = None;
        let mut link = Link {
            index: read_u32(body, 4)?,
            name: IfName::HOST0,
            altnames: Vec::new(),
            alias: None,
            kind: None,
            flags,
            mac: None,
            mtu: 0,
            master: None,
            peer: None,
            peer_namespace: None,
        };
        for attribute in attributes(body.get(IFINFOMSG..)?) {
            match attribute.ok()? {
                (IFLA_IFNAME, value) => name = IfName::from_kernel(until_null(value)),
                (kind, value) => link.take(kind, value),
            }
        }
        Some(Link { name: name?, ..link })
    }

    fn take(&mut self, kind: u16, value: &[u8]) {
        match kind {
            IFLA_ADDRESS => self.mac = value.try_into().ok().map(Mac::new),
            IFLA_IFALIAS => self.alias = Some(until_null(value).escape_ascii().to_string()),
            IFLA_MTU => self.mtu = read_u32(value, 0).unwrap_or(0),
            IFLA_MASTER => self.master = read_u32(value, 0),
            IFLA_LINK => self.peer = read_u32(value, 0),
            IFLA_LINK_NETNSID => self.peer_namespace = read_u32(value, 0).map(|n| n as i32),
            IFLA_LINKINFO => self.kind = strings(value, IFLA_INFO_KIND).next().map(|k| k.escape_ascii().to_string()),
            IFLA_PROP_LIST => self.altnames = strings(value, IFLA_ALT_IFNAME).filter_map(AltName::from_kernel).collect(),
            _ => {}
        }
    }

    pub(crate) fn query(link: &LinkRef) -> Message {
        selecting(Call::GETLINK, link).number(nl::IFLA_EXT_MASK as u16, SKIP_STATS)
    }

    /// The last link among the answers.
    pub(crate) fn of_answers(answers: &[Answer], asked: &LinkRef) -> Result<Link> {
        let link = answers.iter().rev().find(|a| a.kind == Call::NEWLINK.number()).and_then(|a| Link::parse(&a.body));
        link.ok_or_else(|| garbled(format_args!("look at {asked}")))
    }
}

/// "7: ve-web: veth, 02:00:00:00:00:01, mtu 1500, up"
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.index, self.name)?;
        self.altnames.iter().try_for_each(|name| write!(f, " ({name})"))?;
        f.write_str(": ")?;
        self.kind.iter().try_for_each(|kind| write!(f, "{kind}, "))?;
        self.mac.iter().try_for_each(|mac| write!(f, "{mac}, "))?;
        write!(f, "mtu {}, {}", self.mtu, if self.flags.contains(LinkFlags::UP) { "up" } else { "down" })
    }
}

const IFINFOMSG: usize = size_of::<nl::ifinfomsg>();
/// `RTEXT_FILTER_SKIP_STATS`: counters take most of the time of a listing.
const SKIP_STATS: u32 = nl::RTEXT_FILTER_SKIP_STATS;

pub(crate) const IFLA_ADDRESS: u16 = nl::IFLA_ADDRESS as u16;
pub(crate) const IFLA_IFALIAS: u16 = nl::IFLA_IFALIAS as u16;
pub(crate) const IFLA_IFNAME: u16 = nl::IFLA_IFNAME as u16;
pub(crate) const IFLA_MTU: u16 = nl::IFLA_MTU as u16;
pub(crate) const IFLA_MASTER: u16 = nl::IFLA_MASTER as u16;
pub(crate) const IFLA_LINKINFO: u16 = nl::IFLA_LINKINFO as u16;
pub(crate) const IFLA_INFO_KIND: u16 = nl::IFLA_INFO_KIND as u16;
pub(crate) const IFLA_PROP_LIST: u16 = nl::IFLA_PROP_LIST as u16;
pub(crate) const IFLA_ALT_IFNAME: u16 = nl::IFLA_ALT_IFNAME as u16;
const IFLA_LINK: u16 = nl::IFLA_LINK as u16;
const IFLA_LINK_NETNSID: u16 = nl::IFLA_LINK_NETNSID as u16;

/// `struct ifinfomsg`: family, padding, type, index, flags and which of them count.
pub(crate) fn ifinfomsg(index: u32, flags: LinkFlags, change: LinkFlags) -> [u8; IFINFOMSG] {
    let mut bytes = [0; IFINFOMSG];
    let words = [0, index, flags.bits(), change.bits()].map(u32::to_ne_bytes);
    bytes.iter_mut().zip(words.as_flattened()).for_each(|(to, from)| *to = *from);
    bytes
}

/// A message about this link that changes no flags.
pub(crate) fn selecting(call: Call, link: &LinkRef) -> Message {
    let index = if let LinkRef::Index(index) = link { *index } else { 0 };
    let message = Message::new(call, Flags::empty()).fixed(&ifinfomsg(index, LinkFlags::empty(), LinkFlags::empty()));
    match link {
        LinkRef::Index(_) => message,
        LinkRef::Name(name) => message.string(IFLA_IFNAME, name.as_bytes()),
        LinkRef::AltName(name) => message.string(IFLA_ALT_IFNAME, name.as_bytes()),
    }
}

fn strings(nest: &[u8], wanted: u16) -> impl Iterator<Item = &[u8]> {
    attributes(nest).map_while(|a| a.ok()).filter(move |(kind, _)| *kind == wanted).map(|(_, value)| until_null(value))
}

fn garbled(what: impl fmt::Display) -> Error {
    Error::refused(Kind::Garbled, what, "RTM_GETLINK: the answer describes no link")
}
