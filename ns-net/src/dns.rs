//! A DNS forwarder that knows machines.

mod judge;
mod message;
mod names;
mod resolv_conf;
mod tcp;

pub use names::{MachineNames, Names, Published};
pub use resolv_conf::resolvers;

use crate::error::{Doing, Error, Kind, Result};
use crate::frame::be16;
use crate::ipnet::IpNet;
use crate::poll::{EventFlags, Poll, Ready};
use judge::{Judge, Verdict, failure};
use message::{has_failed, is_answer, set_id};
use resolv_conf::Upstreams;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tcp::Connection;

const WHAT: &str = "forward DNS";
/// No question is longer, whatever comes with it.
const LONGEST_QUERY: usize = 4096;
/// Queries that wait for an answer: of all clients, and of one.
const PENDING: usize = 128;
const PENDING_OF_ONE: usize = 32;
/// TCP connections: of all clients, and of one.
const CONNECTIONS: usize = 32;
const CONNECTIONS_OF_ONE: usize = 8;
/// Datagrams or connections taken from a socket in one turn.
const AT_ONCE: usize = 32;
/// How long a resolver is waited for before the next is asked, and how often in all.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 4;

/// Where questions go that are not about machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolvers {
    /// To these servers.
    Fixed(Vec<SocketAddr>),
    /// To those of a `resolv.conf(5)`, as it is then: it is looked at again once a second.
    File(PathBuf),
}

/// Answers `NAME` and `NAME.machines` from [`Names`], and asks the host's resolvers for all else, by UDP and TCP.
///
/// Several processes may listen on the same address (`SO_REUSEPORT`), and any of them end: those who serve a zone need no leader. Its
/// descriptor is readable when [`turn`](Dns::turn) has something to do; nothing blocks, and there is no thread.
///
/// A forwarded query is passed on as it came, EDNS and all, but for its number, which is random, and so is the port it leaves by; an answer
/// counts if it comes from the server asked, with that number and the same question. A server that is silent for two seconds or fails is
/// followed by the next. What has no answer in the end is told so (`SERVFAIL`).
///
/// Hostile clients: whatever the message, it is answered, passed on or ignored; 128 queries wait at a time and 32 connections are open, 32
/// and 8 of one client; zone transfers are refused; who isn't among the clients isn't answered, so that it serves nobody outside.
///
/// ```no_run
/// use ns_net::{Dns, MachineNames, Resolvers};
/// # fn main() -> Result<(), ns_net::Error> {
/// let names = MachineNames::open("/run/nskit/names/lan".as_ref())?;
/// let web = names.publish("web", &["10.200.1.2".parse().unwrap()])?;
/// let listen = ["10.200.1.1:53".parse().unwrap(), "[fd12:3456:789a:1::1]:53".parse().unwrap()];
/// let clients = vec!["10.200.1.0/24".parse()?, "fd12:3456:789a:1::/64".parse()?];
/// let mut dns = Dns::open(&listen, clients, names, Resolvers::File("/etc/resolv.conf".into()))?;
/// loop {
///     // In the caller's own loop: poll its descriptor with others, then
///     dns.turn()?;
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Dns {
    poll: Poll,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    judge: Judge,
    pending: HashMap<u32, Pending>,
    connections: HashMap<u32, Connection>,
    last: u32,
    buffer: Vec<u8>,
}

/// A client's query by UDP that has been passed on.
#[derive(Debug)]
struct Pending {
    client: SocketAddr,
    listener: usize,
    query: Vec<u8>,
    question: Vec<u8>,
    asked: Option<(UdpSocket, u16)>,
    attempts: usize,
    deadline: Instant,
}

/// Whose descriptor is ready; the number comes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Who {
    Udp = 0,
    Tcp = 1,
    Pending = 2,
    Client = 3,
    Server = 4,
}

fn token(who: Who, n: u32) -> u64 {
    u64::from(n) << 8 | who as u64
}

impl Dns {
    /// Listens on these addresses of the calling thread's network namespace, by UDP and TCP; they need not be on a link yet. Only
    /// `clients` are answered; none given: everybody.
    ///
    /// [`Kind::InUse`]: another server has an address, or all addresses, and doesn't share. Ports below 1024 need `CAP_NET_BIND_SERVICE`.
    pub fn open(
        listen: &[SocketAddr],
        clients: Vec<IpNet>,
        names: impl Names + Send + Sync + 'static,
        resolvers: Resolvers,
    ) -> Result<Dns> {
        let upstreams = match resolvers {
            Resolvers::Fixed(servers) => Upstreams::fixed(servers),
            Resolvers::File(path) => Upstreams::file(path),
        };
        let judge = Judge { names: Box::new(names), upstreams, clients, own: listen.to_vec() };
        let udp = listen.iter().map(|a| bound(*a, SocketType::DGRAM).map(UdpSocket::from)).collect::<Result<Vec<_>>>()?;
        let tcp = listen.iter().map(|a| bound(*a, SocketType::STREAM).map(TcpListener::from)).collect::<Result<Vec<_>>>()?;
        let poll = Poll::open(WHAT)?;
        let (pending, connections) = (HashMap::new(), HashMap::new());
        let dns = Dns { poll, udp, tcp, judge, pending, connections, last: 0, buffer: vec![0; usize::from(u16::MAX)] };
        for (n, socket) in dns.udp.iter().enumerate() {
            dns.poll.add(socket.as_fd(), token(Who::Udp, n as u32), EventFlags::IN)?;
        }
        for (n, socket) in dns.tcp.iter().enumerate() {
            dns.poll.add(socket.as_fd(), token(Who::Tcp, n as u32), EventFlags::IN)?;
        }
        Ok(dns)
    }

