//! A route socket: requests to the kernel, in one network namespace.

use crate::error::{Doing, Error, Kind, Result};
use crate::message::{Batch, Message, Request};
use crate::reply::{Ack, Reply, replies};
use crate::sys;
use linux_raw_sys::netlink as nl;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recvfrom, sendto, socket_with, sockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

/// The kernel's address.
const KERNEL: SocketAddrNetlink = SocketAddrNetlink::new(0, 0);
/// Requests in one send: their acknowledgements, about 1 kB of a receive buffer's 208 kB each, must all fit.
const AT_ONCE: usize = 64;
/// How often a list is read anew that changed meanwhile.
const LISTINGS: usize = 16;
/// The kernel's answers are at most 32 kB each, but for a link with hundreds of names.
const LARGEST: usize = 1 << 16;

/// `socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE)`, which stays in the network namespace in which it was opened: `rtnetlink(7)`.
///
/// Errors come with the kernel's own words (`NETLINK_EXT_ACK`, Linux 4.12) and requests are checked strictly
/// (`NETLINK_GET_STRICT_CHK`, 4.20). Only datagrams of the kernel's are read: a container's root may send others to a socket in the
/// container's namespace. `EINTR` is retried. Nothing blocks: the kernel has answered when a request is sent.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

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

impl Socket {
    /// A socket in the calling thread's network namespace.
    pub fn open() -> Result<Socket> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).doing(OPEN, "socket")?;
        Socket::set_up(fd)
    }

    /// A socket in this network namespace (a descriptor of `/proc/PID/ns/net` or a pidfd, which needs Linux 5.8).
    ///
    /// It is opened by a thread that lives for this call: the namespace of the calling thread never changes, not even for a moment or when
    /// going back would fail. Needs `CAP_SYS_ADMIN` both here and in the user namespace that owns the network namespace; who has it there
    /// only lets a child hand out a socket (feature `plan`: `RouteSocket`) and uses [`Socket::from_fd`].
    pub fn open_in(netns: BorrowedFd<'_>) -> Result<Socket> {
        let enter = || {
            move_into_link_name_space(netns, Some(LinkNameSpaceType::Network)).doing(OPEN_IN, "setns").map_err(advise)?;
            Socket::open()
        };
        thread::scope(|scope| {
            let spawned = thread::Builder::new().name("setns".into()).spawn_scoped(scope, enter);
            let thread = spawned.map_err(|e| Error::kernel(OPEN_IN, "clone", e.raw_os_error().unwrap_or(libc::EAGAIN), ""))?;
            thread.join().unwrap_or_else(|_| Err(Error::refused(Kind::Other, OPEN_IN, "the thread panicked")))
        })
    }

    /// Takes over a route socket that was opened elsewhere, as by a child in its own namespace. [`Kind::Invalid`] for any other socket.
    pub fn from_fd(fd: OwnedFd) -> Result<Socket> {
        let family = sockopt::socket_domain(&fd).doing(OPEN, "getsockopt")?;
        let protocol = sockopt::socket_protocol(&fd).doing(OPEN, "getsockopt")?;
        if family != AddressFamily::NETLINK || protocol.is_some() {
            return Err(Error::refused(Kind::Invalid, OPEN, "the descriptor is no NETLINK_ROUTE socket"));
        }
        Socket::set_up(fd)
    }

    fn set_up(fd: OwnedFd) -> Result<Socket> {
        for option in [nl::NETLINK_EXT_ACK, nl::NETLINK_CAP_ACK, nl::NETLINK_GET_STRICT_CHK] {
            sys::set_netlink_option(fd.as_fd(), option).doing(OPEN, "setsockopt")?;
        }
        Ok(Socket { fd, sequence: 0, buffer: vec![0; LARGEST] })
    }

    /// `ioctl(SIOCGSKNS)`: a descriptor of the socket's network namespace, which it keeps alive. Linux 4.9; needs `CAP_NET_ADMIN` there.
    pub fn namespace(&self) -> Result<OwnedFd> {
        sys::socket_namespace(self.fd.as_fd()).doing("find a socket's network namespace", "ioctl(SIOCGSKNS)")
    }

    /// Runs a batch and returns what was answered, in order.
    ///
    /// The first failure is the error; the kernel has run the other requests nevertheless, and all answers have been read.
    pub fn run(&mut self, batch: &Batch) -> Result<Vec<Answer>> {
        let mut collected = Collected::default();
        for (n, requests) in batch.requests.chunks(AT_ONCE).enumerate() {
            let first = self.send(requests, nl::NLM_F_ACK as u16)?;
            collected.pending = requests.len();
            while collected.pending > 0 {
                collected.take(self.receive(&requests[0])?, first, requests, n * AT_ONCE)?;
            }
        }
        collected.finish()
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

    /// Sends the requests in one call; the first one's sequence number.
    fn send(&mut self, requests: &[Request], flags: u16) -> Result<u32> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            request.encode(self.sequence, flags, &mut bytes)?;
        }
        let what = requests.first().map_or("", |r| &r.what);
        rustix::io::retry_on_intr(|| sendto(&self.fd, &bytes, SendFlags::empty(), &KERNEL)).doing(what, "sendto")?;
        Ok(first)
    }

    /// The kernel's next datagram.
    fn receive(&mut self, asked: &Request) -> Result<&[u8]> {
        loop {
            let buffer = self.buffer.as_mut_slice();
            // TRUNC: the datagram's length, though it be longer than the buffer.
            let received = rustix::io::retry_on_intr(|| recvfrom(&self.fd, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC));
            let (_, len, sender) = received.map_err(|e| no_answer(asked, e))?;
            if sender.and_then(|s| SocketAddrNetlink::try_from(s).ok()) != Some(KERNEL) {
                continue;
            }
            let too_long = || Error::refused(Kind::Garbled, &asked.what, format!("an answer of {len} bytes"));
            return self.buffer.get(..len).ok_or_else(too_long);
        }
    }
}

const OPEN: &str = "open a route socket";
const OPEN_IN: &str = "open a route socket in a network namespace";

/// `setns` wants other rights than netlink.
fn advise(e: Error) -> Error {
    match e.kind() {
        Kind::NotPermitted => e.because(Kind::NotPermitted, "this needs CAP_SYS_ADMIN here and over the network namespace"),
        Kind::Invalid => e.because(Kind::Invalid, "the descriptor is no network namespace"),
        _ => e,
    }
}

fn no_answer(asked: &Request, e: Errno) -> Error {
    let error = Error::kernel(&asked.what, "recvfrom", e.raw_os_error(), "");
    if e == Errno::AGAIN { error.because(Kind::Garbled, "the kernel has not answered") } else { error }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What has been answered so far.
#[derive(Default)]
struct Collected {
    pending: usize,
    answers: Vec<Answer>,
    failed: Option<Error>,
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

    fn sort(&mut self, reply: Reply<'_>, request: &Request, n: usize) {
        self.changed |= reply.flags & nl::NLM_F_DUMP_INTR as u16 != 0;
        match reply.ack() {
            None => self.answers.push(Answer { request: n, kind: reply.kind, body: reply.body.to_vec() }),
            Some(ack) => {
                self.pending = self.pending.saturating_sub(1);
                if ack.errno != 0 && self.failed.is_none() {
                    self.failed = Some(error_of(request, ack));
                }
            }
        }
    }

    fn finish(self) -> Result<Vec<Answer>> {
        self.failed.map_or(Ok(self.answers), Err)
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
