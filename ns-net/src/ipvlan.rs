//! An ipvlan: a link that shares the hardware address of a link of the host's.

use crate::error::Result;
use crate::link::{Link, LinkRef};
use crate::machine::LinkName;
use crate::message::Message;
use crate::socket::Socket;
use crate::upper::Upper;
use std::fmt;

/// An ipvlan to be made, `RTM_NEWLINK` of kind `ipvlan`: in the container's namespace, on a link of the host's, in one message. It goes
/// with either of them.
///
/// ```
/// use ns_net::{IfName, Ipvlan, IpvlanMode, LinkName, Prefix};
/// let link = Ipvlan::new(IfName::new("eth0")?, LinkName::of(Prefix::Ipvlan, "eth0")?).mode(IpvlanMode::L3);
/// assert_eq!(link.to_string(), "ip link add link eth0 name iv-eth0 netns container up type ipvlan mode l3 bridge");
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipvlan {
    pub(crate) upper: Upper,
    mode: IpvlanMode,
    isolation: IpvlanIsolation,
}

/// At which layer packets are handed on, `IFLA_IPVLAN_MODE`. All links on one lower link have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum IpvlanMode {
    /// The container's own stack sends and receives, broadcasts too: the default.
    #[default]
    L2 = 0,
    /// The host's stack routes; no broadcasts.
    L3 = 1,
    /// The same, by the host's connection tracking.
    L3s = 2,
}

/// Whether links on one lower link reach one another, `IFLA_IPVLAN_FLAGS`. Linux 4.15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum IpvlanIsolation {
    /// They do: the default.
    #[default]
    Bridge = 0,
    /// They don't.
    Private = 1,
    /// By way of the switch behind the lower link.
    Vepa = 2,
}

const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;

impl Ipvlan {
    /// One on `lower`, a link of the host's, in mode `l2`.
    pub fn new(lower: impl Into<LinkRef>, name: impl Into<LinkName>) -> Ipvlan {
        Ipvlan {
            upper: Upper::new("ipvlan", lower.into(), name.into()),
            mode: IpvlanMode::default(),
            isolation: IpvlanIsolation::default(),
        }
    }

    /// In this mode.
    pub fn mode(self, mode: IpvlanMode) -> Ipvlan {
        Ipvlan { mode, ..self }
    }

    /// So isolated.
    pub fn isolation(self, isolation: IpvlanIsolation) -> Ipvlan {
        Ipvlan { isolation, ..self }
    }

    /// Makes it, up. [`Kind::NotFound`](crate::Kind::NotFound): no such lower link; [`Kind::Unsupported`](crate::Kind::Unsupported): the kernel
    /// has none; [`Kind::Exists`](crate::Kind::Exists): the name is taken in the container, or the lower link is a port or has macvlans on it.
    pub fn apply(&self, container: &mut Socket, host: &mut Socket) -> Result<Link> {
        self.upper.apply(container, host, |m| self.data(m))
    }

    pub(crate) fn data(&self, message: Message) -> Message {
        let message = message.attribute(IFLA_IPVLAN_MODE, &(self.mode as u16).to_ne_bytes());
        message.attribute(IFLA_IPVLAN_FLAGS, &(self.isolation as u16).to_ne_bytes())
    }
}

/// The command of `ip(8)`, where a namespace called `container` has been added.
impl fmt::Display for Ipvlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.upper.write(f)?;
        f.write_str(match self.mode {
            IpvlanMode::L2 => " mode l2",
            IpvlanMode::L3 => " mode l3",
            IpvlanMode::L3s => " mode l3s",
        })?;
        f.write_str(match self.isolation {
            IpvlanIsolation::Bridge => " bridge",
            IpvlanIsolation::Private => " private",
            IpvlanIsolation::Vepa => " vepa",
        })?;
        self.upper.write_altnames(f)
    }
}
