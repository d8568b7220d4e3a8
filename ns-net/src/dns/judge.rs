//! What becomes of a query: answered here, or asked elsewhere.
#![forbid(unsafe_code)]

use super::message::{Code, Query, Unfit};
use super::names::Names;
use super::resolv_conf::Upstreams;
use crate::ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// The domain in which machines are.
const DOMAIN: &str = ".machines";

/// What is to be done with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ignored,
    Answered(Vec<u8>),
    /// Nobody here knows: the question's octets, which an answer repeats.
    Forwarded(Vec<u8>),
}

/// What all queries are judged by.
pub(super) struct Judge {
    pub names: Box<dyn Names + Send + Sync>,
    pub upstreams: Upstreams,
    pub clients: Vec<IpNet>,
    /// Where we listen, and so must not ask.
    pub own: Vec<SocketAddr>,
}

impl Judge {
    /// Whether this client is served.
    pub fn serves(&self, client: IpAddr) -> bool {
        self.clients.is_empty() || self.clients.iter().any(|net| net.contains(client.to_canonical()))
    }

    /// The host's resolvers, but ourselves.
    pub fn servers(&mut self, now: Instant) -> Vec<SocketAddr> {
        let own = &self.own;
        self.upstreams.now(now).iter().filter(|server| !own.contains(server)).copied().collect()
    }

    pub fn decide(&mut self, message: &[u8]) -> Verdict {
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(Unfit::Ignored) => return Verdict::Ignored,
            Err(Unfit::Answered(answer)) => return Verdict::Answered(answer),
        };
        if query.is_transfer() {
            return Verdict::Answered(query.answer(Code::NotImplemented, &[]));
        }
        match self.known(&query) {
            Some((code, addresses)) => Verdict::Answered(query.answer(code, &addresses)),
            None => Verdict::Forwarded(query.question.to_vec()),
        }
    }

    /// What we know ourselves: `NAME.machines` in any case, `NAME` where there is such a machine.
    fn known(&mut self, query: &Query<'_>) -> Option<(Code, Vec<IpAddr>)> {
        let name = query.name.as_deref().filter(|name| query.internet && !name.is_empty())?;
        let of_domain = name.strip_suffix(DOMAIN);
        if of_domain.is_none() && name.contains('.') {
            return (name == &DOMAIN[1..]).then_some((Code::NoError, Vec::new()));
        }
        match self.names.addresses(of_domain.unwrap_or(name)) {
            Some(addresses) => Some((Code::NoError, addresses)),
            None => {
                of_domain.map(|_| (Code::NameError, Vec::new())).or_else(|| (name == &DOMAIN[1..]).then_some((Code::NoError, Vec::new())))
            }
        }
    }
}

/// An answer that says that nobody could be asked.
pub(super) fn failure(message: &[u8]) -> Option<Vec<u8>> {
    Query::parse(message).ok().map(|query| query.answer(Code::ServerFailure, &[]))
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("upstreams", &self.upstreams).field("clients", &self.clients).finish_non_exhaustive()
    }
}

/// What a forwarder would say to a message; for tests by random octets.
pub(super) fn dry(message: &[u8], names: impl Names + Send + Sync + 'static) -> Option<Vec<u8>> {
    let mut judge = Judge { names: Box::new(names), upstreams: Upstreams::fixed(Vec::new()), clients: Vec::new(), own: Vec::new() };
    match judge.decide(message) {
        Verdict::Answered(answer) => Some(answer),
        Verdict::Ignored | Verdict::Forwarded(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{kind, query};
    use super::*;

    fn judge() -> Judge {
        let names = |name: &str| (name == "web").then(|| vec!["10.0.0.2".parse().unwrap()]);
        let (upstreams, clients) = (Upstreams::fixed(Vec::new()), vec!["10.0.0.0/28".parse().unwrap()]);
        Judge { names: Box::new(names), upstreams, clients, own: Vec::new() }
    }

    /// The response code and the number of answers; `None` where it is forwarded.
    fn says(name: &str, kind: u16) -> Option<(u8, u8)> {
        match judge().decide(&query(1, name, kind, false)) {
            Verdict::Answered(answer) => Some((answer[3] & 15, answer[7])),
            Verdict::Forwarded(question) => {
                assert_eq!(question, &query(1, name, kind, false)[12..]);
                None
            }
            Verdict::Ignored => panic!("{name} was ignored"),
        }
    }

    #[test]
    fn machines_are_known_and_the_rest_is_asked_elsewhere() {
        assert_eq!((says("web", kind::A), says("WEB.machines", kind::A)), (Some((0, 1)), Some((0, 1))));
        assert_eq!((says("web", kind::AAAA), says("web.machines", 16)), (Some((0, 0)), Some((0, 0))), "it has none of this type");
        assert_eq!((says("db.machines", kind::A), says("machines", kind::A)), (Some((3, 0)), Some((0, 0))));
        assert_eq!((says("db", kind::A), says("web.example.org", kind::A), says("", 2)), (None, None, None));
        assert_eq!(says("web", kind::AXFR), Some((4, 0)));
    }

    #[test]
    fn only_its_clients_are_served() {
        let judge = judge();
        for (client, served) in [("10.0.0.2", true), ("10.0.0.16", false), ("::ffff:10.0.0.2", true), ("fd00::1", false)] {
            assert_eq!(judge.serves(client.parse().unwrap()), served, "{client}");
        }
    }
}