    /// Takes what has come, answers it or passes it on, and gives up what is overdue. An error is one of the event set itself; a query that
    /// can't be served is answered so.
    pub fn turn(&mut self) -> Result<()> {
        let ready = self.poll.ready()?;
        let now = Instant::now();
        for Ready { token: of, flags } in ready {
            let n = (of >> 8) as u32;
            match of as u8 {
                t if t == Who::Udp as u8 => self.receive(n as usize, now),
                t if t == Who::Tcp as u8 => self.accept(n as usize, now),
                t if t == Who::Pending as u8 => self.answered(n, now),
                t if t == Who::Client as u8 && flags.intersects(EventFlags::ERR | EventFlags::HUP) => drop(self.connections.remove(&n)),
                _ => self.advance(n, now),
            }
        }
        self.expire(now);
        let pending = self.pending.values().map(|p| p.deadline);
        let first = pending.chain(self.connections.values().map(|c| c.deadline)).min();
        self.poll.wake_at(first)
    }

    fn next(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.last
    }

    fn receive(&mut self, listener: usize, now: Instant) {
        for _ in 0..AT_ONCE {
            let Some(Ok((len, client))) = self.udp.get(listener).map(|s| s.recv_from(&mut self.buffer)) else { return };
            let message = self.buffer.get(..len).unwrap_or_default().to_vec();
            if self.judge.serves(client.ip()) && len <= LONGEST_QUERY {
                self.judge(message, client, listener, now);
            }
        }
    }

    fn judge(&mut self, message: Vec<u8>, client: SocketAddr, listener: usize, now: Instant) {
        match self.judge.decide(&message) {
            Verdict::Ignored => {}
            Verdict::Answered(answer) => self.send(listener, client, &answer),
            Verdict::Forwarded(question) => {
                let of_one = self.pending.values().filter(|p| p.client.ip() == client.ip()).count();
                let again = self.pending.values().any(|p| p.client == client && p.query == message);
                let pending = Pending { client, listener, query: message, question, asked: None, attempts: 0, deadline: now };
                match self.pending.len() < PENDING && of_one < PENDING_OF_ONE {
                    // The client has lost its patience before the server; the answer will do for both.
                    _ if again => {}
                    true => self.ask(pending, now),
                    false => self.give_up(&pending),
                }
            }
        }
    }

    /// Asks the next server, and the one after it where that can't be done; each by a socket of its own, whose port nobody can guess.
    fn ask(&mut self, mut pending: Pending, now: Instant) {
        let servers = self.judge.servers(now);
        let most = ATTEMPTS.min(2 * servers.len());
        while pending.attempts < most {
            let server = servers.get(pending.attempts % servers.len().max(1)).copied();
            pending.attempts += 1;
            let n = self.next();
            pending.asked = server.and_then(|server| ask(server, &pending.query));
            let watched = pending.asked.as_ref().map(|(socket, _)| self.poll.add(socket.as_fd(), token(Who::Pending, n), EventFlags::IN));
            if let Some(Ok(())) = watched {
                pending.deadline = now + PATIENCE;
                self.pending.insert(n, pending);
                return;
            }
        }
        self.give_up(&pending);
    }

    /// Something has come from a server, if only that it isn't there.
    fn answered(&mut self, n: u32, now: Instant) {
        let Some(pending) = self.pending.get(&n) else { return };
        let Some((socket, id)) = &pending.asked else { return };
        match socket.recv(&mut self.buffer) {
            Ok(len) => {
                let answer = self.buffer.get_mut(..len).unwrap_or_default();
                if !is_answer(answer, *id, &pending.question) {
                    return;
                }
                let servers = self.judge.servers(now).len();
                if has_failed(answer) && pending.attempts < servers.min(ATTEMPTS) {
                    return self.again(n, now);
                }
                set_id(answer, be16(&pending.query, 0).unwrap_or(0));
                let (listener, client) = (pending.listener, pending.client);
                if let (Some(to), Some(answer)) = (self.udp.get(listener), self.buffer.get(..len)) {
                    // A client that can't be reached asks again, or has gone.
                    let _ = to.send_to(answer, client);
                }
                self.pending.remove(&n);
            }
            Err(e) if [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::Interrupted].contains(&e.kind()) => {}
            Err(_) => self.again(n, now),
        }
    }

