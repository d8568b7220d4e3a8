//! A client's messages and what is answered.

use super::message::{gist, option_of};
use super::*;

const GUEST: Mac = Mac::new([2, 0, 0, 0, 0, 2]);
const HOST: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 7);
const NOWHERE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn dhcp() -> Dhcp {
    Dhcp::new(ADDRESS, 28, SERVER).unwrap().routed().resolver(SERVER)
}

/// A client's message in a frame: `flags` as in the header, further options behind its kind.
fn ask(kind: u8, flags: u8, client: Ipv4Addr, options: &[&[u8]]) -> Vec<u8> {
    let mut message = [&[1, 1, 6, 0, 7, 7, 7, 7, 0, 0, flags, 0][..], &client.octets()].concat();
    message.resize(28, 0);
    message.extend_from_slice(&GUEST.octets());
    message.resize(236, 0);
    message.extend_from_slice(&[99, 130, 83, 99, 53, 1, kind]);
    message.extend_from_slice(&options.concat());
    message.push(255);
    let (source, destination) = (SocketAddrV4::new(client, 68), SocketAddrV4::new(Ipv4Addr::BROADCAST, 67));
    Udp4 { from: GUEST, to: BROADCAST, source, destination }.frame(&message)
}

fn requested(ip: Ipv4Addr) -> Vec<u8> {
    [&[50, 4][..], &ip.octets()].concat()
}

fn server(ip: Ipv4Addr) -> Vec<u8> {
    [&[54, 4][..], &ip.octets()].concat()
}

/// The answer: kind and address; where its frame goes: hardware and IP address.
fn answer(dhcp: &Dhcp, frame: &[u8]) -> Option<(u8, Ipv4Addr, Mac, Ipv4Addr)> {
    let frame = dhcp.answer(frame, HOST)?;
    let (kind, yours) = gist(udp4(&frame, 68).unwrap());
    let ip: [u8; 4] = frame[30..34].try_into().unwrap();
    Some((kind, yours, Mac::new(frame[..6].try_into().unwrap()), ip.into()))
}

#[test]
fn a_clients_life() {
    let dhcp = dhcp();
    assert_eq!(answer(&dhcp, &ask(1, 0, NOWHERE, &[])), Some((2, ADDRESS, GUEST, ADDRESS)), "an offer, to its own address");
    assert_eq!(answer(&dhcp, &ask(1, 0x80, NOWHERE, &[])), Some((2, ADDRESS, BROADCAST, Ipv4Addr::BROADCAST)), "to all, as it asks");
    let taken = ask(3, 0, NOWHERE, &[&server(SERVER), &requested(ADDRESS)]);
    assert_eq!(answer(&dhcp, &taken), Some((5, ADDRESS, GUEST, ADDRESS)), "its request is granted");
    assert_eq!(answer(&dhcp, &ask(3, 0, ADDRESS, &[])), Some((5, ADDRESS, GUEST, ADDRESS)), "and renewed");
    assert_eq!(answer(&dhcp, &ask(3, 0, NOWHERE, &[&requested(ADDRESS)])), Some((5, ADDRESS, GUEST, ADDRESS)), "and remembered");
    assert_eq!(answer(&dhcp, &ask(8, 0, OTHER, &[])), Some((5, NOWHERE, GUEST, OTHER)), "who has an address is informed");
    for released_or_declined in [4, 7] {
        assert_eq!(answer(&dhcp, &ask(released_or_declined, 0, ADDRESS, &[])), None);
    }
}

