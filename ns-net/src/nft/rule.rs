//! Rules: what a packet must be, then what becomes of it.

use super::expression::{Base, Expressions, FIRST, Meta};
use super::map::Map;
use super::value::{Concatenated, Family, Field, Name, Protocol};
use super::{NEWRULE, message};
use crate::address::octets;
use crate::ifname::IfName;
use crate::ipnet::IpNet;
use crate::message::{Flags, Message};
use std::fmt;

/// A rule: conditions, which must all be met, and at most one action. `NFT_MSG_NEWRULE`.
///
/// ```
/// use ns_net::{IfName, nft::Rule};
/// let device = IfName::new("ve-web")?;
/// let rule = Rule::new().from_device(device).to_device(device).was_dnat().masquerade();
/// assert_eq!(rule.to_string(), "iifname \"ve-web\" oifname \"ve-web\" ct status dnat masquerade");
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    conditions: Vec<Condition>,
    action: Option<Action>,
    comment: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Family(Family),
    Iif(bool, IfName),
    Oif(bool, IfName),
    Source(bool, IpNet),
    Target(bool, IpNet),
    LocalTarget,
    Port(Side, Protocol, u16),
    RouterAdvertisement,
    Dnat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Drop,
    Accept,
    Masquerade,
    Redirect(u16),
    Dnat { map: Name, key: Vec<Field>, data: Vec<Field> },
}

impl Rule {
    /// A rule that is met by every packet and does nothing.
    pub fn new() -> Rule {
        Rule::default()
    }

    fn condition(mut self, condition: Condition) -> Rule {
        self.conditions.push(condition);
        self
    }

    fn action(self, action: Action) -> Rule {
        Rule { action: Some(action), ..self }
    }

    /// `meta nfproto`: IPv4 or IPv6; [`Family::Inet`] is met by both.
    pub fn family(self, family: Family) -> Rule {
        if family == Family::Inet { self } else { self.condition(Condition::Family(family)) }
    }

    /// `iifname`: it came in by this device.
    pub fn from_device(self, device: IfName) -> Rule {
        self.condition(Condition::Iif(true, device))
    }

    /// `oifname`: it goes out by this device.
    pub fn to_device(self, device: IfName) -> Rule {
        self.condition(Condition::Oif(true, device))
    }

    /// `oifname !=`
    pub fn not_to_device(self, device: IfName) -> Rule {
        self.condition(Condition::Oif(false, device))
    }

    /// `ip saddr`, `ip6 saddr`
    pub fn from(self, source: IpNet) -> Rule {
        self.condition(Condition::Source(true, source))
    }

    /// `ip daddr`, `ip6 daddr`
    pub fn to(self, target: IpNet) -> Rule {
        self.condition(Condition::Target(true, target))
    }

    /// `ip daddr !=`, `ip6 daddr !=`
    pub fn not_to(self, target: IpNet) -> Rule {
        self.condition(Condition::Target(false, target))
    }

    /// `fib daddr type local`: it goes to an address of this machine's.
    pub fn to_this_machine(self) -> Rule {
        self.condition(Condition::LocalTarget)
    }

    /// `tcp dport`, `udp dport`
    pub fn to_port(self, protocol: Protocol, port: u16) -> Rule {
        self.condition(Condition::Port(Side::Target, protocol, port))
    }

    /// `tcp sport`, `udp sport`
    pub fn from_port(self, protocol: Protocol, port: u16) -> Rule {
        self.condition(Condition::Port(Side::Source, protocol, port))
    }

    /// `icmpv6 type nd-router-advert`
    pub fn router_advertisement(self) -> Rule {
        self.condition(Condition::RouterAdvertisement)
    }

    /// `ct status dnat`: its connection was sent elsewhere than it meant.
    pub fn was_dnat(self) -> Rule {
        self.condition(Condition::Dnat)
    }

    /// It is dropped.
    #[allow(clippy::should_implement_trait, reason = "nft's word")]
    pub fn drop(self) -> Rule {
        self.action(Action::Drop)
    }

    /// It is accepted, by this chain.
    pub fn accept(self) -> Rule {
        self.action(Action::Accept)
    }

    /// It goes out with the address of the device it leaves by.
    pub fn masquerade(self) -> Rule {
        self.action(Action::Masquerade)
    }

    /// It goes to this port of this machine. After a condition on the protocol only ([`Rule::to_port`]).
    pub fn redirect(self, port: u16) -> Rule {
        self.action(Action::Redirect(port))
    }

