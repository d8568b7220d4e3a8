//! DHCP messages (RFC 2131, 2132): what a client's says, and an answer's octets.
#![forbid(unsafe_code)]

use crate::frame::octets;
use crate::mac::Mac;
use std::net::Ipv4Addr;

const BOOTREQUEST: u8 = 1;
const BOOTREPLY: u8 = 2;
const ETHERNET: u8 = 1;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Header, server's name, boot file and cookie.
const FIXED: usize = 240;
/// BOOTP's length: some clients take no shorter answer.
const SHORTEST: usize = 300;

/// Option codes.
pub(super) mod option {
    pub const MASK: u8 = 1;
    pub const ROUTER: u8 = 3;
    pub const DNS: u8 = 6;
    pub const DOMAIN: u8 = 15;
    pub const MTU: u8 = 26;
    pub const REQUESTED: u8 = 50;
    pub const LEASE: u8 = 51;
    pub const KIND: u8 = 53;
    pub const SERVER: u8 = 54;
    pub const CLIENT: u8 = 61;
    pub const RAPID_COMMIT: u8 = 80;
    pub const PAD: u8 = 0;
    pub const END: u8 = 255;
}

/// Option 53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Discover,
    Offer,
    Request,
    Ack,
    Nak,
    Inform,
}

impl Kind {
    /// Those that a client sends and a server answers.
    fn of_client(number: u8) -> Option<Kind> {
        match number {
            1 => Some(Kind::Discover),
            3 => Some(Kind::Request),
            8 => Some(Kind::Inform),
            _ => None,
        }
    }

    fn number(self) -> u8 {
        match self {
            Kind::Discover => 1,
            Kind::Offer => 2,
            Kind::Request => 3,
            Kind::Ack => 5,
            Kind::Nak => 6,
            Kind::Inform => 8,
        }
    }
}

/// What a client's message says, as far as an answer depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub kind: Kind,
    /// Number, seconds and flags, which the answer repeats.
    transaction: [u8; 4],
    flags: [u8; 2],
    /// The address that it has and uses; 0.0.0.0 before.
    pub client: Ipv4Addr,
    pub mac: Mac,
    /// The address that it would like.
    pub requested: Option<Ipv4Addr>,
    /// The server whose offer it takes.
    pub server: Option<Ipv4Addr>,
    pub rapid_commit: bool,
    identifier: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// Reads a client's message; `None` for any other and for what came through a relay. Of an option that comes twice the first counts;
    /// options in place of a boot file's name are not looked for.
    pub fn parse(message: &'a [u8]) -> Option<Request<'a>> {
        let ethernet = message.get(..3)? == [BOOTREQUEST, ETHERNET, 6];
        let relay: Ipv4Addr = octets::<4>(message, 24)?.into();
        if !ethernet || !relay.is_unspecified() || octets(message, FIXED - 4)? != COOKIE {
            return None;
        }
        let options = message.get(FIXED..)?;
        let address = |code| find(options, code).and_then(|v| octets::<4>(v, 0)).map(Ipv4Addr::from);
        Some(Request {
            kind: Kind::of_client(*find(options, option::KIND)?.first()?)?,
            transaction: octets(message, 4)?,
            flags: octets(message, 10)?,
            client: octets::<4>(message, 12)?.into(),
            mac: Mac::new(octets(message, 28)?),
            requested: address(option::REQUESTED),
            server: address(option::SERVER),
            rapid_commit: find(options, option::RAPID_COMMIT).is_some(),
            identifier: find(options, option::CLIENT),
        })
    }

    /// Whether it can't take an answer that is sent to an address it hasn't got yet.
    pub fn wants_broadcast(&self) -> bool {
        self.flags[0] & 0x80 != 0
    }
}

/// The value of the first option of this code.
fn find(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match options {
            [option::PAD, rest @ ..] => options = rest,
            [option::END, ..] | [] | [_] => return None,
            [code, len, rest @ ..] => {
                let (value, behind) = rest.split_at_checked(usize::from(*len))?;
                if *code == wanted {
                    return Some(value);
                }
                options = behind;
            }
        }
    }
}

/// An answer that is being put together.
#[derive(Debug)]
pub(crate) struct Reply(Vec<u8>);

impl Reply {
    /// To this request: `yours` is the address it gets.
    pub fn to(request: &Request<'_>, kind: Kind, yours: Ipv4Addr) -> Reply {
        let client = if kind == Kind::Nak { Ipv4Addr::UNSPECIFIED } else { request.client };
        let head = [&[BOOTREPLY, ETHERNET, 6, 0][..], &request.transaction, &[0; 2], &request.flags, &client.octets(), &yours.octets()];
        let mut bytes = head.concat();
        bytes.resize(28, 0);
        bytes.extend_from_slice(&request.mac.octets());
        bytes.resize(FIXED - 4, 0);
        bytes.extend_from_slice(&COOKIE);
        Reply(bytes).option(option::KIND, &[kind.number()])
    }

    /// Adds an option; nothing for one without a value that must have one, and never more than 255 octets.
    pub fn option(mut self, code: u8, value: &[u8]) -> Reply {
        let value = value.get(..value.len().min(255)).unwrap_or_default();
        self.0.extend_from_slice(&[code, value.len() as u8]);
        self.0.extend_from_slice(value);
        self
    }

    /// The octets; the client's identifier is repeated (RFC 6842).
    pub fn finish(self, request: &Request<'_>) -> Vec<u8> {
        let Reply(mut bytes) = match request.identifier {
            Some(identifier) => self.option(option::CLIENT, identifier),
            None => self,
        };
        bytes.push(option::END);
        bytes.resize(bytes.len().max(SHORTEST), 0);
        bytes
    }
}

/// What an answer says, for tests.
#[cfg(test)]
pub(super) fn option_of(answer: &[u8], code: u8) -> Option<&[u8]> {
    find(answer.get(FIXED..)?, code)
}

/// Its kind by number and the address it gives.
#[cfg(test)]
pub(super) fn gist(answer: &[u8]) -> (u8, Ipv4Addr) {
    assert_eq!((answer[0], octets(answer, 236)), (BOOTREPLY, Some(COOKIE)));
    (option_of(answer, option::KIND).unwrap()[0], octets::<4>(answer, 16).unwrap().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_between_padding_and_never_beyond_the_end() {
        assert_eq!(find(&[0, 0, 53, 1, 3, 50, 2, 9, 9, 255, 54, 0], 50), Some(&[9, 9][..]));
        assert_eq!(find(&[53, 1, 3, 255, 54, 0], 54), None);
        for broken in [&[53][..], &[53, 2, 1], &[1, 255, 0, 53, 1, 1], &[]] {
            assert_eq!(find(broken, 53), None, "{broken:?}");
        }
    }
}
