//! The two calls that rustix doesn't have: the only unsafe code of this crate.
#![allow(unsafe_code)]

use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `setsockopt(fd, SOL_NETLINK, option, value)`.
pub(crate) fn set_netlink_option(fd: BorrowedFd<'_>, option: u32, value: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the kernel reads one int, which lives during the call.
    let answer = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option as libc::c_int,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if answer == 0 { Ok(()) } else { Err(errno()) }
}

/// `ioctl(fd, SIOCGSKNS)`: the network namespace of a socket. Linux 4.9; needs `CAP_NET_ADMIN` in the user namespace that owns it.
pub(crate) fn socket_namespace(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    const SIOCGSKNS: libc::Ioctl = 0x894c;
    // SAFETY: the request takes no argument.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), SIOCGSKNS) };
    if answer < 0 {
        return Err(errno());
    }
    // SAFETY: the kernel has just made this descriptor (close-on-exec) for us.
    Ok(unsafe { OwnedFd::from_raw_fd(answer) })
}

fn errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
