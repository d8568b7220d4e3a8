//! Accept rules in the chains of other firewalls.

use crate::error::{Kind, Result};
use crate::ifname::IfName;
use crate::netfilter::Netfilter;
use crate::nft::{ChainEntry, Family, Name, Rule, RuleEntry, Transaction};
use std::fmt;

/// What a machine needs in other programs' chains: to accept a packet in a chain of one's own ends that chain only.
///
/// Docker drops what it doesn't know, and keeps `DOCKER-USER` for the administrator; firewalld rejects what comes from a device without a
/// zone. Into their chains, where there are such, go rules that match the machine's device alone, each with a comment that names the
/// machine: other matches would make `iptables -S` fail. They outlive the process, and a reload of the other program drops them:
/// [`Watch::rules`](crate::Watch::rules) tells when to look again, [`Accepts::collect`] removes what a crash has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepts {
    machine: String,
    device: IfName,
}

/// A chain of another program's, and in which directions it has to accept.
struct Place {
    family: Family,
    table: &'static str,
    chain: &'static str,
    to_machine: bool,
}

const PLACES: [Place; 3] = [
    Place { family: Family::Ip, table: "filter", chain: "DOCKER-USER", to_machine: true },
    Place { family: Family::Ip6, table: "filter", chain: "DOCKER-USER", to_machine: true },
    // It accepts what was sent elsewhere, and answers, by itself.
    Place { family: Family::Inet, table: "firewalld", chain: "filter_FORWARD", to_machine: false },
];

/// Before the machine's name, in comments.
const MARK: &str = "nskit: ";

impl Accepts {
    /// Those of a machine behind this device.
    pub fn new(machine: &str, device: IfName) -> Accepts {
        Accepts { machine: machine.to_owned(), device }
    }

    /// What is missing now, as a transaction: empty where there is no other firewall, or all is there.
    pub fn missing(&self, socket: &mut Netfilter) -> Result<Transaction> {
        let chains = ChainEntry::list(socket)?;
        let mut change = Transaction::new();
        for place in PLACES.iter().filter(|place| chains.iter().any(|chain| place.is(chain))) {
            let (table, chain) = (Name::new(place.table)?, Name::new(place.chain)?);
            let wanted = self.rules(place);
            let found = RuleEntry::list(socket, place.family, &table, &chain)?;
            if found.iter().filter(|rule| self.is_ours(rule)).count() != wanted.len() {
                change = found.iter().filter(|rule| self.is_ours(rule)).fold(change, Transaction::delete_rule);
                change = wanted.into_iter().fold(change, |change, rule| change.insert(place.family, &table, &chain, rule));
            }
        }
        Ok(change)
    }

    /// Puts in what is missing; whether anything was. [`Kind::NotPermitted`]: the table is another program's alone (firewalld's
    /// `NftablesTableOwner`), which then has to be asked.
    pub fn apply(&self, socket: &mut Netfilter) -> Result<bool> {
        let missing = self.missing(socket)?;
        let advise = format!("the table's owner has to be asked: firewall-cmd --zone=trusted --add-interface={}", self.device);
        missing.apply(socket).map_err(|e| match e.kind() {
            Kind::NotPermitted => e.because(Kind::NotPermitted, advise),
            _ => e,
        })?;
        Ok(!missing.is_empty())
    }

    /// Takes them out again; how many there were.
    pub fn close(&self, socket: &mut Netfilter) -> Result<usize> {
        remove(socket, |rule| self.is_ours(rule))
    }

    /// Takes out those of machines that are not `alive`, by the name in their comment; how many there were.
    pub fn collect(socket: &mut Netfilter, alive: impl Fn(&str) -> bool) -> Result<usize> {
        remove(socket, |rule| machine_of(rule).is_some_and(|machine| !alive(machine)))
    }

    fn is_ours(&self, rule: &RuleEntry) -> bool {
        machine_of(rule) == Some(&self.machine)
    }

    /// Those of a place, the last one first, as they are inserted.
    fn rules(&self, place: &Place) -> Vec<Rule> {
        let comment = |rule: Rule| rule.accept().comment(&format!("{MARK}{}", self.machine));
        let from = comment(Rule::new().from_device(self.device));
        let to = place.to_machine.then(|| comment(Rule::new().to_device(self.device)));
        [Some(from), to].into_iter().flatten().collect()
    }
}

impl Place {
    fn is(&self, chain: &ChainEntry) -> bool {
        (self.family, self.table, self.chain) == (chain.family, chain.table.as_str(), chain.name.as_str())
    }
}

fn machine_of(rule: &RuleEntry) -> Option<&str> {
    rule.comment.as_deref()?.strip_prefix(MARK)
}

fn remove(socket: &mut Netfilter, which: impl Fn(&RuleEntry) -> bool) -> Result<usize> {
    let mut found = Vec::new();
    for place in &PLACES {
        let rules = RuleEntry::list(socket, place.family, &Name::new(place.table)?, &Name::new(place.chain)?)?;
        found.extend(rules.into_iter().filter(&which));
    }
    found.iter().fold(Transaction::new(), Transaction::delete_rule).apply(socket)?;
    Ok(found.len())
}

/// What would be put into each chain, if there are all of them, as `nft -f` takes it.
impl fmt::Display for Accepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PLACES.iter().try_for_each(|place| {
            self.rules(place).iter().try_for_each(|rule| writeln!(f, "insert rule {} {} {} {rule}", place.family, place.table, place.chain))
        })
    }
}