    fn again(&mut self, n: u32, now: Instant) {
        if let Some(pending) = self.pending.remove(&n) {
            self.ask(pending, now);
        }
    }

    fn give_up(&self, pending: &Pending) {
        if let Some(answer) = failure(&pending.query) {
            self.send(pending.listener, pending.client, &answer);
        }
    }

    /// A client that can't be reached asks again, or has gone.
    fn send(&self, listener: usize, client: SocketAddr, answer: &[u8]) {
        let _ = self.udp.get(listener).map(|socket| socket.send_to(answer, client));
    }

    fn accept(&mut self, listener: usize, now: Instant) {
        for _ in 0..AT_ONCE {
            let Some(Ok((stream, client))) = self.tcp.get(listener).map(TcpListener::accept) else { return };
            let of_one = self.connections.values().filter(|c| c.client == client.ip()).count();
            let room = self.connections.len() < CONNECTIONS && of_one < CONNECTIONS_OF_ONE;
            if !room || !self.judge.serves(client.ip()) || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let n = self.next();
            let connection = Connection::new(stream, client.ip(), now);
            if self.poll.add(connection.as_fd(), token(Who::Client, n), EventFlags::IN).is_ok() {
                self.connections.insert(n, connection);
            }
        }
    }

    /// Goes on with a connection, or drops it, with what it has waited for.
    fn advance(&mut self, n: u32, now: Instant) {
        let Some(connection) = self.connections.get_mut(&n) else { return };
        let Ok(another) = connection.advance(&mut self.judge, now) else { return drop(self.connections.remove(&n)) };
        let waits = connection.waits();
        let server = waits.server.map_or(Ok(()), |(fd, flags)| match another {
            true => self.poll.add(fd, token(Who::Server, n), flags),
            false => self.poll.change(fd, token(Who::Server, n), flags),
        });
        if server.and_then(|()| self.poll.change(connection.as_fd(), token(Who::Client, n), waits.client)).is_err() {
            self.connections.remove(&n);
        }
    }

    fn expire(&mut self, now: Instant) {
        self.connections.retain(|_, connection| connection.deadline > now);
        let overdue: Vec<u32> = self.pending.iter().filter(|(_, p)| p.deadline <= now).map(|(n, _)| *n).collect();
        overdue.into_iter().for_each(|n| self.again(n, now));
    }

    /// What would be answered to a message without asking anybody; whatever the octets.
    pub fn local_answer(message: &[u8], names: impl Names + Send + Sync + 'static) -> Option<Vec<u8>> {
        judge::dry(message, names)
    }
}

impl AsFd for Dns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

/// A socket on an address that others may share, and that no link may have yet.
fn bound(address: SocketAddr, kind: SocketType) -> Result<OwnedFd> {
    let what = format!("answer DNS on {address}");
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None).doing(&what, "socket")?;
    sockopt::set_socket_reuseport(&socket, true).doing(&what, "setsockopt(SO_REUSEPORT)")?;
    match address {
        SocketAddr::V4(_) => sockopt::set_ip_freebind(&socket, true).doing(&what, "setsockopt(IP_FREEBIND)")?,
        SocketAddr::V6(_) => {
            sockopt::set_ipv6_v6only(&socket, true).doing(&what, "setsockopt(IPV6_V6ONLY)")?;
            sockopt::set_ipv6_freebind(&socket, true).doing(&what, "setsockopt(IPV6_FREEBIND)")?;
        }
    }
    bind(&socket, &address).doing(&what, "bind").map_err(taken)?;
    if kind == SocketType::STREAM {
        listen(&socket, CONNECTIONS as i32).doing(&what, "listen").map_err(taken)?;
    }
    Ok(socket)
}

fn taken(e: Error) -> Error {
    match e.kind() {
        Kind::InUse => e.because(Kind::InUse, "another DNS server has it: redirect to another port"),
        _ => e,
    }
}

/// A socket by which a query has been sent, and the number it has there.
fn ask(server: SocketAddr, query: &[u8]) -> Option<(UdpSocket, u16)> {
    let any: IpAddr = if server.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.set_nonblocking(true).ok()?;
    // From then on the kernel passes on only what this server sends, and tells if it isn't there.
    socket.connect(server).ok()?;
    let id = random_id()?;
    let mut asked = query.to_vec();
    set_id(&mut asked, id);
    socket.send(&asked).ok()?;
    Some((socket, id))
}

fn random_id() -> Option<u16> {
    let mut octets = [0; 2];
    rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty()).ok().filter(|n| *n == 2)?;
    Some(u16::from_ne_bytes(octets))
}
