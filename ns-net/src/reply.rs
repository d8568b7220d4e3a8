//! What the kernel answers, taken apart: bounded by the bytes there are, free of panics and allocations, whatever the bytes.

use linux_raw_sys::netlink as nl;
use std::fmt;

const HEADER: usize = crate::message::HEADER;

/// The bytes are no message or attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled;

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message or attribute with an impossible length")
    }
}

impl std::error::Error for Garbled {}

/// One message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// `nlmsg_type`
    pub kind: u16,
    /// `nlmsg_flags`
    pub flags: u16,
    /// `nlmsg_seq`
    pub sequence: u32,
    /// What follows the header: a fixed part, then attributes.
    pub body: &'a [u8],
}

/// What became of a request: `NLMSG_ERROR`, or `NLMSG_DONE` at the end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// A positive error number; 0: done.
    pub errno: i32,
    /// The kernel's own words (`NLMSGERR_ATTR_MSG`), without the null; often none.
    pub text: &'a [u8],
    /// The attribute that was found missing (`NLMSGERR_ATTR_MISS_TYPE`). Linux 6.1.
    pub missing: Option<u32>,
}

/// The messages of a datagram. Ends after the first [`Garbled`].
pub fn replies(datagram: &[u8]) -> Replies<'_> {
    Replies { rest: datagram }
}

/// Iterator of [`replies`].
#[derive(Clone, Debug)]
pub struct Replies<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Replies<'a> {
    type Item = Result<Reply<'a>, Garbled>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let reply = read_reply(self.rest);
        let used = reply.map_or(usize::MAX, |r| HEADER + r.body.len());
        self.rest = after(self.rest, used);
        Some(reply.ok_or(Garbled))
    }
}

fn read_reply(bytes: &[u8]) -> Option<Reply<'_>> {
    let len = read_u32(bytes, 0)? as usize;
    let body = bytes.get(HEADER..len)?;
    Some(Reply { kind: read_u16(bytes, 4)?, flags: read_u16(bytes, 6)?, sequence: read_u32(bytes, 8)?, body })
}

impl<'a> Reply<'a> {
    /// The message as an acknowledgement, if it is one.
    pub fn ack(&self) -> Option<Ack<'a>> {
        let words_at = match u32::from(self.kind) {
            nl::NLMSG_DONE => 4,
            nl::NLMSG_ERROR => self.words_of_error(),
            _ => return None,
        };
        // A list's end may come without a status.
        let errno = read_u32(self.body, 0).map_or(0, |n| (n as i32).checked_neg().unwrap_or(i32::MAX));
        let mut ack = Ack { errno, text: &[], missing: None };
        if self.flags & nl::NLM_F_ACK_TLVS as u16 != 0 {
            ack.read_words(self.body.get(words_at..).unwrap_or_default());
        }
        Some(ack)
    }

    /// Where the attributes of an error begin: after the status and the request's header, and its body too unless it was left out.
    fn words_of_error(&self) -> usize {
        let capped = self.flags & nl::NLM_F_CAPPED as u16 != 0;
        let echoed = if capped { HEADER } else { read_u32(self.body, 4).unwrap_or(0) as usize };
        echoed.max(HEADER).saturating_add(3) / 4 * 4 + 4
    }
}

impl<'a> Ack<'a> {
    fn read_words(&mut self, bytes: &'a [u8]) {
        for (kind, payload) in attributes(bytes).map_while(Result::ok) {
            if kind == nl::nlmsgerr_attrs::NLMSGERR_ATTR_MSG as u16 {
                self.text = until_null(payload);
            } else if kind == nl::nlmsgerr_attrs::NLMSGERR_ATTR_MISS_TYPE as u16 {
                self.missing = read_u32(payload, 0);
            }
        }
    }
}

/// The attributes in these bytes: type without its flag bits, and payload. Ends after the first [`Garbled`].
pub fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { rest: bytes }
}

/// Iterator of [`attributes`].
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), Garbled>;

    fn next(&mut self) -> Option<Self::Item> {
        // Fewer bytes than a header's are padding.
        if self.rest.len() < 4 {
            return None;
        }
        let attribute = read_attribute(self.rest);
        let used = attribute.map_or(usize::MAX, |(_, payload)| 4 + payload.len());
        self.rest = after(self.rest, used);
        Some(attribute.ok_or(Garbled))
    }
}

