//! DNS messages (RFC 1035, 6891): a query's question, an answer about a machine, and whether an answer is one to a query.
#![forbid(unsafe_code)]

use crate::frame::{be16, octets};
use std::net::IpAddr;

const HEADER: usize = 12;
/// A name's labels and their lengths.
const LONGEST_NAME: usize = 255;
/// How long a machine's address may be remembered, in seconds.
const TTL: u32 = 5;
/// So that an answer fits 512 octets without EDNS.
const ADDRESSES: usize = 8;
/// The largest answer that we would take ourselves.
const OUR_SIZE: u16 = 1232;

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const AUTHORITATIVE: u16 = 0x0400;
#[cfg(test)]
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const CHECKING_DISABLED: u16 = 0x0010;
const DNSSEC_OK: u16 = 0x8000;

/// Types of records.
pub(super) mod kind {
    pub const A: u16 = 1;
    pub const OPT: u16 = 41;
    pub const AAAA: u16 = 28;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const ANY: u16 = 255;
}

/// Response codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// A query with one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query<'a> {
    id: u16,
    flags: u16,
    /// The question as it is in the message.
    pub question: &'a [u8],
    /// Its name in small letters with dots, where it may be a host's.
    pub name: Option<String>,
    pub kind: u16,
    pub internet: bool,
    /// The flags of its EDNS record, if it has one.
    edns: Option<u16>,
}

/// What is no query that could be looked at further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// No answer, or else two servers could answer each other for ever.
    Ignored,
    Answered(Vec<u8>),
}

impl<'a> Query<'a> {
    /// Reads the header, the question and, where it comes next, the EDNS record.
    pub fn parse(message: &'a [u8]) -> Result<Query<'a>, Unfit> {
        let (Some(id), Some(flags)) = (be16(message, 0), be16(message, 2)) else { return Err(Unfit::Ignored) };
        if message.len() < HEADER || flags & RESPONSE != 0 {
            return Err(Unfit::Ignored);
        }
        let mut query = Query { id, flags, question: &[], name: None, kind: 0, internet: false, edns: None };
        if flags & OPCODE != 0 {
            return Err(Unfit::Answered(query.answer(Code::NotImplemented, &[])));
        }
        let one_question = be16(message, 4) == Some(1);
        query.read(message).filter(|()| one_question).ok_or_else(|| Unfit::Answered(query.bare(Code::FormatError)))?;
        Ok(query)
    }

    fn read(&mut self, message: &'a [u8]) -> Option<()> {
        let (name, end) = name_at(message, HEADER)?;
        self.question = message.get(HEADER..end + 4)?;
        self.name = name;
        self.kind = be16(message, end)?;
        self.internet = be16(message, end + 2)? == 1;
        let records = octets::<6>(message, 6)?;
        // The root's name, the type, the size, then the flags' upper half: `OPT` of RFC 6891, 6.1.2.
        let next = message.get(end + 4..)?;
        if records[..4] == [0; 4] && records[4..] != [0; 2] && next.first() == Some(&0) && be16(next, 1) == Some(kind::OPT) {
            self.edns = be16(next, 7);
        }
        Some(())
    }

    /// Whether it asks for a zone as a whole, in any number of messages.
    pub fn is_transfer(&self) -> bool {
        [kind::IXFR, kind::AXFR].contains(&self.kind)
    }

    /// An answer with those addresses that were asked for.
    pub fn answer(&self, code: Code, addresses: &[IpAddr]) -> Vec<u8> {
        let wanted = |a: &&IpAddr| self.kind == kind::ANY || self.kind == if a.is_ipv4() { kind::A } else { kind::AAAA };
        let records: Vec<Vec<u8>> = addresses.iter().filter(wanted).take(ADDRESSES).map(record).collect();
        let mut answer = self.header(code, records.len() as u16);
        answer.extend_from_slice(self.question);
        answer.extend(records.concat());
        if let Some(flags) = self.edns {
            let [size, flags] = [OUR_SIZE, flags & DNSSEC_OK].map(u16::to_be_bytes);
            answer.extend([&[0, 0, kind::OPT as u8][..], &size, &[0, 0], &flags, &[0, 0]].concat());
        }
        answer
    }

    /// An answer without the question, which couldn't be read.
    fn bare(&self, code: Code) -> Vec<u8> {
        Query { question: &[], edns: None, ..self.clone() }.answer(code, &[])
    }

    fn header(&self, code: Code, answers: u16) -> Vec<u8> {
        let own = if matches!(code, Code::NoError | Code::NameError) { AUTHORITATIVE } else { 0 };
        let flags = RESPONSE | self.flags & (OPCODE | RECURSION_DESIRED | CHECKING_DISABLED) | RECURSION_AVAILABLE | own | code as u16;
        [self.id, flags, u16::from(!self.question.is_empty()), answers, 0, self.edns.is_some().into()].map(u16::to_be_bytes).concat()
    }
}

/// A record about the name in the question.
fn record(address: &IpAddr) -> Vec<u8> {
    let (kind, octets) = match address {
        IpAddr::V4(ip) => (kind::A, ip.octets().to_vec()),
        IpAddr::V6(ip) => (kind::AAAA, ip.octets().to_vec()),
    };
    let pointer = 0xc000 | HEADER as u16;
    [&pointer.to_be_bytes()[..], &kind.to_be_bytes(), &[0, 1], &TTL.to_be_bytes(), &(octets.len() as u16).to_be_bytes(), &octets].concat()
}

/// A name that isn't compressed, and where it ends; no text if it has octets that no host's name has.
fn name_at(message: &[u8], start: usize) -> Option<(Option<String>, usize)> {
    let mut at = start;
    let mut text = Some(String::new());
    loop {
        let len = usize::from(*message.get(at)?);
        let label = message.get(at + 1..at + 1 + len).filter(|_| len <= 63)?;
        at += 1 + len;
        if at - start > LONGEST_NAME {
            return None;
        }
        if len == 0 {
            return Some((text, at));
        }
        let plain = label.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b));
        text = text.filter(|_| plain).map(|text| join(text, label));
    }
}

