//! `clone3(2)`, `execveat(2)`, `exit_group(2)`, `waitid(2)` and `pidfd_send_signal(2)`.

use super::{Errno, syscall};
use linux_raw_sys::general::{
    __NR_clone3, __NR_execveat, __NR_exit_group, __NR_getpid, __NR_pidfd_send_signal, __NR_waitid, __WALL, CLONE_INTO_CGROUP,
    CLONE_PARENT_SETTID, CLONE_PIDFD, P_PIDFD, WEXITED, WNOHANG, clone_args, siginfo_t,
};
use std::ffi::{CStr, c_char};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// What [`clone3`] is asked for: `struct clone_args`, memory copied.
#[derive(Clone, Copy, Default)]
pub struct CloneArgs<'a> {
    /// `CLONE_*`; `CLONE_PIDFD` is always added, and `CLONE_INTO_CGROUP` with `cgroup`.
    pub flags: u64,
    /// The cgroup to be born in. Linux 5.7.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Where the kernel writes the child's number, as the parent sees it, before the child runs (`CLONE_PARENT_SETTID`).
    pub parent_tid: Option<&'a std::sync::atomic::AtomicI32>,
}

/// `clone3(args, size)`: in the parent the child's pidfd, in the child `None`. Linux 5.3; `CLONE_CLEAR_SIGHAND` 5.5.
///
/// The child gets no exit signal, so that a caller who waits for any child of its own doesn't reap this one: wait with `__WALL`.
///
/// # Safety
/// In the child only code that may run there is executed: no allocation, locks, thread-local storage or unwinding, and it ends by exec or
/// [`exit_group`]. Flags that share memory or a stack (`CLONE_VM`, `CLONE_THREAD`, `CLONE_SETTLS`) are not among `flags`.
pub unsafe fn clone3(args: CloneArgs<'_>) -> Result<Option<RawFd>, Errno> {
    let mut pidfd: RawFd = -1;
    // SAFETY: all fields are integers.
    let mut raw: clone_args = unsafe { std::mem::zeroed() };
    raw.flags = args.flags | u64::from(CLONE_PIDFD);
    raw.pidfd = &raw mut pidfd as u64;
    if let Some(cgroup) = args.cgroup {
        raw.flags |= CLONE_INTO_CGROUP;
        raw.cgroup = cgroup.as_raw_fd() as u64;
    }
    if let Some(tid) = args.parent_tid {
        raw.flags |= u64::from(CLONE_PARENT_SETTID);
        raw.parent_tid = tid.as_ptr() as u64;
    }
    // SAFETY: `raw` and `pidfd` live during the call; memory is copied, so both sides return on stacks of their own.
    let answer = unsafe { syscall(__NR_clone3, [&raw const raw as usize, size_of::<clone_args>(), 0, 0, 0, 0]) }?;
    Ok(if answer == 0 { None } else { Some(pidfd) })
}

/// `exit_group(status)`: no destructors, no buffers, no handlers.
pub fn exit_group(status: i32) -> ! {
    loop {
        // SAFETY: does not return.
        let _ = unsafe { syscall(__NR_exit_group, [status as usize, 0, 0, 0, 0, 0]) };
    }
}

/// `getpid()`, asked of the kernel.
pub fn getpid() -> i32 {
    // SAFETY: cannot fail.
    unsafe { syscall(__NR_getpid, [0; 6]) }.unwrap_or(0) as i32
}

/// `execveat(dir, path, argv, envp, flags)`: only returns on failure.
///
/// # Safety
/// `argv` and `envp` are null-terminated arrays of pointers to C strings.
pub unsafe fn execveat(dir: RawFd, path: &CStr, argv: *const *const c_char, envp: *const *const c_char, flags: u32) -> Errno {
    // SAFETY: the caller answers for the arrays; the kernel copies them.
    let answer = unsafe { syscall(__NR_execveat, [dir as usize, path.as_ptr() as usize, argv as usize, envp as usize, flags as usize, 0]) };
    answer.err().unwrap_or(Errno::EINVAL)
}

/// `pidfd_send_signal(pidfd, signal, NULL, 0)`. Linux 5.1.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: no pointer is passed.
    unsafe { syscall(__NR_pidfd_send_signal, [pidfd.as_raw_fd() as usize, signal as usize, 0, 0, 0, 0]) }.map(drop)
}

/// What [`waitid`] found: `si_code` (`CLD_*`) and `si_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitId {
    /// `CLD_EXITED` (1), `CLD_KILLED` (2) or `CLD_DUMPED` (3).
    pub code: i32,
    /// Exit status, or signal number.
    pub status: i32,
}

/// `waitid(P_PIDFD, pidfd, info, WEXITED|__WALL[|WNOHANG])`: reaps. `None`: still running. Linux 5.4.
pub fn waitid(pidfd: BorrowedFd<'_>, block: bool) -> Result<Option<WaitId>, Errno> {
    let options = WEXITED | __WALL | if block { 0 } else { WNOHANG };
    // SAFETY: an all-zero siginfo is what WNOHANG leaves behind.
    let mut info: siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` lives during the call.
    unsafe { syscall(__NR_waitid, [P_PIDFD as usize, pidfd.as_raw_fd() as usize, &raw mut info as usize, options as usize, 0, 0]) }?;
    // SAFETY: waitid fills the SIGCHLD form of the union, or leaves zeros.
    let (signo, code, status) = unsafe {
        let fields = &info.__bindgen_anon_1.__bindgen_anon_1;
        (fields.si_signo, fields.si_code, fields._sifields._sigchld._status)
    };
    Ok((signo != 0).then_some(WaitId { code, status }))
}
