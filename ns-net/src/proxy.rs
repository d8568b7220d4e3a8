//! A proxy for ports that dials from inside a container's network namespace.

mod dialer;
mod flows;
mod relay;

use crate::error::{Doing, Error, Kind, Result};
use crate::poll::{EventFlags, Poll, Ready};
use crate::sys::{self, pktinfo};
use dialer::Dialer;
use flows::{Flows, Port as UdpPort};
use relay::{End, Outcome, Pipe, Relay, dial, reset_on_close};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, listen, sockopt};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

const WHAT: &str = "proxy ports into a network namespace";
/// TCP connections at a time; further ones wait in the kernel's queue.
const MOST: usize = 256;
const BACKLOG: i32 = 128;
/// Connections taken from a port in one turn.
const AT_ONCE: usize = 32;
/// How long no connection is taken when descriptors or memory have run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Passes TCP connections and UDP datagrams from sockets here to addresses that are dialled *from inside* another network namespace: also
/// to services on a container's own 127.0.0.1, and without any address, route or rule between the two.
///
/// TCP goes by `splice(2)`; the end of one direction is passed on while the other goes on, and so are resets. Who connects learns of a
/// refusal by a reset: the kernel had taken the connection before. UDP has a socket inside for each client, until both are silent for a
/// minute; answers come from the address that was asked.
///
/// Its descriptor is readable when [`turn`](Proxy::turn) has something to do; nothing blocks, and there is no thread but for the 50 µs in
/// which sockets are made inside, eight at a time ([`in_namespace`](crate::in_namespace): the same rights). It keeps the namespace alive:
/// drop it when the container has ended.
///
/// 256 connections and 256 UDP clients at a time. Writing to a closed connection must not end the process: Rust's programs ignore `SIGPIPE`;
/// where it isn't ignored, [`Proxy::new`] refuses ([`Kind::Invalid`]).
///
/// ```no_run
/// use std::net::TcpListener;
/// use std::os::fd::AsFd;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let netns = std::fs::File::open("/proc/self/ns/net")?;
/// let mut proxy = ns_net::Proxy::new(netns.as_fd())?;
/// // Whatever listens to port 80 inside: on its loopback, of either family.
/// proxy.tcp(TcpListener::bind("[::1]:8080")?.into(), &["127.0.0.1:80".parse()?, "[::1]:80".parse()?])?;
/// loop {
///     // In the caller's own loop: poll its descriptor with others, then
///     proxy.turn()?;
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    poll: Poll,
    dialer: Dialer,
    ports: Vec<Port>,
    relays: HashMap<u32, Relay>,
    /// Could go on at once, and let others have their turn.
    unfinished: Vec<u32>,
    pipes: Vec<Pipe>,
    flows: Flows,
    last: u32,
    paused: Option<Instant>,
    buffer: Vec<u8>,
}

/// One of a proxy's ports, to be [aimed](Proxy::aim) elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRef(u32);

#[derive(Debug)]
struct Port {
    socket: OwnedFd,
    kind: SocketType,
    to: Vec<SocketAddr>,
}

/// Whose descriptor is ready; the number comes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Who {
    Port = 0,
    Client = 1,
    Server = 2,
    Flow = 3,
}

fn token(who: Who, n: u32) -> u64 {
    u64::from(n) << 8 | who as u64
}

/// Told when it changes, both ways at once: a connection needs no further calls while it is busy.
fn both_ways() -> EventFlags {
    EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET
}

impl Proxy {
    /// A proxy into this network namespace: a descriptor of `/proc/PID/ns/net`, or a pidfd (Linux 5.8).
    pub fn new(netns: BorrowedFd<'_>) -> Result<Proxy> {
        if sys::dies_of_sigpipe() {
            return Err(Error::refused(Kind::Invalid, WHAT, "SIGPIPE would end this process: ignore it first"));
        }
        let netns =
            netns.try_clone_to_owned().map_err(|e| Error::kernel(WHAT, "fcntl(F_DUPFD_CLOEXEC)", e.raw_os_error().unwrap_or(0), ""))?;
        Ok(Proxy {
            poll: Poll::open(WHAT)?,
            dialer: Dialer::new(netns),
            ports: Vec::new(),
            relays: HashMap::new(),
            unfinished: Vec::new(),
            pipes: Vec::new(),
            flows: Flows::default(),
            last: 0,
            paused: None,
            buffer: vec![0; usize::from(u16::MAX)],
        })
    }