fn join(mut text: String, label: &[u8]) -> String {
    if !text.is_empty() {
        text.push('.');
    }
    text.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
    text
}

/// Whether a message answers the question asked under this number: who can't see the query must guess number and port.
pub(super) fn is_answer(message: &[u8], id: u16, question: &[u8]) -> bool {
    let head = be16(message, 0) == Some(id) && be16(message, 2).is_some_and(|flags| flags & RESPONSE != 0) && be16(message, 4) == Some(1);
    head && message.get(HEADER..HEADER + question.len()).is_some_and(|q| q.eq_ignore_ascii_case(question))
}

/// Whether a server gave up or refused: another may know.
pub(super) fn has_failed(message: &[u8]) -> bool {
    let code = be16(message, 2).map_or(0, |flags| flags & 15);
    [Code::ServerFailure, Code::Refused].iter().any(|c| *c as u16 == code)
}

/// Whether the rest has to be asked for by TCP.
#[cfg(test)]
pub(super) fn is_truncated(message: &[u8]) -> bool {
    be16(message, 2).is_some_and(|flags| flags & TRUNCATED != 0)
}

/// Puts another number in a message.
pub(super) fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.get_mut(..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
}

/// A query for tests.
#[cfg(test)]
pub(super) fn query(id: u16, name: &str, kind: u16, edns: bool) -> Vec<u8> {
    let mut message = [id, RECURSION_DESIRED, 1, 0, 0, edns.into()].map(u16::to_be_bytes).concat();
    message.extend(name.split('.').filter(|l| !l.is_empty()).flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()));
    message.extend([&[0][..], &kind.to_be_bytes(), &[0, 1]].concat());
    if edns {
        message.extend([0, 0, 41, 16, 0, 0, 0, 0x80, 0, 0, 0]);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read() {
        let message = query(7, "Web.Machines", kind::AAAA, true);
        let read = Query::parse(&message).unwrap();
        assert_eq!((read.id, read.name.as_deref(), read.kind, read.internet, read.edns), (7, Some("web.machines"), 28, true, Some(0x8000)));
        assert_eq!(read.question.len(), 18);
        let strange = query(7, "a b.c", 1, false);
        assert_eq!(Query::parse(&strange).unwrap().name, None);
        let root = query(7, "", 2, false);
        assert_eq!(Query::parse(&root).unwrap().name.as_deref(), Some(""));
    }

    #[test]
    fn an_answer_has_what_was_asked_for() {
        let message = query(7, "web", kind::A, true);
        let read = Query::parse(&message).unwrap();
        let answer = read.answer(Code::NoError, &["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()]);
        let expected = [
            &[0, 7, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 1][..],
            &[3, b'w', b'e', b'b', 0, 0, 1, 0, 1],
            &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, 2],
            &[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0],
        ];
        assert_eq!(answer, expected.concat());
        assert!(is_answer(&answer, 7, read.question) && !is_answer(&answer, 8, read.question) && !has_failed(&answer));
        assert!(!is_answer(&message, 7, read.question), "a query is none");
        let many: Vec<IpAddr> = (0..99).map(|n| IpAddr::from([0xfd, 0, 0, 0, 0, 0, 0, n])).collect();
        let longest = query(7, &format!("{}.machines", "x".repeat(63)), kind::ANY, false);
        assert!(Query::parse(&longest).unwrap().answer(Code::NoError, &many).len() <= 512);
    }

    #[test]
    fn what_is_no_query_is_ignored_or_told_so() {
        let good = query(7, "web", kind::A, false);
        let with = |at: usize, value: u8| {
            let mut bad = good.clone();
            bad[at] = value;
            match Query::parse(&bad) {
                Err(Unfit::Answered(answer)) => Some(be16(&answer, 2).unwrap() & 15),
                Err(Unfit::Ignored) => None,
                Ok(_) => panic!("octet {at}"),
            }
        };
        assert_eq!((with(2, 0x81), with(2, 0x28), with(5, 2), with(12, 0xc0), with(12, 64)), (None, Some(4), Some(1), Some(1), Some(1)));
        for len in 0..good.len() {
            assert_eq!(matches!(Query::parse(&good[..len]), Err(Unfit::Ignored)), len < 12, "{len} octets");
        }
        let long = query(7, &vec!["x".repeat(63); 4].join("."), kind::A, false);
        assert!(Query::parse(&long).is_err());
    }

    #[test]
    fn random_damage_is_survived() {
        let mut random = crate::random::Random::new(3);
        let good = query(7, "web.machines", kind::AAAA, true);
        for _ in 0..20_000 {
            let message = random.damaged(&good, 4);
            if let Ok(query) = Query::parse(&message) {
                assert!(query.answer(Code::NameError, &[]).len() <= message.len() + 11);
            }
            let _ = (is_answer(&message, 7, b"abc"), has_failed(&message), is_truncated(&message));
        }
    }
}
