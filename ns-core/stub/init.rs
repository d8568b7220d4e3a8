//! `(ns-init)`: the signals are those of systemd's container interface; SIGRTMIN is 34, as glibc counts.

use crate::sys::{self, CLOCK_GETTIME, CLONE, EXECVE, GETPID, KILL, REBOOT, RT_SIGTIMEDWAIT, SETSID, WAIT4, WRITE, call};

const SIGHUP: usize = 1;
const SIGINT: usize = 2;
const SIGKILL: usize = 9;
const SIGTERM: usize = 15;
const SIGCHLD: usize = 17;
const SIGCONT: usize = 18;
const RTMIN: usize = 34;
/// How long the payload may take to stop before everything is killed.
const STOP_SECONDS: i64 = 90;

const RESTART: usize = 0x0123_4567;
const POWER_OFF: usize = 0x4321_fedc;

/// What `reboot(2)` is called with once the payload has stopped, for each signal of a manager.
fn wanted(signal: usize) -> Option<usize> {
    match signal {
        SIGINT => Some(RESTART),
        n if [5, 6, 15, 16].contains(&n.wrapping_sub(RTMIN)) => Some(RESTART),
        n if [3, 4, 13, 14].contains(&n.wrapping_sub(RTMIN)) => Some(POWER_OFF),
        _ => None,
    }
}

/// # Safety
/// `argv` has at least three entries, and both arrays end with a null.
pub unsafe fn run(argv: *const *const u8, envp: *const *const u8) -> ! {
    // SAFETY: no pointers.
    if unsafe { call(GETPID, [0; 6]) } != 1 {
        // reboot(2) would be the host's.
        sys::exit(2);
    }
    sys::set_name(c"(ns-init)");
    sys::set_mask(u64::MAX);
    // SAFETY: memory is copied, the child goes on on a copy of this stack.
    let payload = unsafe { call(CLONE, [SIGCHLD, 0, 0, 0, 0, 0]) };
    match payload {
        // SAFETY: as the caller says.
        0 => unsafe { become_payload(argv, envp) },
        n if n < 0 => sys::exit(1),
        n => wait(n as usize),
    }
}

unsafe fn become_payload(argv: *const *const u8, envp: *const *const u8) -> ! {
    sys::set_mask(0);
    // SAFETY: entries 1 and 2 are the path and the first argument; what fails is said to stderr.
    unsafe {
        call(SETSID, [0; 6]);
        call(EXECVE, [*argv.add(1) as usize, argv.add(2) as usize, envp as usize, 0, 0, 0]);
        let text = b"ns-init: the program can't be executed\n";
        call(WRITE, [2, text.as_ptr() as usize, text.len(), 0, 0, 0]);
    }
    sys::exit(1)
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

fn now() -> i64 {
    const CLOCK_MONOTONIC: usize = 1;
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: the structure lives during the call.
    unsafe { call(CLOCK_GETTIME, [CLOCK_MONOTONIC, &raw mut time as usize, 0, 0, 0, 0]) };
    time.seconds
}

fn kill(pid: isize, signal: usize) {
    // SAFETY: no pointers.
    unsafe { call(KILL, [pid as usize, signal, 0, 0, 0, 0]) };
}

fn wait(payload: usize) -> ! {
    let mut stop: Option<(usize, i64)> = None;
    loop {
        let signal = next_signal(stop.map(|(_, deadline)| deadline - now()));
        if signal == SIGCHLD {
            if let Some(status) = reap(payload) {
                leave(stop.map(|(command, _)| command), status);
            }
        } else if let Some(command) = wanted(signal) {
            stop = Some((command, stop.map_or(now() + STOP_SECONDS, |(_, deadline)| deadline)));
            [SIGTERM, SIGHUP, SIGCONT].into_iter().for_each(|signal| kill(payload as isize, signal));
        }
        if let Some((command, _)) = stop.filter(|(_, deadline)| now() >= *deadline) {
            kill(-1, SIGKILL);
            // Once a second: what doesn't die is stuck in the kernel.
            stop = Some((command, now() + 1));
        }
    }
}

/// The next signal; 0 when the time is up.
fn next_signal(seconds: Option<i64>) -> usize {
    let limit = seconds.map(|seconds| Timespec { seconds: seconds.max(0), nanoseconds: 0 });
    let limit = limit.as_ref().map_or(0, |limit| core::ptr::from_ref(limit) as usize);
    let all = u64::MAX;
    // SAFETY: set and limit live during the call.
    let answer = unsafe { call(RT_SIGTIMEDWAIT, [&raw const all as usize, 0, limit, 8, 0, 0]) };
    if answer > 0 { answer as usize } else { 0 }
}

/// Reaps what has ended; the exit status if the payload is among it, 255 where a signal ended it.
fn reap(payload: usize) -> Option<i32> {
    const WNOHANG_WALL: usize = 1 | 0x4000_0000;
    let mut found = None;
    loop {
        let mut status = 0i32;
        // SAFETY: the status lives during the call.
        let pid = unsafe { call(WAIT4, [usize::MAX, &raw mut status as usize, WNOHANG_WALL, 0, 0, 0]) };
        if pid <= 0 {
            return found;
        }
        if pid as usize == payload {
            found = Some(if status & 0x7f == 0 { status >> 8 & 0xff } else { 255 });
        }
    }
}

fn leave(command: Option<usize>, status: i32) -> ! {
    if let Some(command) = command {
        const MAGIC: [usize; 2] = [0xfee1_dead, 672_274_793];
        // SAFETY: ends this pid namespace: run() made sure of being its process 1.
        unsafe { call(REBOOT, [MAGIC[0], MAGIC[1], command, 0, 0, 0]) };
    }
    sys::exit(status)
}
