//! A route socket of a child's network namespace, handed out to the caller.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use ns_core::{Call, Child, ChildFd, Fault, Slot, Step, Wires};
use rustix::io::retry_on_intr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::fmt;

/// `socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE)` in a child's own network namespace, sent to the caller.
///
/// The caller takes it from the slot and makes a [`Socket`](crate::Socket) of it by [`Socket::from_fd`](crate::Socket::from_fd): for
/// callers who may not enter the namespace (`setns(2)` needs `CAP_SYS_ADMIN` in the caller's own user namespace too), and where the 50 µs
/// of a thread count. The rights are those of the caller who sends, not of the child that opened it: a veth's peer may go to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteSocket {
    slot: Slot,
}

impl RouteSocket {
    /// Kept in, and sent as, `slot`.
    pub const fn new(slot: Slot) -> RouteSocket {
        RouteSocket { slot }
    }
}

/// Opens one in the calling thread's network namespace.
pub(crate) fn open() -> Result<ChildFd, Fault> {
    retry_on_intr(|| socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)).map(ChildFd::from).call("socket")
}

// SAFETY: system calls on memory of `self` and of this function's own stack.
unsafe impl Step for RouteSocket {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        child.keep(self.slot, open()?)?;
        child.send(self.slot)
    }

    fn wires(&self, wires: &mut Wires) {
        wires.fills(self.slot);
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for RouteSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route socket, sent to the caller as {}", self.slot)
    }
}
