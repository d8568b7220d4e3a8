//! DHCP and router advertisements on a machine's link.

use crate::dhcp::{Dhcp, Kind, Request};
use crate::error::Result;
use crate::mac::Mac;
use crate::packet::{PacketSocket, Test, filter};
use crate::poll::{Bucket, EventFlags, Poll};
use crate::router::Router;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

const WHAT: &str = "serve a machine's link";
/// Frames in one turn, so that a guest who floods doesn't keep the caller from other work.
const AT_ONCE: usize = 64;
/// Answers at once, and per second: a machine that starts needs three.
const BURST: u16 = 32;
const RATE: u16 = 8;
/// How long the answer to a renewal is held back, and how many are: busybox's client sends one from a socket that it closes then, and would
/// lose an answer that comes before.
const RENEWAL: Duration = Duration::from_millis(3);
const RENEWALS: usize = 4;
/// After a client's first sign, when it listens: networkd takes the second or third.
const SOON: [Duration; 3] = [Duration::from_millis(12), Duration::from_millis(40), Duration::from_millis(100)];

/// Serves [`Dhcp`] and a [`Router`]'s advertisements to whoever is behind a link: the host's end of a veth, or a bridge's port.
///
/// By a packet socket (`packet(7)`, Linux 4.20; `CAP_NET_RAW`), so that no firewall rule, no address and no other server on the host is in
/// the way, and on a bridge's port nobody but this machine is answered. Its descriptor is readable when [`turn`](Autoconf::turn) has
/// something to do; nothing blocks, and there is no thread. Open it before the machine's end comes up: a client that isn't answered at
/// once waits for many seconds.
///
/// The kernel sees the requests too: drop UDP to port 67 where the frames enter, or it answers a renewal with "port unreachable".
///
/// Hostile guests: whatever the frame, it is answered or ignored; VLAN tags and fragments are never looked into; at most 32 answers at
/// once and 8 a second leave; memory doesn't grow.
///
/// ```no_run
/// use ns_net::{Autoconf, Dhcp, IfName, Link, Router, Socket};
/// # fn main() -> Result<(), ns_net::Error> {
/// let link = Link::get(&mut Socket::open()?, IfName::new("ve-web")?)?;
/// let mac = link.mac.unwrap();
/// let gateway = "10.200.1.1".parse().unwrap();
/// let dhcp = Dhcp::new("10.200.1.2".parse().unwrap(), 28, gateway)?.routed().resolver(gateway);
/// let mut autoconf = Autoconf::open(link.index, mac, Some(dhcp), Some(Router::new("fd12:3456:789a:1::".parse().unwrap(), mac)))?;
/// loop {
///     // In the caller's own loop: poll its descriptor with others, then
///     autoconf.turn()?;
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Autoconf {
    socket: PacketSocket,
    poll: Poll,
    mac: Mac,
    dhcp: Option<Dhcp>,
    router: Option<Router>,
    bucket: Bucket,
    due: VecDeque<Instant>,
    late: VecDeque<(Instant, Vec<u8>)>,
}

impl Autoconf {
    /// On the link of this index in the calling thread's network namespace, as a gateway with the hardware address `mac`: the link's own,
    /// or that of the bridge whose port it is.
    pub fn open(link: u32, mac: Mac, dhcp: Option<Dhcp>, router: Option<Router>) -> Result<Autoconf> {
        let socket = PacketSocket::open(WHAT, link, &filter(&[&DHCP, &SOLICITATION]))?;
        let poll = Poll::open(WHAT)?;
        poll.add(socket.as_fd(), 0, EventFlags::IN)?;
        let mut autoconf = Autoconf {
            socket,
            poll,
            mac,
            dhcp,
            router,
            bucket: Bucket::new(BURST, RATE, Instant::now()),
            due: VecDeque::new(),
            late: VecDeque::new(),
        };
        autoconf.schedule(Instant::now())?;
        Ok(autoconf)
    }

    /// Answers what has come and advertises what is due; how many frames were sent. A link that is down or gone is no error.
    pub fn turn(&mut self) -> Result<usize> {
        self.poll.ready()?;
        let now = Instant::now();
        let mut sent = 0;
        for _ in 0..AT_ONCE {
            let Some(frame) = self.socket.receive(WHAT)? else { break };
            let request = Request::of_frame(frame);
            let [discovers, renews] = request.as_ref().map_or([false; 2], |r| [r.kind == Kind::Discover, !r.client.is_unspecified()]);
            let answer = match (&request, &self.dhcp, &self.router) {
                (Some(request), Some(dhcp), _) => dhcp.respond(request, self.mac),
                (None, _, Some(router)) => router.answer(frame),
                _ => None,
            };
            let Some(answer) = answer.filter(|_| self.bucket.take(now)) else { continue };
            if renews && self.late.len() < RENEWALS {
                self.late.push_back((now + RENEWAL, answer));
                continue;
            }
            sent += usize::from(self.socket.send(WHAT, &answer)?);
            if discovers {
                self.hurry();
            }
        }
        sent += self.answer_late(now)? + self.advertise(now)?;
        self.schedule(now)?;
        Ok(sent)
    }

    fn answer_late(&mut self, now: Instant) -> Result<usize> {
        let mut sent = 0;
        while self.late.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, answer)) = self.late.pop_front() else { break };
            sent += usize::from(self.socket.send(WHAT, &answer)?);
        }
        Ok(sent)
    }

    /// Advertises the router in 12, 40 and 100 ms: for when the link gets its carrier. It is done by itself when a client asks for an
    /// address.
    pub fn hurry(&mut self) {
        if self.router.is_some() && self.due.len() <= 1 {
            let now = Instant::now();
            self.due = SOON.map(|after| now + after).into();
            // A timer that can't be set is set by the next turn.
            let _ = self.schedule(now);
        }
    }

    fn advertise(&mut self, now: Instant) -> Result<usize> {
        let Some(router) = &self.router else { return Ok(0) };
        let mut sent = 0;
        while self.due.front().is_some_and(|at| *at <= now) {
            self.due.pop_front();
            sent += usize::from(self.socket.send(WHAT, &router.advertisement())?);
        }
        Ok(sent)
    }

    /// The next advertisement, when nothing is due sooner; and when to wake.
    fn schedule(&mut self, now: Instant) -> Result<()> {
        match &self.router {
            Some(router) if self.due.is_empty() => self.due.push_back(now + router.interval()),
            _ => {}
        }
        let late = self.late.front().map(|(at, _)| *at);
        self.poll.wake_at([late, self.due.front().copied()].into_iter().flatten().min())
    }
}

impl AsFd for Autoconf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

/// IPv4, whole, UDP, to the servers' port.
const DHCP: [Test; 5] = [Test::Untagged, Test::Half(12, 0x0800), Test::Byte(23, 17), Test::NoBits(20, 0x3fff), Test::HalfAfterIpv4(2, 67)];
/// IPv6, ICMPv6 without headers before it, hop limit 255, a router solicitation.
const SOLICITATION: [Test; 5] = [Test::Untagged, Test::Half(12, 0x86dd), Test::Byte(20, 58), Test::Byte(21, 255), Test::Byte(54, 133)];
