//! A dummy: a link that leads nowhere.

use crate::error::Result;
use crate::ifname::IfName;
use crate::link::{IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, Link, LinkFlags, LinkRef, ifinfomsg};
use crate::message::{Batch, Call, Flags, Message};
use crate::socket::Socket;
use std::fmt;

/// A dummy to be made, up: `RTM_NEWLINK` of kind `dummy`.
///
/// ```
/// assert_eq!(ns_net::Dummy::new(ns_net::IfName::new("d0")?).to_string(), "ip link add name d0 up type dummy");
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dummy(IfName);

impl Dummy {
    /// One of this name.
    pub fn new(name: IfName) -> Dummy {
        Dummy(name)
    }

    /// Makes it. [`Kind::Exists`](crate::Kind::Exists) where a link has the name, [`Kind::Unsupported`](crate::Kind::Unsupported) where the
    /// kernel has no such links.
    pub fn apply(&self, socket: &mut Socket) -> Result<Link> {
        let link = LinkRef::Name(self.0);
        let mut batch = Batch::new();
        batch.add(format_args!("make dummy {}", self.0), self.message());
        batch.add(format_args!("look at {link}"), Link::query(&link));
        Link::of_answers(&socket.run(&batch)?, &link)
    }

    pub(crate) fn message(&self) -> Message {
        Message::new(Call::NEWLINK, Flags::CREATE | Flags::EXCL)
            .fixed(&ifinfomsg(0, LinkFlags::UP, LinkFlags::UP))
            .string(IFLA_IFNAME, self.0.as_bytes())
            .nest(IFLA_LINKINFO, |m| m.string(IFLA_INFO_KIND, b"dummy"))
    }
}

/// The command of `ip(8)`.
impl fmt::Display for Dummy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip link add name {} up type dummy", self.0)
    }
}
