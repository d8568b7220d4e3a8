//! What stays when the launcher's own code is gone: three verbs in a few kilobytes, system calls only.
//!
//! - `(ns-keeper)`: holds pidfds of the caller (3) and the payload (4), a socket (5), and locks. Ends the payload with the caller, and tells
//!   the caller how the payload ended. It is the init of a pid namespace around the payload's, so its own death ends the payload too.
//! - `(ns-init) PATH ARGV...`: process 1 of a payload that is process 2. Reaps, forwards a manager's stop signals, exits as the payload does.
//! - `(ns-join) DIRECTORY PATH... "" ARGV...`: stands in all namespaces of a container but its pid namespace, with the rights of its
//!   payload and no more. Its child is born there, runs the program, and tells how it went (3).
#![no_std]
#![no_main]

mod init;
mod join;
mod keeper;
mod sys;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(254)
}

/// `stack` is as the kernel left it: argc, argv, a null, envp, a null.
#[unsafe(no_mangle)]
unsafe extern "C" fn stub(stack: *const usize) -> ! {
    // SAFETY: the kernel's layout at process entry; argc is at least 1 since the launcher gives arguments.
    unsafe {
        let argc = *stack;
        let argv = stack.add(1).cast::<*const u8>();
        let envp = stack.add(argc + 2).cast::<*const u8>();
        let verb = if argc > 0 { *(*argv).add(4) } else { 0 };
        match verb {
            b'k' => keeper::run(),
            b'i' if argc > 2 => init::run(argv, envp),
            b'j' if argc > 4 => join::run(argv, envp),
            _ => sys::exit(2),
        }
    }
}
