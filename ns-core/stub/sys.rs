//! System calls, and the entry point.

use core::arch::{asm, global_asm};

#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call stub", "ud2");
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, xzr", "mov x0, sp", "bl stub", "brk 1");

macro_rules! numbers {
    ($($name:ident = $x86_64:literal, $aarch64:literal;)*) => {
        $(#[cfg(target_arch = "x86_64")]
          pub const $name: usize = $x86_64;
          #[cfg(target_arch = "aarch64")]
          pub const $name: usize = $aarch64;)*
    };
}

numbers! {
    READ = 0, 63;
    WRITE = 1, 64;
    CLOSE = 3, 57;
    RT_SIGACTION = 13, 134;
    IOCTL = 16, 29;
    RECVFROM = 45, 207;
    SENDMSG = 46, 211;
    FCNTL = 72, 25;
    CHDIR = 80, 49;
    PIPE2 = 293, 59;
    RT_SIGPROCMASK = 14, 135;
    GETPID = 39, 172;
    CLONE = 56, 220;
    EXECVE = 59, 221;
    EXIT_GROUP = 231, 94;
    WAIT4 = 61, 260;
    KILL = 62, 129;
    RT_SIGTIMEDWAIT = 128, 137;
    SETSID = 112, 157;
    CAPSET = 126, 91;
    PRCTL = 157, 167;
    REBOOT = 169, 142;
    CLOCK_GETTIME = 228, 113;
    WAITID = 247, 95;
    PPOLL = 271, 73;
    PIDFD_SEND_SIGNAL = 424, 424;
}

/// The kernel's raw answer.
///
/// # Safety
/// Pointers among the arguments are valid for the call.
pub unsafe fn call(number: usize, args: [usize; 6]) -> isize {
    let answer: isize;
    // SAFETY: as the caller says; the kernel clobbers what is listed.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => answer,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2], in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") args[0] as isize => answer,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5], options(nostack));
    }
    answer
}

pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: does not return.
        unsafe { call(EXIT_GROUP, [status as usize, 0, 0, 0, 0, 0]) };
    }
}

/// The name that `ps` shows.
pub fn set_name(name: &core::ffi::CStr) {
    const PR_SET_NAME: usize = 15;
    // SAFETY: a C string.
    unsafe { call(PRCTL, [PR_SET_NAME, name.as_ptr() as usize, 0, 0, 0, 0]) };
}

/// Blocks or unblocks every signal.
pub fn set_mask(mask: u64) {
    const SIG_SETMASK: usize = 2;
    // SAFETY: the mask lives during the call.
    unsafe { call(RT_SIGPROCMASK, [SIG_SETMASK, &raw const mask as usize, 0, 8, 0, 0]) };
}

/// What becomes of a signal: 0 is the default, 1 ignores it.
pub fn set_action(signal: usize, action: usize) {
    // Handler, flags, restorer, mask.
    let action = [action, 0, 0, 0];
    // SAFETY: the structure lives during the call.
    unsafe { call(RT_SIGACTION, [signal, &raw const action as usize, 0, 8, 0, 0]) };
}

/// Nothing to look into.
pub fn set_undumpable() -> isize {
    const PR_SET_DUMPABLE: usize = 4;
    // SAFETY: no pointers.
    unsafe { call(PRCTL, [PR_SET_DUMPABLE, 0, 0, 0, 0, 0]) }
}

/// No capability but `CAP_KILL`.
pub fn keep_kill_only() {
    const VERSION_3: u32 = 0x2008_0522;
    const CAP_KILL: u32 = 1 << 5;
    let header = [VERSION_3, 0];
    // Effective, permitted, inheritable, for the low and the high half of the numbers.
    let kill = [CAP_KILL, CAP_KILL, 0, 0, 0, 0];
    let none = [0u32; 6];
    // SAFETY: all live during the calls.
    unsafe {
        // Who has not that right can't keep it, and is refused as a whole: it keeps none then.
        if call(CAPSET, [&raw const header as usize, &raw const kill as usize, 0, 0, 0, 0]) < 0 {
            call(CAPSET, [&raw const header as usize, &raw const none as usize, 0, 0, 0, 0]);
        }
    }
}
