//! One boot: a fresh tree, cgroup, console and links for the same plan.

use super::network;
use super::prepare::Prepared;
use crate::assemble::{CGROUP, LOCK, NOTIFY, PTY, STDIO, TREE};
use crate::console::Window;
use crate::escape::Escaped;
use crate::registry::IdRange;
use crate::settings::{ConsoleMode, PrivateUsers};
use crate::{Error, Kind};
use ns_core::{Errno, Fds, Running};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io::IsTerminal;
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
}

/// A pipe between the payload and our terminal, which is never a descriptor of the payload's.
#[derive(Debug)]
pub(super) struct Relay {
    pub from: OwnedFd,
    pub to: OwnedFd,
}

/// The payload's standard descriptors without a console: ours as they are, but for a terminal.
struct Stdio {
    fds: Vec<OwnedFd>,
    relays: Vec<Relay>,
}

impl Stdio {
    fn new() -> Result<Stdio, Error> {
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(wrong);
        let input = std::io::stdin();
        let first = if input.is_terminal() { std::fs::File::open("/dev/null").map_err(wrong)?.into() } else { own(input.as_fd())? };
        let mut stdio = Stdio { fds: vec![first], relays: Vec::new() };
        let (output, error) = (std::io::stdout(), std::io::stderr());
        for (fd, terminal) in [(output.as_fd(), output.is_terminal()), (error.as_fd(), error.is_terminal())] {
            let fd = own(fd)?;
            if terminal {
                let (from, end) = pipe_with(PipeFlags::CLOEXEC).map_err(wrong)?;
                stdio.relays.push(Relay { from, to: fd });
                stdio.fds.push(end);
            } else {
                stdio.fds.push(fd);
            }
        }
        Ok(stdio)
    }
}

fn wrong(e: impl std::fmt::Display) -> Error {
    Error::new(Kind::Host, e.to_string())
}

impl Prepared<'_> {
    /// Starts the plan.
    ///
    /// # Errors
    /// A step failed; everything of this boot has ended.
    pub fn boot(&self) -> Result<Boot, Error> {
        let cgroup = self.cgroup.as_ref().map(|cgroup| cgroup.payload(self.root)).transpose()?;
        let mut fds = Fds::new().give(TREE, ns_mount::detach(self.tree.as_fd()).map_err(wrong)?);
        if let Some(cgroup) = &cgroup {
            fds = fds.lend(CGROUP, cgroup.as_fd());
        }
        let locks = self.lock.fds().chain(self.ids.iter().flat_map(IdRange::fds));
        fds = (0..).zip(locks).fold(fds, |fds, (n, lock)| fds.lend(LOCK.nth(n), lock));
        let mut relays = Vec::new();
        if self.console == ConsoleMode::Pipe {
            let stdio = Stdio::new()?;
            relays = stdio.relays;
            fds = STDIO.into_iter().zip(stdio.fds).fold(fds, |fds, (slot, fd)| fds.give(slot, fd));
        }
        let mut held = self.plan.hold(fds).map_err(|e| self.explain(&e))?;
        if let Some(veth) = &self.veth {
            network::connect(veth, &mut held)?;
        }
        let explain = |e: ns_core::Error| self.explain(&e);
        let notify = held.wait_for(NOTIFY).map_err(explain)?;
        let pty = if self.console == ConsoleMode::Pipe { None } else { Some(held.wait_for(PTY).map_err(explain)?) };
        if let Some(pty) = &pty {
            self.resize(pty.as_fd());
        }
        Ok(Boot { running: held.release().map_err(explain)?, pty, relays, notify })
    }

    /// Gives a console the size of our terminal: before the payload looks, and whenever ours changes.
    pub fn resize(&self, console: BorrowedFd<'_>) {
        if let (Some(size), ConsoleMode::Interactive) = (Window::of(std::io::stdout()), self.console) {
            // A size that can't be set is a console that looks odd, and the payload's end is what tells of a console that is gone.
            let _ = size.set(console);
        }
    }

    /// Says more where the cause can be found: a tree that can't be id-mapped.
    fn explain(&self, e: &ns_core::Error) -> Error {
        let mapped = self.settings.users != PrivateUsers::No;
        match ns_mount::id_mappable(self.tree.as_fd()) {
            Err(why) if mapped && e.errno() == Some(Errno::EINVAL) => {
                let (path, name) = (Escaped::path(self.tree.path()), &self.settings.machine);
                wrong(why).hint(format!(
                    "copy it to a file system that can (ext4, xfs, btrfs): cp -a {path} /var/lib/machines/{name} && ns-spawn -D \
                     /var/lib/machines/{name} ...; or --private-users=no, where container root is the host's root"
                ))
            }
            _ => Error::new(Kind::Host, e.to_string()),
        }
    }
}
