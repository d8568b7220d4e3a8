//! Network links of containers, by `rtnetlink(7)`: veth pairs, bridges, addresses, their names, from any program, with threads or without.
//!
//! A [`Socket`] speaks to one network namespace. What is to be made is a value ([`Veth`], [`Bridge`], [`Address`], [`Change`]): printed, it
//! is the command of `ip(8)` that would do the same; `apply` makes it in one or two sends. [`Link`] is what exists. An error says the
//! operation, its object, the message, the kernel's error and the kernel's own words.
//!
//! A container's link is never moved: the pair is made *in* the container's network namespace, with its peer out on the host. That takes
//! half a millisecond where a move takes 35, and there is nothing to undo: the container's end takes the pair with it. Names and hardware
//! addresses of a machine's links ([`LinkName::of`], [`Mac::of_machine`]) are those that systemd-nspawn gives them.
//!
//! ```
//! use ns_net::{Address, Bridge, IfName, Link, MachineId, Socket, Veth};
//! use std::os::fd::AsFd;
//! # fn main() -> Result<(), ns_net::Error> {
//! # if !rustix::process::geteuid().is_root() { panic!("this example needs root") }
//! # let namespace = || std::thread::spawn(|| -> std::os::fd::OwnedFd {
//! #     // SAFETY: this thread alone leaves its network namespace.
//! #     unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
//! #     std::fs::File::open("/proc/thread-self/ns/net").unwrap().into()
//! # }).join().unwrap();
//! # let (host_namespace, container_namespace) = (namespace(), namespace());
//! // Descriptors of two network namespaces: the host's, and that of a container which is held before its exec.
//! let mut host = Socket::open_in(host_namespace.as_fd())?;
//! let mut container = Socket::open_in(container_namespace.as_fd())?;
//!
//! let bridge = Bridge::new(IfName::new("br0")?).apply(&mut host)?;
//! Address::new(&bridge, "10.200.1.1".parse().unwrap(), 24)?.apply(&mut host)?;
//!
//! let id: MachineId = "0123456789abcdef0123456789abcdef".parse()?;
//! let pair = Veth::port_of_machine("web", id, bridge.name)?.apply(&mut container, &mut host)?;
//! Address::new(&pair.container, "10.200.1.2".parse().unwrap(), 24)?.apply(&mut container)?;
//!
//! assert_eq!(pair.host.to_string(), "3: vb-web: veth, 3a:23:55:9e:93:59, mtu 1500, up");
//! assert_eq!(Link::get(&mut container, IfName::HOST0)?.mac.unwrap().to_string(), "da:fb:5c:16:4a:cc");
//!
//! let refused = Veth::port_of_machine("db", id, IfName::new("br1")?)?.apply(&mut container, &mut host).unwrap_err();
//! assert_eq!(refused.to_string(), "look at br1: RTM_GETLINK: No such device; there is no bridge br1: make it first");
//! # Ok(())
//! # }
//! ```
//!
//! What a machine's link needs to be online without a daemon on either side: a subnet that collides with nothing ([`Leases`]), addresses
//! and a router for guests that ask ([`Autoconf`]: [`Dhcp`], [`Router`]), names of machines and of the outside ([`Dns`],
//! [`MachineNames`]), and ports where no rule can lead ([`Proxy`]). Each is a value with a descriptor for the caller's own loop and a `turn`
//! that never blocks; what it needs to remember is bounded, and no guest's octets make it fail.
//!
//! # A machine's ports
//! [`Forward`] is a port as it is written on a command line, [`Reservation`] holds it on the host, [`MachineRules`] forwards it from every
//! address, `127.0.0.1` and `::1` too, by an [`nft::Table`] that goes with its process; [`Accepts`] lets the packets through other
//! firewalls; [`Watch`] tells when something of this has to be looked at again, and [`Flow::forget`] lets flows follow a new address.
//!
//! # What it refuses
//! - To change the network namespace of the calling thread, even for a moment.
//! - To read what anybody but the kernel sends to a socket.
//! - To take a name from a link that is alive, to make a port of what is no bridge, to leave half of a pair after a failure.
//! - Names in which the kernel or tools see something else ([`IfName::new`]).
//! - To wrap a length: what doesn't fit a message is an error.
//! - To run `ip`, to log, to start threads that outlive a call, to keep state of its own.
//!
//! Messages that it has no type for are built with [`message`] and sent with [`Socket::run`]; [`reply`] takes answers apart.
//!
//! # What it needs
//! `CAP_NET_ADMIN` in the user namespaces that own the network namespaces; `CAP_SYS_ADMIN` to enter one ([`Socket::open_in`]). Entering by a
//! plan's child instead: feature `plan`, `RouteSocket`; `LoopbackUp` brings `lo` up there. Only these two run in a child between clone and
//! exec; all else belongs to the parent.
//!
//! | kernel feature | first | used for | without it |
//! |---|---|---|---|
//! | `RTM_NEWLINK` with `IFLA_NET_NS_FD` in `VETH_INFO_PEER` (`veth(4)`) | 2.6.38 | the pair | – |
//! | `NETLINK_EXT_ACK` | 4.12 | the kernel's words in errors | refused |
//! | `NETLINK_GET_STRICT_CHK` | 4.20 | requests checked | refused |
//! | `SIOCGSKNS` | 4.9 | a socket's namespace | refused |
//! | `NFT_TABLE_F_OWNER` | 5.12 | [`nft::Table::hold`]: rules that go with their process | `EOPNOTSUPP`; [`nft::Table::apply`] |
//! | ingress hook in a table of family inet | 5.10 | the guard of [`MachineRules`] | `EOPNOTSUPP` |
//! | `RTM_NEWLINKPROP` | 5.5 | long names as altnames | a long name is refused, `Unsupported` |
//! | `F_OFD_SETLK` | 3.15 | leases and names that end with their holders | – |
//! | `PACKET_IGNORE_OUTGOING` | 4.20 | DHCP and router advertisements | refused |
//! | renaming a link that is up | 6.2 | – | the old end of a stopped container is switched off first |
#![deny(unsafe_code)]

