//! A packet socket on one link: frames as they are, those that a filter lets through.

use crate::error::{Doing, Result};
use crate::sys;
use libc::sock_filter;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Longer frames are none that is answered; they are cut, and then don't parse.
const LONGEST: usize = 2048;

/// One comparison of a filter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Test {
    /// The octet there is this.
    Byte(u32, u8),
    /// The two octets there are this number.
    Half(u32, u16),
    /// Of the two octets there none of these bits is set.
    NoBits(u32, u16),
    /// The two octets there, counted from the end of an IPv4 header at 14, are this number.
    HalfAfterIpv4(u32, u16),
    /// The frame has no VLAN tag: what a guest sends in a VLAN isn't to be answered outside.
    Untagged,
}

/// A filter that lets through what passes all tests of one of the lists. What is read beyond a frame's end fails at once.
pub(crate) fn filter(lists: &[&[Test]]) -> Vec<sock_filter> {
    let mut program = Vec::new();
    for tests in lists {
        program.extend(all_of(tests));
    }
    program.push(op(libc::BPF_RET, 0));
    program
}

/// What fails goes on behind this list.
fn all_of(tests: &[Test]) -> Vec<sock_filter> {
    let mut program: Vec<sock_filter> = tests.iter().flat_map(|test| test.instructions()).collect();
    let len = program.len();
    for (n, instruction) in program.iter_mut().enumerate() {
        let behind = u8::try_from(len - n).unwrap_or(u8::MAX);
        match u32::from(instruction.code) {
            EQUAL => instruction.jf = behind,
            ANY_BIT => instruction.jt = behind,
            _ => {}
        }
    }
    program.push(op(libc::BPF_RET, LONGEST as u32));
    program
}

const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ;
const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET;
const HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
/// `SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT`: the tag is kept beside the frame.
const VLAN_TAG_PRESENT: u32 = (-0x1000_i32 + 48) as u32;

impl Test {
    fn instructions(self) -> Vec<sock_filter> {
        match self {
            Test::Byte(at, is) => vec![op(BYTE, at), op(EQUAL, is.into())],
            Test::Half(at, is) => vec![op(HALF, at), op(EQUAL, is.into())],
            Test::NoBits(at, bits) => vec![op(HALF, at), op(ANY_BIT, bits.into())],
            Test::HalfAfterIpv4(at, is) => vec![
                op(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 14),
                op(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 14 + at),
                op(EQUAL, is.into()),
            ],
            Test::Untagged => vec![op(BYTE, VLAN_TAG_PRESENT), op(EQUAL, 0)],
        }
    }
}

fn op(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// `socket(AF_PACKET, SOCK_RAW|SOCK_CLOEXEC|SOCK_NONBLOCK)` bound to one link: `packet(7)`.
///
/// It sees all protocols, for one reason: on a bridge's port only such a socket is shown frames, before the bridge takes them; and so
/// before netfilter does.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl PacketSocket {
    /// On this link of the calling thread's network namespace. Needs `CAP_NET_RAW`.
    pub fn open(what: &str, link: u32, filter: &[sock_filter]) -> Result<PacketSocket> {
        // Protocol 0: no frame comes in before the filter is in place and the link chosen.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None).doing(what, "socket")?;
        sys::attach_filter(fd.as_fd(), filter).doing(what, "setsockopt(SO_ATTACH_FILTER)")?;
        sys::ignore_outgoing(fd.as_fd()).doing(what, "setsockopt(PACKET_IGNORE_OUTGOING)")?;
        // A link that has just got its carrier drops what is queued, until the kernel finds time to give it a queue.
        sys::bypass_queue(fd.as_fd()).doing(what, "setsockopt(PACKET_QDISC_BYPASS)")?;
        sys::bind_packet(fd.as_fd(), link).doing(what, "bind")?;
        Ok(PacketSocket { fd, buffer: vec![0; LONGEST] })
    }

    /// The next frame; none when none is waiting. A link that is down, or has gone, sends none.
    pub fn receive(&mut self, what: &str) -> Result<Option<&[u8]>> {
        match retry_on_intr(|| recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT)) {
            Ok((len, _)) => Ok(self.buffer.get(..len)),
            Err(Errno::AGAIN | Errno::NETDOWN) => Ok(None),
            Err(e) => Err(e).doing(what, "recv"),
        }
    }

    /// Sends a frame. False where the link is down, gone, or its queue full: who asked will ask again.
    pub fn send(&self, what: &str, frame: &[u8]) -> Result<bool> {
        match retry_on_intr(|| send(&self.fd, frame, SendFlags::DONTWAIT)) {
            Ok(_) => Ok(true),
            Err(Errno::NETDOWN | Errno::NXIO | Errno::NODEV | Errno::NOBUFS | Errno::AGAIN | Errno::MSGSIZE) => Ok(false),
            Err(e) => Err(e).doing(what, "send"),
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
