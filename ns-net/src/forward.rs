//! A forwarded port: what it is, and how it is written.

use crate::error::{Error, Kind, Result};
use crate::nft::Protocol;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Ports of the host's that lead to ports of a container's: `[tcp|udp:][ADDRESS:]HOST[:CONTAINER]`, ranges as `FIRST-LAST`.
///
/// Without an address they are forwarded on all of the host's, of IPv4 and IPv6, 127.0.0.1 and `::1` too; an IPv6 address stands in
/// brackets; `0.0.0.0` and `[::]` are all of one family.
///
/// ```
/// use ns_net::Forward;
/// let forward: Forward = "udp:127.0.0.1:5300:53".parse()?;
/// assert_eq!(forward.to_string(), "udp:127.0.0.1:5300:53");
/// assert_eq!("8080".parse::<Forward>()?.to_string(), "tcp:8080:8080");
/// assert_eq!("[::1]:8000-8009:9000-9009".parse::<Forward>()?.ports().last(), Some((8009, 9009)));
/// let e = "tcp:70000".parse::<Forward>().unwrap_err();
/// assert_eq!(e.to_string(), "port \"tcp:70000\": \"70000\" is no port: 1 to 65535");
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forward {
    protocol: Protocol,
    address: Option<IpAddr>,
    host: (u16, u16),
    container: u16,
}

impl Forward {
    /// One port, on all addresses. [`Kind::Invalid`] for port 0.
    pub fn new(protocol: Protocol, host: u16, container: u16) -> Result<Forward> {
        Forward::range(protocol, (host, host), (container, container))
    }

    /// As many of the host's as of the container's, first and last. [`Kind::Invalid`] for port 0, backwards, or not as many.
    pub fn range(protocol: Protocol, host: (u16, u16), container: (u16, u16)) -> Result<Forward> {
        let invalid = |why: &str| {
            let what = format!("port {protocol}:{}:{}", Range(host), Range(container));
            Err(Error::refused(Kind::Invalid, what, why))
        };
        match (host.1.checked_sub(host.0), container.1.checked_sub(container.0)) {
            _ if host.0 == 0 || container.0 == 0 => invalid("there is no port 0"),
            (None, _) | (_, None) => invalid("the range is backwards"),
            (Some(one), Some(other)) if one != other => invalid("the two ranges are not of the same length"),
            _ => Ok(Forward { protocol, address: None, host, container: container.0 }),
        }
    }

    /// On this address of the host's only; `0.0.0.0` and `::` are all of their family.
    pub fn at(self, address: IpAddr) -> Forward {
        Forward { address: Some(address), ..self }
    }

    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// On which address of the host's; none: all.
    pub fn address(&self) -> Option<IpAddr> {
        self.address.filter(|ip| !ip.is_unspecified())
    }

    /// Whether it is for an address of this family.
    pub fn concerns(&self, v4: bool) -> bool {
        self.address.is_none_or(|ip| ip.is_ipv4() == v4)
    }

    /// Port by port: the host's, and the container's.
    pub fn ports(&self) -> impl Iterator<Item = (u16, u16)> + use<> {
        let (first, container) = (self.host.0, self.container);
        (self.host.0..=self.host.1).map(move |host| (host, container + (host - first)))
    }

    /// Whether both would take a port of the same address.
    pub fn clashes_with(&self, other: &Forward) -> bool {
        let ports = self.host.0 <= other.host.1 && other.host.0 <= self.host.1;
        let families = [true, false].into_iter().any(|v4| self.concerns(v4) && other.concerns(v4));
        let addresses = match (self.address(), other.address()) {
            (Some(one), Some(another)) => one == another,
            _ => families,
        };
        self.protocol == other.protocol && ports && addresses
    }
}

struct Range((u16, u16));

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.0;
        if first == last { first.fmt(f) } else { write!(f, "{first}-{last}") }
    }
}

/// As it is read, with all its parts.
impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.protocol)?;
        match self.address {
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            None => {}
        }
        write!(f, "{}:{}", Range(self.host), Range((self.container, self.container + (self.host.1 - self.host.0))))
    }
}

impl FromStr for Forward {
    type Err = Error;

    fn from_str(text: &str) -> Result<Forward> {
        let shown = || text.chars().take(60).collect::<String>();
        let invalid = |why: String| Error::refused(Kind::Invalid, format_args!("port {:?}", shown()), why);
        let (protocol, rest) = match text.split_once(':') {
            Some(("tcp", rest)) => (Protocol::Tcp, rest),
            Some(("udp", rest)) => (Protocol::Udp, rest),
            Some((word, _)) if word.starts_with(|c: char| c.is_ascii_alphabetic()) => return Err(invalid("neither tcp nor udp".into())),
            _ => (Protocol::Tcp, text),
        };
        let (address, ports) = read_address(rest).map_err(&invalid)?;
        let (host, container) = match ports.split_once(':') {
            Some((host, container)) => (read_range(host).map_err(&invalid)?, read_range(container).map_err(&invalid)?),
            None => (read_range(ports).map_err(&invalid)?, read_range(ports).map_err(&invalid)?),
        };
        Ok(Forward { address, ..Forward::range(protocol, host, container)? })
    }
}

