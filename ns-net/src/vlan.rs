//! A vlan: the frames with one tag of a link of the host's.

use crate::error::{Error, Kind, Result};
use crate::link::{Link, LinkRef};
use crate::machine::LinkName;
use crate::message::Message;
use crate::socket::Socket;
use crate::upper::Upper;
use linux_raw_sys::netlink as nl;
use std::fmt;

/// A vlan to be made, IEEE 802.1Q, `RTM_NEWLINK` of kind `vlan`: in the container's namespace, on a link of the host's. It goes with
/// either of them.
///
/// ```
/// use ns_net::{IfName, Vlan};
/// let link = Vlan::new(IfName::new("eth0")?, IfName::new("eth0.100")?, 100)?;
/// assert_eq!(link.to_string(), "ip link add link eth0 name eth0.100 netns container up type vlan id 100");
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlan {
    pub(crate) upper: Upper,
    id: u16,
}

impl Vlan {
    /// The one of this id, 1 to 4094 ([`Kind::Invalid`]), on `lower`.
    pub fn new(lower: impl Into<LinkRef>, name: impl Into<LinkName>, id: u16) -> Result<Vlan> {
        if !(1..4095).contains(&id) {
            return Err(Error::refused(Kind::Invalid, format_args!("vlan {id}"), "its id is one of 1 to 4094"));
        }
        Ok(Vlan { upper: Upper::new("vlan", lower.into(), name.into()), id })
    }

    /// Largest packet in bytes, at most the lower link's.
    pub fn mtu(mut self, mtu: u32) -> Vlan {
        self.upper.mtu = Some(mtu);
        self
    }

    /// Makes it, up. [`Kind::NotFound`]: no such lower link; [`Kind::Exists`]: the name is taken in the container, or the id on the link.
    pub fn apply(&self, container: &mut Socket, host: &mut Socket) -> Result<Link> {
        self.upper.apply(container, host, |m| self.data(m))
    }

    pub(crate) fn data(&self, message: Message) -> Message {
        message.attribute(nl::IFLA_VLAN_ID as u16, &self.id.to_ne_bytes())
    }
}

/// The command of `ip(8)`, where a namespace called `container` has been added.
impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.upper.write(f)?;
        write!(f, " id {}", self.id)?;
        self.upper.write_altnames(f)
    }
}
