//! A change of a link: as a value.

use crate::error::Result;
use crate::ifname::{AltName, IfName};
use crate::link::{
    IFLA_ADDRESS, IFLA_ALT_IFNAME, IFLA_IFALIAS, IFLA_IFNAME, IFLA_MASTER, IFLA_MTU, IFLA_PROP_LIST, Link, LinkFlags, LinkRef, ifinfomsg,
};
use crate::mac::Mac;
use crate::message::{Batch, Call, Flags, Message};
use crate::socket::Socket;
use std::fmt;

/// What is to change of one link: `RTM_SETLINK`, and `RTM_NEWLINKPROP` for altnames (Linux 5.5), in one send.
///
/// ```
/// use ns_net::{Change, IfName};
/// let change = Change::of(IfName::new("eth7")?).rename(IfName::new("lan")?).mtu(1400).up();
/// assert_eq!(change.to_string(), "ip link set dev eth7 name lan mtu 1400 up");
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    link: LinkRef,
    rename: Option<IfName>,
    mac: Option<Mac>,
    mtu: Option<u32>,
    master: Option<Master>,
    up: Option<LinkFlags>,
    alias: Option<Box<[u8]>>,
    altnames: Vec<AltName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Master {
    None,
    Of(u32),
}

impl Change {
    /// No change yet.
    pub fn of(link: impl Into<LinkRef>) -> Change {
        Change { link: link.into(), rename: None, mac: None, mtu: None, master: None, up: None, alias: None, altnames: Vec::new() }
    }

    /// Another first name. A link that is up is renamed by Linux 6.2 and newer only (`EBUSY`): with [`Change::down`] by every kernel.
    pub fn rename(self, name: IfName) -> Change {
        Change { rename: Some(name), ..self }
    }

    /// Another hardware address.
    pub fn mac(self, mac: Mac) -> Change {
        Change { mac: Some(mac), ..self }
    }

    /// Largest packet in bytes.
    pub fn mtu(self, mtu: u32) -> Change {
        Change { mtu: Some(mtu), ..self }
    }

    /// Makes it a port of this bridge, by its index.
    pub fn master(self, index: u32) -> Change {
        Change { master: Some(Master::Of(index)), ..self }
    }

    /// Makes it nobody's port.
    pub fn no_master(self) -> Change {
        Change { master: Some(Master::None), ..self }
    }

    /// Switches it on.
    pub fn up(self) -> Change {
        Change { up: Some(LinkFlags::UP), ..self }
    }

    /// Switches it off.
    pub fn down(self) -> Change {
        Change { up: Some(LinkFlags::empty()), ..self }
    }

    /// A note about it, at most 255 bytes (`EINVAL`): whose it is, say.
    pub fn alias(self, note: &str) -> Change {
        Change { alias: Some(note.as_bytes().into()), ..self }
    }

    /// One more name.
    pub fn altname(mut self, name: AltName) -> Change {
        self.altnames.push(name);
        self
    }

    /// Makes the change; the link as it is then.
    pub fn apply(&self, socket: &mut Socket) -> Result<Link> {
        // A name in the message would be taken for the new one, and the link has another afterwards.
        let index = self.link.resolve(socket)?;
        let link = LinkRef::Index(index);
        let mut batch = self.requests(index);
        batch.add(format_args!("look at {}", self.link), Link::query(&link));
        let answers = socket.run(&batch)?;
        Link::of_answers(&answers, &link)
    }

    /// The change's messages, for the link of this index.
    pub(crate) fn requests(&self, index: u32) -> Batch {
        let mut batch = Batch::new();
        if self.falls_first() {
            // In one message the kernel would look at the name before the flags.
            let down = Message::new(Call::SETLINK, Flags::empty()).fixed(&ifinfomsg(index, LinkFlags::empty(), LinkFlags::UP));
            batch.add(format_args!("switch {} off", self.link), down);
        }
        let change = self.up.map_or(LinkFlags::empty(), |_| LinkFlags::UP);
        let message = Message::new(Call::SETLINK, Flags::empty())
            .fixed(&ifinfomsg(index, self.up.unwrap_or_default(), change))
            .with(self.rename, |m, name| m.string(IFLA_IFNAME, name.as_bytes()))
            .with(self.mac, |m, mac| m.attribute(IFLA_ADDRESS, &mac.octets()))
            .with(self.mtu, |m, mtu| m.number(IFLA_MTU, mtu))
            .with(self.alias.as_deref(), |m, note| m.attribute(IFLA_IFALIAS, note))
            .with(self.master, |m, master| m.number(IFLA_MASTER, if let Master::Of(index) = master { index } else { 0 }));
        batch.add(format_args!("change {}", self.link), message);
        if !self.altnames.is_empty() {
            batch.add(
                format_args!("name {} also", self.link),
                altnames_message(Call::NEWLINKPROP, Flags::CREATE | Flags::EXCL | Flags::APPEND, index, &self.altnames),
            );
        }
        batch
    }
}

impl Change {
    /// Whether the link is switched off by a message of its own, before it is renamed.
    fn falls_first(&self) -> bool {
        self.rename.is_some() && self.up == Some(LinkFlags::empty())
    }
}

pub(crate) fn altnames_message(call: Call, flags: Flags, index: u32, names: &[AltName]) -> Message {
    Message::new(call, flags)
        .fixed(&ifinfomsg(index, LinkFlags::empty(), LinkFlags::empty()))
        .nest(IFLA_PROP_LIST, |m| names.iter().fold(m, |m, name| m.string(IFLA_ALT_IFNAME, name.as_bytes())))
}

/// The commands of `ip(8)`, one a line.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.falls_first() {
            writeln!(f, "ip link set dev {} down", self.link)?;
        }
        write!(f, "ip link set dev {}", self.link)?;
        self.rename.iter().try_for_each(|name| write!(f, " name {name}"))?;
        self.mac.iter().try_for_each(|mac| write!(f, " address {mac}"))?;
        self.mtu.iter().try_for_each(|mtu| write!(f, " mtu {mtu}"))?;
        self.alias.iter().try_for_each(|note| write!(f, " alias \"{}\"", note.escape_ascii()))?;
        match self.master {
            Some(Master::Of(index)) => write!(f, " master if{index}")?,
            Some(Master::None) => f.write_str(" nomaster")?,
            None => {}
        }
        f.write_str(match self.up {
            Some(LinkFlags::UP) => " up",
            Some(_) => " down",
            None => "",
        })?;
        let link = self.rename.map_or(self.link.clone(), LinkRef::Name);
        self.altnames.iter().try_for_each(|name| write!(f, "\nip link property add dev {link} altname {name}"))
    }
}
