//! UDP: a socket inside for each client outside, until both are silent.

use super::dialer::Dialer;
use crate::sys::pktinfo::{Here, receive, send};
use rustix::net::{SocketType, connect};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a client's socket stays without traffic.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// Clients at a time; the one that has been silent for the longest makes room.
pub(super) const MOST: usize = 256;
/// Datagrams from a socket in one turn.
const AT_ONCE: usize = 64;

/// Whom a flow belongs to: a client, and where on which port it has sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    port: u32,
    client: SocketAddr,
    here: Option<Here>,
}

#[derive(Debug)]
struct Flow {
    key: Key,
    socket: UdpSocket,
    last: Instant,
}

/// All flows of a proxy.
#[derive(Debug, Default)]
pub(super) struct Flows {
    flows: HashMap<u32, Flow>,
    by_key: HashMap<Key, u32>,
}

/// A port whose clients have sent something.
pub(super) struct Port<'a> {
    pub number: u32,
    pub socket: &'a OwnedFd,
    pub to: &'a [SocketAddr],
}

impl Flows {
    /// Passes on what clients have sent; new flows are numbered by `next` and given to `watch`.
    pub fn outward(
        &mut self,
        port: Port<'_>,
        dialer: &mut Dialer,
        buffer: &mut [u8],
        now: Instant,
        mut watch: impl FnMut(&UdpSocket) -> Option<u32>,
    ) {
        for _ in 0..AT_ONCE {
            // An error is that of an earlier answer, which a client didn't want.
            let Ok((len, client, here)) = receive(port.socket.as_fd(), buffer) else { return };
            let key = Key { port: port.number, client, here };
            let n = match self.by_key.get(&key) {
                Some(n) => Some(*n),
                None => self.open(key, port.to, dialer, now, &mut watch),
            };
            if let (Some(flow), Some(datagram)) = (n.and_then(|n| self.flows.get_mut(&n)), buffer.get(..len)) {
                flow.last = now;
                // UDP may lose what can't be delivered.
                let _ = flow.socket.send(datagram);
            }
        }
    }

    fn open(
        &mut self,
        key: Key,
        to: &[SocketAddr],
        dialer: &mut Dialer,
        now: Instant,
        watch: &mut impl FnMut(&UdpSocket) -> Option<u32>,
    ) -> Option<u32> {
        if self.flows.len() >= MOST {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.last).map(|(n, _)| *n);
            oldest.into_iter().for_each(|n| self.close(n));
        }
        let to = *to.first()?;
        let socket = dialer.socket(to, SocketType::DGRAM).ok()?;
        connect(&socket, &to).ok()?;
        let socket = UdpSocket::from(socket);
        let n = watch(&socket)?;
        self.by_key.insert(key, n);
        self.flows.insert(n, Flow { key, socket, last: now });
        Some(n)
    }

    /// The port of a flow.
    pub fn port_of(&self, n: u32) -> Option<u32> {
        self.flows.get(&n).map(|flow| flow.key.port)
    }

    /// Passes answers back, from the address that the client had asked. A server that isn't there ends the flow.
    pub fn inward(&mut self, n: u32, port: &OwnedFd, buffer: &mut [u8], now: Instant) {
        let Some(flow) = self.flows.get_mut(&n) else { return };
        for _ in 0..AT_ONCE {
            match flow.socket.recv(buffer) {
                Ok(len) => {
                    flow.last = now;
                    // As above.
                    let _ = send(port.as_fd(), buffer.get(..len).unwrap_or_default(), flow.key.client, flow.key.here);
                }
                Err(e) if [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::Interrupted].contains(&e.kind()) => return,
                Err(_) => return self.close(n),
            }
        }
    }

    fn close(&mut self, n: u32) {
        if let Some(flow) = self.flows.remove(&n) {
            self.by_key.remove(&flow.key);
        }
    }

    /// Ends all flows of a port: its target is another now.
    pub fn close_all_of(&mut self, port: u32) {
        self.flows.retain(|_, flow| flow.key.port != port);
        self.by_key.retain(|key, _| key.port != port);
    }

    /// Ends those that were silent; when the next will have been.
    pub fn expire(&mut self, now: Instant) -> Option<Instant> {
        self.flows.retain(|_, flow| now.saturating_duration_since(flow.last) < SILENCE);
        let flows = &self.flows;
        self.by_key.retain(|_, n| flows.contains_key(n));
        self.flows.values().map(|flow| flow.last + SILENCE).min()
    }
}
