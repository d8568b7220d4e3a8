//! Each message that is sent, read by another's parser.

use crate::message::{Call, Flags, Message, Request};
use crate::{Address, AltName, Bridge, Change, IfName, IpNet, LinkRef, MachineId, Route, Veth};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload, Parseable};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Prop};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

const ID: MachineId = MachineId::new(*b"0123456789abcdef");

fn read(message: Message) -> (RouteNetlinkMessage, u16) {
    let mut bytes = Vec::new();
    Request { what: String::new(), message }.encode(7, 4, &mut bytes).unwrap();
    let read = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).unwrap();
    assert_eq!((read.header.length as usize, read.header.sequence_number), (bytes.len(), 7));
    match read.payload {
        NetlinkPayload::InnerMessage(inner) => (inner, read.header.flags),
        other => panic!("{other:?}"),
    }
}

fn text(link: &LinkMessage) -> Vec<LinkAttribute> {
    link.attributes.iter().filter(|a| !matches!(a, LinkAttribute::LinkInfo(_))).cloned().collect()
}

fn info(link: &LinkMessage) -> &[LinkInfo] {
    link.attributes.iter().find_map(|a| if let LinkAttribute::LinkInfo(info) = a { Some(&info[..]) } else { None }).unwrap()
}

#[test]
fn a_veth_is_what_was_asked_for() {
    let namespace = File::open("/proc/self/ns/net").unwrap();
    let veth = Veth::of_machine("web", ID).unwrap().mtu(1400).host_index(77).container_index(2);
    let (RouteNetlinkMessage::NewLink(link), flags) = read(veth.message(namespace.as_fd())) else { panic!() };
    assert_eq!(flags, 0x605, "NLM_F_REQUEST|ACK|CREATE|EXCL");
    assert_eq!((link.header.index, link.header.flags), (2, LinkFlags::Up));
    let mac = |text: &str| LinkAttribute::Address(text.parse::<crate::Mac>().unwrap().octets().to_vec());
    let inside = crate::Mac::of_machine(crate::End::Container, ID, "web", 0).to_string();
    assert_eq!(text(&link), [LinkAttribute::IfName("host0".into()), mac(&inside), LinkAttribute::Mtu(1400)]);

    let [LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)))] = info(&link) else { panic!("{link:?}") };
    assert_eq!((peer.header.index, peer.header.flags), (77, LinkFlags::empty()));
    let outside = crate::Mac::of_machine(crate::End::Host, ID, "web", 0).to_string();
    let fd = LinkAttribute::NetNsFd(namespace.as_raw_fd());
    assert_eq!(peer.attributes, [LinkAttribute::IfName("ve-web".into()), mac(&outside), LinkAttribute::Mtu(1400), fd]);
}

#[test]
fn a_bridge_is_up_from_the_start() {
    let bridge = Bridge::new(IfName::new("br0").unwrap()).mac("02:00:00:00:00:01".parse().unwrap());
    let (RouteNetlinkMessage::NewLink(link), flags) = read(bridge.message()) else { panic!() };
    assert_eq!((flags, link.header.flags, link.header.change_mask), (0x605, LinkFlags::Up, LinkFlags::Up));
    assert_eq!(text(&link), [LinkAttribute::IfName("br0".into()), LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1])]);
    assert_eq!(info(&link), [LinkInfo::Kind(InfoKind::Bridge)]);
}

#[test]
fn a_change_changes_what_it_says() {
    let alt = AltName::new("a-rather-long-name-for-a-link").unwrap();
    let change = Change::of(9).rename(IfName::new("lan").unwrap()).mtu(1300).master(4).down().altname(alt);
    let requests = change.requests(9).requests;
    let [down, set, prop] = &requests[..] else { panic!() };
    let (RouteNetlinkMessage::SetLink(link), _) = read(down.message.clone()) else { panic!() };
    assert_eq!((link.header.index, link.header.flags, link.header.change_mask), (9, LinkFlags::empty(), LinkFlags::Up));
    assert_eq!(link.attributes, [], "before it is renamed");
    let (RouteNetlinkMessage::SetLink(link), _) = read(set.message.clone()) else { panic!() };
    assert_eq!((link.header.index, link.header.flags, link.header.change_mask), (9, LinkFlags::empty(), LinkFlags::Up));
    assert_eq!(link.attributes, [LinkAttribute::IfName("lan".into()), LinkAttribute::Mtu(1300), LinkAttribute::Controller(4)]);
    // The oracle builds RTM_NEWLINKPROP but doesn't read it: its body is a link's.
    let bytes = prop.message.as_bytes();
    assert_eq!((&bytes[4..6], &bytes[6..8]), (&108u16.to_ne_bytes()[..], &0xe01u16.to_ne_bytes()[..]));
    let link = LinkMessage::parse(&bytes[16..]).unwrap();
    assert_eq!(link.header.index, 9);
    assert_eq!(link.attributes, [LinkAttribute::PropList(vec![Prop::AltIfName("a-rather-long-name-for-a-link".into())])]);
}

