//! The `syscall` instruction, without libc: no `errno` in thread-local storage, so a child may use it.

use super::Errno;

/// The kernel's answer as a result: the last page of the address space holds error numbers.
const fn decode(answer: isize) -> Result<usize, Errno> {
    if answer < 0 && answer >= -4095 { Err(Errno::new(-answer as i32)) } else { Ok(answer as usize) }
}

/// Six-argument system call, repeated on `EINTR`: by file systems of others any call that takes a path can be interrupted, and what a
/// child does has no signal to be interrupted for.
///
/// # Safety
/// The arguments must be valid for the call: pointers live for as long as the kernel uses them, and what the call does to the process
/// (new threads of control, changed memory) is what the caller's code expects. It has no effect where it answers `EINTR`.
#[inline]
pub unsafe fn syscall(number: u32, args: [usize; 6]) -> Result<usize, Errno> {
    loop {
        // SAFETY: the caller answers for it.
        let answer = unsafe { once(number, args) };
        if answer != Err(Errno::EINTR) {
            return answer;
        }
    }
}

/// The same, once: for a call that has done its work where it answers `EINTR`.
///
/// # Safety
/// That of [`syscall`].
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) unsafe fn once(number: u32, args: [usize; 6]) -> Result<usize, Errno> {
    let answer: isize;
    // SAFETY: the kernel clobbers rcx and r11 only; the caller answers for the arguments.
    unsafe {
        core::arch::asm!("syscall", inlateout("rax") number as isize => answer,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2], in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    decode(answer)
}

/// The same, once: for a call that has done its work where it answers `EINTR`.
///
/// # Safety
/// That of [`syscall`].
#[cfg(target_arch = "aarch64")]
#[inline]
pub(super) unsafe fn once(number: u32, args: [usize; 6]) -> Result<usize, Errno> {
    let answer: isize;
    // SAFETY: the kernel preserves all registers but x0; the caller answers for the arguments.
    unsafe {
        core::arch::asm!("svc 0", in("x8") number as usize, inlateout("x0") args[0] as isize => answer,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5], options(nostack));
    }
    decode(answer)
}
