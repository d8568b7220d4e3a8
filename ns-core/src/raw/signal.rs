//! `rt_sigprocmask(2)` and `rt_sigaction(2)`, on the kernel's own structures.

use super::{Errno, syscall};
use linux_raw_sys::general::{__NR_rt_sigaction, __NR_rt_sigprocmask, SIG_SETMASK, SIGKILL, SIGSTOP, kernel_sigaction};

/// The kernel's 64-bit signal set: bit `n - 1` is signal `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SigSet(pub u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: SigSet = SigSet(0);
    /// Every signal.
    pub const FULL: SigSet = SigSet(u64::MAX);
}

/// `rt_sigprocmask(SIG_SETMASK, mask)`: replaces the calling thread's mask, returns the old one.
pub fn sigprocmask(mask: SigSet) -> Result<SigSet, Errno> {
    let mut old = SigSet::EMPTY;
    // SAFETY: both sets live during the call, and 8 is the kernel's size of a set.
    unsafe { syscall(__NR_rt_sigprocmask, [SIG_SETMASK as usize, &raw const mask.0 as usize, &raw mut old.0 as usize, 8, 0, 0]) }?;
    Ok(old)
}

/// `rt_sigaction(n, SIG_DFL)` for every signal: `CLONE_CLEAR_SIGHAND` leaves ignored ones ignored, and Rust ignores SIGPIPE.
pub fn reset_signals() -> Result<(), Errno> {
    // These two are at their default by nature, and answer EINVAL.
    (1..=64).filter(|signal| ![SIGKILL as usize, SIGSTOP as usize].contains(signal)).try_for_each(reset_signal)
}

/// `rt_sigaction(signal, SIG_DFL)`.
pub fn reset_signal(signal: usize) -> Result<(), Errno> {
    // SAFETY: all zero is SIG_DFL with no flags and an empty mask.
    let default: kernel_sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives during the call.
    unsafe { syscall(__NR_rt_sigaction, [signal, &raw const default as usize, 0, 8, 0, 0]) }.map(drop)
}
