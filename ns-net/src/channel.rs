//! A netlink socket of any protocol: requests out, the kernel's answers in.

use crate::error::{Doing, Error, Kind, Result};
use crate::message::{Batch, Call, Flags, Message, Request};
use crate::reply::{Ack, Reply, replies};
use crate::sys;
use linux_raw_sys::netlink as nl;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recvfrom, sendto, socket_with, sockopt};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

/// The kernel's address.
const KERNEL: SocketAddrNetlink = SocketAddrNetlink::new(0, 0);
/// Requests in one send: their acknowledgements, about 1 kB of a receive buffer's 208 kB each, must all fit.
const AT_ONCE: usize = 64;
/// How often a list is read anew that changed meanwhile.
const LISTINGS: usize = 16;
/// The kernel's answers are at most 32 kB each, but for a link with hundreds of names.
const LARGEST: usize = 1 << 16;
/// A socket's send buffer takes at least this much at once (`net.core.wmem_default` is 212,992).
const ROOM: usize = 100_000;

/// One message that answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which request of the batch.
    pub request: usize,
    /// `nlmsg_type`
    pub kind: u16,
    /// What follows the header.
    pub body: Vec<u8>,
}

/// The socket, the last sequence number, room for one datagram.
pub(crate) struct Channel {
    pub fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Without what was last received.
impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel").field(&self.fd).finish()
    }
}

