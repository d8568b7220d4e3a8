//! A link of the host's that a container has while it runs.

use crate::error::{Error, Kind, Result};
use crate::ifname::IfName;
use crate::link::{IFLA_IFNAME, Link, LinkFlags, LinkRef, ifinfomsg};
use crate::message::{Batch, Call, Flags, Message};
use crate::socket::Socket;
use linux_raw_sys::netlink as nl;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// A link to be moved into a container's namespace, `RTM_SETLINK` with `IFLA_NET_NS_FD`, and to be moved back under its own name.
///
/// Moving takes some 35 ms each way; addresses and routes don't come along, and the link is down afterwards. When a namespace ends first,
/// the kernel gives hardware back to the initial namespace, under the name that it has then, and deletes virtual links.
///
/// ```
/// use ns_net::{IfName, Move};
/// let lent = Move::new(IfName::new("eth1")?).rename(IfName::new("lan")?);
/// assert_eq!(lent.to_string(), "ip link set dev eth1 netns container name lan");
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    link: LinkRef,
    inside: Option<IfName>,
}

/// A link that is in a container's namespace, and what it was called before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// As it was on the host.
    pub was: Link,
    /// As it is in the container.
    pub inside: Link,
}

impl Move {
    /// This link, by any of its names, which it keeps.
    pub fn new(link: impl Into<LinkRef>) -> Move {
        Move { link: link.into(), inside: None }
    }

    /// What it is called in the container.
    pub fn rename(self, name: IfName) -> Move {
        Move { inside: Some(name), ..self }
    }

    /// Moves it. [`Kind::NotFound`]: there is no such link; [`Kind::Exists`]: the container has one of the name; `EINVAL`: the kernel moves
    /// no link of that kind (`lo`, a bridge before Linux 6.13).
    pub fn apply(&self, container: &mut Socket, host: &mut Socket) -> Result<Moved> {
        let was = Link::get(host, self.link.clone()).map_err(|e| match e.kind() {
            Kind::NotFound => e.because(Kind::NotFound, format!("there is no link {} to move", self.link)),
            _ => e,
        })?;
        let name = self.inside.unwrap_or(was.name);
        let namespace = container.namespace()?;
        let mut batch = Batch::new();
        batch.add(format_args!("move {} to the container", self.link), moving(was.index, namespace.as_fd(), name));
        host.run(&batch)?;
        Ok(Moved { inside: Link::get(container, name)?, was })
    }
}

impl Moved {
    /// Moves it back, whatever the container called it meanwhile: it is known by its index, kind and hardware address there, or by these on
    /// the host where the container's end has brought it already.
    ///
    /// [`Kind::NotFound`]: it is in neither namespace; the container has moved or deleted it.
    pub fn restore(&self, container: &mut Socket, host: &mut Socket) -> Result<Link> {
        let home = host.namespace()?;
        match self.find(container)? {
            Some(link) => {
                let mut batch = Batch::new();
                batch.add(format_args!("move {} back", self.was.name), moving(link.index, home.as_fd(), self.was.name));
                container.run(&batch)?;
                Link::get(host, self.was.name)
            }
            None => self.rename_back(host),
        }
    }

    /// What is left to do once the container's namespace has ended: the link has its own name again.
    pub fn rename_back(&self, host: &mut Socket) -> Result<Link> {
        let gone = || Error::refused(Kind::NotFound, format_args!("move {} back", self.was.name), "it is not in the container any more");
        let link = self.find(host)?.ok_or_else(gone)?;
        if link.name == self.was.name {
            return Ok(link);
        }
        crate::Change::of(&link).down().rename(self.was.name).apply(host)
    }

    fn find(&self, socket: &mut Socket) -> Result<Option<Link>> {
        let links = Link::list(socket)?;
        let same = |link: &&Link| link.kind == self.was.kind && link.mac == self.inside.mac;
        let by_index = links.iter().filter(same).find(|link| link.index == self.inside.index);
        Ok(by_index.or_else(|| links.iter().find(|link| same(link) && link.name == self.inside.name)).cloned())
    }
}

/// The kernel switches a link off before it moves and renames it.
fn moving(index: u32, namespace: BorrowedFd<'_>, name: IfName) -> Message {
    Message::new(Call::SETLINK, Flags::empty())
        .fixed(&ifinfomsg(index, LinkFlags::empty(), LinkFlags::UP))
        .string(IFLA_IFNAME, name.as_bytes())
        .number(nl::IFLA_NET_NS_FD as u16, namespace.as_raw_fd() as u32)
}

/// The command of `ip(8)`, where a namespace called `container` has been added.
impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip link set dev {} netns container", self.link)?;
        self.inside.iter().try_for_each(|name| write!(f, " name {name}"))
    }
}