#[test]
fn a_query_names_its_link() {
    let (RouteNetlinkMessage::GetLink(link), _) = read(crate::Link::query(&LinkRef::Name(IfName::HOST0))) else { panic!() };
    assert_eq!((link.header.index, &link.attributes[0]), (0, &LinkAttribute::IfName("host0".into())));
    let (RouteNetlinkMessage::DelLink(link), _) = read(crate::link::selecting(Call::DELLINK, &LinkRef::Index(3))) else { panic!() };
    assert_eq!((link.header.index, link.attributes.len()), (3, 0));
}

#[test]
fn an_address_has_its_subnet() {
    let v4 = Address::new(5, "10.1.2.3".parse().unwrap(), 24).unwrap();
    let (RouteNetlinkMessage::NewAddress(a), flags) = read(v4.message(5)) else { panic!() };
    assert_eq!((a.header.index, a.header.prefix_len, flags), (5, 24, 0x605));
    let ip = "10.1.2.3".parse().unwrap();
    let broadcast = AddressAttribute::Broadcast("10.1.2.255".parse().unwrap());
    assert_eq!(a.attributes, [AddressAttribute::Local(ip), AddressAttribute::Address(ip), broadcast]);

    let v6 = Address::new(5, "fd00::1".parse().unwrap(), 64).unwrap();
    let (RouteNetlinkMessage::NewAddress(a), _) = read(v6.message(5)) else { panic!() };
    let ip = "fd00::1".parse().unwrap();
    assert_eq!(a.attributes[..2], [AddressAttribute::Local(ip), AddressAttribute::Address(ip)]);
    assert_eq!(a.attributes[2], AddressAttribute::Flags(netlink_packet_route::address::AddressFlags::Nodad));
}

#[test]
fn an_empty_message_is_a_message() {
    let (RouteNetlinkMessage::GetLink(link), _) = read(Message::new(Call::GETLINK, Flags::empty()).fixed(&[0; 16])) else { panic!() };
    assert!(link.attributes.is_empty());
}

#[test]
fn a_route_is_what_was_asked_for() {
    use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteScope, RouteType};
    let loopback = IpNet::new("::1".parse().unwrap(), 128).unwrap();
    let local = Route::local(loopback, 7).metric(4103);
    let (RouteNetlinkMessage::NewRoute(r), flags) = read(local.message(Call::NEWROUTE, Flags::CREATE | Flags::EXCL, 7)) else { panic!() };
    assert_eq!((r.header.destination_prefix_length, r.header.kind, r.header.scope), (128, RouteType::Local, RouteScope::Host));
    assert_eq!(flags, 0x605);
    assert_eq!(
        r.attributes,
        [
            RouteAttribute::Destination(RouteAddress::Inet6("::1".parse().unwrap())),
            RouteAttribute::Oif(7),
            RouteAttribute::Priority(4103),
            RouteAttribute::Table(255),
        ]
    );
    let default = Route::via("10.1.2.1".parse().unwrap(), 7);
    let (RouteNetlinkMessage::DelRoute(r), _) = read(default.message(Call::DELROUTE, Flags::empty(), 7)) else { panic!() };
    assert_eq!((r.header.destination_prefix_length, r.header.scope), (0, RouteScope::Universe));
    assert_eq!(r.attributes[0], RouteAttribute::Gateway(RouteAddress::Inet("10.1.2.1".parse().unwrap())));
}

#[test]
fn links_on_links_are_what_was_asked_for() {
    let namespace = File::open("/proc/self/ns/net").unwrap();
    let name = IfName::new("x").unwrap();
    let macvlan = crate::Macvlan::new(LinkRef::Index(5), name).mode(crate::MacvlanMode::Private);
    let (RouteNetlinkMessage::NewLink(link), flags) = read(macvlan.upper.message(5, namespace.as_fd(), |m| macvlan.data(m))) else {
        panic!()
    };
    assert_eq!((flags, link.header.flags), (0x605, LinkFlags::Up));
    let on = [LinkAttribute::IfName("x".into()), LinkAttribute::Link(5), LinkAttribute::NetNsFd(namespace.as_raw_fd())];
    assert_eq!(text(&link), on);
    let mode = InfoData::MacVlan(vec![netlink_packet_route::link::InfoMacVlan::Mode(netlink_packet_route::link::MacVlanMode::Private)]);
    assert_eq!(info(&link), [LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(mode)]);

    let ipvlan = crate::Ipvlan::new(LinkRef::Index(5), name).mode(crate::IpvlanMode::L3s).isolation(crate::IpvlanIsolation::Private);
    let (RouteNetlinkMessage::NewLink(link), _) = read(ipvlan.upper.message(5, namespace.as_fd(), |m| ipvlan.data(m))) else { panic!() };
    assert_eq!(text(&link), on);
    let [LinkInfo::Kind(InfoKind::IpVlan), LinkInfo::Data(data)] = info(&link) else { panic!("{link:?}") };
    assert!(format!("{data:?}").contains("L3S"), "{data:?}");
}
