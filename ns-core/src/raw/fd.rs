//! `close(2)`, `close_range(2)`, `dup3(2)`, `fcntl(2)` F_DUPFD_CLOEXEC, `read(2)`, `write(2)`.

use super::arch::once;
use super::{Errno, syscall};
use linux_raw_sys::general::{__NR_close, __NR_close_range, __NR_dup3, __NR_fcntl, __NR_read, __NR_write, F_DUPFD_CLOEXEC, O_CLOEXEC};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// `close(fd)`: the descriptor is gone whatever the answer, `EINTR` too, so there is none.
pub fn close(fd: RawFd) {
    // SAFETY: closing touches no memory; a wrong number is EBADF.
    let _ = unsafe { once(__NR_close, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// `close_range(first, last, 0)`: closes every descriptor from `first` to `last`, both included. Linux 5.9.
pub fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    if first > last {
        return Ok(());
    }
    // SAFETY: closing touches no memory.
    unsafe { syscall(__NR_close_range, [first as usize, last as usize, 0, 0, 0, 0]) }.map(drop)
}

/// `fcntl(fd, F_DUPFD_CLOEXEC, floor)`: a duplicate with the lowest free number from `floor` on, closed on exec.
pub fn dup_above(fd: BorrowedFd<'_>, floor: RawFd) -> Result<RawFd, Errno> {
    // SAFETY: no pointer is passed.
    unsafe { syscall(__NR_fcntl, [fd.as_raw_fd() as usize, F_DUPFD_CLOEXEC as usize, floor as usize, 0, 0, 0]) }.map(|n| n as RawFd)
}

/// `dup3(fd, target, O_CLOEXEC or 0)`: what `target` was is closed.
pub fn dup_to(fd: RawFd, target: RawFd, on_exec: OnExec) -> Result<(), Errno> {
    let flags = if matches!(on_exec, OnExec::Close) { O_CLOEXEC } else { 0 };
    // SAFETY: no pointer is passed.
    unsafe { syscall(__NR_dup3, [fd as usize, target as usize, flags as usize, 0, 0, 0]) }.map(drop)
}

/// Whether a descriptor survives `execve(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExec {
    /// Closed (`FD_CLOEXEC`).
    Close,
    /// Kept.
    Keep,
}

/// `read(fd, buffer)`.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most the buffer's length into it.
    unsafe { syscall(__NR_read, [fd.as_raw_fd() as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0]) }
}

/// `write(fd, bytes)`; one call, since files of /proc and cgroups take a value whole.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads at most the slice's length.
    unsafe { syscall(__NR_write, [fd.as_raw_fd() as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) }
}