/// The address before the ports, if there is one, and the rest.
fn read_address(text: &str) -> std::result::Result<(Option<IpAddr>, &str), String> {
    if let Some(inner) = text.strip_prefix('[') {
        let found = inner.split_once("]:").and_then(|(ip, rest)| Some((ip.parse::<Ipv6Addr>().ok()?, rest)));
        return found.map(|(ip, rest)| (Some(ip.into()), rest)).ok_or_else(|| "no IPv6 address stands in brackets".to_owned());
    }
    match text.split_once(':') {
        Some((word, rest)) if word.contains('.') => {
            let ip: Ipv4Addr = word.parse().map_err(|_| format!("{word:?} is no IPv4 address"))?;
            Ok((Some(ip.into()), rest))
        }
        _ => Ok((None, text)),
    }
}

/// "8080" or "8000-8009"
fn read_range(text: &str) -> std::result::Result<(u16, u16), String> {
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|port: &u16| digits && *port > 0);
        number.ok_or_else(|| format!("{:?} is no port: 1 to 65535", text.chars().take(20).collect::<String>()))
    };
    match text.split_once('-') {
        Some((first, last)) if !first.is_empty() => Ok((port(first)?, port(last)?)),
        _ => port(text).map(|port| (port, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (text, whole) in [
            ("80", "tcp:80:80"),
            ("8080:80", "tcp:8080:80"),
            ("udp:53", "udp:53:53"),
            ("127.0.0.1:8080:80", "tcp:127.0.0.1:8080:80"),
            ("tcp:0.0.0.0:8080", "tcp:0.0.0.0:8080:8080"),
            ("[::1]:8080:80", "tcp:[::1]:8080:80"),
            ("udp:[fd00::1]:1-3:7-9", "udp:[fd00::1]:1-3:7-9"),
            ("1-65535", "tcp:1-65535:1-65535"),
        ] {
            let forward: Forward = text.parse().unwrap();
            assert_eq!(forward.to_string(), whole);
            assert_eq!(whole.parse::<Forward>().unwrap(), forward);
        }
        assert_eq!("udp:1-3:7-9".parse::<Forward>().unwrap().ports().collect::<Vec<_>>(), [(1, 7), (2, 8), (3, 9)]);
        assert_eq!("1-65535".parse::<Forward>().unwrap().ports().count(), 65_535);
    }

    #[test]
    fn refuses_the_rest_and_says_why() {
        for (text, why) in [
            ("", "\"\" is no port: 1 to 65535"),
            ("-1", "\"-1\" is no port: 1 to 65535"),
            (":", "\"\" is no port: 1 to 65535"),
            ("icmp:80", "neither tcp nor udp"),
            ("tcp::8080", "\"\" is no port: 1 to 65535"),
            ("8080:", "\"\" is no port: 1 to 65535"),
            ("0", "\"0\" is no port: 1 to 65535"),
            ("70000", "\"70000\" is no port: 1 to 65535"),
            ("+80", "\"+80\" is no port: 1 to 65535"),
            ("90-80", "the range is backwards"),
            ("80-90:80-91", "the two ranges are not of the same length"),
            ("80-90:80", "the two ranges are not of the same length"),
            ("1.2.3:80", "\"1.2.3\" is no IPv4 address"),
            ("[::1:80", "no IPv6 address stands in brackets"),
            ("[::1]80", "no IPv6 address stands in brackets"),
            ("1:2:3", "\"2:3\" is no port: 1 to 65535"),
            ("tcp", "\"tcp\" is no port: 1 to 65535"),
        ] {
            let e = text.parse::<Forward>().unwrap_err();
            assert_eq!(e.kind(), Kind::Invalid);
            assert!(e.to_string().ends_with(why), "{text}: {e}");
        }
        assert!("9".repeat(100_000).parse::<Forward>().unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn two_clash_when_they_share_a_port_of_an_address() {
        let clash = |a: &str, b: &str| a.parse::<Forward>().unwrap().clashes_with(&b.parse().unwrap());
        assert!(clash("80", "80:81") && clash("80-90", "85") && clash("80", "127.0.0.1:80") && clash("[::]:80", "[::1]:80"));
        assert!(!clash("80", "udp:80") && !clash("80-90", "91") && !clash("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!clash("0.0.0.0:80", "[::]:80") && !clash("[::1]:80", "0.0.0.0:80"));
    }

    /// Any text: no panic, and what is taken reads back.
    #[test]
    fn random_texts_do_no_harm() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let words = ["tcp", "udp", ":", "-", "[", "]", "::1", "127.0.0.1", "80", "0", "65535", "65536", ".", "é", "["];
        for _ in 0..20_000 {
            let mut next = || {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed as usize
            };
            let text: String = (0..next() % 8).map(|_| words[next() % words.len()]).collect();
            if let Ok(forward) = text.parse::<Forward>() {
                assert_eq!(forward.to_string().parse::<Forward>().unwrap(), forward, "{text}");
                assert!(forward.ports().count() > 0);
            }
        }
    }
}
