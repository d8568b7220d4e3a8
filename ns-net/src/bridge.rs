//! Bridges: made, and found where one is asked for.

use crate::error::{Error, Kind, Result};
use crate::ifname::IfName;
use crate::link::{IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU, Link, LinkFlags, LinkRef, ifinfomsg};
use crate::mac::Mac;
use crate::message::{Batch, Call, Flags, Message};
use crate::socket::Socket;
use std::fmt;

/// A bridge to be made, up from the start: `RTM_NEWLINK` of kind `bridge`.
///
/// Give it an address of its own ([`Bridge::mac`]): one without takes the lowest of its ports', and changes when they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    name: IfName,
    mac: Option<Mac>,
    mtu: Option<u32>,
}

impl Bridge {
    /// A bridge of this name.
    pub fn new(name: IfName) -> Bridge {
        Bridge { name, mac: None, mtu: None }
    }

    /// Its hardware address.
    pub fn mac(self, mac: Mac) -> Bridge {
        Bridge { mac: Some(mac), ..self }
    }

    /// Largest packet in bytes.
    pub fn mtu(self, mtu: u32) -> Bridge {
        Bridge { mtu: Some(mtu), ..self }
    }

    /// Makes it. [`Kind::Exists`] (`EEXIST`) where a link has the name.
    pub fn apply(&self, socket: &mut Socket) -> Result<Link> {
        let link = LinkRef::Name(self.name);
        let mut batch = Batch::new();
        batch.add(format_args!("make bridge {}", self.name), self.message());
        batch.add(format_args!("look at {link}"), Link::query(&link));
        Link::of_answers(&socket.run(&batch)?, &link)
    }

    /// The existing bridge of this name: [`Kind::NotFound`] without one, [`Kind::NotABridge`] for another kind of link.
    pub fn find(socket: &mut Socket, name: IfName) -> Result<Link> {
        let link = Link::get(socket, name).map_err(|e| match e.kind() {
            Kind::NotFound => e.because(Kind::NotFound, format!("there is no bridge {name}: make it first")),
            _ => e,
        })?;
        match link.kind.as_deref() {
            Some("bridge") => Ok(link),
            kind => Err(Error::refused(
                Kind::NotABridge,
                format_args!("use {name} as a bridge"),
                format!("it is {}, not a bridge", kind.map_or("no virtual link".into(), |k| format!("a {k} link"))),
            )),
        }
    }

    pub(crate) fn message(&self) -> Message {
        Message::new(Call::NEWLINK, Flags::CREATE | Flags::EXCL)
            .fixed(&ifinfomsg(0, LinkFlags::UP, LinkFlags::UP))
            .string(IFLA_IFNAME, self.name.as_bytes())
            .with(self.mac, |m, mac| m.attribute(IFLA_ADDRESS, &mac.octets()))
            .with(self.mtu, |m, mtu| m.number(IFLA_MTU, mtu))
            .nest(IFLA_LINKINFO, |m| m.string(IFLA_INFO_KIND, b"bridge"))
    }
}

/// The command of `ip(8)`.
impl fmt::Display for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip link add name {}", self.name)?;
        self.mac.iter().try_for_each(|mac| write!(f, " address {mac}"))?;
        self.mtu.iter().try_for_each(|mtu| write!(f, " mtu {mtu}"))?;
        f.write_str(" up type bridge")
    }
}
