//! Messages to the kernel: `struct nlmsghdr`, a fixed part, attributes (`netlink(7)`), several of them in one [`Batch`].
//!
//! ```text
//!   len:u32  type:u16  flags:u16  seq:u32  port:u32 | fixed part | len:u16 type:u16 payload, padded to 4 | ...
//! ```
//!
//! Numbers are in the machine's byte order. An attribute's length has 16 bits: a longer payload is an error when the message is sent, it
//! never wraps.

use crate::error::{Error, Kind, Result};
use linux_raw_sys::netlink as nl;
use std::fmt;

/// Bytes of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// A message's type, and what the kernel's headers call it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    number: u16,
    name: &'static str,
}

macro_rules! calls {
    ($($name:ident = $raw:ident),* $(,)?) => {
        impl Call {
            $(#[doc = concat!("`", stringify!($raw), "`")]
              pub const $name: Call = Call::new(nl::$raw as u16, stringify!($raw));)*
        }
    };
}

calls! {
    NEWLINK = RTM_NEWLINK, DELLINK = RTM_DELLINK, GETLINK = RTM_GETLINK, SETLINK = RTM_SETLINK,
    NEWLINKPROP = RTM_NEWLINKPROP, DELLINKPROP = RTM_DELLINKPROP, NEWADDR = RTM_NEWADDR, DELADDR = RTM_DELADDR, GETADDR = RTM_GETADDR,
    NEWROUTE = RTM_NEWROUTE, DELROUTE = RTM_DELROUTE, GETROUTE = RTM_GETROUTE,
}

impl Call {
    /// A type that this crate has no constant for.
    pub const fn new(number: u16, name: &'static str) -> Call {
        Call { number, name }
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.number
    }

    /// The name.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

bitflags::bitflags! {
    /// `NLM_F_*` of a request; `NLM_F_REQUEST` and `NLM_F_ACK` are added when it is sent.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Flags: u16 {
        /// `NLM_F_CREATE`: make it if it isn't there.
        const CREATE = nl::NLM_F_CREATE as u16;
        /// `NLM_F_EXCL`: fail if it is.
        const EXCL = nl::NLM_F_EXCL as u16;
        /// `NLM_F_REPLACE`
        const REPLACE = nl::NLM_F_REPLACE as u16;
        /// `NLM_F_APPEND`
        const APPEND = nl::NLM_F_APPEND as u16;
        const _ = !0;
    }
}

/// One request, built from left to right.
///
/// ```
/// use ns_net::message::{Call, Flags, Message};
/// const IFLA_IFNAME: u16 = 3;
/// const IFLA_LINKINFO: u16 = 18;
/// const IFLA_INFO_KIND: u16 = 1;
/// let dummy = Message::new(Call::NEWLINK, Flags::CREATE | Flags::EXCL)
///     .fixed(&[0; 16])
///     .string(IFLA_IFNAME, b"dummy0")
///     .nest(IFLA_LINKINFO, |m| m.string(IFLA_INFO_KIND, b"dummy"));
/// assert_eq!(dummy.as_bytes()[..4], 60u32.to_ne_bytes());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    call: Call,
    bytes: Vec<u8>,
    overlong: bool,
}

impl Message {
    /// An empty message of this type.
    pub fn new(call: Call, flags: Flags) -> Message {
        let mut bytes = vec![0; HEADER];
        put(&mut bytes, 4, &call.number.to_ne_bytes());
        put(&mut bytes, 6, &(flags.bits() | nl::NLM_F_REQUEST as u16).to_ne_bytes());
        Message { call, bytes, overlong: false }.closed()
    }

    /// The fixed part (`struct ifinfomsg` and the like), or the head of a nest that has one.
    pub fn fixed(mut self, bytes: &[u8]) -> Message {
        self.bytes.extend_from_slice(bytes);
        self.closed()
    }

    /// An attribute of these bytes.
    pub fn attribute(mut self, kind: u16, payload: &[u8]) -> Message {
        let start = self.open(kind);
        self.bytes.extend_from_slice(payload);
        self.close(start)
    }

    /// A null-terminated string.
    pub fn string(mut self, kind: u16, text: &[u8]) -> Message {
        let start = self.open(kind);
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        self.close(start)
    }

