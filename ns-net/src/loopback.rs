//! The loopback device, brought up in a child.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::route_socket::open;
use linux_raw_sys::netlink as nl;
use ns_core::{Call, Child, ChildFd, Errno, Fault, Step};
use rustix::io::retry_on_intr;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, SendFlags, recv, sendto};
use std::fmt;
use std::os::fd::AsFd;

/// `ip link set dev lo up`, in a child's own network namespace: one `RTM_SETLINK` (`rtnetlink(7)`), about 10 µs.
///
/// `lo` gets 127.0.0.1/8 and ::1/128 by coming up. Needs `CAP_NET_ADMIN` over the namespace, which a child has that made it; in the
/// initial namespace `lo` is up already.
///
/// ```
/// assert_eq!(ns_net::LoopbackUp.to_string(), "ip link set dev lo up");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopbackUp;

/// `lo` is the first device of every network namespace.
const LOOPBACK: u32 = 1;
const IFF_UP: u32 = 1;
const BYTES: u32 = 32;

impl LoopbackUp {
    /// Does it now, in the calling thread's network namespace. May be called in a child between clone and exec.
    pub fn apply(&self) -> Result<(), Fault> {
        let socket = open()?;
        let answer = ask(&socket);
        socket.close();
        answer
    }
}

fn ask(socket: &ChildFd) -> Result<(), Fault> {
    const CALL: &str = "RTM_SETLINK";
    retry_on_intr(|| sendto(socket, &request(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))).call(CALL)?;
    // The acknowledgement: a header, the errno, then the request's header again and, after a failure, its body.
    let mut buffer = [0; 128];
    retry_on_intr(|| recv(socket.as_fd(), &mut buffer, RecvFlags::DONTWAIT)).call(CALL)?;
    match crate::reply::read_u32(&buffer, 16).map(|n| n as i32) {
        Some(0) => Ok(()),
        Some(errno) => Err(Fault::new(CALL, Errno::new(errno.saturating_neg()))),
        None => Err(Fault::new(CALL, Errno::EPROTO)),
    }
}

/// `struct nlmsghdr` (length; type and flags; sequence; port) and `struct ifinfomsg` (family; index; flags; which of them).
fn request() -> [u8; BYTES as usize] {
    let [a, b] = (nl::RTM_SETLINK as u16).to_ne_bytes();
    let [c, d] = ((nl::NLM_F_REQUEST | nl::NLM_F_ACK) as u16).to_ne_bytes();
    let words = [BYTES, u32::from_ne_bytes([a, b, c, d]), 0, 0, 0, LOOPBACK, IFF_UP, IFF_UP].map(u32::to_ne_bytes);
    let mut bytes = [0; BYTES as usize];
    for (to, from) in bytes.iter_mut().zip(words.as_flattened()) {
        *to = *from;
    }
    bytes
}

// SAFETY: system calls on memory of this function's own stack.
unsafe impl Step for LoopbackUp {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }
}

#[allow(clippy::disallowed_methods, reason = "runs in the parent")]
impl fmt::Display for LoopbackUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ip link set dev lo up")
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests run in the parent")]
mod tests {
    use super::*;
    use crate::{Link, LinkFlags, Socket};

    #[test]
    fn lo_is_up_in_a_new_namespace_and_nowhere_else() {
        let test = || {
            // SAFETY: this thread alone leaves its network namespace.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.expect("this test needs root");
            let flags = || Link::get(&mut Socket::open().unwrap(), 1).unwrap().flags;
            assert!(!flags().contains(LinkFlags::UP));
            LoopbackUp.apply().unwrap();
            assert!(flags().contains(LinkFlags::UP | LinkFlags::LOOPBACK | LinkFlags::RUNNING));
            let server = std::net::UdpSocket::bind("[::1]:0").unwrap();
            server.send_to(b"x", server.local_addr().unwrap()).unwrap();
            assert_eq!(server.recv(&mut [0; 4]).unwrap(), 1);
        };
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn without_rights_the_fault_names_the_message() {
        let test = || {
            // SAFETY: as above.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.expect("this test needs root");
            let none = rustix::thread::CapabilitySet::empty();
            let none = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
            rustix::thread::set_capabilities(None, none).unwrap();
            assert_eq!(LoopbackUp.apply().unwrap_err().to_string(), "RTM_SETLINK: Operation not permitted");
        };
        std::thread::spawn(test).join().unwrap();
    }
}
