//! Chains and rules that exist, whoever made them.

use super::chain::{NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE, NFTA_CHAIN_TYPE};
use super::rule::{NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS, NFTA_RULE_HANDLE, NFTA_RULE_TABLE, NFTA_RULE_USERDATA};
use super::value::{Family, Name};
use super::{GETCHAIN, GETRULE, message};
use crate::error::{Kind, Result};
use crate::message::{Flags, Message};
use crate::netfilter::Netfilter;
use crate::reply::{attributes, until_null};

/// A chain that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainEntry {
    /// The table's family.
    pub family: Family,
    /// The table.
    pub table: Name,
    /// The chain.
    pub name: Name,
    /// Of a base chain: "filter", "nat", "route".
    pub kind: Option<String>,
    /// Of a base chain: `NF_INET_*`; 2 is forward.
    pub hook: Option<u32>,
    /// Of a base chain: the lower, the earlier.
    pub priority: Option<i32>,
    /// Of a base chain: whether what no rule ends is dropped.
    pub drops: bool,
}

/// A rule that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleEntry {
    /// The table's family.
    pub family: Family,
    /// The table.
    pub table: Name,
    /// The chain.
    pub chain: Name,
    /// What tells it from the chain's others.
    pub handle: u64,
    /// Its comment, as `nft` writes one.
    pub comment: Option<String>,
    /// The names of its expressions ("cmp", "masq"), in order; "immediate accept" and "immediate drop" with their verdict.
    pub expressions: Vec<String>,
}

impl ChainEntry {
    /// `NFT_MSG_GETCHAIN` with `NLM_F_DUMP`: all chains of families inet, ip and ip6 whose names this crate takes.
    pub fn list(socket: &mut Netfilter) -> Result<Vec<ChainEntry>> {
        let answers = socket.list("list chains", unspecified(GETCHAIN))?;
        Ok(answers.iter().filter_map(|a| ChainEntry::parse(&a.body)).collect())
    }

    /// Reads the body of an `NFT_MSG_NEWCHAIN`. `None` for a family or name that this crate doesn't know, whatever the bytes.
    pub fn parse(body: &[u8]) -> Option<ChainEntry> {
        let (mut table, mut name, mut kind, mut hook, mut priority, mut policy) = (None, None, None, None, None, None);
        for (of, value) in attributes(body.get(4..)?).map_while(|a| a.ok()) {
            match of {
                NFTA_CHAIN_TABLE => table = read_name(value),
                NFTA_CHAIN_NAME => name = read_name(value),
                NFTA_CHAIN_TYPE => kind = Some(until_null(value).escape_ascii().to_string()),
                NFTA_CHAIN_POLICY => policy = read_be(value),
                NFTA_CHAIN_HOOK => (hook, priority) = (inner_be(value, 1), inner_be(value, 2).map(|p| p as i32)),
                _ => {}
            }
        }
        let family = Family::of(*body.first()?)?;
        Some(ChainEntry { family, table: table?, name: name?, kind, hook, priority, drops: policy == Some(0) })
    }
}

impl RuleEntry {
    /// `NFT_MSG_GETRULE` with `NLM_F_DUMP`: the rules of a chain, in order; none where there is no such chain.
    pub fn list(socket: &mut Netfilter, family: Family, table: &Name, chain: &Name) -> Result<Vec<RuleEntry>> {
        let message = message(GETRULE, Flags::empty(), family)
            .string(NFTA_RULE_TABLE, table.as_str().as_bytes())
            .string(NFTA_RULE_CHAIN, chain.as_str().as_bytes());
        match socket.list(&format!("list rules of chain {chain} in table {family} {table}"), message) {
            Ok(answers) => Ok(answers.iter().filter_map(|a| RuleEntry::parse(&a.body)).collect()),
            Err(e) if e.errno() == Some(libc::ENOENT) => Ok(Vec::new()),
            Err(e) if e.kind() == Kind::Unsupported => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    /// Reads the body of an `NFT_MSG_NEWRULE`. `None` for a family or name that this crate doesn't know, whatever the bytes.
    pub fn parse(body: &[u8]) -> Option<RuleEntry> {
        let (mut table, mut chain, mut handle, mut comment, mut expressions) = (None, None, None, None, Vec::new());
        for (of, value) in attributes(body.get(4..)?).map_while(|a| a.ok()) {
            match of {
                NFTA_RULE_TABLE => table = read_name(value),
                NFTA_RULE_CHAIN => chain = read_name(value),
                NFTA_RULE_HANDLE => handle = value.try_into().ok().map(u64::from_be_bytes),
                NFTA_RULE_USERDATA => comment = read_comment(value),
                NFTA_RULE_EXPRESSIONS => expressions = read_expressions(value),
                _ => {}
            }
        }
        let family = Family::of(*body.first()?)?;
        Some(RuleEntry { family, table: table?, chain: chain?, handle: handle?, comment, expressions })
    }
}

/// A list of all families: `NFPROTO_UNSPEC`.
fn unspecified(call: crate::message::Call) -> Message {
    Message::new(call, Flags::empty()).fixed(&[0; 4])
}

fn read_name(value: &[u8]) -> Option<Name> {
    std::str::from_utf8(until_null(value)).ok().and_then(|name| Name::new(name).ok())
}

fn read_be(value: &[u8]) -> Option<u32> {
    value.get(..4)?.try_into().ok().map(u32::from_be_bytes)
}

fn inner(nest: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(nest).map_while(|a| a.ok()).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn inner_be(nest: &[u8], wanted: u16) -> Option<u32> {
    inner(nest, wanted).and_then(read_be)
}

/// `struct nftnl_udata`, one after the other: kind, length, bytes.
fn read_comment(mut data: &[u8]) -> Option<String> {
    while let [kind, len, rest @ ..] = data {
        let value = rest.get(..usize::from(*len))?;
        if *kind == 0 {
            return Some(until_null(value).escape_ascii().to_string());
        }
        data = rest.get(usize::from(*len)..)?;
    }
    None
}

fn read_expressions(list: &[u8]) -> Vec<String> {
    let expression = |(_, value): (u16, &[u8])| {
        let name = until_null(inner(value, NFTA_EXPR_NAME)?).escape_ascii().to_string();
        let verdict = inner(value, NFTA_EXPR_DATA).and_then(|data| inner(data, 2)).and_then(|data| inner(data, 2));
        Some(match verdict.and_then(|verdict| inner_be(verdict, 1)) {
            Some(0) if name == "immediate" => format!("{name} drop"),
            Some(1) if name == "immediate" => format!("{name} accept"),
            _ => name,
        })
    };
    attributes(list).map_while(|a| a.ok()).filter_map(expression).collect()
}

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
