//! The one loop of a running container: its end, our signals, its console, its word that it is ready.

use super::boot::Boot;
use super::network::Lent;
use super::prepare::Prepared;
use super::recorded::Recorded;
use super::requests::Requests;
use super::signals::{Sent, Signals};
use super::stop::{Expired, Stop};
use super::stuck::Left;
use crate::console::{EndOfInput, Event, Hotkey, PRESS, Pump, Terminal};
use crate::escape::Escaped;
use crate::notify::{Notifier, Receiver};
use crate::report::{Ended, Signal, tell};
use crate::settings::{ConsoleMode, Payload, Settings};
use crate::{Error, Kind};
use ns_core::{Exit, Running};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// What lasts over reboots of one container while it is watched.
struct Watch<'a> {
    prepared: &'a Prepared<'a>,
    signals: Signals,
    notifier: Option<Notifier>,
    /// Of the console, and of standard output and error where they are our terminal and there is no console.
    pumps: Vec<Pump>,
    terminal: Option<Terminal>,
    requests: Requests,
    stop: Stop,
    told_ready: bool,
    /// When the start is over, and its code isn't needed any more.
    settled: Option<Instant>,
}

/// A payload that has run so long runs on.
const SETTLED: Duration = Duration::from_secs(1);

/// How it ended, and what is left of it: the keeper, which is on its way out.
pub(super) struct Last {
    pub ended: Ended,
    pub running: Running,
}

/// One boot's own.
struct Turn {
    running: Running,
    notify: Receiver,
    pid: u32,
    lent: Lent,
}

impl Prepared<'_> {
    /// Boots, watches, boots again where the guest reboots, and says how it ended.
    ///
    /// # Errors
    /// It could not be started; or the keeper was killed.
    pub fn supervise(&self, signals: Signals) -> Result<Last, Error> {
        let settings = self.settings;
        let path = Escaped::path(self.tree.path()).to_string();
        super::say(settings, &format!("Spawning container {} on {path}.", settings.machine));
        let mut watch = Watch::new(self, signals)?;
        loop {
            let mut turn = watch.boot()?;
            let ended = watch.until_ended(&mut turn)?;
            if let Err(e) = std::mem::take(&mut turn.lent).give_back() {
                watch.complain(&e);
            }
            let again = ended == Ended::Rebooted && watch.stop == Stop::No;
            if again {
                watch.line(&ended.message(&settings.machine));
                continue;
            }
            watch.leave_terminal();
            // One that was asked to stop has done so, in its own way.
            let ended = if ended == Ended::Rebooted { Ended::PoweredOff } else { ended };
            super::report(settings, ended);
            return Ok(Last { ended, running: turn.running });
        }
    }
}

