//! A machine's addresses.

use std::net::IpAddr;
use std::os::fd::AsFd;

use ns_core::Kind as Namespace;
use ns_net::{Address, AddressEntry, AddressFlags, IfName, Link, Scope, Socket};
use nskit_launcher::registry::{NetworkKind, Record};

/// A machine may give itself as many as it likes: what is beyond is left out, and told.
const MOST: usize = 256;

/// The addresses by which a machine can be reached, those that reach far first; none for one that shares the host's network.
///
/// They are read from the kernel by a socket in the machine's network namespace: nothing in the machine is asked.
pub fn of(record: &Record) -> Vec<String> {
    if record.network.kind == NetworkKind::Host {
        return Vec::new();
    }
    let leader = record.leader.and_then(|leader| leader.open().ok().flatten());
    let namespace = leader.and_then(|leader| leader.namespace(Namespace::Net).ok());
    let socket = namespace.and_then(|namespace| Socket::open_in(namespace.as_fd()).ok());
    let entries = socket.and_then(|mut socket| Address::list(&mut socket).ok()).unwrap_or_default();
    // What is local to a link is reached through the host's end of it.
    let zone = interfaces(record).first().map(|link| link.index);
    shown(entries, zone)
}

/// The host's own.
pub fn of_host() -> Vec<String> {
    let entries = Socket::open().and_then(|mut socket| Address::list(&mut socket)).unwrap_or_default();
    shown(entries, None)
}

/// The host's ends of a machine's links, those that are there.
pub fn interfaces(record: &Record) -> Vec<Link> {
    let Ok(mut socket) = Socket::open() else { return Vec::new() };
    let mut find = |name: &str| Link::get(&mut socket, IfName::new(name).ok()?).ok();
    record.network.interfaces.iter().filter_map(|name| find(name.as_str())).collect()
}

fn shown(mut entries: Vec<AddressEntry>, zone: Option<u32>) -> Vec<String> {
    entries.retain(is_reachable);
    entries.sort_by_key(|entry| (entry.scope != Scope::UNIVERSE, entry.ip.is_ipv6(), entry.link, entry.ip));
    let text = |entry: &AddressEntry| match (entry.ip, zone) {
        (IpAddr::V6(ip), Some(zone)) if ip.is_unicast_link_local() => format!("{ip}%{zone}"),
        (IpAddr::V6(ip), None) if ip.is_unicast_link_local() => format!("{ip}%{}", entry.link),
        (ip, _) => ip.to_string(),
    };
    let more = (entries.len() > MOST).then(|| "…".to_owned());
    entries.iter().take(MOST).map(text).chain(more).collect()
}

fn is_reachable(entry: &AddressEntry) -> bool {
    let unusable = AddressFlags::TENTATIVE | AddressFlags::DADFAILED;
    entry.scope != Scope::HOST && !entry.ip.is_loopback() && !entry.flags.intersects(unusable)
}
