//! `(ns-join)`: three processes.
//!
//! - The *joiner*, outside of the container's pid namespace, so that nobody in there sees it. It ignores SIGCHLD: its child is reaped by
//!   the kernel whatever becomes of the joiner, stopped or not, for a dead child that nobody reaps would keep the container's init in the
//!   kernel for ever. Its own session: no `^Z` reaches it. When the caller is gone the program is told that the line is lost.
//! - The *waiter*, its child in the container: waits for the program and says how it ended, which nobody outside could know.
//! - The program.
//!
//! From the joiner's clone on the container's processes may see what this is, and where they have the host's SYS_PTRACE do with it what
//! they like: it is nothing but this file, with nothing open but the program's own descriptors and the socket.

use crate::sys::{
    self, CHDIR, CLONE, CLOSE, EXECVE, FCNTL, IOCTL, KILL, PIDFD_SEND_SIGNAL, PIPE2, PPOLL, READ, RECVFROM, RT_SIGTIMEDWAIT, SENDMSG, SETSID,
    WAIT4, WRITE, call,
};

/// A SEQPACKET socket; the caller has the other end.
const CALLER: usize = 3;
const SIGHUP: usize = 1;
const SIGCHLD: usize = 17;
const SIGCONT: usize = 18;
const DEFAULT: usize = 0;
const IGNORE: usize = 1;
const CLOEXEC: usize = 0o2000000;
const ENOENT: isize = -2;
const ENOTDIR: isize = -20;

/// What is said to the caller: this, then two numbers.
mod word {
    /// With the program's pidfd.
    pub const STARTED: i32 = 1;
    /// An errno, and which path.
    pub const FAILED: i32 = 2;
    /// `si_code` and `si_status`.
    pub const ENDED: i32 = 3;
}

/// # Safety
/// `argv` has at least five entries with an empty one before the last, and both arrays end with a null.
pub unsafe fn run(argv: *const *const u8, envp: *const *const u8) -> ! {
    sys::set_name(c"(ns-join)");
    sys::set_mask(u64::MAX);
    if sys::set_undumpable() < 0 {
        sys::exit(1);
    }
    const F_SETFD: usize = 2;
    // SAFETY: no pointers.
    unsafe {
        call(SETSID, [0; 6]);
        call(FCNTL, [CALLER, F_SETFD, 1, 0, 0, 0]);
    }
    sys::set_action(SIGCHLD, IGNORE);
    match clone() {
        // SAFETY: as the caller says.
        Ok(None) => unsafe { wait(argv, envp) },
        Ok(Some(waiter)) => stay(waiter.pidfd),
        Err(errno) => fail(errno, 0),
    }
}

fn fail(errno: isize, path: usize) -> ! {
    say([word::FAILED, -errno as i32, path as i32], None);
    sys::exit(1)
}

/// A child, in the parent.
#[derive(Clone, Copy)]
struct Child {
    pid: isize,
    pidfd: i32,
}

/// A copy of this process.
fn clone() -> Result<Option<Child>, isize> {
    const CLONE_PIDFD: usize = 0x1000;
    let mut pidfd = -1i32;
    // SAFETY: memory is copied, the child goes on on a copy of this stack; the number lives during the call.
    match unsafe { call(CLONE, [CLONE_PIDFD | SIGCHLD, 0, &raw mut pidfd as usize, 0, 0, 0]) } {
        0 => Ok(None),
        n if n < 0 => Err(n),
        pid => Ok(Some(Child { pid, pidfd })),
    }
}

/// Pipes and terminals are the program's alone: whoever waits for their end waits for its.
fn close_standard() {
    for number in 0..3 {
        // SAFETY: no pointers.
        unsafe { call(CLOSE, [number, 0, 0, 0, 0, 0]) };
    }
}

fn send_signal(pidfd: i32, signal: usize) {
    // SAFETY: no pointers. One that has ended needs none.
    unsafe { call(PIDFD_SEND_SIGNAL, [pidfd as usize, signal, 0, 0, 0, 0]) };
}

/// A word for the caller, who may have gone; with a descriptor, if there is one: `struct msghdr`, `cmsg(3)`.
fn say(word: [i32; 3], fd: Option<i32>) {
    const MSG_NOSIGNAL: usize = 0x4000;
    const SOL_SOCKET: usize = 1;
    const SCM_RIGHTS: usize = 1;
    const CMSG_LEN: usize = 20;
    let part = [&raw const word as usize, size_of_val(&word)];
    let rights = [CMSG_LEN, SCM_RIGHTS << 32 | SOL_SOCKET, fd.unwrap_or(-1) as u32 as usize];
    let control = if fd.is_some() { (&raw const rights as usize, size_of_val(&rights)) } else { (0, 0) };
    // No name; the parts, and how many; the control data, and their length; no flags.
    let message = [0, 0, &raw const part as usize, 1, control.0, control.1, 0];
    // SAFETY: all of it lives during the call.
    unsafe { call(SENDMSG, [CALLER, &raw const message as usize, MSG_NOSIGNAL, 0, 0, 0]) };
}

#[repr(C)]
struct PollFd {
    fd: i32,
    events: i16,
    revents: i16,
}

