//! Addresses and routes, given, listed and taken, in namespaces of the tests' own. Needs root.

mod common;

use common::namespace;
use ns_net::{
    Address, AddressEntry, AddressFlags, IfName, IpNet, Kind, Link, MachineId, Route, RouteKind, RouteTable, Scope, Socket, Veth, VethPair,
};
use std::net::IpAddr;
use std::os::fd::AsFd;

fn pair() -> (Socket, Socket, VethPair) {
    let mut host = Socket::open_in(namespace().as_fd()).unwrap();
    let mut container = Socket::open_in(namespace().as_fd()).unwrap();
    let made = Veth::of_machine("web", MachineId::new(*b"0123456789abcdef")).unwrap().apply(&mut container, &mut host).unwrap();
    (host, container, made)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn addresses(socket: &mut Socket, link: u32) -> Vec<AddressEntry> {
    Address::list(socket).unwrap().into_iter().filter(|a| a.link == link && a.scope == Scope::UNIVERSE).collect()
}

#[test]
fn addresses_are_listed_as_they_were_given() {
    let (mut host, _container, made) = pair();
    let v4 = Address::new(&made.host, ip("10.200.1.1"), 28).unwrap();
    let v6 = Address::new(&made.host, ip("fd00:1::1"), 64).unwrap().no_prefix_route();
    v4.apply(&mut host).unwrap();
    v6.apply(&mut host).unwrap();
    let found = addresses(&mut host, made.host.index);
    assert_eq!(found.iter().map(|a| (a.ip, a.prefix)).collect::<Vec<_>>(), [(ip("10.200.1.1"), 28), (ip("fd00:1::1"), 64)]);
    assert_eq!(found[0].flags, AddressFlags::PERMANENT);
    assert_eq!(found[1].flags, AddressFlags::PERMANENT | AddressFlags::NODAD | AddressFlags::NOPREFIXROUTE);
    assert!(found.iter().all(AddressEntry::is_global));
    assert_eq!(found[0].to_string(), "10.200.1.1/28 of link 2");
    let subnet = IpNet::new(ip("fd00:1::"), 64).unwrap();
    assert!(!Route::list(&mut host).unwrap().iter().any(|r| r.destination == subnet), "no route to the subnet");

    v4.remove(&mut host).unwrap();
    v6.remove(&mut host).unwrap();
    assert_eq!(addresses(&mut host, made.host.index), []);
    let gone = v4.remove(&mut host).unwrap_err();
    assert!(gone.to_string().starts_with("remove address 10.200.1.1/28 of link 2: RTM_DELADDR: Cannot assign requested address"), "{gone}");
}

#[test]
fn routes_are_listed_as_they_were_made() {
    let (_host, mut container, made) = pair();
    Address::new(&made.container, ip("10.200.1.2"), 28).unwrap().apply(&mut container).unwrap();
    Address::new(&made.container, ip("fd00:1::2"), 64).unwrap().apply(&mut container).unwrap();
    let routes = [
        Route::via(ip("10.200.1.1"), IfName::HOST0),
        Route::via(ip("fd00:1::1"), IfName::HOST0).metric(77),
        Route::on_link(IpNet::new(ip("10.9.0.0"), 16).unwrap(), IfName::HOST0).table(RouteTable(1000)),
        Route::on_link(IpNet::new(ip("10.8.0.0"), 16).unwrap(), IfName::HOST0).gateway(ip("10.200.1.3")),
    ];
    for route in &routes {
        route.apply(&mut container).unwrap();
        assert_eq!(route.apply(&mut container).unwrap_err().kind(), Kind::Exists, "{route}");
    }
    let listed = Route::list(&mut container).unwrap();
    let find = |to: &str, prefix| {
        let to = IpNet::new(ip(to), prefix).unwrap();
        listed.iter().find(|r| r.destination == to && r.link == Some(made.container.index)).unwrap_or_else(|| panic!("{to}: {listed:?}"))
    };
    assert_eq!((find("0.0.0.0", 0).gateway, find("0.0.0.0", 0).table), (Some(ip("10.200.1.1")), RouteTable::MAIN));
    assert_eq!((find("::", 0).gateway, find("::", 0).metric), (Some(ip("fd00:1::1")), 77));
    assert_eq!((find("10.9.0.0", 16).table, find("10.9.0.0", 16).gateway), (RouteTable(1000), None));
    assert_eq!(find("10.200.1.2", 32).kind, RouteKind::LOCAL);
    for route in &routes {
        route.remove(&mut container).unwrap();
        assert_eq!(route.remove(&mut container).unwrap_err().errno(), Some(libc::ESRCH), "{route}");
    }
}

/// The same metric twice is refused: each link needs its own.
#[test]
fn a_local_route_of_the_loopback_address_needs_its_own_metric() {
    let (mut host, _container, made) = pair();
    let mut other = Socket::open_in(namespace().as_fd()).unwrap();
    let second = Veth::new(IfName::new("ve-b").unwrap(), IfName::HOST0).apply(&mut other, &mut host).unwrap();
    let loopback = IpNet::new(ip("::1"), 128).unwrap();
    Route::local(loopback, &made.host).metric(4098).apply(&mut host).unwrap();
    let taken = Route::local(loopback, &second.host).metric(4098).apply(&mut host).unwrap_err();
    assert_eq!(taken.kind(), Kind::Exists);
    assert!(taken.to_string().starts_with("add route to ::1/128 on link 3: RTM_NEWROUTE: File exists"), "{taken}");
    Route::local(loopback, &second.host).metric(4099).apply(&mut host).unwrap();
    let of_loopback = Route::list(&mut host).unwrap().into_iter().filter(|r| r.destination == loopback);
    assert_eq!(of_loopback.filter(|r| r.table == RouteTable::LOCAL).count(), 2);
}

#[test]
fn a_link_that_is_not_there_is_named() {
    let mut host = Socket::open_in(namespace().as_fd()).unwrap();
    let e = Route::via(ip("10.0.0.1"), IfName::HOST0).apply(&mut host).unwrap_err();
    assert_eq!(e.to_string(), "look at host0: RTM_GETLINK: No such device");
    assert!(Link::list(&mut host).unwrap().len() == 1);
}

#[test]
fn a_pair_comes_with_its_addresses_and_routes() {
    let id = MachineId::new(*b"0123456789abcdef");
    for index in [None, Some(7)] {
        let mut host = Socket::open_in(namespace().as_fd()).unwrap();
        let mut container = Socket::open_in(namespace().as_fd()).unwrap();
        let veth = Veth::of_machine("web", id).unwrap();
        let veth = index.into_iter().fold(veth, Veth::container_index);
        let veth = veth.host_address(ip("10.200.1.1"), 28).unwrap().container_address(ip("10.200.1.2"), 28).unwrap();
        let veth = veth.host_address(ip("fd00:1::1"), 64).unwrap().container_address(ip("fd00:1::2"), 64).unwrap();
        let veth = veth.container_gateway(ip("10.200.1.1")).container_gateway(ip("fd00:1::1"));
        let text = veth.to_string();
        assert!(
            text.ends_with(
                "\nip -n container route add 0.0.0.0/0 via 10.200.1.1 dev host0\nip -n container -6 route add ::/0 via fd00:1::1 dev host0"
            ),
            "{text}"
        );
        assert!(text.contains("\nip -n container address add fd00:1::2/64 nodad dev host0\n"), "{text}");
        let made = veth.apply(&mut container, &mut host).unwrap();
        assert_eq!(made.container.index, index.unwrap_or(made.container.index));
        let given = |socket: &mut Socket, link| addresses(socket, link).iter().map(|a| a.ip.to_string()).collect::<Vec<_>>();
        assert_eq!(given(&mut host, made.host.index), ["10.200.1.1", "fd00:1::1"]);
        assert_eq!(given(&mut container, made.container.index), ["10.200.1.2", "fd00:1::2"]);
        let gateways = Route::list(&mut container).unwrap().into_iter().filter(|r| r.destination.prefix() == 0 && r.gateway.is_some());
        assert_eq!(gateways.map(|r| r.gateway.unwrap()).collect::<Vec<_>>(), [ip("10.200.1.1"), ip("fd00:1::1")]);
    }
}

/// An index that another link has: that link gets nothing, and no pair is made.
#[test]
fn an_index_that_is_taken_leaves_its_link_as_it_was() {
    let (_host, mut container, made) = pair();
    let mut other = Socket::open_in(namespace().as_fd()).unwrap();
    let before = (Address::list(&mut container).unwrap().len(), Route::list(&mut container).unwrap().len());
    let veth = Veth::new(IfName::new("ve-b").unwrap(), IfName::new("host1").unwrap()).container_index(made.container.index);
    let veth = veth.container_address(ip("10.200.2.2"), 28).unwrap().container_gateway(ip("10.200.2.1"));
    let e = veth.apply(&mut container, &mut other).unwrap_err();
    assert_eq!(e.kind(), Kind::Exists);
    let words = "make veth host1, peer ve-b: RTM_NEWLINK: File exists; the container has a link of this index: 2: host0: veth";
    assert!(e.to_string().starts_with(words), "{e}");
    assert_eq!((Address::list(&mut container).unwrap().len(), Route::list(&mut container).unwrap().len()), before);
    assert_eq!(Link::list(&mut other).unwrap().len(), 1);
}
