//! `--network-namespace-path`: a container that is born into a network namespace which is there already.

use crate::escape::Escaped;
use crate::{Error, Kind};
use ns_core::{Errno, NsFd};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The one thread of ours is in that network namespace while this lives: a payload in a user namespace of its own has no right to enter it,
/// but what is born there is in it.
#[derive(Debug)]
pub(in crate::supervise) struct Visit {
    home: OwnedFd,
}

impl Visit {
    /// Enters it.
    ///
    /// # Errors
    /// There is no network namespace, or no right to enter it.
    pub fn to(path: &Path) -> Result<Visit, Error> {
        let failed = |call: &str, errno: Errno| {
            Error::call(Kind::Host, format!("enter the network namespace {}: {call}", Escaped::path(path)), errno)
        };
        let home = NsFd::open(Path::new("/proc/thread-self/ns/net"), ns_core::Kind::Net).map_err(|errno| failed("open our own", errno))?;
        let there = NsFd::open(path, ns_core::Kind::Net).map_err(|errno| match errno {
            Errno::EINVAL => failed("open", errno).hint("it is no network namespace: `ip netns add NAME` binds one at /run/netns/NAME"),
            _ => failed("open", errno),
        })?;
        enter(&there).map_err(|errno| failed("setns", errno))?;
        Ok(Visit { home: home.into_fd() })
    }

    /// Comes back.
    ///
    /// # Errors
    /// The kernel refuses, and everything that we make from now on would be made elsewhere.
    pub fn end(self) -> Result<(), Error> {
        enter(&self.home).map_err(|errno| Error::call(Kind::Host, "return from the container's network namespace: setns", errno))
    }
}

fn enter(namespace: impl AsFd) -> Result<(), Errno> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).map_err(Errno::from)
}
