//! Ports held for a machine: nobody else may have them meanwhile.

use crate::address::Address;
use crate::error::{Error, Kind, Result};
use crate::forward::Forward;
use crate::nft::Protocol;
use crate::socket::Socket;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, bind, ipproto, listen, shutdown, socket_with, sockopt};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

/// The host's ports of a [`Forward`], bound by sockets that don't listen: others get `EADDRINUSE`, and the kernel lets go of them with the
/// process.
///
/// A port of all addresses is bound as `[::]`, for both families. Where a program has it on an address that isn't forwarded (a resolver's
/// 127.0.0.53), each of the host's other addresses is bound instead.
#[derive(Debug)]
pub struct Reservation {
    forward: Forward,
    sockets: Vec<OwnedFd>,
}

impl Reservation {
    /// Takes them, in the calling thread's network namespace. [`Kind::Exists`] where one is in use (`EADDRINUSE`), [`Kind::Invalid`] for an
    /// address that isn't the host's, [`Kind::NotPermitted`] for a port below 1024 without `CAP_NET_BIND_SERVICE`.
    pub fn take(forward: Forward) -> Result<Reservation> {
        let mut sockets = Vec::new();
        for (port, _) in forward.ports() {
            match forward.address() {
                Some(ip) => sockets.push(hold(forward.protocol(), ip, port, false)?),
                None => everywhere(&forward, port, &mut sockets)?,
            }
        }
        Ok(Reservation { forward, sockets })
    }

    /// What is held.
    pub fn forward(&self) -> &Forward {
        &self.forward
    }

    /// How many sockets hold it.
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }
}

fn everywhere(forward: &Forward, port: u16, sockets: &mut Vec<OwnedFd>) -> Result<()> {
    let (v4, v6) = (forward.concerns(true), forward.concerns(false));
    let whole = if v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let held = match hold(forward.protocol(), whole, port, v4 && v6) {
        // IPv6 is switched off.
        Err(e) if v4 && v6 && matches!(e.errno(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
            hold(forward.protocol(), Ipv4Addr::UNSPECIFIED.into(), port, false)
        }
        held => held,
    };
    match held {
        Ok(socket) => sockets.push(socket),
        Err(e) if e.kind() == Kind::Exists => {
            for ip in own_addresses()?.into_iter().filter(|ip| forward.concerns(ip.is_ipv4())) {
                match hold(forward.protocol(), ip, port, false) {
                    // Of a link's own scope, or not usable yet.
                    Err(e) if matches!(e.errno(), Some(libc::EADDRNOTAVAIL | libc::EINVAL | libc::EAFNOSUPPORT)) => {}
                    held => sockets.push(held?),
                }
            }
        }
        Err(e) => return Err(e),
    }
    Ok(())
}

/// Those from which a port is forwarded: of 127.0.0.0/8 only 127.0.0.1.
fn own_addresses() -> Result<Vec<IpAddr>> {
    let all = Address::list(&mut Socket::open()?)?.into_iter().map(|entry| entry.ip);
    Ok(all.filter(|ip| !ip.is_loopback() || [IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].contains(ip)).collect())
}

/// Binds one socket. TCP's leftovers of ended connections (`TIME_WAIT`) are no obstacle; another's socket is, though it allow sharing.
fn hold(protocol: Protocol, ip: IpAddr, port: u16, both: bool) -> Result<OwnedFd> {
    let address = SocketAddr::new(ip, port);
    let in_words = |e: Errno| {
        let error = Error::kernel(format_args!("hold {protocol} port {port} of {ip}"), "bind", e.raw_os_error(), "");
        match e {
            Errno::ADDRINUSE => error.because(Kind::Exists, "another program has the port: see ss -lntup"),
            Errno::ACCESS => {
                error.because(Kind::NotPermitted, "a port below net.ipv4.ip_unprivileged_port_start needs CAP_NET_BIND_SERVICE")
            }
            _ => error,
        }
    };
    bound(protocol, address, both).map_err(in_words)
}

fn bound(protocol: Protocol, address: SocketAddr, both: bool) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(socket.as_fd(), !both)?;
    }
    if protocol == Protocol::Udp {
        // Nothing is read from it: what arrives for an address that isn't forwarded is not kept.
        sockopt::set_socket_recv_buffer_size(&socket, 0)?;
    }
    match bind(&socket, &address) {
        Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp => bind_beside_leftovers(&socket, &address)?,
        done => done?,
    }
    Ok(socket)
}

/// Binds what couldn't be bound for itself alone, perhaps because of ended connections only.
///
/// `SO_REUSEADDR` overlooks these, but others' bound sockets too: where all that ever had the port allowed sharing, the kernel doesn't even
/// look whether they still do. `listen` looks at each, and the socket stays bound when it listens no more. It forbids sharing before that:
/// of two who do this at once, one is refused.
fn bind_beside_leftovers(socket: &OwnedFd, address: &SocketAddr) -> rustix::io::Result<()> {
    sockopt::set_socket_reuseaddr(socket, true)?;
    bind(socket, address)?;
    listen(socket, 0)?;
    sockopt::set_socket_reuseaddr(socket, false)?;
    shutdown(socket, Shutdown::Both)
}