    /// A 32-bit number.
    pub fn number(self, kind: u16, value: u32) -> Message {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// A 32-bit number in network byte order, as netfilter wants them.
    pub fn number_be(self, kind: u16, value: u32) -> Message {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// An attribute of what `inner` adds, marked `NLA_F_NESTED`.
    pub fn nest(self, kind: u16, inner: impl FnOnce(Message) -> Message) -> Message {
        self.nest_unmarked(kind | nl::NLA_F_NESTED as u16, inner)
    }

    /// The same without `NLA_F_NESTED`, for attributes that begin with a fixed part.
    pub fn nest_unmarked(mut self, kind: u16, inner: impl FnOnce(Message) -> Message) -> Message {
        let start = self.open(kind);
        inner(self).close(start)
    }

    /// The message if there is a value to add, unchanged without.
    pub fn with<T>(self, value: Option<T>, add: impl FnOnce(Message, T) -> Message) -> Message {
        match value {
            Some(value) => add(self, value),
            None => self,
        }
    }

    /// The bytes so far; the lengths in them are right.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    /// Writes the length of the attribute at `start`, which excludes the padding that follows.
    fn close(mut self, start: usize) -> Message {
        match u16::try_from(self.bytes.len() - start) {
            Ok(len) => put(&mut self.bytes, start, &len.to_ne_bytes()),
            Err(_) => self.overlong = true,
        }
        self.closed()
    }

    fn closed(mut self) -> Message {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        match u32::try_from(self.bytes.len()) {
            Ok(len) => put(&mut self.bytes, 0, &len.to_ne_bytes()),
            Err(_) => self.overlong = true,
        }
        self
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.call.name, self.bytes.len())
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// A request with its operation in words, for the error.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub what: String,
    pub message: Message,
}

impl Request {
    pub fn call(&self) -> &'static str {
        self.message.call.name
    }

    /// Appends the message with its sequence number and further flags.
    pub fn encode(&self, sequence: u32, flags: u16, into: &mut Vec<u8>) -> Result<()> {
        if self.message.overlong {
            return Err(Error::refused(Kind::Invalid, &self.what, format!("{}: an attribute is longer than 65,535 bytes", self.call())));
        }
        let start = into.len();
        into.extend_from_slice(&self.message.bytes);
        let header = into.get_mut(start..).unwrap_or_default();
        let old = header.get(6..8).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes);
        put(header, 6, &(old | flags).to_ne_bytes());
        put(header, 8, &sequence.to_ne_bytes());
        Ok(())
    }
}

/// Several requests that go to the kernel in one call (64 at a time) and are run in order.
///
/// The kernel runs the later ones though an earlier one has failed: put together only what may be.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) requests: Vec<Request>,
}

impl Batch {
    /// No request.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a request; `what` says the operation and its object in an error.
    pub fn add(&mut self, what: impl fmt::Display, message: Message) -> &mut Batch {
        self.requests.push(Request { what: what.to_string(), message });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{attributes, replies};

    fn encoded(message: Message, sequence: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        Request { what: "test".into(), message }.encode(sequence, nl::NLM_F_ACK as u16, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_bytes_are_the_kernels() {
        let message = Message::new(Call::GETLINK, Flags::empty()).fixed(&[0xaa; 4]).attribute(3, b"abc").number(4, 7);
        let expected = [
            &36u32.to_ne_bytes()[..],
            &18u16.to_ne_bytes(),
            &5u16.to_ne_bytes(),
            &9u32.to_ne_bytes(),
            &[0; 4],
            &[0xaa; 4],
            &7u16.to_ne_bytes(),
            &3u16.to_ne_bytes(),
            b"abc\0",
            &8u16.to_ne_bytes(),
            &4u16.to_ne_bytes(),
            &7u32.to_ne_bytes(),
        ];
        assert_eq!(encoded(message, 9), expected.concat());
    }

    #[test]
    fn a_nest_holds_what_was_put_in() {
        let message = Message::new(Call::NEWLINK, Flags::CREATE).nest(18, |m| m.string(1, b"veth").nest_unmarked(2, |m| m.fixed(&[1; 5])));
        let bytes = encoded(message, 1);
        let reply = replies(&bytes).next().unwrap().unwrap();
        let outer: Vec<_> = attributes(reply.body).map(|a| a.unwrap()).collect();
        assert_eq!(outer.len(), 1);
        let inner: Vec<_> = attributes(outer[0].1).map(|a| a.unwrap()).collect();
        // Inside a nest the padding of a fixed part counts.
        assert_eq!(inner, [(1, &b"veth\0"[..]), (2, &[1, 1, 1, 1, 1, 0, 0, 0][..])]);
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_never_wraps() {
        let most = Message::new(Call::NEWLINK, Flags::empty()).attribute(1, &[0; 65_531]);
        assert!(!most.overlong);
        for message in [
            Message::new(Call::NEWLINK, Flags::empty()).attribute(1, &[0; 65_532]),
            Message::new(Call::NEWLINK, Flags::empty()).string(1, &[0; 65_531]),
            Message::new(Call::NEWLINK, Flags::empty()).nest(1, |m| m.attribute(1, &[0; 65_528]).number(2, 2)),
        ] {
            let error = Request { what: "test".into(), message }.encode(1, 0, &mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
        }
    }

    /// What is built, whatever its shape, reads back as it was.
    #[test]
    fn random_messages_read_back() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for round in 0..2_000 {
            let wanted: Vec<(u16, Vec<u8>)> =
                (0..random(9)).map(|_| (random(0x3fff) as u16, (0..random(70)).map(|_| random(256) as u8).collect())).collect();
            let message = wanted.iter().fold(Message::new(Call::NEWLINK, Flags::empty()).fixed(&[0; 16]), |m, (k, p)| m.attribute(*k, p));
            let bytes = encoded(message, round);
            let found: Vec<_> = replies(&bytes).map(|r| r.unwrap()).collect();
            assert_eq!((found.len(), found[0].sequence), (1, round));
            let back: Vec<_> = attributes(&found[0].body[16..]).map(|a| a.map(|(k, p)| (k, p.to_vec())).unwrap()).collect();
            assert_eq!(back, wanted);
        }
    }
}
