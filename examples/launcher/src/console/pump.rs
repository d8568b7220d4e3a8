//! The pump between our standard descriptors and the payload's pty.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use ns_core::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::retry_on_intr;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::isatty;

use super::buffer::Buffer;
use super::channel::{Channel, Moved, Way, moved};
use super::hotkeys::{Hotkey, Hotkeys};
use crate::{Error, Kind};

/// Copies both ways between a pty's master and what we were given, without waiting.
#[derive(Debug)]
pub struct Pump {
    master: Option<Master>,
    input: Option<Input>,
    /// `None`: what the payload says goes nowhere.
    output: Option<Channel>,
    to_payload: Buffer,
    to_user: Buffer,
    /// The payload is gone: what is still in the pty is the last.
    ended: bool,
}

#[derive(Debug)]
struct Master {
    fd: OwnedFd,
    /// The other end, kept open so that a console that nobody has open isn't hung up.
    _peer: Option<OwnedFd>,
}

#[derive(Debug)]
struct Input {
    channel: Channel,
    /// On a terminal.
    hotkeys: Option<Hotkeys>,
    at_end: EndOfInput,
    last: Option<u8>,
}

/// What the payload learns when our standard input, not being a terminal, has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOfInput {
    /// `^D`, once if a line just ended, else twice: the first then sends the line off, and only the second is an end. So
    /// `echo date | ns-spawn ... sh` ends. A payload that has set its terminal to raw mode reads the `^D` as any other byte.
    Tell,
    /// Nothing, as for a machine that boots: its login prompt would take it for a user's leaving.
    Keep,
}

/// What the supervisor has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Keys for the launcher.
    Hotkey(Hotkey),
    /// Our standard input has ended, or failed: it isn't read any more.
    InputEnded,
    /// Our standard output takes nothing more (`EPIPE`: its reader has gone). What the payload says from here on goes nowhere, so that
    /// the payload doesn't wait for ever.
    OutputEnded(Errno),
    /// The pty is gone.
    Hangup,
}

const EOT: u8 = 4;
/// Room that reading input leaves: two keys that were held back, and two times `^D`.
const RESERVE: usize = 4;
/// As much input at a time.
const CHUNK: usize = 4096;

impl Pump {
    /// A pump of this master, connected to nothing: what the payload says goes nowhere. The master becomes non-blocking.
    ///
    /// # Errors
    /// It can't be made so.
    pub fn new(master: OwnedFd) -> Result<Pump, Error> {
        let master = Some(Master::new(master)?);
        Ok(Pump { master, input: None, output: None, to_payload: Buffer::new(), to_user: Buffer::new(), ended: false })
    }

    /// With keys, or a stream, for the payload. On a terminal the hotkeys work, and its end is no end of the payload's input.
    ///
    /// # Errors
    /// It can't be looked at or copied.
    pub fn with_input(mut self, fd: impl AsFd, at_end: EndOfInput) -> Result<Pump, Error> {
        let (hotkeys, at_end) = match isatty(&fd) {
            true => (Some(Hotkeys::default()), EndOfInput::Keep),
            false => (None, at_end),
        };
        self.input = Some(Input { channel: Channel::new(fd, Way::In)?, hotkeys, at_end, last: None });
        Ok(self)
    }

    /// Of the hotkeys only that which ends: what is entered by a session can't be asked to power off.
    #[must_use]
    pub fn with_kill_key_only(mut self) -> Pump {
        if let Some(hotkeys) = self.input.as_mut().and_then(|input| input.hotkeys.as_mut()) {
            *hotkeys = Hotkeys::kill_only();
        }
        self
    }

    /// With somewhere to show what the payload says.
    ///
    /// # Errors
    /// It can't be looked at or copied.
    pub fn with_output(mut self, fd: impl AsFd) -> Result<Pump, Error> {
        self.output = Some(Channel::new(fd, Way::Out)?);
        Ok(self)
    }

