//! `(ns-keeper)`.

use crate::sys::{self, PIDFD_SEND_SIGNAL, PPOLL, SETSID, WAITID, WRITE, call};

const CALLER: i32 = 3;
const PAYLOAD: i32 = 4;
const LINK: usize = 5;
const POLLIN: i16 = 1;

#[repr(C)]
struct PollFd {
    fd: i32,
    events: i16,
    revents: i16,
}

pub fn run() -> ! {
    sys::set_name(c"(ns-keeper)");
    give_up_rights();
    let mut fds = [PollFd { fd: CALLER, events: POLLIN, revents: 0 }, PollFd { fd: PAYLOAD, events: POLLIN, revents: 0 }];
    let mut answer = -1;
    while answer < 1 {
        // SAFETY: the array lives during the call. No signal is unblocked, so a failure is not repeated for long.
        answer = unsafe { call(PPOLL, [&raw mut fds as usize, fds.len(), 0, 0, 0, 0]) };
    }
    let [caller, payload] = fds;
    if caller.revents != 0 && payload.revents == 0 {
        const SIGKILL: usize = 9;
        // SAFETY: no pointers.
        unsafe { call(PIDFD_SEND_SIGNAL, [PAYLOAD as usize, SIGKILL, 0, 0, 0, 0]) };
    }
    tell(reap());
    sys::exit(0)
}

/// A session of its own, so that what is sent to the caller's group doesn't reach it; nothing to look into; no right but to kill.
fn give_up_rights() {
    // SAFETY: no pointers.
    unsafe { call(SETSID, [0; 6]) };
    sys::set_undumpable();
    sys::keep_kill_only();
}

/// `si_code` and `si_status` of the payload; zeros where they are lost.
fn reap() -> (i32, i32) {
    const P_PIDFD: usize = 3;
    const WEXITED_WALL: usize = 4 | 0x4000_0000;
    const EINTR: isize = -4;
    let mut info = [0i32; 32];
    loop {
        // SAFETY: siginfo is 128 bytes.
        let answer = unsafe { call(WAITID, [P_PIDFD, PAYLOAD as usize, &raw mut info as usize, WEXITED_WALL, 0, 0]) };
        if answer < 0 && answer != EINTR {
            return (0, 0);
        }
        if answer == 0 {
            // signo, errno, code, padding; pid, uid, status.
            return (info[2], info[6]);
        }
    }
}

/// The message `Exit` of ns-core's link, without the text that would follow: kind, number, code, status, row.
fn tell((code, status): (i32, i32)) {
    const EXIT: u32 = u32::from_ne_bytes([8, 0, 0, 0]);
    let message = [EXIT, 0, code as u32, status as u32, 0];
    // SAFETY: the message lives during the call. Nobody may be listening: that is the caller's end, and no matter.
    unsafe { call(WRITE, [LINK, &raw const message as usize, size_of_val(&message), 0, 0, 0]) };
}