impl<'a> Watch<'a> {
    fn new(prepared: &'a Prepared<'a>, signals: Signals) -> Result<Watch<'a>, Error> {
        let notifier = Notifier::from_env()?;
        if prepared.console == ConsoleMode::Interactive {
            crate::console::restore_on_panic();
            super::say(prepared.settings, PRESS);
        }
        let requests = Requests::new(prepared.settings, prepared.init);
        let (pumps, terminal, stop) = (Vec::new(), None, Stop::No);
        Ok(Watch { prepared, signals, notifier, pumps, terminal, requests, stop, told_ready: false, settled: None })
    }

    fn settings(&self) -> &'a Settings {
        self.prepared.settings
    }

    fn boot(&mut self) -> Result<Turn, Error> {
        let boot = self.prepared.boot()?;
        self.settled = Some(Instant::now() + SETTLED);
        let pid = boot.running.payload().and_then(ns_core::PidFd::pid).unwrap_or(0);
        let Boot { running, pty, relays, notify, lent } = boot;
        self.connect(pty, relays)?;
        if !self.settings().notify_ready {
            self.tell_ready();
        }
        Ok(Turn { running, notify: Receiver::new(notify)?, pid, lent })
    }

    /// The console's pump over all boots; its pty is another at each.
    fn connect(&mut self, pty: Option<std::os::fd::OwnedFd>, relays: Vec<super::stdio::Relay>) -> Result<(), Error> {
        if let Some(master) = pty {
            match self.pumps.first_mut() {
                Some(pump) => pump.replace_master(master)?,
                None => self.open_console(master)?,
            }
        } else {
            let made = relays.into_iter().map(|relay| Pump::new(relay.from)?.with_output(relay.to));
            self.pumps = made.collect::<Result<_, Error>>()?;
        }
        Ok(())
    }

    fn open_console(&mut self, master: std::os::fd::OwnedFd) -> Result<(), Error> {
        let pump = Pump::new(master)?;
        let (input, output) = (std::io::stdin(), std::io::stdout());
        let pump = match self.prepared.console {
            ConsoleMode::Interactive => {
                let pump = pump.with_input(&input, self.at_end())?.with_output(&output)?;
                self.terminal = Some(Terminal::raw(&input, &output)?);
                pump
            }
            ConsoleMode::ReadOnly => pump.with_output(&output)?,
            _ => pump,
        };
        self.pumps = vec![pump];
        Ok(())
    }

    fn at_end(&self) -> EndOfInput {
        if matches!(self.settings().payload, Payload::Boot(_)) { EndOfInput::Keep } else { EndOfInput::Tell }
    }

    /// What went wrong, however quiet we are to be.
    fn complain(&self, e: &Error) {
        tell(format_args!("{e}{}", if self.terminal.is_some() { "\r" } else { "" }));
    }

    /// A line on a terminal that may be raw.
    fn line(&self, text: &str) {
        let end = if self.terminal.is_some() { "\r" } else { "" };
        super::say(self.settings(), &format!("{text}{end}"));
    }

    /// Our terminal is ours again, and the cursor at the start of a line.
    fn leave_terminal(&mut self) {
        if let Some(terminal) = self.terminal.take() {
            terminal.restore();
            tell("");
        }
    }

    fn resize(&self) {
        if let Some(master) = self.pumps.first().and_then(Pump::master) {
            self.prepared.resize(master);
        }
    }

    fn tell_ready(&mut self) {
        if let (Some(notifier), false) = (&self.notifier, self.told_ready) {
            self.told_ready = true;
            if let Err(e) = notifier.ready() {
                self.line(&e.to_string());
            }
        }
    }

    /// Waits for the end of one boot, and shows all that it has said.
    fn until_ended(&mut self, turn: &mut Turn) -> Result<Ended, Error> {
        let kills = self.oom_kills();
        let exit = loop {
            if let Some(exit) = turn.running.try_wait().map_err(Error::host)? {
                break exit;
            }
            if turn.running.has_lost_keeper() && !self.stop.is_killed() {
                // The kernel has killed all of it, and something is left.
                self.stop.kill(Instant::now());
            }
            let happened = self.wait(Some(turn))?;
            self.react(turn, &happened)?;
        };
        self.settled = None;
        self.drain()?;
        if self.oom_kills() > kills && matches!(exit, Exit::Signalled(_)) {
            self.line(&format!("Container {}: the kernel ended a process in it for want of memory.", self.settings().machine));
        }
        Ok(ended(exit))
    }

    fn oom_kills(&self) -> u64 {
        self.prepared.cgroup.as_ref().map_or(0, super::cgroup::MachineCgroup::oom_kills)
    }

    fn wait(&self, turn: Option<&Turn>) -> Result<Happened, Error> {
        let mut fds: Vec<(Who, BorrowedFd<'_>, PollFlags)> = vec![(Who::Signals, self.signals.as_fd(), PollFlags::IN)];
        if let Some(turn) = turn {
            fds.push((Who::End, turn.running.as_fd(), PollFlags::IN));
            fds.push((Who::Notify, turn.notify.as_fd(), PollFlags::IN));
        }
        for (number, pump) in self.pumps.iter().enumerate() {
            let sources = pump.sources().into_iter().enumerate();
            fds.extend(sources.filter_map(|(n, source)| source.map(|(fd, flags)| (Who::Pump(number, n), fd, flags))));
        }
        let mut polled: Vec<PollFd<'_>> = fds.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let deadlines = self.pumps.iter().filter_map(Pump::deadline).chain(self.stop.deadline()).chain(self.settled);
        let left = deadlines.min().map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut polled, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Error::call(Kind::Host, "wait for the container: poll", e)),
        }
        let said = fds.iter().zip(&polled).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(Happened(said.map(|((who, ..), fd)| (*who, fd.revents())).collect()))
    }

    fn react(&mut self, turn: &Turn, happened: &Happened) -> Result<(), Error> {
        let now = Instant::now();
        while let Some(sent) = self.signals.next() {
            match sent {
                Sent::Stop(signal) => self.request_stop(turn, &format!("SIG{}", Signal(signal as i32)), now),
                Sent::Window => self.resize(),
            }
        }
        if self.settled.is_some_and(|deadline| now >= deadline) {
            self.settled = None;
            crate::memory::give_back_code();
        }
        if self.stop != Stop::No {
            // The record before says that it runs, which is what matters.
            let _ = self.prepared.recorded.iter().try_for_each(Recorded::closing);
        }
        match self.stop.expire(now) {
            Expired::Nothing => {}
            Expired::Signal(signal) => self.send(turn, Some(signal)),
            Expired::Look(last) => self.look(turn, last)?,
        }
        if happened.has(Who::Notify) {
            self.hear(turn)?;
        }
        for event in self.pump(happened, now) {
            self.obey(turn, event);
        }
        Ok(())
    }

    fn pump(&mut self, happened: &Happened, now: Instant) -> Vec<Event> {
        let all = self.pumps.iter_mut().enumerate();
        all.flat_map(|(number, pump)| pump.ready([0, 1, 2].map(|n| happened.of(Who::Pump(number, n))), now)).collect()
    }

    fn obey(&mut self, turn: &Turn, event: Event) {
        let signal = match event {
            Event::Hotkey(Hotkey::Kill) => self.stop.kill(Instant::now()),
            Event::Hotkey(Hotkey::PowerOff) if self.requests.power_off.is_none() => {
                return self.request_stop(turn, "^]^]p", Instant::now());
            }
            Event::Hotkey(Hotkey::PowerOff) => self.requests.power_off,
            Event::Hotkey(Hotkey::Reboot) => self.requests.reboot.or_else(|| {
                self.line("No signal asks this container's init to reboot.");
                None
            }),
            Event::InputEnded | Event::OutputEnded(_) | Event::Hangup => None,
        };
        self.send(turn, signal);
    }

    fn request_stop(&mut self, turn: &Turn, name: &str, now: Instant) {
        let first = self.stop == Stop::No;
        let signal = self.stop.request(self.requests.stop, self.settings().stop_timeout, now);
        match (self.stop.asked(), self.prepared.init) {
            (Some(asked), _) => self.line(&format!(
                "Trying to halt container by sending SIG{} to container PID 1. Send {name} again to trigger immediate termination.",
                Signal(asked)
            )),
            (None, Some(init)) if first => {
                self.line(&format!("No signal asks this container's init ({}) to stop: it is killed.", init.kind))
            }
            _ => {}
        }
        self.send(turn, signal);
    }

    /// A payload that has just ended can't be sent anything: its end is what comes next.
    fn send(&self, turn: &Turn, signal: Option<i32>) {
        if let (Some(signal), Some(payload)) = (signal, turn.running.payload()) {
            let cgroup = self.prepared.cgroup.as_ref().map(super::cgroup::MachineCgroup::cgroup);
            let _ = super::heard::send(payload, cgroup, Signal(signal));
        }
    }

    /// It was killed, and is still there.
    fn look(&self, turn: &Turn, last: bool) -> Result<(), Error> {
        let pids = self.prepared.cgroup.as_ref().map(super::cgroup::MachineCgroup::processes).unwrap_or_default();
        let left = Left::of(pids, turn.pid);
        if last || left.is_stuck() { Err(left.error(turn.pid)) } else { Ok(()) }
    }

    fn hear(&mut self, turn: &Turn) -> Result<(), Error> {
        while let Some(notice) = turn.notify.receive(turn.pid)? {
            if let (Some(notifier), Some(status)) = (&self.notifier, &notice.status) {
                // Whoever started us may have lost interest; the container has not.
                let _ = notifier.send(&format!("STATUS=Container running: {status}"));
            }
            if notice.ready {
                self.tell_ready();
            }
            // Before its handlers are in place, init ignores signals: one that was sent too early is sent again.
            let listens = notice.ready || notice.signals_level.is_some_and(|level| level >= 2);
            if listens {
                self.send(turn, self.stop.asked());
            }
        }
        Ok(())
    }

    /// Shows what the payload said last, however slow the reader; a signal ends that.
    fn drain(&mut self) -> Result<(), Error> {
        self.pumps.iter_mut().for_each(|pump| drop(pump.end()));
        while !self.pumps.iter().all(Pump::is_drained) {
            let happened = self.wait(None)?;
            if let Some(Sent::Stop(_)) = self.signals.next() {
                self.stop.kill(Instant::now());
                return Ok(());
            }
            self.pump(&happened, Instant::now());
        }
        Ok(())
    }
}

/// However it ends: what is told then begins a line.
impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.leave_terminal();
    }
}

/// Whom poll spoke of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Signals,
    End,
    Notify,
    /// Which pump, which of its sources.
    Pump(usize, usize),
}

/// What poll said.
#[derive(Debug)]
struct Happened(Vec<(Who, PollFlags)>);

impl Happened {
    fn of(&self, who: Who) -> PollFlags {
        self.0.iter().find(|(one, _)| *one == who).map_or(PollFlags::empty(), |(_, flags)| *flags)
    }

    fn has(&self, who: Who) -> bool {
        !self.of(who).is_empty()
    }
}

fn ended(exit: Exit) -> Ended {
    match exit {
        Exit::PoweredOff => Ended::PoweredOff,
        Exit::Rebooted => Ended::Rebooted,
        Exit::Signalled(signal) => Ended::Signalled(signal),
        // A status is eight bits.
        Exit::Exited(status) => Ended::Exited(status as u8),
        _ => Ended::Exited(1),
    }
}