/// The joiner, until the waiter has gone.
fn stay(waiter: i32) -> ! {
    const POLLIN: i16 = 1;
    close_standard();
    let mut fds = [PollFd { fd: waiter, events: POLLIN, revents: 0 }, PollFd { fd: CALLER as i32, events: POLLIN, revents: 0 }];
    loop {
        // SAFETY: the array lives during the call. Every signal is blocked.
        if unsafe { call(PPOLL, [&raw mut fds as usize, fds.len(), 0, 0, 0, 0]) } < 0 {
            sys::exit(1);
        }
        let [waited, caller] = &mut fds;
        if waited.revents != 0 {
            sys::exit(0);
        }
        if caller.revents != 0 && is_gone() {
            send_signal(waiter, SIGHUP);
            caller.fd = -1;
        }
    }
}

/// End-of-file, or a broken socket; words of the caller there are none.
fn is_gone() -> bool {
    const MSG_DONTWAIT: usize = 0x40;
    const EAGAIN: isize = -11;
    let mut byte = 0u8;
    // SAFETY: the byte lives during the call.
    let got = unsafe { call(RECVFROM, [CALLER, &raw mut byte as usize, 1, MSG_DONTWAIT, 0, 0]) };
    got <= 0 && got != EAGAIN
}

/// The waiter.
unsafe fn wait(argv: *const *const u8, envp: *const *const u8) -> ! {
    sys::set_action(SIGCHLD, DEFAULT);
    let mut pipe = [-1i32; 2];
    // SAFETY: the array lives during the call.
    let (piped, _) = unsafe { (call(PIPE2, [&raw mut pipe as usize, CLOEXEC, 0, 0, 0, 0]), call(SETSID, [0; 6])) };
    if piped < 0 {
        fail(piped, 0);
    }
    let [read, write] = pipe.map(|fd| fd as usize);
    let program = match clone() {
        // SAFETY: as the caller says.
        Ok(None) => unsafe { become_program(argv, envp, write) },
        Ok(Some(program)) => program,
        Err(errno) => fail(errno, 0),
    };
    sys::keep_kill_only();
    close_standard();
    let mut failed = [0i32; 2];
    // SAFETY: the numbers live during the call; the program's exec closes the other end.
    unsafe {
        call(CLOSE, [write, 0, 0, 0, 0, 0]);
        match call(READ, [read, &raw mut failed as usize, size_of_val(&failed), 0, 0, 0]) {
            8 => say([word::FAILED, failed[0], failed[1]], None),
            _ => say([word::STARTED, 0, 0], Some(program.pidfd)),
        }
        call(CLOSE, [read, 0, 0, 0, 0, 0]);
    }
    let (code, status) = until_ended(program);
    say([word::ENDED, code, status], None);
    sys::exit(0)
}

/// `si_code` and `si_status` of the only child, the program. What is sent here meanwhile is meant for it.
fn until_ended(program: Child) -> (i32, i32) {
    const WNOHANG_WALL: usize = 1 | 0x4000_0000;
    const ANY: usize = usize::MAX;
    let every = u64::MAX;
    loop {
        let mut status = 0i32;
        // SAFETY: the status lives during the call.
        match unsafe { call(WAIT4, [ANY, &raw mut status as usize, WNOHANG_WALL, 0, 0, 0]) } {
            0 => {}
            n if n < 0 => return (0, 0),
            _ if status & 0x7f == 0 => return (1, status >> 8 & 0xff),
            _ => return (2, status & 0x7f),
        }
        // SAFETY: the set lives during the call.
        match unsafe { call(RT_SIGTIMEDWAIT, [&raw const every as usize, 0, 0, 8, 0, 0]) } {
            n if n <= 0 || n as usize == SIGCHLD => {}
            n if n as usize == SIGHUP => hang_up(program),
            n => send_signal(program.pidfd, n as usize),
        }
    }
}

/// As the kernel does when a terminal has gone: to the program's whole process group, and to the stopped too. Its number is not given to
/// another, since the program is not waited for yet.
fn hang_up(program: Child) {
    for signal in [SIGHUP, SIGCONT] {
        // SAFETY: no pointers.
        unsafe { call(KILL, [-program.pid as usize, signal, 0, 0, 0, 0]) };
        send_signal(program.pidfd, signal);
    }
}

/// The program: a session of its own, on its terminal if it has one; the first path that is there.
unsafe fn become_program(argv: *const *const u8, envp: *const *const u8, failed: usize) -> ! {
    const TIOCSCTTY: usize = 0x540e;
    // SAFETY: the caller's arrays. What is no terminal answers ENOTTY; a directory that isn't there leaves this one.
    unsafe {
        call(SETSID, [0; 6]);
        call(IOCTL, [0, TIOCSCTTY, 0, 0, 0, 0]);
        call(CHDIR, [*argv.add(1) as usize, 0, 0, 0, 0, 0]);
        sys::set_mask(0);
        let paths = argv.add(2);
        let mut count = 0;
        while !(*paths.add(count)).is_null() && **paths.add(count) != 0 {
            count += 1;
        }
        if (*paths.add(count)).is_null() {
            sys::exit(2);
        }
        let arguments = paths.add(count + 1);
        let mut first = [-ENOENT as i32, 0];
        for n in 0..count {
            let errno = call(EXECVE, [*paths.add(n) as usize, arguments as usize, envp as usize, 0, 0, 0]);
            if errno != ENOENT && errno != ENOTDIR {
                first = [-errno as i32, n as i32];
                break;
            }
        }
        call(WRITE, [failed, &raw const first as usize, size_of_val(&first), 0, 0, 0]);
    }
    sys::exit(127)
}
