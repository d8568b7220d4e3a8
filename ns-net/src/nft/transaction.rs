//! Changes of rule sets, all or none of them.

use super::entry::RuleEntry;
use super::map::{Element, Map, element_messages, write_elements};
use super::rule::{NFTA_RULE_CHAIN, NFTA_RULE_HANDLE, NFTA_RULE_TABLE, Rule};
use super::table::deletion;
use super::value::{Family, Name};
use super::{DELRULE, message};
use crate::error::Result;
use crate::message::{Batch, Flags};
use crate::netfilter::Netfilter;
use std::fmt;

/// Changes of tables that exist; the kernel makes all of them at once, or none.
///
/// Printed, it is what `nft -f` takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Elements { add: bool, family: Family, table: Name, map: Name, elements: Vec<Element> },
    Insert { family: Family, table: Name, chain: Name, rule: Rule },
    DeleteRule { family: Family, table: Name, chain: Name, handle: u64 },
    DeleteTable { family: Family, table: Name },
}

impl Transaction {
    /// No change.
    pub fn new() -> Transaction {
        Transaction::default()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn with(mut self, change: Change) -> Transaction {
        self.changes.push(change);
        self
    }

    /// Adds elements to a map; one that is there already is an error. [`Kind::Invalid`](crate::Kind::Invalid) for other fields than the
    /// map's.
    pub fn add_elements(self, family: Family, table: &Name, map: &Map, elements: Vec<Element>) -> Result<Transaction> {
        self.elements(true, family, table, map, elements)
    }

    /// Removes elements from a map; one that isn't there is an error.
    pub fn delete_elements(self, family: Family, table: &Name, map: &Map, elements: Vec<Element>) -> Result<Transaction> {
        self.elements(false, family, table, map, elements)
    }

    fn elements(self, add: bool, family: Family, table: &Name, map: &Map, elements: Vec<Element>) -> Result<Transaction> {
        elements.iter().try_for_each(|element| map.check(element))?;
        if elements.is_empty() {
            return Ok(self);
        }
        Ok(self.with(Change::Elements { add, family, table: table.clone(), map: map.name().clone(), elements }))
    }

    /// Puts a rule at a chain's beginning.
    pub fn insert(self, family: Family, table: &Name, chain: &Name, rule: Rule) -> Transaction {
        self.with(Change::Insert { family, table: table.clone(), chain: chain.clone(), rule })
    }

    /// Deletes a rule that was found.
    pub fn delete_rule(self, rule: &RuleEntry) -> Transaction {
        let RuleEntry { family, table, chain, handle, .. } = rule.clone();
        self.with(Change::DeleteRule { family, table, chain, handle })
    }

    /// Deletes a table with all that is in it.
    pub fn delete_table(self, family: Family, table: &Name) -> Transaction {
        self.with(Change::DeleteTable { family, table: table.clone() })
    }

    /// Makes the changes.
    pub fn apply(&self, socket: &mut Netfilter) -> Result<()> {
        socket.commit(&self.batch())
    }

    pub(crate) fn batch(&self) -> Batch {
        let mut batch = Batch::new();
        self.changes.iter().for_each(|change| change.messages(&mut batch));
        batch
    }
}

impl Change {
    fn messages(&self, batch: &mut Batch) {
        match self {
            Change::Elements { add, family, table, map, elements } => element_messages(batch, *add, *family, table, map, elements),
            Change::Insert { family, table, chain, rule } => {
                let what = format_args!("insert rule \"{rule}\" into chain {chain} of table {family} {table}");
                batch.add(what, rule.message(Flags::CREATE, *family, table, chain));
            }
            Change::DeleteRule { family, table, chain, handle } => {
                let message = message(DELRULE, Flags::empty(), *family)
                    .string(NFTA_RULE_TABLE, table.as_str().as_bytes())
                    .string(NFTA_RULE_CHAIN, chain.as_str().as_bytes())
                    .attribute(NFTA_RULE_HANDLE, &handle.to_be_bytes());
                batch.add(format_args!("delete rule {handle} of chain {chain} in table {family} {table}"), message);
            }
            Change::DeleteTable { family, table } => {
                batch.add(format_args!("delete table {family} {table}"), deletion(*family, table));
            }
        }
    }
}

/// What `nft -f` takes, one command a line.
impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Elements { add, family, table, map, elements } => {
                write!(f, "{} element {family} {table} {map} ", if *add { "add" } else { "delete" })?;
                write_elements(f, elements)
            }
            Change::Insert { family, table, chain, rule } => write!(f, "insert rule {family} {table} {chain} {rule}"),
            Change::DeleteRule { family, table, chain, handle } => write!(f, "delete rule {family} {table} {chain} handle {handle}"),
            Change::DeleteTable { family, table } => write!(f, "delete table {family} {table}"),
        }
    }
}
