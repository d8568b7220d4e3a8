//! The caller's side of a start: both children, their sockets, what they have said.

use super::position::Positions;
use crate::error::{Error, Side, failed};
use crate::link::{Kind, Link, Message, Received};
use crate::namespace::Namespaces;
use crate::pidfd::PidFd;
use crate::plan::Sealed;
use crate::raw::{self, Errno, WaitId};
use crate::step::{ChildFd, Fault, Mark, Slot};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::net::RecvFlags;
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long an end is waited for before its process is left to the kernel: it may be stuck there.
const REAP_LIMIT: Duration = Duration::from_secs(30);

/// How long a child may take to notice that the other has gone: it looks when it waits, and no step takes long.
const NOTICE_LIMIT: Timespec = Timespec { tv_sec: 3, tv_nsec: 0 };

#[derive(Debug)]
pub(super) struct Parts {
    pub(super) sealed: Sealed,
    /// Indexed by side; `None` once the other end has gone.
    links: [Option<OwnedFd>; 2],
    builder: Option<PidFd>,
    payload: Option<PidFd>,
    pub(super) positions: Positions,
    events: OwnedFd,
    marks: u64,
    pub paused: VecDeque<(Side, usize)>,
    pub pauses_seen: usize,
    taken: Vec<(Slot, OwnedFd)>,
    ready: bool,
    /// Why a side left, by its own word.
    pub(super) left: [Option<WaitId>; 2],
    /// The keeper's word on the payload's end.
    pub exit: Option<WaitId>,
    reaped: [bool; 2],
    ends: [Option<WaitId>; 2],
    /// Detached from: nothing is ended any more when this is dropped.
    released: bool,
    /// When the program has to run, and how long that is.
    limit: Option<(Instant, Duration)>,
}

/// What [`Parts::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Happening {
    Born,
    Mark,
    Paused,
    Fd(Slot),
    Running,
    Exit,
    Nothing,
}

const fn index(side: Side) -> usize {
    match side {
        Side::Outside => 0,
        Side::Inside => 1,
    }
}

impl Parts {
    /// Can't fail: there are children by now, who are ended when the value is dropped.
    pub fn new(sealed: Sealed, [builder, payload]: [OwnedFd; 2], events: OwnedFd, first: PidFd, positions: Positions) -> Parts {
        let with_builder = sealed.0.builder;
        if !with_builder {
            let _ = epoll::delete(&events, &builder);
        }
        let (first_builder, first_payload) = if with_builder { (Some(first), None) } else { (None, Some(first)) };
        Parts {
            sealed,
            links: [with_builder.then_some(builder), Some(payload)],
            builder: first_builder,
            payload: first_payload,
            positions,
            events,
            marks: 0,
            paused: VecDeque::new(),
            pauses_seen: 0,
            taken: Vec::new(),
            ready: false,
            left: [None; 2],
            exit: None,
            reaped: [false; 2],
            ends: [None; 2],
            released: false,
            limit: None,
        }
    }

    /// Nobody says anything for so long: everything is ended.
    pub fn limit(&mut self, limit: Duration) {
        self.limit = Instant::now().checked_add(limit).map(|end| (end, limit));
    }

    fn too_late(&mut self) -> Error {
        self.end();
        let limit = self.limit.map_or(Duration::ZERO, |(_, limit)| limit);
        Error::refused(format!("the program was not started within {limit:?}: is its cgroup frozen?"))
    }

    pub fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    pub fn payload(&self) -> Option<&PidFd> {
        self.payload.as_ref()
    }

    pub fn builder(&self) -> Option<&PidFd> {
        self.builder.as_ref()
    }

    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    pub fn is_kept(&self) -> bool {
        self.sealed.0.kept
    }

    /// Whether the payload is the init of a pid namespace.
    pub fn is_init(&self) -> bool {
        self.sealed.0.unshare.contains(Namespaces::PID)
    }

    fn link(&self, side: Side) -> Option<Link> {
        self.links[index(side)].as_ref().map(|fd| Link::on(fd.as_raw_fd()))
    }

