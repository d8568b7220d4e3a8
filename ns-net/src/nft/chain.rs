//! Base chains: where rules are asked.

use super::rule::Rule;
use super::value::{Family, Name};
use super::{NEWCHAIN, message};
use crate::ifname::IfName;
use crate::message::{Batch, Flags, Message};
use std::fmt;

/// Where in a packet's way a chain is asked: its type and `NF_INET_*` hook.
///
/// A chain that every packet passes costs each of them, once for each machine: of those, machines' tables have only chains of type nat,
/// which see a connection's first packet, and [`Hook::Ingress`] of their own device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// `type filter hook ingress`: what comes in by this device, before anything else. Linux 5.10 in a table of family inet.
    Ingress(IfName),
    /// `type nat hook prerouting`: connections that come in.
    NatPrerouting,
    /// `type nat hook output`: connections of this machine's own.
    NatOutput,
    /// `type nat hook postrouting`: connections that go out.
    NatPostrouting,
    /// `type filter hook forward`: what passes from device to device.
    FilterForward,
}

impl Hook {
    fn kind(self) -> &'static str {
        match self {
            Hook::Ingress(_) | Hook::FilterForward => "filter",
            Hook::NatPrerouting | Hook::NatOutput | Hook::NatPostrouting => "nat",
        }
    }

    /// Its name and number in the families that [`Family`] knows.
    fn hook(self) -> (&'static str, u32) {
        match self {
            Hook::NatPrerouting => ("prerouting", 0),
            Hook::FilterForward => ("forward", 2),
            Hook::NatOutput => ("output", 3),
            Hook::NatPostrouting => ("postrouting", 4),
            Hook::Ingress(_) => ("ingress", 5),
        }
    }

    fn device(self) -> Option<IfName> {
        if let Hook::Ingress(device) = self { Some(device) } else { None }
    }
}

/// A base chain with its rules: what no rule ends is accepted. `NFT_MSG_NEWCHAIN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    name: Name,
    hook: Hook,
    priority: i32,
    rules: Vec<Rule>,
}

impl Chain {
    /// An empty chain. Chains at the same hook are asked by their priority, the least first.
    pub fn new(name: Name, hook: Hook, priority: i32) -> Chain {
        Chain { name, hook, priority, rules: Vec::new() }
    }

    /// With one more rule, at its end.
    pub fn rule(mut self, rule: Rule) -> Chain {
        self.rules.push(rule);
        self
    }

    /// With more rules, at its end.
    pub fn rules(mut self, rules: impl IntoIterator<Item = Rule>) -> Chain {
        self.rules.extend(rules);
        self
    }

    pub(crate) fn messages(&self, batch: &mut Batch, family: Family, table: &Name) {
        batch.add(format_args!("make chain {} in table {family} {table}", self.name), self.message(family, table));
        for rule in &self.rules {
            let what = format_args!("add rule \"{rule}\" to chain {} in table {family} {table}", self.name);
            batch.add(what, rule.message(Flags::CREATE | Flags::APPEND, family, table, &self.name));
        }
    }

    fn message(&self, family: Family, table: &Name) -> Message {
        message(NEWCHAIN, Flags::CREATE | Flags::EXCL, family)
            .string(NFTA_CHAIN_TABLE, table.as_str().as_bytes())
            .string(NFTA_CHAIN_NAME, self.name.as_str().as_bytes())
            .nest(NFTA_CHAIN_HOOK, |m| {
                m.number_be(NFTA_HOOK_HOOKNUM, self.hook.hook().1)
                    .number_be(NFTA_HOOK_PRIORITY, self.priority as u32)
                    .with(self.hook.device(), |m, device| m.string(NFTA_HOOK_DEV, device.as_bytes()))
            })
            .number_be(NFTA_CHAIN_POLICY, NF_ACCEPT)
            .string(NFTA_CHAIN_TYPE, self.hook.kind().as_bytes())
    }
}

/// As in a table that `nft` prints.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    chain {} {{", self.name)?;
        write!(f, "        type {} hook {} ", self.hook.kind(), self.hook.hook().0)?;
        self.hook.device().iter().try_for_each(|device| write!(f, "device \"{device}\" "))?;
        writeln!(f, "priority {}; policy accept;", self.priority)?;
        self.rules.iter().try_for_each(|rule| writeln!(f, "        {rule}"))?;
        writeln!(f, "    }}")
    }
}

const NF_ACCEPT: u32 = 1;
pub(super) const NFTA_CHAIN_TABLE: u16 = 1;
pub(super) const NFTA_CHAIN_NAME: u16 = 3;
pub(super) const NFTA_CHAIN_HOOK: u16 = 4;
pub(super) const NFTA_CHAIN_POLICY: u16 = 5;
pub(super) const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_HOOK_DEV: u16 = 3;
