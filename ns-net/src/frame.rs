//! Ethernet frames with UDP in IPv4, or ICMPv6: taken apart, and put together.
#![forbid(unsafe_code)]

use crate::mac::Mac;
use std::net::{Ipv6Addr, SocketAddrV4};

const ETHERNET: usize = 14;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// `N` octets at an offset.
pub(crate) fn octets<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Two octets at an offset, as a number.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    octets(bytes, at).map(u16::from_be_bytes)
}

/// The payload of an unfragmented UDP packet to this port. UDP's checksum is not looked at: a veth's sender leaves it to hardware that
/// isn't there.
pub(crate) fn udp4(frame: &[u8], port: u16) -> Option<&[u8]> {
    let packet = frame.get(ETHERNET..)?;
    let header = 4 * usize::from(packet.first()? & 15);
    let is_udp = octets(frame, 12)? == ETHERTYPE_IPV4 && packet.first()? >> 4 == 4 && *packet.get(9)? == UDP;
    let whole = be16(packet, 6)? & 0x3fff == 0;
    if !is_udp || !whole || header < 20 || checksum(&[packet.get(..header)?]) != 0 {
        return None;
    }
    let datagram = packet.get(header..usize::from(be16(packet, 2)?))?;
    let payload = datagram.get(8..usize::from(be16(datagram, 4)?))?;
    (be16(datagram, 2)? == port).then_some(payload)
}

/// A UDP packet in a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Udp4 {
    pub from: Mac,
    pub to: Mac,
    pub source: SocketAddrV4,
    pub destination: SocketAddrV4,
}

impl Udp4 {
    /// The frame; a payload of more than 65,507 octets is cut.
    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let payload = payload.get(..payload.len().min(65_507)).unwrap_or(payload);
        let [datagram_len, packet_len] = [8, 28].map(|header| (header + payload.len()) as u16);
        let (source, destination) = (self.source.ip().octets(), self.destination.ip().octets());
        let mut datagram = [self.source.port(), self.destination.port(), datagram_len, 0].map(u16::to_be_bytes).concat();
        datagram.extend_from_slice(payload);
        let pseudo = [&source[..], &destination, &[0, UDP], &datagram_len.to_be_bytes()].concat();
        // A sum of zero would say that there is none.
        let sum = non_zero(checksum(&[&pseudo, &datagram]));
        set16(&mut datagram, 6, sum);
        let mut header = [&[0x45, 0xc0][..], &packet_len.to_be_bytes(), &[0; 4], &[64, UDP, 0, 0], &source, &destination].concat();
        let sum = checksum(&[&header]);
        set16(&mut header, 10, sum);
        [&self.to.octets()[..], &self.from.octets(), &ETHERTYPE_IPV4, &header, &datagram].concat()
    }
}

/// An ICMPv6 message between neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Icmp6<'a> {
    pub from: Mac,
    pub source: Ipv6Addr,
    pub message: &'a [u8],
}

/// An ICMPv6 message that comes from the link itself (hop limit 255), with a right checksum.
pub(crate) fn icmp6(frame: &[u8]) -> Option<Icmp6<'_>> {
    let packet = frame.get(ETHERNET..)?;
    let is_icmp6 = octets(frame, 12)? == ETHERTYPE_IPV6 && packet.first()? >> 4 == 6 && *packet.get(6)? == ICMPV6 && *packet.get(7)? == 255;
    let message = packet.get(40..)?.get(..usize::from(be16(packet, 4)?))?;
    if !is_icmp6 || checksum(&[&pseudo6(packet.get(8..40)?, message), message]) != 0 {
        return None;
    }
    Some(Icmp6 { from: Mac::new(octets(frame, 6)?), source: octets::<16>(packet, 8)?.into(), message })
}

/// An ICMPv6 message in a frame, with its checksum; a message has at least 4 octets and at most 65,535.
pub(crate) fn icmp6_frame([from, to]: [Mac; 2], [source, destination]: [Ipv6Addr; 2], mut message: Vec<u8>) -> Vec<u8> {
    let addresses = [source.octets(), destination.octets()].concat();
    set16(&mut message, 2, 0);
    let sum = checksum(&[&pseudo6(&addresses, &message), &message]);
    set16(&mut message, 2, sum);
    let header = [&[0x60, 0, 0, 0][..], &(message.len() as u16).to_be_bytes(), &[ICMPV6, 255], &addresses].concat();
    [&to.octets()[..], &from.octets(), &ETHERTYPE_IPV6, &header, &message].concat()
}

/// The addresses, the length and the protocol, which the checksum covers too.
fn pseudo6(addresses: &[u8], message: &[u8]) -> Vec<u8> {
    [addresses, &(message.len() as u32).to_be_bytes(), &[0, 0, 0, ICMPV6]].concat()
}

/// The Internet checksum (RFC 1071); zero over what carries the right one. Only the last part may have an odd length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let pairs = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u64 =
        pairs.map(|pair| u64::from(pair.first().copied().unwrap_or(0)) << 8 | u64::from(pair.get(1).copied().unwrap_or(0))).sum();
    let mut sum = sum;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn non_zero(sum: u16) -> u16 {
    if sum == 0 { u16::MAX } else { sum }
}

fn set16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
    const THERE: Mac = Mac::new([2, 0, 0, 0, 0, 2]);

    #[test]
    fn the_checksum_is_the_internets() {
        // The example of RFC 1071, section 3.
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03], &[0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(checksum(&[&[1, 2], &[3]]), !0x0402);
    }

    #[test]
    fn udp_reads_back_for_its_port_only() {
        let [source, destination] = ["10.0.0.1:67", "10.0.0.2:68"].map(|a| a.parse().unwrap());
        let frame = Udp4 { from: HERE, to: THERE, source, destination }.frame(b"payload");
        assert_eq!((udp4(&frame, 68), udp4(&frame, 67)), (Some(&b"payload"[..]), None));
        let mut fragment = frame.clone();
        fragment[20] = 0x20;
        assert_eq!(udp4(&fragment, 68), None, "a fragment, and its checksum is wrong");
        // What follows the packet pads the frame.
        assert_eq!(udp4(&[&frame[..], &[9; 20]].concat(), 68), Some(&b"payload"[..]));
        (0..frame.len()).for_each(|len| assert_eq!(udp4(&frame[..len], 68), None));
    }

    #[test]
    fn icmp6_reads_back_and_a_wrong_sum_does_not() {
        let addresses = ["fe80::1", "ff02::1"].map(|a| a.parse().unwrap());
        let frame = icmp6_frame([HERE, THERE], addresses, vec![134, 0, 0, 0, 1, 2, 3]);
        let read = icmp6(&frame).unwrap();
        assert_eq!((read.from, read.source, read.message.len()), (HERE, addresses[0], 7));
        for n in 14..frame.len() {
            let mut wrong = frame.clone();
            wrong[n] ^= 0x10;
            // Traffic class and flow label aren't covered.
            assert!(icmp6(&wrong).is_none() || (14..18).contains(&n), "octet {n}");
        }
    }
}