    pub fn link_fd(&self, side: Side) -> Option<BorrowedFd<'_>> {
        self.links[index(side)].as_ref().map(AsFd::as_fd)
    }

    pub fn send(&self, side: Side, message: &Message) -> Result<(), Error> {
        match self.link(side) {
            Some(link) => match link.send(message) {
                // A child that has gone says why on its link: that is the better error, and next.
                Ok(()) | Err(Fault { errno: Errno::EPIPE | Errno::ECONNRESET, .. }) => Ok(()),
                Err(fault) => Err(Error::call("tell a child to go on: send", fault.errno)),
            },
            None => Ok(()),
        }
    }

    pub fn supply(&self, side: Side, number: u32, fd: BorrowedFd<'_>) -> Result<(), Error> {
        let Some(link) = self.link(side) else { return Ok(()) };
        link.send_fd(number, fd).map_err(|fault| Error::call("supply a descriptor", fault.errno))
    }

    pub fn say_ids(&self) -> Result<(), Error> {
        self.send(Side::Inside, &Message::new(Kind::Mark, self.number(Mark::IDS)))
    }

    pub fn number(&self, mark: Mark) -> u32 {
        self.sealed.0.number(mark)
    }

    pub fn has_heard(&self, mark: Mark) -> bool {
        self.marks & 1 << self.number(mark) != 0
    }

    pub fn take(&mut self, slot: Slot) -> Option<OwnedFd> {
        let found = self.taken.iter().position(|(there, _)| *there == slot)?;
        Some(self.taken.remove(found).1)
    }

    /// The next thing that one of the children says. An error: everything that was started has ended and is reaped.
    pub fn next(&mut self) -> Result<Happening, Error> {
        self.next_of(&[Side::Inside, Side::Outside])
    }

    /// The same, where only the words of these matter: the other's end alone wakes the caller, not its marks.
    pub fn next_of(&mut self, sides: &[Side]) -> Result<Happening, Error> {
        if self.is_running() {
            self.hear_rest()?;
            return Ok(Happening::Running);
        }
        let Some(side) = self.wait_readable(sides)? else { return Err(self.explain()) };
        self.hear(side)
    }

    /// Hears what `side` has to say now.
    pub fn hear(&mut self, side: Side) -> Result<Happening, Error> {
        let Some(link) = self.link(side) else { return Ok(Happening::Nothing) };
        match link.receive(RecvFlags::empty()).map_err(|e| Error::call("hear a child: recvmsg", e))? {
            Received::End => self.end_of(side),
            Received::Message(message, fd) => self.take_in(side, message, fd),
        }
    }

    fn wait_readable(&mut self, sides: &[Side]) -> Result<Option<Side>, Error> {
        let gone = self.gone_early();
        let open: Vec<(Side, BorrowedFd<'_>)> =
            [Side::Inside, Side::Outside].into_iter().filter_map(|side| Some((side, self.link_fd(side)?))).collect();
        if open.is_empty() {
            return Ok(None);
        }
        let flags = |side| if sides.contains(side) { PollFlags::IN } else { PollFlags::empty() };
        let mut fds: Vec<PollFd<'_>> = open.iter().map(|(side, fd)| PollFd::from_borrowed_fd(*fd, flags(side))).collect();
        loop {
            let left = self.limit.map(|(end, _)| end.saturating_duration_since(Instant::now()));
            let limit = gone.map(|_| NOTICE_LIMIT).or(left.and_then(|left| Timespec::try_from(left).ok()));
            match (poll(&mut fds, limit.as_ref()), gone) {
                (Err(rustix::io::Errno::INTR), _) => {}
                (Err(e), _) => return Err(failed("wait for a child: poll")(e)),
                (Ok(0), Some(side)) => return Err(self.blame_first(side)),
                (Ok(0), None) => return Err(self.too_late()),
                (Ok(_), _) => break,
            }
        }
        let first = fds.iter().position(|fd| !fd.revents().is_empty()).unwrap_or_default();
        Ok(Some(open[first].0))
    }

    /// The side that has gone before its work was done.
    fn gone_early(&mut self) -> Option<Side> {
        if self.ready {
            return None;
        }
        if self.links[1].is_none() {
            return Some(Side::Inside);
        }
        let builder = self.links[0].is_none() && self.builder.is_some();
        (builder && (self.is_kept() || !self.builder_left_well())).then_some(Side::Outside)
    }

    fn take_in(&mut self, side: Side, message: Message, fd: Option<ChildFd>) -> Result<Happening, Error> {
        // SAFETY: the descriptor came with the message, and is nobody else's.
        let fd = fd.map(|fd| unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) });
        Ok(match (message.kind, fd) {
            (Kind::Pid, Some(fd)) => {
                // SAFETY: as above; the builder sends the payload's pidfd.
                self.payload = Some(unsafe { PidFd::from_raw(std::os::fd::IntoRawFd::into_raw_fd(fd)) });
                Happening::Born
            }
            (Kind::Mark, _) => {
                self.marks |= 1 << (message.number & 63);
                Happening::Mark
            }
            (Kind::Pause, _) => {
                self.paused.push_back((side, message.number as usize));
                self.pauses_seen += 1;
                Happening::Paused
            }
            (Kind::Slot, Some(fd)) => match self.sealed.0.list(side).slots.get(message.number as usize).copied() {
                Some(slot) => {
                    self.taken.push((slot, fd));
                    Happening::Fd(slot)
                }
                None => Happening::Nothing,
            },
            // The kernel has no room for the descriptor in our table: without it nothing goes on.
            (Kind::Pid | Kind::Slot, None) => {
                self.end();
                return Err(Error::call("receive a descriptor from a child", Errno::EMFILE));
            }
            (Kind::Fault, _) => return Err(self.fail(side, &message)),
            (Kind::Ready, _) => {
                self.ready = true;
                Happening::Nothing
            }
            (Kind::Left, _) => {
                self.left[index(side)] = Some(WaitId { code: message.code, status: message.status });
                Happening::Nothing
            }
            (Kind::Exit, _) => {
                self.exit = Some(WaitId { code: message.code, status: message.status });
                self.hear_out()?;
                Happening::Exit
            }
            _ => Happening::Nothing,
        })
    }

    fn end_of(&mut self, side: Side) -> Result<Happening, Error> {
        if let Some(link) = self.links[index(side)].take() {
            let _ = epoll::delete(&self.events, &link);
        }
        if self.links.iter().all(Option::is_none) && !self.is_running() && !self.has_ended_well() {
            return Err(self.explain());
        }
        Ok(Happening::Nothing)
    }

    /// The payload has ended: what it said before is there by now. One that never was ready has not run its program.
    fn hear_out(&mut self) -> Result<(), Error> {
        while self.links[1].is_some() {
            self.hear(Side::Inside)?;
        }
        if self.ready { Ok(()) } else { Err(self.explain()) }
    }

    /// A kept payload that was quick: its keeper has reported the end before the caller looked.
    fn has_ended_well(&self) -> bool {
        self.ready && self.exit.is_some()
    }

    /// The program runs: ready was said, after the builder's "built", and its socket closed by exec.
    pub fn is_running(&self) -> bool {
        let execed = self.ready && self.links[1].is_none();
        execed && (self.is_kept() || self.links[0].is_none())
    }

    /// What a keeper said when it was the builder yet may be unread.
    fn hear_rest(&mut self) -> Result<(), Error> {
        while self.link_fd(Side::Outside).is_some_and(is_readable) {
            self.hear(Side::Outside)?;
        }
        if !self.is_kept() {
            self.reap(Side::Outside);
        }
        Ok(())
    }

    /// ECHILD: somebody else has reaped it; nothing is known against it.
    fn builder_left_well(&mut self) -> bool {
        self.reap(Side::Outside).is_none_or(|end| end == WaitId { code: 1, status: 0 })
    }

    /// Waits for a child's end, and reaps it where it is the caller's.
    pub(super) fn reap(&mut self, side: Side) -> Option<WaitId> {
        let at = index(side);
        let pidfd = if side == Side::Outside { self.builder.as_ref() } else { self.payload.as_ref() };
        if let Some(pidfd) = pidfd.filter(|pidfd| !self.reaped[at] && pidfd.ended_within(REAP_LIMIT)) {
            self.ends[at] = raw::waitid(pidfd.as_fd(), false).ok().flatten();
            self.reaped[at] = true;
        }
        self.ends[at]
    }

    /// The payload of a builder that died before it could tell of it: the kernel has noted its number.
    fn find_orphan(&mut self) {
        if self.payload.is_none() && !self.is_kept() {
            let number = self.positions.payload().load(std::sync::atomic::Ordering::Relaxed);
            if let Ok(number @ 1..) = u32::try_from(number) {
                // Not reaped, so the number is still its own.
                self.payload = PidFd::open(number).ok();
            }
        }
    }

    /// Ends and reaps what was started.
    pub fn end(&mut self) {
        if self.released {
            return;
        }
        self.released = true;
        let kill = |pidfd: Option<&PidFd>| pidfd.map(|fd| raw::pidfd_send_signal(fd.as_fd(), 9));
        if !self.reaped[0] {
            kill(self.builder.as_ref());
            self.reap(Side::Outside);
        }
        self.find_orphan();
        if !self.reaped[1] {
            kill(self.payload.as_ref());
            self.reap(Side::Inside);
        }
        self.links = [None, None];
    }

    /// From here on nothing is ended when the value is dropped.
    pub fn release(&mut self) {
        self.released = true;
    }

    /// From here on the payload's end is an event too: its keeper may be stopped, and say nothing of it.
    pub fn watch_payload(&self) {
        if let Some(payload) = self.payload.as_ref().filter(|_| self.is_kept()) {
            // Without it the keeper's word is the only event, which it is in all but that case.
            let _ = epoll::add(&self.events, payload, epoll::EventData::new_u64(0), epoll::EventFlags::IN);
        }
    }

    /// From here on the keeper's end is an event, and no word of its is. Again, it changes nothing.
    pub fn watch_keeper(&mut self) {
        if let Some(link) = self.links[index(Side::Outside)].take() {
            let _ = epoll::delete(&self.events, &link);
        }
        if let Some(keeper) = self.builder.as_ref() {
            // The link has left room for it.
            let _ = epoll::add(&self.events, keeper, epoll::EventData::new_u64(0), epoll::EventFlags::IN);
        }
    }

    /// Whether the payload's process has ended, asked without waiting.
    pub fn payload_has_ended(&self) -> bool {
        self.payload.as_ref().is_some_and(PidFd::has_ended)
    }
}

/// Asked without waiting.
pub(super) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&now)).is_ok_and(|n| n > 0)
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.end();
    }
}
