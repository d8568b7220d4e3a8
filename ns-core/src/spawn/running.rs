//! A payload whose program runs.

use super::parts::{Parts, is_readable};
use crate::error::{Error, Side, failed};
use crate::exit::Exit;
use crate::pidfd::PidFd;
use crate::raw::{self, Errno, WaitId};
use crate::step::Slot;
use linux_raw_sys::general::{SIGCONT, SIGKILL};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// A payload whose program runs. `AsFd`: readable when [`Running::try_wait`] has something.
///
/// Dropped, it leaves the payload alone, as [`std::process::Child`] does; one that is kept ends with the calling process. Only when it is
/// dropped after the end is the keeper gone too, and with it what the keeper held.
#[derive(Debug)]
pub struct Running {
    parts: Parts,
    exit: Option<Exit>,
    /// When the payload was first seen to have ended without a word from its keeper.
    silent: Option<Instant>,
    /// Why its keeper has failed, told once that has ended.
    failed: Option<Error>,
}

/// A keeper says at once how its payload ended, if it runs at all.
const WORD_LIMIT: Duration = Duration::from_millis(20);
/// After that it is ended, and the status is lost: long enough for a machine that is very busy.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);

impl Running {
    pub(super) fn new(mut parts: Parts) -> Running {
        parts.release();
        parts.watch_payload();
        Running { parts, exit: None, silent: None, failed: None }
    }

    /// The payload's pidfd.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.parts.payload().map_or(self.parts.events(), AsFd::as_fd)
    }

    /// The payload as a process.
    pub fn payload(&self) -> Option<&PidFd> {
        self.parts.payload()
    }

    /// The keeper of a kept payload.
    pub fn keeper(&self) -> Option<&PidFd> {
        self.parts.builder().filter(|_| self.parts.is_kept())
    }

    /// A descriptor that a step has sent.
    pub fn take(&mut self, slot: Slot) -> Option<OwnedFd> {
        self.parts.take(slot)
    }

    /// Waits for the end, and reaps.
    pub fn wait(&mut self) -> Result<Exit, Error> {
        loop {
            if let Some(exit) = self.try_wait()? {
                return Ok(exit);
            }
            let mut fds = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(failed("wait for the payload: poll")(e)),
            }
        }
    }

    /// The end, if it has come.
    pub fn try_wait(&mut self) -> Result<Option<Exit>, Error> {
        if self.exit.is_none() {
            self.exit = if self.parts.is_kept() { self.kept_end()? } else { self.own_end()? };
        }
        Ok(self.exit)
    }

    fn own_end(&mut self) -> Result<Option<Exit>, Error> {
        let init = self.parts.is_init();
        match raw::waitid(self.pidfd(), false) {
            Ok(end) => Ok(end.map(|end| Exit::new(end, init))),
            Err(Errno::ECHILD) => Err(Error::refused("the payload's status is lost: the caller ignores SIGCHLD, or waited elsewhere")),
            Err(e) => Err(Error::call("wait for the payload: waitid", e)),
        }
    }

    /// The keeper's word, then the keeper's own end.
    fn kept_end(&mut self) -> Result<Option<Exit>, Error> {
        while self.parts.exit.is_none() {
            let Some(link) = self.parts.link_fd(Side::Outside) else {
                // It could not become the keeper, but the payload had ended already.
                self.parts.exit = self.parts.left[0].filter(|end| end.code != 0);
                if self.parts.exit.is_some() {
                    break;
                }
                return self.keeper_end();
            };
            if !is_readable(link) && !self.prompt_keeper() {
                return Ok(None);
            }
            if let Err(e) = self.parts.hear(Side::Outside) {
                // It could not become the keeper: its end takes the payload along.
                self.failed = Some(e);
                return self.keeper_end();
            }
        }
        let Some(end) = self.parts.exit else { return Ok(None) };
        if end.code == 0 {
            return Err(Error::refused("the payload has ended, and its status is lost: somebody else has waited for it"));
        }
        Ok(Some(Exit::new(end, self.parts.is_init())))
    }

    /// Whether a keeper whose payload has ended says so now. One that was stopped is woken, then ended.
    fn prompt_keeper(&mut self) -> bool {
        let (true, Some(link)) = (self.parts.payload_has_ended(), self.parts.link_fd(Side::Outside)) else { return false };
        let limit = Timespec { tv_sec: 0, tv_nsec: WORD_LIMIT.as_nanos() as i64 };
        if poll(&mut [PollFd::from_borrowed_fd(link, PollFlags::IN)], Some(&limit)).is_ok_and(|n| n > 0) {
            return true;
        }
        let silent = *self.silent.get_or_insert_with(Instant::now);
        let signal = if silent.elapsed() < SILENCE_LIMIT { SIGCONT } else { SIGKILL };
        if let Some(keeper) = self.parts.builder() {
            // One that has gone can't be sent anything, and its end is what comes next.
            let _ = raw::pidfd_send_signal(keeper.as_fd(), signal as i32);
        }
        false
    }

    /// The keeper dies, and the kernel ends the payload before: as long as that is stuck there, so is the keeper, and is not waited for.
    fn keeper_end(&mut self) -> Result<Option<Exit>, Error> {
        self.parts.watch_keeper();
        // The payload's end stays an event: that alone would wake the caller again at once.
        let limit = if self.parts.payload_has_ended() { WORD_LIMIT } else { Duration::ZERO };
        if self.parts.builder().is_some_and(|keeper| !keeper.ended_within(limit)) {
            return Ok(None);
        }
        Err(self.failed.take().unwrap_or_else(|| self.keeper_lost()))
    }

    /// The keeper has died, and the kernel has ended the payload with it.
    fn keeper_lost(&self) -> Error {
        let end = self.parts.builder().and_then(|keeper| raw::waitid(keeper.as_fd(), false).ok().flatten());
        let how = match end {
            Some(WaitId { code: 1, status }) => format!("left with status {status}"),
            Some(WaitId { status, .. }) => format!("was killed by signal {status}"),
            None => "has gone".to_owned(),
        };
        Error::refused(format!("the keeper {how}, and the payload has ended with it"))
    }
}

/// The keeper, which has said its last word, is waited for here, so that the caller may do something else before; with a limit.
impl Drop for Running {
    fn drop(&mut self) {
        if self.parts.exit.is_some() {
            self.parts.reap(Side::Outside);
        }
    }
}

impl AsFd for Running {
    fn as_fd(&self) -> BorrowedFd<'_> {
        if self.parts.is_kept() { self.parts.events() } else { self.pidfd() }
    }
}

impl Running {
    /// Whether a kept payload has lost its keeper, as [`Running::try_wait`] has found. The kernel has killed all of the payload's processes
    /// then, and the end is told when the last of them has gone: one that is stuck in the kernel delays that.
    pub fn has_lost_keeper(&self) -> bool {
        self.parts.is_kept() && self.parts.exit.is_none() && self.parts.link_fd(Side::Outside).is_none()
    }

    /// Whether the end has been seen.
    pub fn has_ended(&self) -> bool {
        self.exit.is_some() || self.parts.payload_has_ended()
    }
}