    /// Proxies the connections to a bound TCP socket (`listen(2)` is called here) to the first of these addresses that takes them.
    pub fn tcp(&mut self, socket: OwnedFd, to: &[SocketAddr]) -> Result<PortRef> {
        listen(&socket, BACKLOG).doing(WHAT, "listen")?;
        self.port(socket, SocketType::STREAM, to)
    }

    /// Proxies the datagrams to a bound UDP socket to the first of these addresses.
    pub fn udp(&mut self, socket: OwnedFd, to: &[SocketAddr]) -> Result<PortRef> {
        let ipv6 = sockopt::socket_domain(&socket).doing(WHAT, "getsockopt(SO_DOMAIN)")? == AddressFamily::INET6;
        pktinfo::tell_destinations(socket.as_fd(), ipv6).doing(WHAT, "setsockopt(IP_PKTINFO)")?;
        self.port(socket, SocketType::DGRAM, to)
    }

    fn port(&mut self, socket: OwnedFd, kind: SocketType, to: &[SocketAddr]) -> Result<PortRef> {
        rustix::io::ioctl_fionbio(&socket, true).doing(WHAT, "ioctl(FIONBIO)")?;
        let n = self.ports.len() as u32;
        self.poll.add(socket.as_fd(), token(Who::Port, n), EventFlags::IN)?;
        self.ports.push(Port { socket, kind, to: to.to_vec() });
        Ok(PortRef(n))
    }

    /// Dials other addresses for a port from now on. TCP connections stay as they are; UDP clients go to the new address.
    pub fn aim(&mut self, port: PortRef, to: &[SocketAddr]) {
        if let Some(aimed) = self.ports.get_mut(port.0 as usize) {
            aimed.to = to.to_vec();
            self.flows.close_all_of(port.0);
        }
    }

    /// Does all that can be done without waiting. An error is one of the event set itself; a connection that fails is reset.
    pub fn turn(&mut self) -> Result<()> {
        let ready = self.poll.ready()?;
        let now = Instant::now();
        for n in std::mem::take(&mut self.unfinished) {
            self.advance(n, now);
        }
        for Ready { token: of, flags } in ready {
            let n = (of >> 8) as u32;
            match of as u8 {
                t if t == Who::Port as u8 => self.port_ready(n, now),
                t if t == Who::Flow as u8 => self.answer(n, now),
                t => {
                    let end = if t == Who::Client as u8 { End::Client } else { End::Server };
                    self.relays.get_mut(&n).into_iter().for_each(|relay| relay.note(end, flags));
                    self.advance(n, now);
                }
            }
        }
        self.expire(now)
    }

    fn next(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.last
    }

    fn port_ready(&mut self, n: u32, now: Instant) {
        let Some(port) = self.ports.get(n as usize) else { return };
        if port.kind == SocketType::STREAM {
            return self.accept(n as usize, now);
        }
        let (poll, last) = (&self.poll, &mut self.last);
        let watch = |socket: &UdpSocket| {
            *last = last.wrapping_add(1);
            poll.add(socket.as_fd(), token(Who::Flow, *last), EventFlags::IN).ok().map(|()| *last)
        };
        let port = UdpPort { number: n, socket: &port.socket, to: &port.to };
        self.flows.outward(port, &mut self.dialer, &mut self.buffer, now, watch);
    }

    fn answer(&mut self, n: u32, now: Instant) {
        if let Some(port) = self.flows.port_of(n).and_then(|port| self.ports.get(port as usize)) {
            self.flows.inward(n, &port.socket, &mut self.buffer, now);
        }
    }

