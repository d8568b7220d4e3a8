//! Of ns-net: netlink's answers, frames of guests, names and addresses.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use ns_net::nft::{ChainEntry, Protocol, RuleEntry};
use ns_net::reply::{attributes, replies};
use ns_net::{AddressEntry, Dhcp, Dns, Forward, IfName, IpNet, Link, Mac, MachineId, RouteEntry, Router, resolvers};

use crate::{fixed, text};

/// What a netlink socket says: each part is of the bytes, and it ends.
pub fn netlink(bytes: &[u8]) {
    for reply in replies(bytes).map_while(Result::ok) {
        let _ = reply.ack();
    }
    for _ in attributes(bytes) {}
    let _ = (Link::parse(bytes), AddressEntry::parse(bytes), RouteEntry::parse(bytes));
    let _ = (ChainEntry::parse(bytes), RuleEntry::parse(bytes));
}

/// A frame of a guest: an answer fits into one.
pub fn dhcp(bytes: &[u8]) {
    let server = Dhcp::new([10, 0, 0, 2].into(), 24, [10, 0, 0, 1].into()).expect("a network").routed().resolver([10, 0, 0, 1].into());
    let answer = server.answer(bytes, Mac::new(fixed(bytes, 6)));
    assert!(answer.is_none_or(|frame| frame.len() <= 1514));
}

/// A client's DNS message: what is answered here fits into 512 bytes, and is an answer to it.
pub fn dns(bytes: &[u8]) {
    let names = |name: &str| (name.len() % 2 == 0).then(|| vec![[10, 0, 0, 2].into(); name.len()]);
    if let Some(answer) = Dns::local_answer(bytes, names) {
        assert!(answer.len() <= 512 && answer[..2] == bytes[..2] && answer[2] & 0x80 != 0);
    }
}

/// A frame of a guest that looks for routers.
pub fn router(bytes: &[u8]) {
    let router = Router::new("fd00::".parse().expect("an address"), Mac::new([2, 0, 0, 0, 0, 1]));
    assert!(router.answer(bytes).is_none_or(|frame| frame.len() <= 1514));
}

/// `resolv.conf(5)`: a line gives at most one server.
pub fn resolv_conf(bytes: &[u8]) {
    assert!(resolvers(bytes).len() <= bytes.split(|b| *b == b'\n').count());
}

/// What has a text: accepted, it prints as something that is accepted as the same.
pub fn names(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    returns::<Forward>(text);
    returns::<IpNet>(text);
    returns::<Mac>(text);
    returns::<Protocol>(text);
    if let Ok(name) = text.parse::<IfName>() {
        assert!(!name.to_string().chars().any(char::is_control), "{name}");
    }
    let _ = text.parse::<MachineId>();
}

fn returns<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().expect("accepted before"), value);
    }
}
