//! Moving descriptors to the numbers that a program expects them at.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::raw::{self, OnExec};
use crate::step::{Call, Child, Fault, Slot};
use std::os::fd::{BorrowedFd, RawFd};

/// One row: what is to be where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    from: From,
    number: RawFd,
}

#[derive(Clone, Copy, Debug)]
enum From {
    Slot(Slot),
    Number(RawFd),
}

impl Row {
    pub fn slot(slot: Slot, number: u16) -> Row {
        Row { from: From::Slot(slot), number: RawFd::from(number) }
    }

    pub fn inherited(number: RawFd) -> Row {
        Row { from: From::Number(number), number }
    }

    pub fn moved(from: RawFd, number: RawFd) -> Row {
        Row { from: From::Number(from), number }
    }

    pub fn number(&self) -> RawFd {
        self.number
    }

    pub fn slot_name(&self) -> Option<Slot> {
        match self.from {
            From::Slot(slot) => Some(slot),
            From::Number(_) => None,
        }
    }
}

/// More rows than a program is ever given; they are kept on the stack.
pub(crate) const MAX_ROWS: usize = 64;

/// Descriptors that a child needs until it execs, and no longer: -1 for none.
pub(crate) type Spare = [RawFd; 3];

/// Why the descriptors aren't where they belong, and where `spare` is now.
pub(crate) type Unarranged = (Fault, Spare);

/// Moves every row's descriptor to its number, to be kept on exec, and closes all others but `spare`, which are closed on exec.
///
/// In two passes: a descriptor that stands on the number of another row would be lost otherwise. `spare` are moved as well; where they then
/// are, is the answer.
pub(crate) fn arrange(child: Option<&Child<'_>>, rows: &[Row], spare: Spare) -> Result<Spare, Unarranged> {
    let floor = rows.iter().map(|row| row.number).max().unwrap_or(2).max(2) + 1;
    let mut high = [-1; MAX_ROWS];
    for (to, row) in high.iter_mut().zip(rows) {
        let fd = match (row.from, child) {
            (From::Slot(slot), Some(child)) => child.fd(slot).map_err(|fault| (fault, spare))?,
            (From::Slot(_), None) => return Err((Fault::new("slot", raw::Errno::EBADF), spare)),
            // SAFETY: borrowed for the call alone; a closed number is EBADF.
            (From::Number(n), _) => unsafe { BorrowedFd::borrow_raw(n) },
        };
        *to = raw::dup_above(fd, floor).call("fcntl").map_err(|fault| (fault, spare))?;
    }
    let mut moved = [-1; 3];
    for (to, from) in moved.iter_mut().zip(spare).filter(|(_, from)| *from >= 0) {
        // SAFETY: borrowed for the call alone.
        *to = raw::dup_above(unsafe { BorrowedFd::borrow_raw(from) }, floor).call("fcntl").map_err(|fault| (fault, spare))?;
    }
    for (from, row) in high.iter().zip(rows) {
        raw::dup_to(*from, row.number, OnExec::Keep).call("dup3").map_err(|fault| (fault, moved))?;
    }
    let mut kept = [-1; MAX_ROWS + 3];
    for (to, number) in kept.iter_mut().zip(rows.iter().map(|row| row.number).chain(moved)) {
        *to = number;
    }
    kept.sort_unstable();
    close_all_but(&kept).map_err(|fault| (fault, moved))?;
    Ok(moved)
}

/// `close_range(2)` over the gaps between `kept`, which is sorted; negative numbers in it are none.
pub(crate) fn close_all_but(kept: &[RawFd]) -> Result<(), Fault> {
    let mut from = 0;
    for fd in kept.iter().copied().filter(|fd| *fd >= 0) {
        if fd > from {
            raw::close_range(from as u32, fd as u32 - 1).call("close_range")?;
        }
        from = fd + 1;
    }
    raw::close_range(from as u32, u32::MAX).call("close_range")
}