    /// It goes where the map says, if it says so: data of an address, and a port or none.
    pub fn dnat(self, map: &Map) -> Rule {
        self.action(Action::Dnat { map: map.name().clone(), key: map.key().to_vec(), data: map.data().to_vec() })
    }

    /// A note that `nft list` shows; control characters, quotes and what is beyond 128 bytes are left out.
    pub fn comment(self, comment: &str) -> Rule {
        let kept = |c: &char| c.is_ascii_graphic() && !matches!(c, '"' | '\\') || *c == ' ';
        Rule { comment: Some(comment.chars().filter(kept).take(128).collect()), ..self }
    }

    /// The rule at the chain's end with [`Flags::APPEND`], at its beginning without.
    pub(crate) fn message(&self, flags: Flags, family: Family, table: &Name, chain: &Name) -> Message {
        message(NEWRULE, flags, family)
            .string(NFTA_RULE_TABLE, table.as_str().as_bytes())
            .string(NFTA_RULE_CHAIN, chain.as_str().as_bytes())
            .nest(NFTA_RULE_EXPRESSIONS, |m| self.expressions(family, m))
            .with(self.comment.as_deref(), |m, comment| m.attribute(NFTA_RULE_USERDATA, &comment_bytes(comment)))
    }

    fn expressions(&self, family: Family, message: Message) -> Message {
        // In a table of one family nobody has to ask for it.
        let mut known = Some(family).filter(|family| *family != Family::Inet);
        let mut all = Expressions(message);
        for condition in &self.conditions {
            if let Some(family) = condition.family().filter(|family| known != Some(*family)) {
                all = all.meta(Meta::NfProto, FIRST).compare(true, &[family.number()]);
                known = Some(family);
            }
            all = condition.encode(all);
        }
        match &self.action {
            Some(action) => action.encode(all).0,
            None => all.0,
        }
    }
}

/// `struct nftnl_udata`: kind 0 (a comment), length, text with its null.
pub(crate) fn comment_bytes(comment: &str) -> Vec<u8> {
    let len = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    [&[0, len][..], comment.as_bytes(), &[0]].concat()
}

impl Condition {
    /// Which family's header it reads.
    fn family(&self) -> Option<Family> {
        match self {
            Condition::Family(family) => Some(*family),
            Condition::Source(_, of) | Condition::Target(_, of) => Some(Family::of_address(of.first())),
            Condition::RouterAdvertisement => Some(Family::Ip6),
            _ => None,
        }
    }

    fn encode(&self, all: Expressions) -> Expressions {
        match self {
            Condition::Family(_) => all,
            Condition::Iif(equal, name) => all.meta(Meta::IifName, FIRST).compare(*equal, &padded(name)),
            Condition::Oif(equal, name) => all.meta(Meta::OifName, FIRST).compare(*equal, &padded(name)),
            Condition::Source(equal, of) => subnet(all, *equal, of, 12, 8),
            Condition::Target(equal, of) => subnet(all, *equal, of, 16, 24),
            Condition::LocalTarget => all.fib_daddr_type().compare(true, &u32::from(libc::RTN_LOCAL).to_ne_bytes()),
            Condition::Port(side, protocol, port) => {
                let at = if *side == Side::Source { 0 } else { 2 };
                let all = all.meta(Meta::L4Proto, FIRST).compare(true, &[protocol.number()]);
                all.payload(Base::Transport, at, 2, FIRST).compare(true, &port.to_be_bytes())
            }
            Condition::RouterAdvertisement => {
                let all = all.meta(Meta::L4Proto, FIRST).compare(true, &[libc::IPPROTO_ICMPV6 as u8]);
                all.payload(Base::Transport, 0, 1, FIRST).compare(true, &[ND_ROUTER_ADVERT])
            }
            Condition::Dnat => all.ct_status().mask(&IPS_DST_NAT.to_ne_bytes()).compare(false, &[0; 4]),
        }
    }
}

/// A name as the kernel compares it.
fn padded(name: &IfName) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(name.as_bytes()).for_each(|(to, from)| *to = *from);
    bytes
}

/// An address's first bits: whole bytes are compared as they are, others behind a mask.
fn subnet(all: Expressions, equal: bool, of: &IpNet, v4: u32, v6: u32) -> Expressions {
    let offset = if of.first().is_ipv4() { v4 } else { v6 };
    let bytes = octets(of.first());
    let prefix = usize::from(of.prefix());
    if prefix % 8 == 0 && prefix > 0 {
        let whole = bytes.get(..prefix / 8).unwrap_or_default();
        return all.payload(Base::Network, offset, whole.len() as u32, FIRST).compare(equal, whole);
    }
    let mask: Vec<u8> = (0..bytes.len()).map(|n| !(0xff_u8.checked_shr(prefix.saturating_sub(8 * n) as u32).unwrap_or(0))).collect();
    all.payload(Base::Network, offset, bytes.len() as u32, FIRST).mask(&mask).compare(equal, &bytes)
}