fn read_attribute(bytes: &[u8]) -> Option<(u16, &[u8])> {
    const TYPE: u16 = !(nl::NLA_F_NESTED as u16 | nl::NLA_F_NET_BYTEORDER as u16);
    let payload = bytes.get(4..usize::from(read_u16(bytes, 0)?))?;
    Some((read_u16(bytes, 2)? & TYPE, payload))
}

/// What follows `used` bytes and their padding.
fn after(bytes: &[u8], used: usize) -> &[u8] {
    bytes.get(used.checked_next_multiple_of(4).unwrap_or(usize::MAX)..).unwrap_or_default()
}

/// The bytes before the first null.
pub(crate) fn until_null(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

pub(crate) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
}

pub(crate) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        [&((HEADER + body.len()) as u32).to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[1, 0, 0, 0, 0, 0, 0, 0], body]
            .concat()
    }

    fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
        let padding = payload.len().next_multiple_of(4) - payload.len();
        [&((4 + payload.len()) as u16).to_ne_bytes()[..], &kind.to_ne_bytes(), payload, &[0, 0, 0][..padding]].concat()
    }

    #[test]
    fn an_error_brings_the_kernels_words() {
        let words = [attribute(1, b"Unknown device type\0"), attribute(5, &9u32.to_ne_bytes())].concat();
        // Capped: only the request's header is there. Not capped: 4 bytes of body follow it.
        let capped = [&(-95i32).to_ne_bytes()[..], &[0; 16], &words].concat();
        let whole = [&(-95i32).to_ne_bytes()[..], &20u32.to_ne_bytes(), &[0; 16], &words].concat();
        for (flags, body) in [(0x300, capped), (0x200, whole)] {
            let bytes = message(2, flags, &body);
            let ack = replies(&bytes).next().unwrap().unwrap().ack().unwrap();
            assert_eq!(ack, Ack { errno: 95, text: b"Unknown device type", missing: Some(9) });
        }
    }

    #[test]
    fn an_end_of_a_list_is_an_ack_too() {
        let bytes = message(3, 2, &0u32.to_ne_bytes());
        assert_eq!(replies(&bytes).next().unwrap().unwrap().ack().unwrap().errno, 0);
        let link = message(16, 0, &[0; 16]);
        assert_eq!(replies(&link).next().unwrap().unwrap().ack(), None);
    }

    #[test]
    fn impossible_lengths_end_it() {
        for len in [0u32, 1, 15, 17, u32::MAX, 1 << 31] {
            let mut bytes = message(16, 0, &[]);
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(replies(&bytes).collect::<Vec<_>>(), [Err(Garbled)], "{len}");
        }
        for len in [0u16, 3, 9, u16::MAX] {
            let mut bytes = attribute(1, &[0; 4]);
            bytes[..2].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(attributes(&bytes).collect::<Vec<_>>(), [Err(Garbled)], "{len}");
        }
        assert_eq!(attributes(&[1, 2, 3]).count(), 0);
    }

    /// Any bytes: no panic, an end, and nothing beyond them.
    #[test]
    fn random_bytes_do_no_harm() {
        let mut seed = 88_172_645_463_325_252u64;
        for _ in 0..50_000 {
            let bytes: Vec<u8> = (0..96)
                .map(|i| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    // Small lengths often, so that the walk gets somewhere.
                    if i % 4 == 1 && seed & 7 != 0 { 0 } else { (seed >> 32) as u8 & 0x3f }
                })
                .collect();
            for reply in replies(&bytes).map_while(Result::ok) {
                let _ = reply.ack();
                let _ = crate::Link::parse(reply.body);
                let _ = (crate::AddressEntry::parse(reply.body), crate::RouteEntry::parse(reply.body));
                assert!(attributes(reply.body).count() <= bytes.len() / 4 + 1);
            }
            let _ = crate::Link::parse(&bytes);
            let _ = (crate::AddressEntry::parse(&bytes), crate::RouteEntry::parse(&bytes));
        }
    }
}
