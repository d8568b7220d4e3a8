//! One boot: a fresh tree, cgroup, console and links for the same plan.

use super::network;
use super::prepare::Prepared;
use crate::assemble::{CGROUP, LOCK, NOTIFY, PTY, STDIO, TREE};
use crate::escape::Escaped;
use crate::registry::IdRange;
use crate::settings::{ConsoleMode, PrivateUsers};
use crate::{Error, Kind};
use ns_core::{Errno, Fds, Running};
use std::os::fd::{AsFd, OwnedFd};

/// A payload that runs, and the launcher's ends of what connects them.
#[derive(Debug)]
pub(super) struct Boot {
    pub running: Running,
    /// The console's master; none in pipe mode.
    pub pty: Option<OwnedFd>,
    pub notify: OwnedFd,
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
        let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        if self.console == ConsoleMode::Pipe {
            let own = [input.as_fd(), output.as_fd(), error.as_fd()];
            fds = STDIO.into_iter().zip(own).fold(fds, |fds, (slot, fd)| fds.lend(slot, fd));
        }
        let mut held = self.plan.hold(fds).map_err(|e| self.explain(&e))?;
        if let Some(veth) = &self.veth {
            network::connect(veth, &mut held)?;
        }
        let explain = |e: ns_core::Error| self.explain(&e);
        let notify = held.wait_for(NOTIFY).map_err(explain)?;
        let pty = if self.console == ConsoleMode::Pipe { None } else { Some(held.wait_for(PTY).map_err(explain)?) };
        Ok(Boot { running: held.release().map_err(explain)?, pty, notify })
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