    /// The pty's master, as for its size.
    pub fn master(&self) -> Option<BorrowedFd<'_>> {
        self.master.as_ref().map(|master| master.fd.as_fd())
    }

    /// What to poll, and for what: input, master, output. What isn't named must not be polled: its errors would come at once and again.
    pub fn sources(&self) -> [Option<(BorrowedFd<'_>, PollFlags)>; 3] {
        let input = self.input.as_ref().filter(|_| self.to_payload.room() > RESERVE && !self.ended);
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, self.wants_more());
        wanted.set(PollFlags::OUT, !self.to_payload.is_empty());
        let master = self.master().filter(|_| !wanted.is_empty() && !self.ended);
        let output = self.output.as_ref().filter(|_| !self.to_user.is_empty());
        [input.map(|i| (i.channel.as_fd(), PollFlags::IN)), master.map(|fd| (fd, wanted)), output.map(|o| (o.as_fd(), PollFlags::OUT))]
    }

    /// When to call [`Pump::ready`] though nothing happened.
    pub fn deadline(&self) -> Option<Instant> {
        self.input.as_ref()?.hotkeys?.deadline()
    }

    /// Moves what can be moved; `happened` is what poll said of the three [`Pump::sources`], in their order, empty where it said nothing.
    ///
    /// One turn moves a buffer's worth at most, so that the event loop's other descriptors have theirs.
    pub fn ready(&mut self, happened: [PollFlags; 3], now: Instant) -> Vec<Event> {
        let [input, master, output] = happened;
        let mut events = Vec::new();
        if !input.is_empty() {
            self.take_input(now, &mut events);
        }
        self.expire(now);
        self.feed_payload(&mut events);
        if !master.is_empty() || self.ended {
            self.take_output(&mut events);
        }
        let eager = self.output.as_ref().is_some_and(Channel::is_eager);
        if !output.is_empty() || eager {
            self.show_output(&mut events);
        }
        events
    }

    /// The payload has gone: no more input, and what it left in the pty is taken as soon as there is room.
    pub fn end(&mut self) -> Vec<Event> {
        self.ended = true;
        self.to_payload.clear();
        self.ready([PollFlags::empty(); 3], Instant::now())
    }

    /// After [`Pump::end`]: everything that the payload said has been shown, or can't be.
    pub fn is_drained(&self) -> bool {
        self.ended && self.master.is_none() && (self.to_user.is_empty() || self.output.is_none())
    }

    /// [`Pump::end`], and waits until everything has been shown, however slow the reader, or until `deadline`; false if it was late.
    ///
    /// # Errors
    /// `poll` failed.
    pub fn drain(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        self.end();
        while !self.is_drained() {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            let happened = self.wait(left.and_then(|left| Timespec::try_from(left).ok()))?;
            self.ready(happened, Instant::now());
        }
        Ok(true)
    }

    fn wait(&self, timeout: Option<Timespec>) -> Result<[PollFlags; 3], Error> {
        let Some((fd, flags)) = self.sources()[2] else { return Ok([PollFlags::empty(); 3]) };
        let mut polled = [PollFd::from_borrowed_fd(fd, flags)];
        retry_on_intr(|| poll(&mut polled, timeout.as_ref())).map_err(|e| Error::call(Kind::Host, "show what is left: poll", e))?;
        Ok([PollFlags::empty(), PollFlags::empty(), polled[0].revents()])
    }

    /// The next start's pty, after a reboot: drain the last one first, since what is still in it is lost here. What is to be shown stays.
    ///
    /// # Errors
    /// The master can't be made non-blocking.
    pub fn replace_master(&mut self, master: OwnedFd) -> Result<(), Error> {
        self.master = Some(Master::new(master)?);
        self.to_payload.clear();
        self.ended = false;
        Ok(())
    }

    fn wants_more(&self) -> bool {
        self.output.is_none() || self.to_user.room() > 0
    }

    fn take_input(&mut self, now: Instant, events: &mut Vec<Event>) {
        let Some(input) = &mut self.input else { return };
        let mut chunk = [0; CHUNK];
        let room = self.to_payload.room().saturating_sub(RESERVE).min(CHUNK);
        match input.channel.read(chunk.get_mut(..room).unwrap_or_default()) {
            Moved::Bytes(n) => input.accept(chunk.get(..n).unwrap_or_default(), now, &mut self.to_payload, events),
            Moved::Later => {}
            Moved::Ended(_) => {
                input.finish(&mut self.to_payload);
                self.input = None;
                events.push(Event::InputEnded);
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        let Pump { input: Some(Input { hotkeys: Some(hotkeys), .. }), to_payload, .. } = self else { return };
        hotkeys.expire(now, &mut |bytes| to_payload.push(bytes));
    }

    fn feed_payload(&mut self, events: &mut Vec<Event>) {
        let Some(master) = self.master.as_ref().filter(|_| !self.to_payload.is_empty()) else { return };
        match moved(retry_on_intr(|| rustix::io::write(&master.fd, self.to_payload.queued()))) {
            Moved::Bytes(n) => self.to_payload.consumed(n),
            Moved::Later => {}
            Moved::Ended(_) => self.hang_up(events),
        }
    }

    /// Until the buffer is full or the pty is empty. When the payload is gone, empty is the end: reading a pty first waits for what its
    /// writers' calls have put on the way.
    fn take_output(&mut self, events: &mut Vec<Event>) {
        if self.output.is_none() {
            self.to_user.clear();
        }
        while let Some(master) = self.master.as_ref().filter(|_| self.to_user.room() > 0) {
            match moved(retry_on_intr(|| rustix::io::read(&master.fd, self.to_user.space()))) {
                Moved::Bytes(n @ 1..) => self.to_user.filled(n),
                Moved::Later if !self.ended => return,
                Moved::Later => self.master = None,
                Moved::Bytes(0) | Moved::Ended(_) => return self.hang_up(events),
            }
        }
    }

    fn show_output(&mut self, events: &mut Vec<Event>) {
        while let Some(output) = self.output.as_ref().filter(|_| !self.to_user.is_empty()) {
            match output.write(self.to_user.queued()) {
                Moved::Bytes(n) => self.to_user.consumed(n),
                Moved::Later => return,
                Moved::Ended(errno) => {
                    self.output = None;
                    self.to_user.clear();
                    events.extend(errno.map(Event::OutputEnded));
                }
            }
            if self.ended {
                self.take_output(events);
            } else if self.output.as_ref().is_some_and(|output| !output.is_eager()) {
                return;
            }
        }
    }

    fn hang_up(&mut self, events: &mut Vec<Event>) {
        self.master = None;
        self.to_payload.clear();
        if !self.ended {
            events.push(Event::Hangup);
        }
    }
}

impl Master {
    fn new(fd: OwnedFd) -> Result<Master, Error> {
        let failed = |errno| Error::call(Kind::Host, "connect the console's pty: fcntl", errno);
        let flags = fcntl_getfl(&fd).map_err(failed)?;
        fcntl_setfl(&fd, flags | OFlags::NONBLOCK).map_err(failed)?;
        let peer = ioctl_tiocgptpeer(&fd, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).ok();
        Ok(Master { fd, _peer: peer })
    }
}

impl Input {
    fn accept(&mut self, bytes: &[u8], now: Instant, to_payload: &mut Buffer, events: &mut Vec<Event>) {
        self.last = bytes.last().copied();
        let Some(hotkeys) = &mut self.hotkeys else {
            to_payload.push(bytes);
            return;
        };
        let mut pass = |bytes: &[u8]| to_payload.push(bytes);
        events.extend(bytes.iter().filter_map(|byte| hotkeys.key(*byte, now, &mut pass)).map(Event::Hotkey));
    }

    fn finish(&mut self, to_payload: &mut Buffer) {
        if let Some(hotkeys) = &mut self.hotkeys {
            hotkeys.pass_on(&mut |bytes| to_payload.push(bytes));
        }
        match (self.at_end, self.last) {
            (EndOfInput::Tell, None | Some(b'\n')) => to_payload.push(&[EOT]),
            (EndOfInput::Tell, Some(_)) => to_payload.push(&[EOT, EOT]),
            (EndOfInput::Keep, _) => {}
        }
    }
}

#[cfg(test)]
#[path = "pump_tests.rs"]
pub(super) mod tests;
