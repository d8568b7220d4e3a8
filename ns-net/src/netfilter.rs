//! A netfilter socket: nf_tables and connection tracking of one network namespace.

use crate::channel::{Answer, Channel};
use crate::error::{Doing, Result};
use crate::message::{Batch, Message};
use crate::netns::in_namespace;
use crate::sys;
use rustix::net::netlink;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_NETFILTER)`, which stays in the network namespace in which it was opened.
///
/// What is said of [`Socket`](crate::Socket) holds here too. A table that was made with `NFT_TABLE_F_OWNER` lives as long as the socket;
/// closing that waits 5 to 13 ms for the kernel.
#[derive(Debug)]
pub struct Netfilter(pub(crate) Channel);

impl Netfilter {
    /// A socket in the calling thread's network namespace.
    pub fn open() -> Result<Netfilter> {
        Channel::open(Some(netlink::NETFILTER), OPEN).map(Netfilter)
    }

    /// A socket in this network namespace, by [`in_namespace`].
    pub fn open_in(netns: BorrowedFd<'_>) -> Result<Netfilter> {
        in_namespace(netns, "open a netfilter socket in a network namespace", Netfilter::open)?
    }

    /// Takes over a netfilter socket that was opened elsewhere. [`Kind::Invalid`](crate::Kind::Invalid) for any other socket.
    pub fn from_fd(fd: OwnedFd) -> Result<Netfilter> {
        Channel::from_fd(fd, Some(netlink::NETFILTER), OPEN, "NETLINK_NETFILTER").map(Netfilter)
    }

    /// `ioctl(SIOCGSKNS)`: see [`Socket::namespace`](crate::Socket::namespace).
    pub fn namespace(&self) -> Result<OwnedFd> {
        sys::socket_namespace(self.as_fd()).doing("find a socket's network namespace", "ioctl(SIOCGSKNS)")
    }

    /// Runs requests one by one (connection tracking): see [`Socket::run`](crate::Socket::run).
    pub fn run(&mut self, batch: &Batch) -> Result<Vec<Answer>> {
        self.0.run(batch)
    }

    /// Runs requests of nf_tables as one transaction: all are done, or none.
    pub fn commit(&mut self, batch: &Batch) -> Result<()> {
        self.0.commit(batch)
    }

    /// Runs one request that answers with a list: see [`Socket::list`](crate::Socket::list).
    pub fn list(&mut self, what: &str, message: Message) -> Result<Vec<Answer>> {
        self.0.list(what, message)
    }
}

impl AsFd for Netfilter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

const OPEN: &str = "open a netfilter socket";
