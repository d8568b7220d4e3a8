//! Watching: what the kernel tells of changes.

use crate::address::AddressEntry;
use crate::channel::Channel;
use crate::error::{Doing, Result};
use crate::link::Link;
use crate::message::Call;
use crate::netns::in_namespace;
use crate::reply::{Reply, replies};
use crate::route::RouteEntry;
use crate::sys;
use linux_raw_sys::netlink as nl;
use rustix::net::Protocol;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use std::os::fd::{AsFd, BorrowedFd};

/// A socket that is told of changes in one network namespace: pollable ([`AsFd`]), it never blocks.
#[derive(Debug)]
pub struct Watch {
    channel: Channel,
    netfilter: bool,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// `RTM_NEWLINK`: a link as it is now; also when nothing of it differs.
    Link(Link),
    /// `RTM_DELLINK`: a link that has gone.
    LinkGone(Link),
    /// `RTM_NEWADDR`
    Address(AddressEntry),
    /// `RTM_DELADDR`
    AddressGone(AddressEntry),
    /// `RTM_NEWROUTE`
    Route(RouteEntry),
    /// `RTM_DELROUTE`
    RouteGone(RouteEntry),
    /// `NFT_MSG_NEWGEN`: a transaction on the rule sets is done, whoever's.
    Rules,
    /// `ENOBUFS`: something was missed. Look at all of it anew.
    Missed,
}

impl Watch {
    /// Links, addresses and routes of the calling thread's namespace.
    pub fn links() -> Result<Watch> {
        use nl::rtnetlink_groups::{RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE, RTNLGRP_LINK};
        let channel = bound(None, "watch links")?;
        for group in [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE] {
            join(&channel, group as i32, "watch links")?;
        }
        Ok(Watch { channel, netfilter: false })
    }

    /// The same of another namespace.
    pub fn links_in(netns: BorrowedFd<'_>) -> Result<Watch> {
        in_namespace(netns, "watch links of a network namespace", Watch::links)?
    }

    /// Rule sets of the calling thread's namespace (`NFNLGRP_NFTABLES`); needs `CAP_NET_ADMIN`.
    pub fn rules() -> Result<Watch> {
        const NFNLGRP_NFTABLES: i32 = 7;
        let channel = bound(Some(NETFILTER), "watch rule sets")?;
        join(&channel, NFNLGRP_NFTABLES, "watch rule sets")?;
        Ok(Watch { channel, netfilter: true })
    }

    /// The same of another namespace.
    pub fn rules_in(netns: BorrowedFd<'_>) -> Result<Watch> {
        in_namespace(netns, "watch rule sets of a network namespace", Watch::rules)?
    }

    /// What has been told since; nothing if there is nothing to read.
    pub fn events(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        loop {
            match self.channel.told()? {
                None => return Ok(events),
                Some(Err(())) => events.push(Event::Missed),
                Some(Ok(datagram)) => events.extend(replies(datagram).map_while(|r| r.ok()).filter_map(|r| read(r, self.netfilter))),
            }
        }
    }
}

/// A socket with a number of its own: one without (0, as the kernel's own) is told nothing of what the kernel itself does.
fn bound(protocol: Option<Protocol>, what: &str) -> Result<Channel> {
    let channel = Channel::open(protocol, what)?;
    rustix::net::bind(&channel.fd, &SocketAddrNetlink::new(0, 0)).doing(what, "bind")?;
    Ok(channel)
}

fn join(channel: &Channel, group: i32, what: &str) -> Result<()> {
    sys::set_netlink_option(channel.fd.as_fd(), nl::NETLINK_ADD_MEMBERSHIP, group).doing(what, "setsockopt(NETLINK_ADD_MEMBERSHIP)")
}

fn read(reply: Reply<'_>, netfilter: bool) -> Option<Event> {
    const NEWGEN: u16 = 10 << 8 | 15;
    if netfilter {
        return (reply.kind == NEWGEN).then_some(Event::Rules);
    }
    let is = |call: Call| reply.kind == call.number();
    let body = reply.body;
    match () {
        () if is(Call::NEWLINK) => Link::parse(body).map(Event::Link),
        () if is(Call::DELLINK) => Link::parse(body).map(Event::LinkGone),
        () if is(Call::NEWADDR) => AddressEntry::parse(body).map(Event::Address),
        () if is(Call::DELADDR) => AddressEntry::parse(body).map(Event::AddressGone),
        () if is(Call::NEWROUTE) => RouteEntry::parse(body).map(Event::Route),
        () if is(Call::DELROUTE) => RouteEntry::parse(body).map(Event::RouteGone),
        () => None,
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.fd.as_fd()
    }
}
