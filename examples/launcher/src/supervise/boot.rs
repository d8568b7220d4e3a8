//! One boot: a fresh tree, cgroup, console and links for the same plan.

use super::network::{Lent, Visit};
use super::prepare::Prepared;
use super::stdio::{Relay, Stdio};
use crate::Error;
use crate::assemble::{CGROUP, LOCK, NOTIFY, PTY, STDIO, TREE};
use crate::console::Window;
use crate::report::tell;
use crate::settings::{ConsoleMode, NetworkNamespace, PrivateUsers};
use ns_core::{Errno, Fds, Held, Running};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A payload that runs, and the launcher's ends of what connects them.
#[derive(Debug)]
pub(super) struct Boot {
    pub running: Running,
    /// The console's master; none in pipe mode.
    pub pty: Option<OwnedFd>,
    /// In pipe mode, what the payload writes to instead of our terminal.
    pub relays: Vec<Relay>,
    pub notify: OwnedFd,
    pub lent: Lent,
}

impl Prepared<'_> {
    /// Starts the plan.
    ///
    /// # Errors
    /// A step failed; everything of this boot has ended.
    pub fn boot(&self) -> Result<Boot, Error> {
        let cgroup = self.cgroup.as_ref().map(|cgroup| cgroup.payload(self.root)).transpose()?;
        let mut fds = Fds::new().give(TREE, self.detach()?);
        if let Some(cgroup) = &cgroup {
            fds = fds.lend(CGROUP, cgroup.as_fd());
        }
        fds = (0..).zip(self.locks.fds()).fold(fds, |fds, (n, lock)| fds.lend(LOCK.nth(n), lock));
        let mut relays = Vec::new();
        if self.console == ConsoleMode::Pipe {
            let stdio = Stdio::new()?;
            relays = stdio.relays;
            fds = STDIO.into_iter().zip(stdio.fds).fold(fds, |fds, (slot, fd)| fds.give(slot, fd));
        }
        let mut held = self.hold(fds)?;
        // While the children work.
        self.recorded.iter().try_for_each(|recorded| recorded.opening(held.keeper()))?;
        // Loading a device program takes as long as making a network namespace, which they do meanwhile.
        self.guard()?;
        let lent = self.wiring.as_ref().map(|wiring| wiring.connect(&mut held)).transpose()?.unwrap_or_default();
        let explain = |e: ns_core::Error| self.explain(&e);
        let notify = held.wait_for(NOTIFY).map_err(explain)?;
        let pty = if self.console == ConsoleMode::Pipe { None } else { Some(held.wait_for(PTY).map_err(explain)?) };
        if let Some(pty) = &pty {
            self.resize(pty.as_fd());
        }
        let running = held.release().map_err(explain)?;
        let told = self.recorded.as_ref().map_or(Ok(()), |recorded| recorded.running(running.payload()));
        // It is found all the same, by the record before.
        told.unwrap_or_else(tell);
        Ok(Boot { running, pty, relays, notify, lent })
    }

    fn hold(&self, fds: Fds<'_>) -> Result<Held, Error> {
        let visit = match &self.settings.network.namespace {
            NetworkNamespace::Path(path) => Some(Visit::to(path)?),
            _ => None,
        };
        let held = self.plan.hold(fds).map_err(|e| self.explain(&e));
        visit.map_or(Ok(()), Visit::end)?;
        held
    }

    fn guard(&self) -> Result<(), Error> {
        let Some(cgroup) = &self.cgroup else { return Ok(()) };
        let notices = cgroup.guard(self.settings.users != PrivateUsers::No)?;
        notices.iter().for_each(|notice| super::say(self.settings, notice));
        Ok(())
    }

    fn detach(&self) -> Result<OwnedFd, Error> {
        ns_mount::detach(self.tree.as_fd()).map_err(|e| match e.errno() {
            Some(Errno::EPERM) => Error::host(e).hint("run it as root"),
            _ => Error::host(e),
        })
    }

    /// Gives a console the size of our terminal: before the payload looks, and whenever ours changes.
    pub fn resize(&self, console: BorrowedFd<'_>) {
        if let (Some(size), ConsoleMode::Interactive) = (Window::of(std::io::stdout()), self.console) {
            // A size that can't be set is a console that looks odd, and the payload's end is what tells of a console that is gone.
            let _ = size.set(console);
        }
    }
}
