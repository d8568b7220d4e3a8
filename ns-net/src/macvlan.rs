//! A macvlan: a link with a hardware address of its own on a link of the host's.

use crate::error::Result;
use crate::link::{Link, LinkRef};
use crate::mac::Mac;
use crate::machine::LinkName;
use crate::message::Message;
use crate::socket::Socket;
use crate::upper::Upper;
use std::fmt;

/// A macvlan to be made, `RTM_NEWLINK` of kind `macvlan`: in the container's namespace, on a link of the host's, in one message. It goes
/// with either of them.
///
/// ```
/// use ns_net::{IfName, LinkName, Macvlan, MacvlanMode, Prefix};
/// let link = Macvlan::new(IfName::new("eth0")?, LinkName::of(Prefix::Macvlan, "eth0")?).mode(MacvlanMode::Private);
/// assert_eq!(link.to_string(), "ip link add link eth0 name mv-eth0 netns container up type macvlan mode private");
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Macvlan {
    pub(crate) upper: Upper,
    mode: MacvlanMode,
}

/// Whom a macvlan reaches directly, `IFLA_MACVLAN_MODE`. The host itself none of them does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum MacvlanMode {
    /// None of those on the same lower link.
    Private = 1,
    /// All by way of the switch behind the lower link.
    Vepa = 2,
    /// All of them: the default.
    #[default]
    Bridge = 4,
    /// The only one on its lower link.
    Passthru = 8,
}

const IFLA_MACVLAN_MODE: u16 = 1;

impl Macvlan {
    /// One on `lower`, a link of the host's, in mode `bridge`.
    pub fn new(lower: impl Into<LinkRef>, name: impl Into<LinkName>) -> Macvlan {
        Macvlan { upper: Upper::new("macvlan", lower.into(), name.into()), mode: MacvlanMode::default() }
    }

    /// In this mode.
    pub fn mode(self, mode: MacvlanMode) -> Macvlan {
        Macvlan { mode, ..self }
    }

    /// Its hardware address; without, the kernel draws one.
    pub fn mac(mut self, mac: Mac) -> Macvlan {
        self.upper.mac = Some(mac);
        self
    }

    /// Largest packet in bytes, at most the lower link's.
    pub fn mtu(mut self, mtu: u32) -> Macvlan {
        self.upper.mtu = Some(mtu);
        self
    }

    /// Makes it, up. [`Kind::NotFound`](crate::Kind::NotFound): no such lower link; [`Kind::Exists`](crate::Kind::Exists): the name is taken
    /// in the container, or the lower link is a bridge's port (`EBUSY`) or has a macvlan in mode `passthru`.
    pub fn apply(&self, container: &mut Socket, host: &mut Socket) -> Result<Link> {
        self.upper.apply(container, host, |m| self.data(m))
    }

    pub(crate) fn data(&self, message: Message) -> Message {
        message.number(IFLA_MACVLAN_MODE, self.mode as u32)
    }
}

impl MacvlanMode {
    /// The word of `ip(8)`.
    pub const fn as_str(self) -> &'static str {
        match self {
            MacvlanMode::Private => "private",
            MacvlanMode::Vepa => "vepa",
            MacvlanMode::Bridge => "bridge",
            MacvlanMode::Passthru => "passthru",
        }
    }
}

/// The command of `ip(8)`, where a namespace called `container` has been added.
impl fmt::Display for Macvlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.upper.write(f)?;
        write!(f, " mode {}", self.mode.as_str())?;
        self.upper.write_altnames(f)
    }
}
