//! Datagrams with the address that they were sent to, and are to come from: `IP_PKTINFO`, `ip(7)`, and `IPV6_PKTINFO`, `ipv6(7)`.
#![allow(unsafe_code)]

use super::{errno, set_option};
use rustix::io::Errno;
use std::mem::{MaybeUninit, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Room for one control message of either kind, aligned for its header.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Where a datagram arrived: its destination, and the link it came by where that address is only good there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Here {
    pub address: IpAddr,
    pub link: u32,
}

/// `setsockopt(fd, IPPROTO_IP, IP_PKTINFO, 1)`, or for IPv6 (mapped IPv4 too) `IPV6_RECVPKTINFO`.
pub(crate) fn tell_destinations(fd: BorrowedFd<'_>, ipv6: bool) -> Result<(), Errno> {
    let (level, option) = if ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO) } else { (libc::IPPROTO_IP, libc::IP_PKTINFO) };
    let on: libc::c_int = 1;
    // SAFETY: both options take an int.
    unsafe { set_option(fd, level, option, &on) }
}

/// `recvmsg(fd)`, not waiting: how long the datagram was, who sent it, and where to. What doesn't fit the buffer is lost.
pub(crate) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, SocketAddr, Option<Here>), Errno> {
    let mut from = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: zeros are a valid value of this plain structure.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = from.as_mut_ptr().cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    (message.msg_iov, message.msg_iovlen) = (&mut part, 1);
    (message.msg_control, message.msg_controllen) = (control.0.as_mut_ptr().cast(), control.0.len() as _);
    // SAFETY: the kernel writes to the buffer, the address and the control octets, all of which live during the call, within their lengths.
    let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, libc::MSG_DONTWAIT) };
    let len = usize::try_from(len).map_err(|_| errno())?;
    // SAFETY: it was zeroed, and zeros are a valid value.
    let from = unsafe { from.assume_init() };
    let from = address_of(&from).ok_or(Errno::AFNOSUPPORT)?;
    // SAFETY: the header's control octets are those above, with the length that the kernel wrote.
    Ok((len, from, unsafe { destination_in(&message) }))
}

/// `sendmsg(fd)`, not waiting, from this address of ours.
pub(crate) fn send(fd: BorrowedFd<'_>, datagram: &[u8], to: SocketAddr, from: Option<Here>) -> Result<(), Errno> {
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
    let (mut name, name_len) = name_of(to);
    // SAFETY: zeros are a valid value of this plain structure.
    let mut message: libc::msghdr = unsafe { zeroed() };
    (message.msg_name, message.msg_namelen) = ((&raw mut name).cast(), name_len);
    (message.msg_iov, message.msg_iovlen) = (&mut part, 1);
    if let Some(from) = from {
        (message.msg_control, message.msg_controllen) = (control.0.as_mut_ptr().cast(), control.0.len() as _);
        // SAFETY: the header's control octets are those above, aligned, and have room for either message.
        message.msg_controllen = unsafe { put_source(&mut message, from) } as _;
    }
    // SAFETY: the kernel reads the datagram, the address and the control octets, all of which live during the call.
    let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(errno()) } else { Ok(()) }
}

/// # Safety
/// The header's control octets are readable for their length.
unsafe fn destination_in(message: &libc::msghdr) -> Option<Here> {
    // SAFETY: the caller's promise; CMSG_FIRSTHDR and CMSG_NXTHDR stay within the length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: not null, hence a whole header within the octets; its data is as long as its type says, and read wherever it lies.
        let found = unsafe {
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = libc::CMSG_DATA(header).cast::<libc::in_pktinfo>().read_unaligned();
                    Some(Here { address: Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into(), link: info.ipi_ifindex as u32 })
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = libc::CMSG_DATA(header).cast::<libc::in6_pktinfo>().read_unaligned();
                    Some(Here { address: Ipv6Addr::from(info.ipi6_addr.s6_addr).into(), link: info.ipi6_ifindex })
                }
                _ => None,
            }
        };
        if found.is_some() {
            return found;
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    None
}

/// Writes the control message; its length.
///
/// # Safety
/// The header's control octets are writable, aligned and at least 64.
unsafe fn put_source(message: &mut libc::msghdr, from: Here) -> usize {
    // SAFETY: the caller's promise: the first header and the data of either kind fit.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message);
        match from.address {
            IpAddr::V4(ip) => {
                let address = libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: libc::in_addr { s_addr: 0 } };
                put(header, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
            }
            IpAddr::V6(ip) => {
                let link = if ip.is_unicast_link_local() { from.link } else { 0 };
                let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: link };
                put(header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
            }
        }
    }
}

/// # Safety
/// There is room for the header and the data.
unsafe fn put<T>(header: *mut libc::cmsghdr, level: libc::c_int, kind: libc::c_int, data: T) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<T>() as u32) as _;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(data);
        libc::CMSG_SPACE(size_of::<T>() as u32) as usize
    }
}

fn address_of(from: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(from.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says so, and the storage is large and aligned enough for any address.
            let from = unsafe { &*std::ptr::from_ref(from).cast::<libc::sockaddr_in>() };
            Some(SocketAddr::new(Ipv4Addr::from(from.sin_addr.s_addr.to_ne_bytes()).into(), u16::from_be(from.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let from = unsafe { &*std::ptr::from_ref(from).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(from.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(from.sin6_port), 0, from.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn name_of(to: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: zeros are a valid value of this plain structure.
    let mut name: libc::sockaddr_storage = unsafe { zeroed() };
    let len = match to {
        SocketAddr::V4(to) => {
            // SAFETY: the storage is large and aligned enough for any address.
            let name = unsafe { &mut *(&raw mut name).cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            (name.sin_port, name.sin_addr.s_addr) = (to.port().to_be(), u32::from_ne_bytes(to.ip().octets()));
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(to) => {
            // SAFETY: as above.
            let name = unsafe { &mut *(&raw mut name).cast::<libc::sockaddr_in6>() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            (name.sin6_port, name.sin6_addr.s6_addr, name.sin6_scope_id) = (to.port().to_be(), to.ip().octets(), to.scope_id());
            size_of::<libc::sockaddr_in6>()
        }
    };
    (name, len as libc::socklen_t)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    /// An answer comes from the address that was asked, though the socket has all.
    #[test]
    fn an_answer_comes_from_where_the_question_went() {
        for (any, ipv6, asked) in [("0.0.0.0:0", false, "127.0.0.9"), ("[::]:0", true, "::1"), ("[::]:0", true, "127.0.0.9")] {
            let server = UdpSocket::bind(any).unwrap();
            tell_destinations(server.as_fd(), ipv6).unwrap();
            let asked: IpAddr = asked.parse().unwrap();
            let client = UdpSocket::bind(if asked.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
            client.connect((asked, server.local_addr().unwrap().port())).unwrap();
            client.send(b"question").unwrap();
            let mut buffer = [0; 99];
            let (len, from, here) = receive(server.as_fd(), &mut buffer).unwrap();
            assert_eq!((&buffer[..len], here.unwrap().address.to_canonical()), (&b"question"[..], asked));
            send(server.as_fd(), b"answer", from, here).unwrap();
            // Connected: it would not take it from elsewhere.
            assert_eq!(client.recv(&mut buffer).unwrap(), 6);
            assert_eq!(receive(server.as_fd(), &mut buffer).unwrap_err(), Errno::AGAIN);
        }
    }
}
