//! The descriptors that a start is given.

use crate::error::{Error, failed};
use crate::step::Slot;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// The descriptors that a start is given, by slot. One that a start uses up (a tree is id-mapped once) is given, another lent.
#[derive(Debug, Default)]
pub struct Fds<'a>(Vec<(Slot, Fd<'a>)>);

#[derive(Debug)]
enum Fd<'a> {
    Own(OwnedFd),
    Lent(BorrowedFd<'a>),
}

impl<'a> Fds<'a> {
    /// None yet.
    pub fn new() -> Fds<'a> {
        Fds::default()
    }

    /// Hands a descriptor over: the caller's copy is closed by the start.
    #[must_use]
    pub fn give(mut self, slot: Slot, fd: OwnedFd) -> Fds<'a> {
        self.0.push((slot, Fd::Own(fd)));
        self
    }

    /// Lends a descriptor.
    #[must_use]
    pub fn lend(mut self, slot: Slot, fd: BorrowedFd<'a>) -> Fds<'a> {
        self.0.push((slot, Fd::Lent(fd)));
        self
    }

    /// With numbers above stdio's, and complete.
    pub(super) fn numbered(self, wanted: &[Slot]) -> Result<Numbered<'a>, Error> {
        if let Some(missing) = wanted.iter().find(|slot| !self.0.iter().any(|(there, _)| there == *slot)) {
            return Err(Error::refused(format!("start: \"{missing}\" was not given")));
        }
        let mut fds = Vec::with_capacity(self.0.len());
        for (slot, fd) in self.0 {
            let fd = match fd {
                Fd::Own(own) => Fd::Own(high(own)?),
                Fd::Lent(lent) if lent.as_raw_fd() > 2 => Fd::Lent(lent),
                Fd::Lent(lent) => Fd::Own(high(lent.try_clone_to_owned().map_err(|e| {
                    let errno = crate::raw::Errno::new(e.raw_os_error().unwrap_or_default());
                    Error::call("duplicate a descriptor", errno)
                })?)?),
            };
            fds.push((slot, fd));
        }
        Ok(Numbered(fds))
    }
}

/// The same, checked.
pub(super) struct Numbered<'a>(Vec<(Slot, Fd<'a>)>);

impl Numbered<'_> {
    pub fn number(&self, slot: Slot) -> RawFd {
        let found = self.0.iter().find(|(there, _)| *there == slot);
        found.map_or(-1, |(_, fd)| match fd {
            Fd::Own(own) => own.as_raw_fd(),
            Fd::Lent(lent) => lent.as_fd().as_raw_fd(),
        })
    }
}

/// Numbers below 3 are where programs expect their stdio: a caller may have closed them.
pub(crate) fn high(fd: OwnedFd) -> Result<OwnedFd, Error> {
    if fd.as_raw_fd() > 2 {
        Ok(fd)
    } else {
        rustix::io::retry_on_intr(|| rustix::io::fcntl_dupfd_cloexec(&fd, 3)).map_err(failed("duplicate a descriptor"))
    }
}
