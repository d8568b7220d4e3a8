//! Links on top of the host's, and links that are lent: each test has a host and a container, both network namespaces of its own. Needs root.

mod common;

use common::namespace;
use ns_net::{AltName, Change, IfName, Ipvlan, Kind, Link, LinkName, Mac, Macvlan, MacvlanMode, Move, Prefix, Socket, Veth};
use std::os::fd::{AsFd, OwnedFd};

struct Pair {
    _kept: [OwnedFd; 2],
    host: Socket,
    container: Socket,
}

/// With a veth on the host, `eth0` and `far0`, that stands for hardware.
fn pair() -> Pair {
    let kept = [namespace(), namespace()];
    let [host_ns, container_ns] = &kept;
    let mut host = Socket::open_in(host_ns.as_fd()).unwrap();
    let mut other = Socket::open_in(host_ns.as_fd()).unwrap();
    Veth::new(name("eth0"), name("far0")).apply(&mut other, &mut host).unwrap();
    let container = Socket::open_in(container_ns.as_fd()).unwrap();
    Pair { _kept: kept, host, container }
}

fn name(name: &str) -> IfName {
    IfName::new(name).unwrap()
}

fn names(socket: &mut Socket) -> Vec<String> {
    Link::list(socket).unwrap().iter().map(|l| l.name.to_string()).collect()
}

#[test]
fn a_macvlan_is_made_in_the_container() {
    let mut p = pair();
    let mac: Mac = "02:00:00:00:00:07".parse().unwrap();
    let made = Macvlan::new(name("eth0"), LinkName::of(Prefix::Macvlan, "eth0").unwrap()).mac(mac).apply(&mut p.container, &mut p.host);
    let made = made.unwrap();
    assert_eq!((made.name, made.kind.as_deref(), made.mac), (name("mv-eth0"), Some("macvlan"), Some(mac)));
    assert!(made.flags.contains(ns_net::LinkFlags::UP));
    assert_eq!(made.peer, Some(Link::get(&mut p.host, name("eth0")).unwrap().index));
    assert_eq!(names(&mut p.host), ["lo", "eth0", "far0"], "nothing on the host");

    let twice = Macvlan::new(name("eth0"), name("mv-eth0")).apply(&mut p.container, &mut p.host).unwrap_err();
    assert_eq!(twice.kind(), Kind::Exists);
    let none = Macvlan::new(name("eth1"), name("x")).apply(&mut p.container, &mut p.host).unwrap_err();
    assert!(none.to_string().contains("there is no link eth1 to make a macvlan on"), "{none}");
    let alone = Macvlan::new(name("eth0"), name("x")).mode(MacvlanMode::Passthru).apply(&mut p.container, &mut p.host).unwrap_err();
    assert_eq!(alone.errno(), Some(libc::EINVAL), "{alone}");
    assert_eq!(names(&mut p.container), ["lo", "mv-eth0"]);
}

#[test]
fn the_same_address_right_after_a_stop_works() {
    let mut p = pair();
    let mac: Mac = "02:00:00:00:00:07".parse().unwrap();
    for _ in 0..10 {
        let ended = namespace();
        let mut container = Socket::open_in(ended.as_fd()).unwrap();
        Macvlan::new(name("eth0"), name("mv-eth0")).mac(mac).apply(&mut container, &mut p.host).unwrap();
    }
    Macvlan::new(name("eth0"), name("x")).mac(mac).apply(&mut p.container, &mut p.host).unwrap();
    let taken = Macvlan::new(name("eth0"), name("y")).mac(mac).apply(&mut p.container, &mut p.host).unwrap_err();
    assert_eq!(taken.kind(), Kind::Exists);
    assert!(taken.to_string().contains("another link on eth0 has the hardware address"), "{taken}");
}

#[test]
fn a_long_name_is_an_altname() {
    let mut p = pair();
    Change::of(name("eth0")).down().rename(name("averylongname15")).apply(&mut p.host).unwrap();
    let wanted = LinkName::of(Prefix::Macvlan, "averylongname15").unwrap();
    let made = Macvlan::new(name("averylongname15"), wanted.clone()).apply(&mut p.container, &mut p.host).unwrap();
    assert_eq!((made.name, made.altnames), (wanted.name, vec![AltName::new("mv-averylongname15").unwrap()]));
}

#[test]
#[ignore = "needs the rig: this machine's kernel may lack ipvlan"]
fn rig_an_ipvlan_is_made_in_the_container() {
    let mut p = pair();
    let made = Ipvlan::new(name("eth0"), name("iv-eth0")).apply(&mut p.container, &mut p.host).unwrap();
    assert_eq!((made.name, made.kind.as_deref()), (name("iv-eth0"), Some("ipvlan")));
    assert_eq!(made.mac, Link::get(&mut p.host, name("eth0")).unwrap().mac, "the lower link's");
    let other = Macvlan::new(name("eth0"), name("x")).apply(&mut p.container, &mut p.host).unwrap_err();
    assert_eq!(other.kind(), Kind::Exists, "{other}");
}

#[test]
fn a_link_is_lent_and_comes_back_under_its_name() {
    let mut p = pair();
    let before = Link::get(&mut p.host, name("eth0")).unwrap();
    let moved = Move::new(name("eth0")).rename(name("lan")).apply(&mut p.container, &mut p.host).unwrap();
    assert_eq!((moved.was.clone(), moved.inside.name), (before.clone(), name("lan")));
    assert_eq!(names(&mut p.host), ["lo", "far0"]);

    // Whatever the container calls it.
    Change::of(name("lan")).rename(name("mine")).apply(&mut p.container).unwrap();
    Change::of(name("mine")).up().apply(&mut p.container).unwrap();
    let back = moved.restore(&mut p.container, &mut p.host).unwrap();
    assert_eq!((back.name, back.mac, back.kind), (before.name, before.mac, before.kind));
    assert_eq!(names(&mut p.container), ["lo"]);
    assert_eq!(moved.restore(&mut p.container, &mut p.host).unwrap().name, name("eth0"), "it is there already");
}

#[test]
fn a_link_that_the_container_deleted_does_not_come_back() {
    let mut p = pair();
    let moved = Move::new(name("eth0")).apply(&mut p.container, &mut p.host).unwrap();
    Link::delete(&mut p.container, name("eth0")).unwrap();
    let e = moved.restore(&mut p.container, &mut p.host).unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound, "{e}");
    let none = Move::new(name("eth9")).apply(&mut p.container, &mut p.host).unwrap_err();
    assert!(none.to_string().contains("there is no link eth9 to move"), "{none}");
    assert!(Move::new(name("lo")).apply(&mut p.container, &mut p.host).is_err());
}