mod accepts;
mod address;
mod autoconf;
mod bridge;
mod change;
mod channel;
mod conntrack;
mod dhcp;
mod dns;
mod dummy;
mod error;
mod forward;
mod frame;
mod ifname;
mod ipnet;
mod ipvlan;
mod link;
#[cfg(feature = "plan")]
#[allow(unsafe_code, reason = "a step's promise")]
mod loopback;
mod mac;
mod machine;
mod macvlan;
pub mod message;
mod moved;
mod netfilter;
mod netns;
pub mod nft;
#[cfg(test)]
mod oracle;
mod packet;
mod poll;
mod proxy;
#[cfg(test)]
mod random;
pub mod reply;
mod reservation;
mod route;
#[cfg(feature = "plan")]
#[allow(unsafe_code, reason = "a step's promise")]
mod route_socket;
mod router;
mod rules;
mod siphash;
mod socket;
mod subnet;
mod sys;
mod sysctl;
mod tap;
mod upper;
mod veth;
mod vlan;
mod watch;

pub use accepts::Accepts;
pub use address::{Address, AddressEntry, AddressFlags, Scope};
pub use autoconf::Autoconf;
pub use bridge::Bridge;
pub use change::Change;
pub use channel::Answer;
pub use conntrack::Flow;
pub use dhcp::Dhcp;
pub use dns::{Dns, MachineNames, Names, Published, Resolvers, resolvers};
pub use dummy::Dummy;
pub use error::{Error, Kind, Result};
pub use forward::Forward;
pub use ifname::{AltName, IfName};
pub use ipnet::IpNet;
pub use ipvlan::{Ipvlan, IpvlanIsolation, IpvlanMode};
pub use link::{Link, LinkFlags, LinkRef};
pub use mac::Mac;
pub use machine::{End, LinkName, MachineId, Prefix};
pub use macvlan::{Macvlan, MacvlanMode};
pub use moved::{Move, Moved};
pub use netfilter::Netfilter;
pub use netns::in_namespace;
pub use proxy::{PortRef, Proxy};
pub use reservation::Reservation;
pub use route::{Route, RouteEntry, RouteKind, RouteTable};
pub use router::Router;
pub use rules::{HeldRules, MachineRules};
pub use socket::Socket;
pub use subnet::{Lease, Leases, MemberLease, Purpose, Subnet};
pub use sysctl::Sysctls;
pub use tap::Tap;
pub use veth::{Veth, VethPair};
pub use vlan::Vlan;
pub use watch::{Event, Watch};

#[cfg(feature = "plan")]
pub use {loopback::LoopbackUp, route_socket::RouteSocket};
