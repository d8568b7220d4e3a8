//! A payload that does what it can to outlive its launcher.

use std::io::Write;

use nix::libc;

/// Ignores every signal, clears the death signal, has grandchildren in sessions of their own, one of them stopped; says "ready", and stays.
pub fn stay() -> i32 {
    ignore_everything();
    for stops in [false, true, false] {
        leave_behind(stops);
    }
    println!("ready");
    let _ = std::io::stdout().flush();
    wait()
}

fn ignore_everything() {
    for signal in 1..=64 {
        // SAFETY: no handler of ours runs; those that can't be ignored are refused.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // SAFETY: numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0) };
}

/// Forks twice, so that nobody waits for it.
fn leave_behind(stops: bool) {
    // SAFETY: we have one thread.
    if unsafe { libc::fork() } != 0 {
        return;
    }
    // SAFETY: the same.
    if unsafe { libc::setsid() } < 0 || unsafe { libc::fork() } != 0 {
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    if stops {
        // SAFETY: a number.
        unsafe { libc::raise(libc::SIGSTOP) };
    }
    wait();
}

fn wait() -> ! {
    loop {
        // SAFETY: waits.
        unsafe { libc::pause() };
    }
}
