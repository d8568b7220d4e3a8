//! A route socket: requests to the kernel, in one network namespace.

use crate::channel::{Answer, Channel};
use crate::error::{Doing, Result};
use crate::message::{Batch, Message};
use crate::netns::in_namespace;
use crate::sys;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE)`, which stays in the network namespace in which it was opened: `rtnetlink(7)`.
///
/// Errors come with the kernel's own words (`NETLINK_EXT_ACK`, Linux 4.12) and requests are checked strictly
/// (`NETLINK_GET_STRICT_CHK`, 4.20). Only datagrams of the kernel's are read: a container's root may send others to a socket in the
/// container's namespace. `EINTR` is retried. Nothing blocks: the kernel has answered when a request is sent.
#[derive(Debug)]
pub struct Socket(pub(crate) Channel);

impl Socket {
    /// A socket in the calling thread's network namespace.
    pub fn open() -> Result<Socket> {
        Channel::open(None, OPEN).map(Socket)
    }

    /// A socket in this network namespace (a descriptor of `/proc/PID/ns/net` or a pidfd, which needs Linux 5.8), by
    /// [`in_namespace`]. Who may not enter it lets a child hand out a socket (feature `plan`: `RouteSocket`) and uses
    /// [`Socket::from_fd`].
    pub fn open_in(netns: BorrowedFd<'_>) -> Result<Socket> {
        in_namespace(netns, "open a route socket in a network namespace", Socket::open)?
    }

    /// Takes over a route socket that was opened elsewhere, as by a child in its own namespace.
    /// [`Kind::Invalid`](crate::Kind::Invalid) for any other socket.
    pub fn from_fd(fd: OwnedFd) -> Result<Socket> {
        Channel::from_fd(fd, None, OPEN, "NETLINK_ROUTE").map(Socket)
    }

    /// `ioctl(SIOCGSKNS)`: a descriptor of the socket's network namespace, which it keeps alive. Linux 4.9; needs `CAP_NET_ADMIN` there.
    pub fn namespace(&self) -> Result<OwnedFd> {
        sys::socket_namespace(self.as_fd()).doing("find a socket's network namespace", "ioctl(SIOCGSKNS)")
    }

    /// Runs a batch and returns what was answered, in order.
    ///
    /// The first failure is the error; the kernel has run the other requests nevertheless, and all answers have been read.
    pub fn run(&mut self, batch: &Batch) -> Result<Vec<Answer>> {
        self.0.run(batch)
    }

    /// Runs one request that answers with a list (`NLM_F_DUMP`); anew, at most 16 times, when the list has changed meanwhile.
    pub fn list(&mut self, what: &str, message: Message) -> Result<Vec<Answer>> {
        self.0.list(what, message)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

const OPEN: &str = "open a route socket";
