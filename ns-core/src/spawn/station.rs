//! One child at work: its list, its sockets, what it has heard.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use super::ids;
use super::start::{Start, borrow};
use crate::error::Side;
use crate::link::{Kind, Link, Message, Received};
use crate::plan::{Compiled, List, Op};
use crate::raw;
use crate::step::{Call, Child, Fault, Mark, Slot};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::net::RecvFlags;
use std::os::fd::AsFd;

/// Why a child does not go on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    Fault(Fault),
    /// The other child has gone; it, or the caller, knows why.
    PeerGone,
    /// Nobody is left to tell.
    CallerGone,
}

impl Trouble {
    /// Of what could not be sent to the caller.
    pub fn of_caller(fault: Fault) -> Trouble {
        Trouble::of(fault, Trouble::CallerGone)
    }

    /// Only these two numbers say that nobody is there to hear; with any other one, leaving without a word leaves the other one waiting.
    fn of(fault: Fault, gone: Trouble) -> Trouble {
        if matches!(fault.errno, raw::Errno::EPIPE | raw::Errno::ECONNRESET) { gone } else { Trouble::Fault(fault) }
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Trouble {
        Trouble::Fault(fault)
    }
}

pub(super) struct Station<'p> {
    pub side: Side,
    pub child: Child<'p>,
    pub link: Link,
    peer: Option<Link>,
    /// The number of "built".
    built: u32,
    heard: u64,
    proceeded: u32,
    paused: u32,
    go: bool,
}

impl<'p> Station<'p> {
    pub fn new(side: Side, child: Child<'p>, link: Link, peer: Option<Link>, built: u32) -> Station<'p> {
        Station { side, child, link, peer, built, heard: 0, proceeded: 0, paused: 0, go: false }
    }

    /// One operation of the list.
    pub fn run(&mut self, start: &Context<'_>, list: &List, op: &Op) -> Result<(), Trouble> {
        match op {
            Op::Step(step, _) => Ok(step.run(&mut self.child)?),
            Op::MapIds(_) => Ok(self.map_ids(start)?),
            Op::Wait(mark) => self.wait_mark(start.number(*mark)),
            Op::Say(mark) => self.say(start, *mark),
            Op::Pause(..) => self.pause(list, op),
            Op::Exec => Ok(()),
        }
    }

    fn map_ids(&mut self, start: &Context<'_>) -> Result<(), Fault> {
        let (proc, payload) = (self.child.fd(Slot::PROC)?, self.child.fd(Slot::PAYLOAD)?);
        let (uids, gids) = start.maps;
        ids::write_maps(proc, payload, uids, gids, start.deny_setgroups)?;
        let user_ns = ids::user_namespace(proc, payload)?;
        self.child.keep(Slot::USER_NS, user_ns).map(drop)
    }

    fn say(&mut self, start: &Context<'_>, mark: Mark) -> Result<(), Trouble> {
        let message = Message::new(Kind::Mark, start.number(mark));
        if self.side == Side::Inside {
            self.link.send(&message).map_err(Trouble::of_caller)?;
            // A builder that waits for nothing more may be done already; one that died is noticed at "built".
            return match self.peer.map_or(Ok(()), |peer| peer.send(&message)).map_err(|fault| Trouble::of(fault, Trouble::PeerGone)) {
                Err(Trouble::PeerGone) => Ok(()),
                sent => sent,
            };
        }
        match self.peer {
            Some(peer) => peer.send(&message).map_err(|fault| Trouble::of(fault, Trouble::PeerGone)),
            None => Ok(()),
        }
    }

    fn wait_mark(&mut self, number: u32) -> Result<(), Trouble> {
        // The other child says it: of the caller only its end is of interest, so that its other words don't wake us.
        let link = if self.peer.is_some() { PollFlags::empty() } else { PollFlags::IN };
        while self.heard & 1 << number == 0 {
            self.listen(link)?;
        }
        Ok(())
    }

    fn pause(&mut self, list: &List, op: &Op) -> Result<(), Trouble> {
        let position = list.ops.iter().position(|other| std::ptr::eq(other, op)).unwrap_or_default();
        self.link.send(&Message::new(Kind::Pause, position as u32)).map_err(Trouble::of_caller)?;
        self.paused += 1;
        while self.proceeded < self.paused {
            self.listen(PollFlags::IN)?;
        }
        Ok(())
    }

    /// Waits for the caller's last word.
    pub fn wait_go(&mut self) -> Result<(), Trouble> {
        while !self.go {
            self.listen(PollFlags::IN)?;
        }
        Ok(())
    }

    /// Hears one message, of the other child or the caller.
    fn listen(&mut self, from_caller: PollFlags) -> Result<(), Trouble> {
        let peer = self.peer.unwrap_or(self.link);
        let (link_fd, peer_fd) = (self.link.fd(), peer.fd());
        let mut fds = [PollFd::from_borrowed_fd(link_fd, from_caller), PollFd::from_borrowed_fd(peer_fd, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Trouble::Fault(Fault::new("poll", raw::Errno::new(e.raw_os_error())))),
        }
        let [link, other] = fds;
        if !link.revents().is_empty() {
            return self.hear(self.link, Trouble::CallerGone);
        }
        if !other.revents().is_empty() && self.peer.is_some() {
            return self.hear(peer, Trouble::PeerGone);
        }
        Ok(())
    }

    fn hear(&mut self, from: Link, gone: Trouble) -> Result<(), Trouble> {
        match from.receive(RecvFlags::empty()).call("recvmsg")? {
            // A builder that has said "built" may leave, or become the keeper.
            Received::End if matches!(gone, Trouble::PeerGone) && self.side == Side::Inside && self.heard & 1 << self.built != 0 => {
                self.peer = None;
            }
            Received::End => return Err(gone),
            // The kernel has no room for the descriptor in our table.
            Received::Message(Message { kind: Kind::Slot, .. }, None) => {
                return Err(Trouble::Fault(Fault::new("recvmsg", raw::Errno::EMFILE)));
            }
            Received::Message(Message { kind: Kind::Mark, number, .. }, _) => self.heard |= 1 << (number & 63),
            Received::Message(Message { kind: Kind::Pause, .. }, _) => self.proceeded += 1,
            Received::Message(Message { kind: Kind::Go, .. }, _) => self.go = true,
            Received::Message(Message { kind: Kind::Slot, number, .. }, Some(fd)) => self.child.put(number, fd),
            Received::Message(..) => {}
        }
        Ok(())
    }
}

/// What operations read besides the list.
pub(super) struct Context<'a> {
    plan: &'a Compiled,
    maps: (&'a [u8], &'a [u8]),
    deny_setgroups: bool,
}

impl<'a> Context<'a> {
    pub fn of(start: &'a Start<'_>) -> Context<'a> {
        let deny_setgroups = start.plan.ids.as_ref().is_some_and(|ids| ids.denies_setgroups());
        Context { plan: start.plan, maps: (&start.maps.0, &start.maps.1), deny_setgroups }
    }

    fn number(&self, mark: Mark) -> u32 {
        self.plan.number(mark)
    }
}

/// Whether a process ends within so many milliseconds.
pub(super) fn ended_within(pidfd: std::os::fd::RawFd, milliseconds: i64) -> bool {
    let fd = borrow(pidfd);
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    retry_on_intr(|| poll(&mut fds, Some(&limit))).is_ok_and(|n| n > 0)
}