impl Channel {
    /// `socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, protocol)` in the calling thread's network namespace; no protocol is `NETLINK_ROUTE`.
    pub fn open(protocol: Option<Protocol>, what: &str) -> Result<Channel> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol).doing(what, "socket")?;
        Channel::set_up(fd, what)
    }

    /// Takes over a socket of this protocol; [`Kind::Invalid`] for any other.
    pub fn from_fd(fd: OwnedFd, protocol: Option<Protocol>, what: &str, name: &str) -> Result<Channel> {
        let family = sockopt::socket_domain(&fd).doing(what, "getsockopt")?;
        let found = sockopt::socket_protocol(&fd).doing(what, "getsockopt")?;
        if family != AddressFamily::NETLINK || found != protocol {
            return Err(Error::refused(Kind::Invalid, what, format!("the descriptor is no {name} socket")));
        }
        Channel::set_up(fd, what)
    }

    fn set_up(fd: OwnedFd, what: &str) -> Result<Channel> {
        for option in [nl::NETLINK_EXT_ACK, nl::NETLINK_CAP_ACK, nl::NETLINK_GET_STRICT_CHK] {
            sys::set_netlink_option(fd.as_fd(), option, 1).doing(what, "setsockopt")?;
        }
        Ok(Channel { fd, sequence: 0, buffer: vec![0; LARGEST] })
    }

    /// Runs a batch and returns what was answered, in order.
    ///
    /// The first failure is the error; the kernel has run the other requests nevertheless, and all answers have been read.
    pub fn run(&mut self, batch: &Batch) -> Result<Vec<Answer>> {
        self.run_all(batch)?.finish()
    }

    /// The same, and each failure with its request's place.
    pub fn run_all(&mut self, batch: &Batch) -> Result<Collected> {
        let mut collected = Collected::default();
        for (n, requests) in batch.requests.chunks(AT_ONCE).enumerate() {
            let first = self.send(requests, nl::NLM_F_ACK as u16)?;
            collected.pending = requests.len();
            while collected.pending > 0 {
                collected.take(self.receive(&requests[0])?, first, requests, n * AT_ONCE)?;
            }
        }
        Ok(collected)
    }

    /// Runs one request that answers with a list (`NLM_F_DUMP`); anew, at most 16 times, when the list has changed meanwhile.
    pub fn list(&mut self, what: &str, message: Message) -> Result<Vec<Answer>> {
        let request = [Request { what: what.to_owned(), message }];
        for _ in 0..LISTINGS {
            let first = self.send(&request, nl::NLM_F_DUMP as u16)?;
            let mut collected = Collected { pending: 1, ..Collected::default() };
            while collected.pending > 0 {
                collected.take(self.receive(&request[0])?, first, &request, 0)?;
            }
            if !collected.changed {
                return collected.finish();
            }
        }
        Err(Error::refused(Kind::Changing, what, format!("the list has changed {LISTINGS} times while it was read")))
    }

    /// Runs requests of nf_tables as one transaction, between `NFNL_MSG_BATCH_BEGIN` and `_END`: all are done, or none.
    ///
    /// Only the last one is acknowledged, but each failure is told; where the transaction as a whole fails, its beginning is answered.
    pub fn commit(&mut self, batch: &Batch) -> Result<()> {
        let (Some(first), Some(last)) = (batch.requests.first(), batch.requests.len().checked_sub(1)) else { return Ok(()) };
        let begin = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        self.encode(&nft_mark(nft_begin(), &first.what), 0, &mut bytes)?;
        for (n, request) in batch.requests.iter().enumerate() {
            self.encode(request, if n == last { nl::NLM_F_ACK as u16 } else { 0 }, &mut bytes)?;
        }
        self.encode(&nft_mark(nft_end(), &first.what), 0, &mut bytes)?;
        self.make_room(bytes.len());
        self.write(&first.what, &bytes)?;
        self.verdict(begin, &batch.requests)
    }

    /// The first failure of a transaction.
    fn verdict(&mut self, begin: u32, requests: &[Request]) -> Result<()> {
        let mut collected = Collected { pending: 1, ..Collected::default() };
        let asked = &requests[0];
        while collected.pending > 0 {
            match self.receive(asked) {
                Ok(datagram) => collected.take_verdicts(datagram, begin, requests)?,
                // A transaction that has failed need not acknowledge its last request.
                Err(_) if !collected.failed.is_empty() => break,
                Err(e) => return Err(e),
            }
        }
        collected.finish().map(drop)
    }

    /// A transaction is one datagram, which may be larger than a socket takes at first. Without the right to it `sendto` says so.
    fn make_room(&mut self, bytes: usize) {
        if bytes > ROOM {
            let _ = sockopt::set_socket_send_buffer_size_force(&self.fd, bytes.saturating_mul(2));
        }
    }

    fn encode(&mut self, request: &Request, flags: u16, bytes: &mut Vec<u8>) -> Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        request.encode(self.sequence, flags, bytes)
    }

    fn write(&mut self, what: &str, bytes: &[u8]) -> Result<()> {
        rustix::io::retry_on_intr(|| sendto(&self.fd, bytes, SendFlags::empty(), &KERNEL)).doing(what, "sendto").map(drop)
    }

    /// Sends the requests in one call; the first one's sequence number.
    fn send(&mut self, requests: &[Request], flags: u16) -> Result<u32> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for request in requests {
            self.encode(request, flags, &mut bytes)?;
        }
        self.write(requests.first().map_or("", |r| &r.what), &bytes)?;
        Ok(first)
    }

    /// The next datagram that the kernel sent unasked; an error where some were lost (`ENOBUFS`), none where there is none.
    pub fn told(&mut self) -> Result<Option<std::result::Result<&[u8], ()>>> {
        const WHAT: &str = "read what the kernel tells";
        let request = Request { what: WHAT.to_owned(), message: Message::new(nft_end(), Flags::empty()) };
        match self.receive(&request) {
            Ok(datagram) => Ok(Some(Ok(datagram))),
            Err(e) if e.errno() == Some(libc::EAGAIN) => Ok(None),
            Err(e) if e.errno() == Some(libc::ENOBUFS) => Ok(Some(Err(()))),
            Err(e) => Err(e),
        }
    }

    /// The kernel's next datagram.
    fn receive(&mut self, asked: &Request) -> Result<&[u8]> {
        loop {
            let buffer = self.buffer.as_mut_slice();
            // TRUNC: the datagram's length, though it be longer than the buffer.
            let received = rustix::io::retry_on_intr(|| recvfrom(&self.fd, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC));
            let (_, len, sender) = received.map_err(|e| no_answer(asked, e))?;
            // What it tells to a group comes with the group's number.
            if sender.and_then(|s| SocketAddrNetlink::try_from(s).ok()).map(|s| s.pid()) != Some(KERNEL.pid()) {
                continue;
            }
            let too_long = || Error::refused(Kind::Garbled, &asked.what, format!("an answer of {len} bytes"));
            return self.buffer.get(..len).ok_or_else(too_long);
        }
    }
}

