//! The one loop of a program in a machine: its end, our signals, its streams.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use ns_cgroup::Hierarchy;
use ns_core::{Entered, Errno, Exit, Word};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::container::Container;
use super::streams::Streams;
use crate::console::{EndOfInput, Event, Hotkey, Pump, Terminal, Window, restore_on_panic};
use crate::report::tell;
use crate::supervise::{Sent, Signals};
use crate::{Error, Kind};

/// A program that was asked to end has so long before we leave without it.
const PATIENCE: Duration = Duration::from_secs(2);
/// The joiner ends right after what it waits for, and a machine right after what was in it.
const JOINER: Duration = Duration::from_secs(1);
/// What a shell says of a program that a signal has ended: this, and the signal.
const SIGNALLED: i32 = 128;
const SIGKILL: i32 = 9;

pub(super) struct Session<'a> {
    container: &'a Container<'a>,
    /// What is executed, for messages.
    program: String,
    quiet: bool,
    entered: Entered,
    signals: Signals,
    /// Of the pty, or of standard output and error where they are our terminal and there is no pty.
    pumps: Vec<Pump>,
    terminal: Option<Terminal>,
    leave: Option<Leave>,
}

/// We were sent this signal, or have lost our terminal, and are to leave, at the latest then.
#[derive(Clone, Copy, Debug)]
struct Leave {
    signal: i32,
    deadline: Instant,
}

