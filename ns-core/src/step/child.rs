//! The child's side: proof of being one, and its descriptors by name.

use super::{Fault, Slot};
use crate::link::Link;
use crate::raw::{self, Errno};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};

/// A descriptor in a child: closed by hand, no `Drop` (which would be glibc's `close`, and thread-local storage with it).
#[must_use]
#[derive(Debug)]
pub struct ChildFd(RawFd);

impl ChildFd {
    /// Takes over a raw descriptor that nobody else owns.
    pub fn from_raw(fd: RawFd) -> ChildFd {
        ChildFd(fd)
    }

    /// `close(2)`.
    pub fn close(self) {
        raw::close(self.0);
    }
}

#[allow(clippy::disallowed_types, reason = "taken apart, never dropped")]
impl From<std::os::fd::OwnedFd> for ChildFd {
    fn from(fd: std::os::fd::OwnedFd) -> ChildFd {
        ChildFd(fd.into_raw_fd())
    }
}

impl AsFd for ChildFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open until `close` takes the value.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl AsRawFd for ChildFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Proof of being a child between clone and exec; what a step may reach. Never made in the parent.
#[derive(Debug)]
pub struct Child<'p> {
    table: &'p mut [(Slot, RawFd)],
    link: Option<Link>,
    not_send: PhantomData<*const ()>,
}

impl<'p> Child<'p> {
    /// # Safety
    /// The caller is a child after clone or fork, and the descriptors in `table` are open and stay so until it execs.
    #[cfg(feature = "spawn")]
    pub(crate) unsafe fn new(table: &'p mut [(Slot, RawFd)], link: Option<Link>) -> Child<'p> {
        Child { table, link, not_send: PhantomData }
    }

    /// Puts what the caller supplied into the slot at `position`.
    #[cfg(feature = "spawn")]
    pub(crate) fn put(&mut self, position: u32, fd: ChildFd) {
        if let Some(row) = self.table.get_mut(position as usize) {
            row.1 = fd.as_raw_fd();
        }
    }

    /// Closes what is in `slot`, which no later step names.
    #[cfg(feature = "spawn")]
    pub(crate) fn close(&mut self, slot: Slot) {
        if let Some(row) = self.table.iter_mut().find(|row| row.0 == slot && row.1 >= 0) {
            raw::close(std::mem::replace(&mut row.1, -1));
        }
    }

    /// The descriptor in `slot`. `EBADF` where the step's wires don't name it.
    pub fn fd(&self, slot: Slot) -> Result<BorrowedFd<'p>, Fault> {
        match self.table.iter().find(|row| row.0 == slot && row.1 >= 0) {
            // SAFETY: a slot is not closed before the last step that names it has run, nor overwritten.
            Some(row) => Ok(unsafe { BorrowedFd::borrow_raw(row.1) }),
            None => Err(Fault::new("slot", Errno::EBADF)),
        }
    }

    /// Keeps a descriptor in `slot` for later steps. An older one in this slot stays open: somebody may hold it.
    pub fn keep(&mut self, slot: Slot, fd: ChildFd) -> Result<BorrowedFd<'p>, Fault> {
        match self.table.iter_mut().find(|row| row.0 == slot) {
            Some(row) => row.1 = fd.as_raw_fd(),
            None => return Err(Fault::new("slot", Errno::EBADF)),
        }
        self.fd(slot)
    }

    /// Sends the descriptor in `slot` to the caller, who takes it from `Held` or `Running`.
    pub fn send(&mut self, slot: Slot) -> Result<(), Fault> {
        let fd = self.fd(slot)?;
        let position = self.table.iter().position(|row| row.0 == slot).unwrap_or_default();
        match self.link {
            Some(link) => link.send_fd(position as u32, fd),
            None => Err(Fault::new("sendmsg", Errno::EOPNOTSUPP)),
        }
    }
}
