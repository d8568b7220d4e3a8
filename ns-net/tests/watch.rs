//! What the kernel tells of changes, and links that only the rig's kernels have. Needs root.

mod common;

use common::{inside, namespace};
use ns_net::nft::{Family, Name, Table};
use ns_net::{
    Address, AddressEntry, Bridge, Change, Dummy, Event, IfName, IpNet, Kind, Link, LinkFlags, Netfilter, Route, Socket, Tap, Vlan, Watch,
};
use std::net::IpAddr;
use std::os::fd::AsFd;

fn name(name: &str) -> IfName {
    IfName::new(name).unwrap()
}

fn ready(watch: &Watch) -> bool {
    let mut fds = [rustix::event::PollFd::new(watch, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}

#[test]
fn links_addresses_and_routes_are_told() {
    let of = namespace();
    let mut watch = Watch::links_in(of.as_fd()).unwrap();
    assert!(!ready(&watch));
    assert_eq!(watch.events().unwrap(), []);
    let mut socket = Socket::open_in(of.as_fd()).unwrap();
    let bridge = Bridge::new(name("br0")).apply(&mut socket).unwrap();
    let address = Address::new(&bridge, "10.1.2.3".parse().unwrap(), 24).unwrap();
    address.apply(&mut socket).unwrap();
    assert!(ready(&watch));
    let told = watch.events().unwrap();
    assert!(told.iter().any(|e| matches!(e, Event::Link(link) if link.name == name("br0"))), "{told:?}");
    let ip: IpAddr = "10.1.2.3".parse().unwrap();
    let is_it = |entry: &AddressEntry| (entry.ip, entry.prefix, entry.link) == (ip, 24, bridge.index);
    assert!(told.iter().any(|e| matches!(e, Event::Address(entry) if is_it(entry))), "{told:?}");
    let subnet: IpNet = "10.1.2.0/24".parse().unwrap();
    let route = |e: &Event| matches!(e, Event::Route(route) if route.destination == subnet);
    address.remove(&mut socket).unwrap();
    Change::of(&bridge).down().apply(&mut socket).unwrap();
    Link::delete(&mut socket, &bridge).unwrap();
    let later = watch.events().unwrap();
    assert!(later.iter().any(|e| matches!(e, Event::AddressGone(entry) if is_it(entry))), "{later:?}");
    assert!(later.iter().any(|e| matches!(e, Event::LinkGone(link) if link.index == bridge.index)), "{later:?}");
    // A subnet's route is told only where the link has a carrier.
    let _ = told.iter().any(route);
    assert!(!ready(&watch));
}

/// What is lost is said: all is to be looked at anew.
#[test]
fn a_watch_that_is_not_read_says_that_it_missed_something() {
    let of = namespace();
    let mut watch = Watch::links_in(of.as_fd()).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&watch, 1).unwrap();
    let mut socket = Socket::open_in(of.as_fd()).unwrap();
    let route = Route::on_link("10.0.0.0/8".parse().unwrap(), 1u32);
    Change::of(1).up().apply(&mut socket).unwrap();
    for _ in 0..100 {
        route.apply(&mut socket).unwrap();
        route.remove(&mut socket).unwrap();
    }
    assert!(watch.events().unwrap().contains(&Event::Missed));
    assert_eq!(watch.events().unwrap(), []);
}

#[test]
fn rule_sets_are_told_of_once_a_transaction() {
    let of = namespace();
    let mut watch = Watch::rules_in(of.as_fd()).unwrap();
    let table = Table::new(Family::Inet, Name::new("nsk-web").unwrap());
    let held = table.hold(Netfilter::open_in(of.as_fd()).unwrap()).unwrap();
    assert!(ready(&watch));
    assert_eq!(watch.events().unwrap(), [Event::Rules]);
    held.close().unwrap();
    assert_eq!(watch.events().unwrap(), [Event::Rules]);
    assert_eq!(watch.events().unwrap(), []);
}

#[test]
fn a_tap_is_a_link_as_long_as_its_descriptor() {
    let of = namespace();
    let tap = inside(&of, || Tap::open(name("tap7")).unwrap());
    let mut socket = Socket::open_in(of.as_fd()).unwrap();
    let link = Change::of(name("tap7")).up().apply(&mut socket).unwrap();
    assert_eq!(link.kind.as_deref(), Some("tun"));
    assert!(link.flags.contains(LinkFlags::UP | LinkFlags::LOWER_UP));
    // What is sent there comes out: a neighbour solicitation or the like.
    Address::new(&link, "10.1.2.1".parse().unwrap(), 24).unwrap().apply(&mut socket).unwrap();
    let sender = inside(&of, || std::net::UdpSocket::bind("10.1.2.1:0").unwrap());
    sender.send_to(b"x", "10.1.2.9:9").unwrap();
    let mut frame = [0; 2048];
    let found = std::iter::repeat_with(|| rustix::io::read(&tap, &mut frame)).take(10).any(|read| read.is_ok_and(|len| len >= 42));
    assert!(found, "no frame");
    let taken = inside(&of, || Tap::open(name("tap7")).unwrap_err());
    assert!(taken.to_string().starts_with("make tap tap7: ioctl(TUNSETIFF): Device or resource busy"), "{taken}");
    drop(tap);
    let start = std::time::Instant::now();
    while Link::get(&mut socket, name("tap7")).is_ok() {
        // Another test's child that hasn't called execve(2) yet has a copy of the descriptor.
        assert!(start.elapsed().as_secs() < 5, "the tap outlives its descriptor");
    }
}

#[test]
#[ignore = "needs the rig: vlan and dummy links"]
fn rig_vlans_and_dummies_are_made() {
    let (host_ns, container_ns) = (namespace(), namespace());
    let mut host = Socket::open_in(host_ns.as_fd()).unwrap();
    let mut container = Socket::open_in(container_ns.as_fd()).unwrap();
    let dummy = Dummy::new(name("d0")).apply(&mut host).unwrap();
    assert_eq!(dummy.kind.as_deref(), Some("dummy"));
    assert!(dummy.flags.contains(LinkFlags::UP));
    let vlan = Vlan::new(name("d0"), name("d0.100"), 100).unwrap();
    let link = vlan.apply(&mut container, &mut host).unwrap();
    assert_eq!((link.kind.as_deref(), link.peer), (Some("vlan"), Some(dummy.index)));
    assert!(link.flags.contains(LinkFlags::UP));
    assert_eq!(vlan.apply(&mut container, &mut host).unwrap_err().kind(), Kind::Exists);
}

#[test]
fn a_vlan_has_an_id_that_fits() {
    for id in [0, 4095, u16::MAX] {
        assert_eq!(Vlan::new(name("d0"), name("d0.1"), id).unwrap_err().kind(), Kind::Invalid);
    }
}