impl<'a> Session<'a> {
    pub fn new(
        container: &'a Container<'a>,
        (program, quiet): (String, bool),
        entered: Entered,
        streams: Streams,
        signals: Signals,
    ) -> Result<Session<'a>, Error> {
        let mut session = Session { container, program, quiet, entered, signals, pumps: Vec::new(), terminal: None, leave: None };
        let Streams { pty, relays, .. } = streams;
        let relayed = relays.into_iter().map(|relay| Pump::new(relay.from)?.with_output(relay.to));
        session.pumps = relayed.collect::<Result<_, Error>>()?;
        if let Some(master) = pty {
            session.say(&format!("Connected to machine {}. Press ^] three times within 1s to exit session.", container.record.name));
            restore_on_panic();
            let (input, output) = (std::io::stdin(), std::io::stdout());
            let pump = Pump::new(master)?.with_input(&input, EndOfInput::Keep)?.with_output(&output)?.with_kill_key_only();
            session.pumps.push(pump);
            session.resize();
            session.terminal = Some(Terminal::raw(&input, &output)?);
        }
        Ok(session)
    }

    /// Until the program has ended, or we leave; the exit code.
    pub fn run(mut self) -> Result<u8, Error> {
        let status = self.until_ended();
        let drained = self.drain();
        let interactive = self.terminal.take().is_some();
        if interactive {
            self.say(&format!("\nConnection to machine {} terminated.", self.container.record.name));
        }
        // With the pumps the pty goes: who is still on it hears that the line is lost.
        self.pumps.clear();
        self.entered.close(JOINER);
        let status = status?;
        drained?;
        Ok(u8::try_from(status).unwrap_or(1))
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            tell(line);
        }
    }

    fn resize(&self) {
        let master = self.pumps.first().and_then(Pump::master);
        if let (Some(size), Some(master)) = (Window::of(std::io::stdout()), master) {
            // A size that can't be set is a terminal that looks odd.
            let _ = size.set(master);
        }
    }

    fn until_ended(&mut self) -> Result<i32, Error> {
        let mut started = false;
        loop {
            match self.entered.next_word().map_err(Error::host)? {
                Some(Word::Started) => {
                    started = true;
                    self.expel_joiner();
                    self.forward();
                    continue;
                }
                Some(Word::Failed(errno, _)) => return Err(self.explain(errno)),
                Some(Word::Ended(Exit::Exited(status))) => return Ok(status),
                Some(Word::Ended(Exit::Signalled(signal))) => return Ok(SIGNALLED + signal),
                Some(_) if !started && !self.container.leader.ended_within(JOINER) => return Err(self.lost()),
                // Whatever ended the machine has ended the program.
                Some(_) => return Ok(SIGNALLED + self.leave.map_or(SIGKILL, |leave| leave.signal)),
                None => {}
            }
            if let Some(leave) = self.leave.filter(|leave| Instant::now() >= leave.deadline) {
                return Ok(SIGNALLED + leave.signal);
            }
            let happened = self.wait(true)?;
            self.react(&happened);
        }
    }

    /// Out of the machine's cgroup, where only what is in the machine has its place, and ends with it. The program's other two processes are
    /// there by now. Where it can't be had the joiner stays, and ends with the machine.
    fn expel_joiner(&self) {
        let joiner = self.entered.joiner().and_then(ns_core::PidFd::pid);
        if let (Some(pid), Some(_)) = (joiner, &self.container.record.cgroup) {
            let _ = Hierarchy::find().and_then(|hierarchy| hierarchy.own()?.enter(pid));
        }
    }

    fn lost(&self) -> Error {
        let name = &self.container.record.name;
        Error::new(Kind::Host, format!("The program in machine {name} was ended by somebody in there before it began"))
    }

    /// Why it wasn't executed.
    fn explain(&self, errno: Errno) -> Error {
        let name = &self.container.record.name;
        let error = Error::call(Kind::Tree, format!("run {} in machine {name}: execve", self.program), errno);
        match errno {
            Errno::ENOENT => error.hint("it, or what interprets it, isn't there"),
            Errno::EACCES => error.hint("it is no program that this user may execute"),
            Errno::EAGAIN => error.hint("the machine has as many processes as it may"),
            _ => error,
        }
    }

    fn wait(&self, for_words: bool) -> Result<Happened, Error> {
        let mut fds: Vec<(Who, BorrowedFd<'_>, PollFlags)> = vec![(Who::Signals, self.signals.as_fd(), PollFlags::IN)];
        if for_words {
            fds.push((Who::Program, self.entered.as_fd(), PollFlags::IN));
        }
        for (number, pump) in self.pumps.iter().enumerate() {
            let sources = pump.sources().into_iter().enumerate();
            fds.extend(sources.filter_map(|(n, source)| source.map(|(fd, flags)| (Who::Pump(number, n), fd, flags))));
        }
        let mut polled: Vec<PollFd<'_>> = fds.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let deadlines = self.pumps.iter().filter_map(Pump::deadline).chain(self.leave.map(|leave| leave.deadline));
        let left = deadlines.min().map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut polled, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Error::call(Kind::Host, "wait for a program in a machine: poll", e)),
        }
        Ok(Happened(fds.iter().zip(&polled).map(|((who, ..), fd)| (*who, fd.revents())).collect()))
    }

    fn react(&mut self, happened: &Happened) {
        while let Some(sent) = self.signals.next() {
            match sent {
                Sent::Stop(signal) => self.request_end(signal as i32),
                Sent::Window => self.resize(),
            }
        }
        for event in self.pump(happened) {
            match event {
                Event::Hotkey(Hotkey::Kill) => self.hang_up(SIGHUP),
                // Our terminal has gone.
                Event::OutputEnded(_) if self.terminal.is_some() => self.hang_up(SIGHUP),
                _ => {}
            }
        }
    }

    fn pump(&mut self, happened: &Happened) -> Vec<Event> {
        let now = Instant::now();
        let all = self.pumps.iter_mut().enumerate();
        all.flat_map(|(number, pump)| pump.ready([0, 1, 2].map(|n| happened.of(Who::Pump(number, n))), now)).collect()
    }

    /// A signal of ours is the program's, where it has no terminal of its own; what doesn't end by it, or has one, loses its line.
    fn request_end(&mut self, signal: i32) {
        if self.terminal.is_some() || self.leave.is_some() {
            return self.hang_up(signal);
        }
        self.leave = Some(Leave { signal, deadline: Instant::now() + PATIENCE });
        self.forward();
    }

    /// One that comes before the program runs is sent when it does; who has just ended needs none.
    fn forward(&self) {
        if let (Some(leave), Some(program)) = (self.leave, self.entered.program()) {
            let _ = program.signal(leave.signal);
        }
    }

    /// We leave at once: what is left of the session is told that its line is lost.
    fn hang_up(&mut self, signal: i32) {
        self.leave = Some(Leave { signal, deadline: Instant::now() });
    }

    /// Shows what the program said last, however slow the reader; a signal ends that, and so does that we leave.
    fn drain(&mut self) -> Result<(), Error> {
        if self.leave.is_some() {
            return Ok(());
        }
        self.pumps.iter_mut().for_each(|pump| drop(pump.end()));
        while !self.pumps.iter().all(Pump::is_drained) {
            let happened = self.wait(false)?;
            if let Some(Sent::Stop(_)) = self.signals.next() {
                return Ok(());
            }
            self.pump(&happened);
        }
        Ok(())
    }
}

const SIGHUP: i32 = 1;

/// Whom poll spoke of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Signals,
    Program,
    /// Which pump, which of its sources.
    Pump(usize, usize),
}

/// What poll said.
struct Happened(Vec<(Who, PollFlags)>);

impl Happened {
    fn of(&self, who: Who) -> PollFlags {
        self.0.iter().find(|(one, _)| *one == who).map_or(PollFlags::empty(), |(_, flags)| *flags)
    }
}
