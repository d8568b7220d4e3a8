//! A payload that does not run yet.

use super::parts::{Happening, Parts};
use super::running::Running;
use crate::error::{Error, Side};
use crate::link::{Kind, Message};
use crate::namespace::{Kind as NsKind, NsFd};
use crate::pidfd::PidFd;
use crate::plan::Op;
use crate::step::{Mark, Slot};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A payload held before its exec: the caller makes what has to be made from outside (links in its network namespace, say), then releases it.
///
/// Dropped, it ends and reaps everything that was started. `AsFd`: readable when [`Held::next_event`] has something.
#[derive(Debug)]
pub struct Held(Parts);

/// What happens to a held payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A step has sent this descriptor: [`Held::take`].
    Fd(Slot),
    /// A list has come to its pause of this name.
    Paused(&'static str),
    /// The payload's program runs: [`Held::release`] returns at once.
    Running,
}

impl Held {
    pub(super) fn new(parts: Parts) -> Held {
        Held(parts)
    }

    /// Until the payload is there and the next pause, if one is left, is reached.
    pub(super) fn at_pause(mut self) -> Result<Held, Error> {
        while self.0.payload().is_none() || (self.0.paused.is_empty() && self.0.pauses_seen < self.pauses()) {
            self.0.next()?;
        }
        Ok(self)
    }

    /// Until the program runs.
    pub(super) fn until_running(mut self) -> Result<Running, Error> {
        loop {
            match self.0.next()? {
                Happening::Running | Happening::Exit => break,
                _ => {}
            }
        }
        Ok(Running::new(self.0))
    }

    fn pauses(&self) -> usize {
        let count = |side| self.0.sealed().0.list(side).ops.iter().filter(|op| matches!(op, Op::Pause(..))).count();
        count(Side::Outside) + count(Side::Inside)
    }

    /// The payload's pidfd.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        // `hold` returns no value without one.
        self.payload().map_or(self.0.events(), AsFd::as_fd)
    }

    /// The payload as a process.
    pub fn payload(&self) -> Option<&PidFd> {
        self.0.payload()
    }

    /// The builder of a plan that is kept, which will be the keeper.
    pub fn keeper(&self) -> Option<&PidFd> {
        self.0.builder().filter(|_| self.0.is_kept())
    }

    /// The payload's namespace of this kind; waits until it has made it.
    pub fn namespace(&mut self, kind: NsKind) -> Result<NsFd, Error> {
        let made_later = match kind {
            NsKind::Net => Some(Mark::NETWORK),
            NsKind::Cgroup => Some(Mark::CGROUP),
            // Before, it is the builder's.
            NsKind::Mount => Some(crate::namespace::Locked::MARK),
            _ => None,
        };
        if let Some(mark) = made_later.filter(|_| self.0.sealed().0.unshare.contains(kind.flag())) {
            while !self.0.has_heard(mark) {
                self.0.next()?;
            }
        }
        match self.0.payload() {
            Some(payload) => payload.namespace(kind),
            None => Err(Error::refused("the payload is not there yet")),
        }
    }

    /// What the present pause waits for, if there is one.
    pub fn paused(&self) -> Option<&'static str> {
        self.pause_at(self.0.paused.front()?)
    }

    fn pause_at(&self, (side, position): &(Side, usize)) -> Option<&'static str> {
        match self.0.sealed().0.list(*side).ops.get(*position) {
            Some(Op::Pause(what, _)) => Some(what),
            _ => None,
        }
    }

    /// Hands a descriptor to the list that is paused and names this slot.
    pub fn supply(&self, slot: Slot, fd: BorrowedFd<'_>) -> Result<(), Error> {
        for (side, position) in &self.0.paused {
            let list = self.0.sealed().0.list(*side);
            if matches!(list.ops.get(*position), Some(Op::Pause(_, supplies)) if supplies.contains(&slot)) {
                let number = list.slots.iter().position(|there| *there == slot).unwrap_or_default();
                return self.0.supply(*side, number as u32, fd);
            }
        }
        Err(Error::refused(format!("supply: no list is at a pause that names \"{slot}\"")))
    }

    /// A descriptor that a step has sent; waits for it.
    pub fn take(&mut self, slot: Slot) -> Option<OwnedFd> {
        self.0.take(slot)
    }

    /// The same, waiting until a step sends it.
    pub fn wait_for(&mut self, slot: Slot) -> Result<OwnedFd, Error> {
        let sides = self.0.sealed().0.sides_with(slot);
        loop {
            if let Some(fd) = self.0.take(slot) {
                return Ok(fd);
            }
            if let Happening::Running = self.0.next_of(&sides)? {
                return self.0.take(slot).ok_or_else(|| Error::refused(format!("nothing has sent \"{slot}\"")));
            }
        }
    }

    /// Lets the list at the present pause go on, and waits for the next pause, if one is left.
    pub fn proceed(mut self) -> Result<Held, Error> {
        match self.0.paused.pop_front() {
            Some((side, position)) => self.0.send(side, &Message::new(Kind::Pause, position as u32))?,
            None => return Err(Error::refused("proceed: the plan is at no pause")),
        }
        self.at_pause()
    }

    /// The next event. Before [`Held::let_go`] waits for ever once the lists have nothing more to say.
    pub fn next_event(&mut self) -> Result<Event, Error> {
        loop {
            match self.0.next()? {
                Happening::Fd(slot) => return Ok(Event::Fd(slot)),
                Happening::Running | Happening::Exit => return Ok(Event::Running),
                Happening::Paused => {
                    if let Some(what) = self.0.paused.back().and_then(|at| self.pause_at(at)) {
                        return Ok(Event::Paused(what));
                    }
                }
                _ => {}
            }
        }
    }

    /// Nothing of the caller's holds the payload any more; doesn't wait.
    pub fn let_go(&mut self) -> Result<(), Error> {
        if !self.0.paused.is_empty() || self.0.pauses_seen < self.pauses() {
            return Err(Error::refused("release: the plan is at a pause, or has one left: Held::proceed"));
        }
        self.0.send(Side::Inside, &Message::new(Kind::Go, 0))
    }

    /// Lets the payload exec, and waits until its program runs.
    pub fn release(mut self) -> Result<Running, Error> {
        self.let_go()?;
        self.until_running()
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.events()
    }
}
