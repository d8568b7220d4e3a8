//! `bpf(2)`, which takes pointers inside a structure, and `pidfd_send_signal(2)` with any number.
#![allow(unsafe_code)]

use crate::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_QUERY: libc::c_int = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// `union bpf_attr` of BPF_PROG_LOAD, up to the name.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// Of BPF_PROG_ATTACH.
#[repr(C)]
struct Attach {
    target_fd: i32,
    attach_bpf_fd: i32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// Of BPF_PROG_QUERY.
#[repr(C)]
struct Query {
    target_fd: i32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
}

/// `bpf(BPF_PROG_LOAD, …)` of a device program; the verifier's words go to `log`, if it has room.
pub(crate) fn load_device_program(instructions: &[u64], log: &mut [u8]) -> Result<OwnedFd, Errno> {
    let mut attr = Load {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?,
        insns: instructions.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).map_err(|_| Errno::E2BIG)?,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"nskit_devices\0\0\0",
    };
    // SAFETY: the attribute's pointers are to slices and a string that live until the call returns, with their lengths beside them; the
    // kernel copies the program and the licence during the call and writes to the log only, which is borrowed mutably.
    let fd = unsafe { bpf(PROG_LOAD, &mut attr) }?;
    // SAFETY: BPF_PROG_LOAD returns a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `bpf(BPF_PROG_ATTACH, …)` to a cgroup, with BPF_F_ALLOW_MULTI.
pub(crate) fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = Attach {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI,
        replace_bpf_fd: 0,
    };
    // SAFETY: the attribute has no pointers.
    unsafe { bpf(PROG_ATTACH, &mut attr) }.map(|_| ())
}

/// `bpf(BPF_PROG_QUERY, …)`: how many device programs are attached to this very cgroup.
pub(crate) fn count_device_programs(cgroup: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut attr =
        Query { target_fd: cgroup.as_raw_fd(), attach_type: CGROUP_DEVICE, query_flags: 0, attach_flags: 0, prog_ids: 0, prog_cnt: 0 };
    // SAFETY: no room for ids is offered, so the kernel writes to the attribute only.
    unsafe { bpf(PROG_QUERY, &mut attr) }?;
    Ok(attr.prog_cnt)
}

/// `pidfd_send_signal(pidfd, signal, NULL, 0)`
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: libc::c_int) -> Result<(), Errno> {
    // SAFETY: without a siginfo_t it takes no pointer.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0) };
    if answer == 0 { Ok(()) } else { Err(last_errno()) }
}

fn last_errno() -> Errno {
    Errno::new(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

/// The verifier stops with EAGAIN where a signal waits; one that is handled is gone at the next round.
const BPF_ROUNDS: u32 = 16;

/// # Safety
/// What pointers the attribute holds are good for what the command does with them.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> Result<libc::c_int, Errno> {
    for _ in 0..BPF_ROUNDS {
        // SAFETY: the attribute is as long as told, and written by nobody else; its pointers are the caller's promise.
        let answer = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
        match answer {
            -1 if matches!(last_errno(), Errno::EINTR | Errno::EAGAIN) => {}
            -1 => return Err(last_errno()),
            fd_or_zero => return libc::c_int::try_from(fd_or_zero).map_err(|_| Errno::EIO),
        }
    }
    Err(Errno::EAGAIN)
}