    fn accept(&mut self, port: usize, now: Instant) {
        for _ in 0..AT_ONCE {
            if self.relays.len() >= MOST {
                return self.pause(now);
            }
            let Some(Port { socket, .. }) = self.ports.get(port) else { return };
            match accept_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(client) => self.connect(client, port, now),
                Err(Errno::AGAIN) => return,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => return self.pause(now),
                // Of a connection that is over already.
                Err(_) => {}
            }
        }
    }

    fn connect(&mut self, client: OwnedFd, port: usize, now: Instant) {
        let Some((server, next)) = self.dial(port, 0) else { return reset_on_close(&client) };
        let n = self.next();
        let relay = Relay::new(client, server, [port, next], now);
        if self.watch(n, &relay, &[End::Client, End::Server]) {
            self.relays.insert(n, relay);
        } else {
            relay.reset();
        }
    }

    /// The first of a port's addresses from `next` on that doesn't refuse at once; which comes after it.
    fn dial(&mut self, port: usize, next: usize) -> Option<(OwnedFd, usize)> {
        let to = self.ports.get(port)?.to.clone();
        let mut tries = to.iter().enumerate().skip(next);
        tries.find_map(|(n, to)| {
            let socket = self.dialer.socket(*to, SocketType::STREAM).ok()?;
            dial(&socket, *to).ok().map(|()| (socket, n + 1))
        })
    }

    fn watch(&self, n: u32, relay: &Relay, ends: &[End]) -> bool {
        let mut watched = relay.sockets().into_iter().filter(|(end, _)| ends.contains(end));
        watched.all(|(end, socket)| {
            let who = if end == End::Client { Who::Client } else { Who::Server };
            self.poll.add(socket.as_fd(), token(who, n), both_ways()).is_ok()
        })
    }

    fn advance(&mut self, n: u32, now: Instant) {
        let Some(relay) = self.relays.get_mut(&n) else { return };
        let outcome = match relay.is_connected() {
            Ok(false) => Outcome::Waiting,
            Ok(true) => relay.advance(&mut self.pipes),
            Err(_) => return self.try_next(n, now),
        };
        match outcome {
            Outcome::Waiting => {}
            Outcome::Unfinished => self.unfinished.push(n),
            Outcome::Done => drop(self.relays.remove(&n)),
            Outcome::Broken => self.relays.remove(&n).into_iter().for_each(Relay::reset),
        }
    }

    /// The server refuses: the next one, or the client is refused.
    fn try_next(&mut self, n: u32, now: Instant) {
        let Some(mut relay) = self.relays.remove(&n) else { return };
        let Some((server, next)) = self.dial(relay.port, relay.next) else { return relay.reset() };
        relay.replace(server, next, now);
        if self.watch(n, &relay, &[End::Server]) {
            self.relays.insert(n, relay);
        } else {
            relay.reset();
        }
    }

    /// Takes no connection for a moment: there is no room.
    fn pause(&mut self, now: Instant) {
        self.paused = Some(now + PAUSE);
        self.listen_for(EventFlags::empty());
    }

    fn listen_for(&self, flags: EventFlags) {
        for (n, port) in self.ports.iter().enumerate().filter(|(_, port)| port.kind == SocketType::STREAM) {
            // It was added when the port was; nothing else can fail here.
            let _ = self.poll.change(port.socket.as_fd(), token(Who::Port, n as u32), flags);
        }
    }

    fn expire(&mut self, now: Instant) -> Result<()> {
        if self.paused.is_some_and(|until| until <= now) {
            self.paused = None;
            self.listen_for(EventFlags::IN);
        }
        let overdue: Vec<u32> = self.relays.iter().filter(|(_, r)| r.deadline.is_some_and(|d| d <= now)).map(|(n, _)| *n).collect();
        overdue.into_iter().for_each(|n| self.try_next(n, now));
        let connecting = self.relays.values().filter_map(|relay| relay.deadline).min();
        let at_once = (!self.unfinished.is_empty()).then_some(now);
        let silent = self.flows.expire(now);
        self.poll.wake_at([connecting, at_once, silent, self.paused].into_iter().flatten().min())
    }
}

impl AsFd for Proxy {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}
