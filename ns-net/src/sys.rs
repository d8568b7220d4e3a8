//! The calls that rustix doesn't have: the only unsafe code of this crate.
#![allow(unsafe_code)]

pub(crate) mod pktinfo;

use rustix::io::Errno;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `setsockopt(fd, SOL_NETLINK, option, value)`.
pub(crate) fn set_netlink_option(fd: BorrowedFd<'_>, option: u32, value: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the option takes an int.
    unsafe { set_option(fd, libc::SOL_NETLINK, option as libc::c_int, &value) }
}

/// `setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)`: what leaves by the link isn't given to the socket. Linux 4.20.
pub(crate) fn ignore_outgoing(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int.
    unsafe { set_option(fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &on) }
}

/// `setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1)`: frames go to the driver at once. Linux 3.14.
pub(crate) fn bypass_queue(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int.
    unsafe { set_option(fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &on) }
}

/// `setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program)`: classic BPF, `socket(7)`.
pub(crate) fn attach_filter(fd: BorrowedFd<'_>, program: &[libc::sock_filter]) -> Result<(), Errno> {
    let Ok(len) = u16::try_from(program.len()) else { return Err(Errno::INVAL) };
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the option takes a sock_fprog, whose `len` instructions live during the call; the kernel copies and only reads them.
    unsafe { set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program) }
}

/// # Safety
/// The option takes a `T`, in which all that the kernel follows lives during the call.
unsafe fn set_option<T>(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: &T) -> Result<(), Errno> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of the value; the rest is the caller's promise.
    let answer = unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), len) };
    if answer == 0 { Ok(()) } else { Err(errno()) }
}

/// `bind(fd, {AF_PACKET, ETH_P_ALL, index})`: `packet(7)`.
pub(crate) fn bind_packet(fd: BorrowedFd<'_>, index: u32) -> Result<(), Errno> {
    // SAFETY: an address of zeros is a valid value of this plain structure.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = libc::c_int::try_from(index).map_err(|_| Errno::INVAL)?;
    // SAFETY: the kernel reads the address, which lives during the call.
    let answer = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t) };
    if answer == 0 { Ok(()) } else { Err(errno()) }
}

/// What a whole file can be locked for, by the open file and so by all who share it: `F_OFD_SETLK`, `fcntl(2)`. Linux 3.15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// `F_WRLCK`
    Alone,
    /// `F_RDLCK`
    Shared,
}

fn whole_file(lock: Lock) -> libc::flock {
    // SAFETY: zeros are a valid value of this plain structure: from the start, to the end, by nobody.
    let mut whole: libc::flock = unsafe { zeroed() };
    whole.l_type = if lock == Lock::Alone { libc::F_WRLCK } else { libc::F_RDLCK } as libc::c_short;
    whole
}

/// `fcntl(fd, F_OFD_SETLK)`: takes or changes the lock, which ends with the last descriptor. False where another open file has one against it.
pub(crate) fn lock(fd: BorrowedFd<'_>, lock: Lock) -> Result<bool, Errno> {
    // SAFETY: the kernel reads the structure, which lives during the call.
    match unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &whole_file(lock)) } {
        0 => Ok(true),
        _ => match errno() {
            Errno::AGAIN | Errno::ACCESS => Ok(false),
            e => Err(e),
        },
    }
}

/// `fcntl(fd, F_OFD_GETLK)`: whether another open file has any lock on it.
pub(crate) fn is_locked(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut whole = whole_file(Lock::Alone);
    // SAFETY: the kernel reads and writes the structure, which lives during the call.
    match unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &mut whole) } {
        0 => Ok(whole.l_type != libc::F_UNLCK as libc::c_short),
        _ => Err(errno()),
    }
}

/// `sigaction(SIGPIPE)`: whether a write to a closed connection would end the process.
pub(crate) fn dies_of_sigpipe() -> bool {
    // SAFETY: zeros are a valid value of this plain structure.
    let mut now: libc::sigaction = unsafe { zeroed() };
    // SAFETY: the kernel writes the structure, which lives during the call; nothing is changed.
    let answer = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut now) };
    answer == 0 && now.sa_sigaction == libc::SIG_DFL
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

/// `ioctl(fd, TUNSETIFF, { name, IFF_TAP|IFF_NO_PI })`: `name` has at most 15 bytes.
pub(crate) fn set_tap(fd: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    const TUNSETIFF: libc::Ioctl = 0x4004_54ca_u32 as libc::Ioctl;
    // SAFETY: `struct ifreq` is plain data, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name.iter_mut().zip(name.iter().take(15)).for_each(|(to, from)| *to = *from as libc::c_char);
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the kernel reads and writes one `struct ifreq`, which lives during the call.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETIFF, &raw mut request) };
    if answer == 0 { Ok(()) } else { Err(errno()) }
}

fn errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