/// `struct nfgenmsg` (family, version, resource: which part of netfilter) of a transaction's two ends.
fn nft_mark(call: Call, what: &str) -> Request {
    const NFNL_SUBSYS_NFTABLES: u8 = 10;
    let message = Message::new(call, Flags::empty()).fixed(&[0, 0, 0, NFNL_SUBSYS_NFTABLES]);
    Request { what: what.to_owned(), message }
}

fn nft_begin() -> Call {
    Call::new(libc::NFNL_MSG_BATCH_BEGIN as u16, "NFNL_MSG_BATCH_BEGIN")
}

fn nft_end() -> Call {
    Call::new(libc::NFNL_MSG_BATCH_END as u16, "NFNL_MSG_BATCH_END")
}

fn no_answer(asked: &Request, e: Errno) -> Error {
    let error = Error::kernel(&asked.what, "recvfrom", e.raw_os_error(), "");
    if e == Errno::AGAIN { error.because(Kind::Garbled, "the kernel has not answered") } else { error }
}

/// What has been answered so far.
#[derive(Default)]
pub(crate) struct Collected {
    pending: usize,
    pub answers: Vec<Answer>,
    /// The requests that failed, by their places.
    pub failed: Vec<(usize, Error)>,
    changed: bool,
}

impl Collected {
    /// Takes a datagram's messages; those with another sequence number belong to a request that was given up.
    fn take(&mut self, datagram: &[u8], first: u32, requests: &[Request], offset: usize) -> Result<()> {
        for reply in replies(datagram) {
            let reply = reply.map_err(|g| Error::refused(Kind::Garbled, &requests[0].what, g.to_string()))?;
            let n = reply.sequence.wrapping_sub(first) as usize;
            if let Some(request) = requests.get(n) {
                self.sort(reply, request, offset + n);
            }
        }
        Ok(())
    }

    /// The same of a transaction, in which the request before the first is its beginning.
    fn take_verdicts(&mut self, datagram: &[u8], begin: u32, requests: &[Request]) -> Result<()> {
        for reply in replies(datagram) {
            let reply = reply.map_err(|g| Error::refused(Kind::Garbled, &requests[0].what, g.to_string()))?;
            let n = reply.sequence.wrapping_sub(begin) as usize;
            match (reply.ack(), n.checked_sub(1)) {
                (Some(ack), None) => self.fail(&requests[0], ack, 0),
                (Some(ack), Some(n)) => {
                    let Some(request) = requests.get(n) else { continue };
                    self.pending -= usize::from(n + 1 == requests.len() && self.pending > 0);
                    self.fail(request, ack, n);
                }
                (None, _) => {}
            }
        }
        Ok(())
    }

    fn fail(&mut self, request: &Request, ack: Ack<'_>, n: usize) {
        if ack.errno != 0 {
            self.failed.push((n, error_of(request, ack)));
        }
    }

    fn sort(&mut self, reply: Reply<'_>, request: &Request, n: usize) {
        self.changed |= reply.flags & nl::NLM_F_DUMP_INTR as u16 != 0;
        match reply.ack() {
            None => self.answers.push(Answer { request: n, kind: reply.kind, body: reply.body.to_vec() }),
            Some(ack) => {
                self.pending = self.pending.saturating_sub(1);
                self.fail(request, ack, n);
            }
        }
    }

    /// The answers, or the first failure.
    pub fn finish(self) -> Result<Vec<Answer>> {
        self.failed.into_iter().next().map_or(Ok(self.answers), |(_, failed)| Err(failed))
    }
}

/// Control characters are left out of the kernel's words, which may quote a name.
fn error_of(request: &Request, ack: Ack<'_>) -> Error {
    let mut text: String = String::from_utf8_lossy(ack.text).chars().filter(|c| !c.is_control()).collect();
    if let (true, Some(kind)) = (text.is_empty(), ack.missing) {
        text = format!("attribute {kind} is missing");
    }
    Error::kernel(&request.what, request.call(), ack.errno, &text)
}
