//! System calls, and the entry point.

use core::arch::{asm, global_asm};
use core::ffi::CStr;

#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call floor", "ud2");
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, xzr", "mov x0, sp", "bl floor", "brk 1");

macro_rules! numbers {
    ($($name:ident = $x86_64:literal, $aarch64:literal;)*) => {
        $(#[cfg(target_arch = "x86_64")]
          pub const $name: usize = $x86_64;
          #[cfg(target_arch = "aarch64")]
          pub const $name: usize = $aarch64;)*
    };
}

numbers! {
    CHDIR = 80, 49;
    CLONE3 = 435, 435;
    CLOSE = 3, 57;
    EXECVE = 59, 221;
    EXIT_GROUP = 231, 94;
    FCHDIR = 81, 50;
    FSCONFIG = 431, 431;
    FSMOUNT = 432, 432;
    FSOPEN = 430, 430;
    IOCTL = 16, 29;
    MKDIRAT = 258, 34;
    MKNODAT = 259, 33;
    MOUNT = 165, 40;
    MOUNT_SETATTR = 442, 442;
    MOVE_MOUNT = 429, 429;
    OPENAT = 257, 56;
    OPEN_TREE = 428, 428;
    PIVOT_ROOT = 155, 41;
    READ = 0, 63;
    SETGROUPS = 116, 159;
    SETHOSTNAME = 170, 161;
    SETNS = 308, 268;
    SETRESGID = 119, 149;
    SETRESUID = 117, 147;
    SOCKET = 41, 198;
    SOCKETPAIR = 53, 199;
    SYMLINKAT = 266, 36;
    UMOUNT2 = 166, 39;
    UNSHARE = 272, 97;
    WAIT4 = 61, 260;
    WRITE = 1, 64;
}

/// The kernel's answer; a failure ends the program with a word on it.
pub fn call<const N: usize>(what: &str, number: usize, arguments: [usize; N]) -> usize {
    let mut args = [0; 6];
    for (to, from) in args.iter_mut().zip(arguments) {
        *to = from;
    }
    match raw(number, args) {
        answer @ 0.. => answer as usize,
        errno => fail(what, errno.unsigned_abs()),
    }
}

fn raw(number: usize, args: [usize; 6]) -> isize {
    let answer: isize;
    // SAFETY: this program passes pointers to what lives during the call; the kernel clobbers what is listed.
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

/// Says which call failed, with its errno.
pub fn fail(what: &str, errno: usize) -> ! {
    let digits = decimal(errno);
    for part in ["floor: ".as_bytes(), what.as_bytes(), b": errno ", text(&digits).to_bytes(), b"\n"] {
        // Nobody is left to tell if this fails.
        let _ = raw(WRITE, [2, part.as_ptr() as usize, part.len(), 0, 0, 0]);
    }
    exit(1)
}

/// Ends the program.
pub fn exit(status: usize) -> ! {
    loop {
        call("exit_group", EXIT_GROUP, [status]);
    }
}

/// A number, then zeros.
pub fn decimal(number: usize) -> [u8; 24] {
    let mut digits = [0; 24];
    let (mut rest, mut count) = (number, 1);
    while rest > 9 {
        rest /= 10;
        count += 1;
    }
    rest = number;
    for digit in digits.iter_mut().take(count).rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

/// The bytes up to the first zero.
pub fn text(bytes: &[u8]) -> &CStr {
    CStr::from_bytes_until_nul(bytes).unwrap_or_default()
}
