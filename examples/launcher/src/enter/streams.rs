//! The program's standard descriptors: a pty of the machine's, or ours where they are streams.

use std::io::IsTerminal;
use std::os::fd::OwnedFd;

use ns_core::Slot;
use ns_core::pty::Pty;

use super::container::Container;
use crate::guest::User;
use crate::supervise::{Relay, Stdio};
use crate::{Error, Kind};

/// What becomes the program's 0, 1 and 2, and what is between those and ours.
pub(super) struct Streams {
    fds: Vec<OwnedFd>,
    /// The pty's master.
    pub pty: Option<OwnedFd>,
    /// Without a pty: from the program to our terminal.
    pub relays: Vec<Relay>,
}

/// The group of terminals, by everybody's convention.
const TTY_GROUP: u32 = 5;

impl Streams {
    /// A pty where input and output are our terminal.
    pub fn new(container: &Container<'_>, user: &User) -> Result<Streams, Error> {
        if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            return Streams::pty(container, user);
        }
        let Stdio { fds, relays } = Stdio::new()?;
        Ok(Streams { fds, pty: None, relays })
    }

    fn pty(container: &Container<'_>, user: &User) -> Result<Streams, Error> {
        const UNUSED: Slot = Slot::new("none");
        let missing = || Error::new(Kind::Tree, format!("Machine {} has no /dev/pts", container.record.name));
        let devpts = container.root.directory(c"dev/pts")?.ok_or_else(missing)?;
        let (uid, gid) = (container.outside(user.uid), container.outside(TTY_GROUP).or(container.outside(user.gid)));
        let step = Pty::in_devpts(UNUSED, UNUSED).mode(0o620);
        let step = if let (Some(uid), Some(gid)) = (uid, gid) { step.owned_by(uid, gid) } else { step };
        let pair = step.open(devpts).map_err(Error::host)?;
        let copy = || pair.slave.try_clone().map_err(Error::host);
        Ok(Streams { fds: vec![copy()?, copy()?, copy()?], pty: Some(pair.master), relays: Vec::new() })
    }

    pub fn has_pty(&self) -> bool {
        self.pty.is_some()
    }

    /// The program's; ours are closed with them.
    pub fn take(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }
}