impl Action {
    fn encode(&self, all: Expressions) -> Expressions {
        match self {
            Action::Drop => all.verdict(0),
            Action::Accept => all.verdict(1),
            Action::Masquerade => all.masquerade(),
            Action::Redirect(port) => all.redirect(*port),
            Action::Dnat { map, key, data } => {
                let (all, _) = key.iter().fold((all, FIRST), |(all, at), field| (all.load(*field, at), at + field.registers()));
                let port = data.get(1).map(|_| FIRST + data.first().map_or(0, |address| address.registers()));
                let family = if data.first() == Some(&Field::Ipv6) { Family::Ip6 } else { Family::Ip };
                all.lookup(map).dnat(family.number(), FIRST, port)
            }
        }
    }
}

/// As `nft` takes and prints it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for condition in &self.conditions {
            write!(f, "{space}{condition}")?;
            space = " ";
        }
        if let Some(action) = &self.action {
            write!(f, "{space}{action}")?;
            space = " ";
        }
        self.comment.iter().try_for_each(|comment| write!(f, "{space}comment \"{comment}\""))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |equal: &bool| if *equal { "" } else { "!= " };
        match self {
            Condition::Family(Family::Ip6) => f.write_str("meta nfproto ipv6"),
            Condition::Family(_) => f.write_str("meta nfproto ipv4"),
            Condition::Iif(equal, name) => write!(f, "iifname {}\"{}\"", not(equal), Quoted(name)),
            Condition::Oif(equal, name) => write!(f, "oifname {}\"{}\"", not(equal), Quoted(name)),
            Condition::Source(equal, of) => write!(f, "{} saddr {}{}", Family::of_address(of.first()), not(equal), Subnet(of)),
            Condition::Target(equal, of) => write!(f, "{} daddr {}{}", Family::of_address(of.first()), not(equal), Subnet(of)),
            Condition::LocalTarget => f.write_str("fib daddr type local"),
            Condition::Port(Side::Source, protocol, port) => write!(f, "{protocol} sport {port}"),
            Condition::Port(Side::Target, protocol, port) => write!(f, "{protocol} dport {port}"),
            Condition::RouterAdvertisement => f.write_str("icmpv6 type nd-router-advert"),
            Condition::Dnat => f.write_str("ct status dnat"),
        }
    }
}

/// A device's name in quotes: an asterisk at its end would mean all that begin so.
struct Quoted<'a>(&'a IfName);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.to_string();
        match name.strip_suffix('*') {
            Some(rest) => write!(f, "{rest}\\*"),
            None => f.write_str(&name),
        }
    }
}

/// A subnet; one of a single address without its prefix.
struct Subnet<'a>(&'a IpNet);

impl fmt::Display for Subnet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.0.first().is_ipv4() { 32 } else { 128 };
        if self.0.prefix() == whole { self.0.first().fmt(f) } else { self.0.fmt(f) }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Drop => f.write_str("drop"),
            Action::Accept => f.write_str("accept"),
            Action::Masquerade => f.write_str("masquerade"),
            Action::Redirect(port) => write!(f, "redirect to :{port}"),
            Action::Dnat { map, key, data } => {
                let family = if data.first() == Some(&Field::Ipv6) { Family::Ip6 } else { Family::Ip };
                let words: Vec<&str> = key.iter().map(|field| selector(*field)).collect();
                write!(f, "dnat {family} to {} map @{map}", Concatenated(&words))
            }
        }
    }
}

/// What a packet has of this field, in `nft`'s words.
fn selector(field: Field) -> &'static str {
    match field {
        Field::Ipv4 => "ip daddr",
        Field::Ipv6 => "ip6 daddr",
        Field::Protocol => "meta l4proto",
        Field::Port => "th dport",
    }
}

/// `IPS_DST_NAT` of linux/netfilter/nf_conntrack_common.h.
const IPS_DST_NAT: u32 = 1 << 5;
/// RFC 4861.
const ND_ROUTER_ADVERT: u8 = 134;
pub(super) const NFTA_RULE_TABLE: u16 = 1;
pub(super) const NFTA_RULE_CHAIN: u16 = 2;
pub(super) const NFTA_RULE_HANDLE: u16 = 3;
pub(super) const NFTA_RULE_EXPRESSIONS: u16 = 4;
pub(super) const NFTA_RULE_USERDATA: u16 = 7;
