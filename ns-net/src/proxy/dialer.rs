//! Sockets in another network namespace.

use crate::error::{Doing, Result};
use crate::netns::in_namespace;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

/// Sockets made at a time: entering takes longer than making one.
const AT_ONCE: usize = 8;

/// Hands out sockets of a namespace, some made in advance.
#[derive(Debug)]
pub(super) struct Dialer {
    netns: OwnedFd,
    /// By family and type: IPv4 and IPv6 for TCP, then for UDP.
    spare: [Vec<OwnedFd>; 4],
}

impl Dialer {
    pub fn new(netns: OwnedFd) -> Dialer {
        Dialer { netns, spare: Default::default() }
    }

    /// A socket that can reach this address from inside.
    pub fn socket(&mut self, to: SocketAddr, kind: SocketType) -> Result<OwnedFd> {
        let n = usize::from(to.is_ipv6()) + 2 * usize::from(kind == SocketType::DGRAM);
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let Some(spare) = self.spare.get_mut(n) else { return made(family, kind) };
        if let Some(socket) = spare.pop() {
            return Ok(socket);
        }
        let make = || (0..AT_ONCE).map(|_| made(family, kind)).collect::<Result<Vec<_>>>();
        // Few descriptors may be left: then one must do.
        let one = || made(family, kind).map(|socket| vec![socket]);
        spare.extend(in_namespace(self.netns.as_fd(), DIAL, || make().or_else(|_| one()))??);
        spare.pop().map_or_else(|| made(family, kind), Ok)
    }
}

const DIAL: &str = "dial from inside a network namespace";

fn made(family: AddressFamily, kind: SocketType) -> Result<OwnedFd> {
    socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None).doing(DIAL, "socket")
}
