//! `unshare(2)`, `setns(2)`, `seccomp(2)`, `personality(2)`, `sched_setaffinity(2)` and the session keyring of `keyctl(2)`.

use super::{Errno, syscall};
use linux_raw_sys::general::{__NR_keyctl, __NR_personality, __NR_sched_setaffinity, __NR_seccomp, __NR_setns, __NR_unshare};
use std::os::fd::{AsRawFd, BorrowedFd};

/// `unshare(flags)`.
///
/// # Safety
/// The calling thread's other users don't rely on sharing what is unshared (`CLONE_FILES`, `CLONE_FS`).
pub unsafe fn unshare(flags: u32) -> Result<(), Errno> {
    // SAFETY: no pointer is passed; the caller answers for the rest.
    unsafe { syscall(__NR_unshare, [flags as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// `setns(fd, flags)`: joins the namespaces of an nsfs descriptor, or those of `flags` of a pidfd (Linux 5.8).
pub fn setns(fd: BorrowedFd<'_>, flags: u32) -> Result<(), Errno> {
    // SAFETY: no pointer is passed.
    unsafe { syscall(__NR_setns, [fd.as_raw_fd() as usize, flags as usize, 0, 0, 0, 0]) }.map(drop)
}

/// `seccomp(SECCOMP_SET_MODE_FILTER, flags, program)`: installs a classic BPF program. Linux 3.17.
///
/// `program` holds the kernel's `struct sock_filter`s as 8-byte values in native order. With `SECCOMP_FILTER_FLAG_NEW_LISTENER` the
/// answer is the listener's descriptor, otherwise 0. `EACCES`: neither no_new_privs nor CAP_SYS_ADMIN in the user namespace.
pub fn seccomp_set_filter(flags: u32, program: &[[u8; 8]]) -> Result<usize, Errno> {
    #[repr(C)]
    struct SockFprog {
        len: u16,
        filter: *const [u8; 8],
    }
    const SECCOMP_SET_MODE_FILTER: usize = 1;
    let Ok(len) = u16::try_from(program.len()) else { return Err(Errno::EINVAL) };
    let fprog = SockFprog { len, filter: program.as_ptr() };
    // SAFETY: the kernel copies the program during the call.
    unsafe { syscall(__NR_seccomp, [SECCOMP_SET_MODE_FILTER, flags as usize, &raw const fprog as usize, 0, 0, 0]) }
}

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)`: a new anonymous session keyring.
pub fn join_session_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    unsafe { syscall(__NR_keyctl, [KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0, 0]) }.map(drop)
}

/// `personality(persona)`: returns the old one.
pub fn personality(persona: u32) -> Result<u32, Errno> {
    // SAFETY: no pointer is passed.
    unsafe { syscall(__NR_personality, [persona as usize, 0, 0, 0, 0, 0]) }.map(|old| old as u32)
}

/// `sched_setaffinity(0, size, mask)`: bit `n` of the mask is CPU `n`.
pub fn sched_setaffinity(mask: &[u64]) -> Result<(), Errno> {
    // SAFETY: the kernel reads the slice's length in bytes.
    unsafe { syscall(__NR_sched_setaffinity, [0, size_of_val(mask), mask.as_ptr() as usize, 0, 0, 0]) }.map(drop)
}