#[test]
fn wrong_requests_are_refused_and_others_servers_left_alone() {
    let dhcp = dhcp();
    let refused = Some((6, NOWHERE, BROADCAST, Ipv4Addr::BROADCAST));
    assert_eq!(answer(&dhcp, &ask(3, 0, NOWHERE, &[&server(SERVER), &requested(OTHER)])), refused);
    assert_eq!(answer(&dhcp, &ask(3, 0, NOWHERE, &[&requested(OTHER)])), refused);
    assert_eq!(answer(&dhcp, &ask(3, 0, OTHER, &[])), refused);
    assert_eq!(answer(&dhcp, &ask(3, 0, NOWHERE, &[&server(OTHER), &requested(ADDRESS)])), None);
    assert_eq!(answer(&dhcp, &ask(3, 0, NOWHERE, &[])), None, "a request for nothing");
    let stranger = dhcp.only(HOST);
    assert_eq!(answer(&stranger, &ask(1, 0, NOWHERE, &[])), None);
}

#[test]
fn rapid_commit_is_for_who_asks() {
    let asked = dhcp().answer(&ask(1, 0, NOWHERE, &[&[80, 0]]), HOST).unwrap();
    let asked = udp4(&asked, 68).unwrap();
    assert_eq!((gist(asked), option_of(asked, 80)), ((5, ADDRESS), Some(&[][..])));
    let plain = dhcp().answer(&ask(1, 0, NOWHERE, &[]), HOST).unwrap();
    assert_eq!(option_of(udp4(&plain, 68).unwrap(), 80), None);
}

#[test]
fn the_answer_says_all_that_was_set() {
    let dhcp = dhcp().domain("machines").unwrap().mtu(1400).lease(Duration::from_secs(600));
    let frame = dhcp.answer(&ask(1, 0, NOWHERE, &[&[61, 3, 1, 2, 3]]), HOST).unwrap();
    let message = udp4(&frame, 68).unwrap();
    let expected: [(u8, &[u8]); 8] = [
        (1, &[255, 255, 255, 240]),
        (3, &SERVER.octets()),
        (6, &SERVER.octets()),
        (15, b"machines"),
        (26, &1400u16.to_be_bytes()),
        (51, &600u32.to_be_bytes()),
        (54, &SERVER.octets()),
        (61, &[1, 2, 3]),
    ];
    expected.iter().for_each(|(code, value)| assert_eq!(option_of(message, *code), Some(*value), "option {code}"));
    assert!(message.len() >= 300);
    let offline = Dhcp::new(ADDRESS, 28, SERVER).unwrap().answer(&ask(1, 0, NOWHERE, &[]), HOST).unwrap();
    [3, 6, 15, 26].iter().for_each(|code| assert_eq!(option_of(udp4(&offline, 68).unwrap(), *code), None));
}

#[test]
fn what_cannot_be_is_refused() {
    for (address, prefix, server) in
        [("10.0.0.2", 31, "10.0.0.3"), ("10.0.0.2", 24, "10.0.1.1"), ("10.0.0.2", 24, "10.0.0.2"), ("1.2.3.4", 0, "4.3.2.1")]
    {
        assert!(Dhcp::new(address.parse().unwrap(), prefix, server.parse().unwrap()).is_err());
    }
    for domain in ["", "a b", "a\n", &"x".repeat(254)] {
        assert!(dhcp().domain(domain).is_err());
    }
}

#[test]
fn relays_bootp_and_other_hardware_are_not_answered() {
    let good = ask(1, 0, NOWHERE, &[]);
    let payload = good.len() - udp4(&good, 67).unwrap().len();
    for (offset, value) in [(0, 2), (1, 6), (2, 7), (24, 10), (236, 0), (240, 54)] {
        let mut bad = good.clone();
        bad[payload + offset] = value;
        assert_eq!(dhcp().answer(&bad, HOST), None, "octet {offset}");
    }
}

/// No octets make it panic, and every answer is a whole frame to the client's port.
#[test]
fn random_damage_is_survived() {
    let mut random = crate::random::Random::new(1);
    let good = ask(3, 0, NOWHERE, &[&requested(ADDRESS), &[61, 3, 1, 2, 3, 80, 0, 55, 3, 1, 3, 6]]);
    for _ in 0..20_000 {
        if let Some(frame) = dhcp().answer(&random.damaged(&good, 8), HOST) {
            gist(udp4(&frame, 68).unwrap());
        }
    }
}
