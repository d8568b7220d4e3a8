//! Tables, and one that a socket holds.

use super::chain::Chain;
use super::map::{Map, element_messages};
use super::transaction::Transaction;
use super::value::{Family, Name};
use super::{DELTABLE, NEWTABLE, message};
use crate::error::Result;
use crate::message::{Batch, Flags, Message};
use crate::netfilter::Netfilter;
use std::fmt;

/// A table with all that is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    family: Family,
    name: Name,
    maps: Vec<Map>,
    chains: Vec<Chain>,
}

impl Table {
    /// An empty table.
    pub fn new(family: Family, name: Name) -> Table {
        Table { family, name, maps: Vec::new(), chains: Vec::new() }
    }

    /// With one more map.
    pub fn map(mut self, map: Map) -> Table {
        self.maps.push(map);
        self
    }

    /// With one more chain.
    pub fn chain(mut self, chain: Chain) -> Table {
        self.chains.push(chain);
        self
    }

    /// The family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The maps.
    pub fn maps(&self) -> &[Map] {
        &self.maps
    }

    /// Makes it in one transaction, owned by the socket (`NFT_TABLE_F_OWNER`, Linux 5.12; `EOPNOTSUPP` before).
    ///
    /// Nobody else can change it (`EPERM`), and it is gone when the socket closes, however the process ends.
    /// [`Kind::Exists`](crate::Kind::Exists) where there is a table of this name, [`Kind::NotPermitted`](crate::Kind::NotPermitted) where
    /// another socket owns it.
    pub fn hold(self, mut socket: Netfilter) -> Result<HeldTable> {
        socket.commit(&self.batch(NFT_TABLE_F_OWNER))?;
        Ok(HeldTable { table: self, socket: Some(socket) })
    }

    /// Makes it in one transaction, to stay until somebody deletes it.
    pub fn apply(&self, socket: &mut Netfilter) -> Result<()> {
        socket.commit(&self.batch(0))
    }

    pub(crate) fn batch(&self, flags: u32) -> Batch {
        let mut batch = Batch::new();
        let (family, name) = (self.family, &self.name);
        let new = message(NEWTABLE, Flags::CREATE | Flags::EXCL, family)
            .string(NFTA_TABLE_NAME, name.as_str().as_bytes())
            .number_be(NFTA_TABLE_FLAGS, flags);
        batch.add(format_args!("make table {family} {name}"), new);
        for (map, id) in self.maps.iter().zip(1..) {
            batch.add(format_args!("make map {} in table {family} {name}", map.name()), map.message(family, name, id));
            element_messages(&mut batch, true, family, name, map.name(), map.own_elements());
        }
        self.chains.iter().for_each(|chain| chain.messages(&mut batch, family, name));
        batch
    }
}

/// `NFT_MSG_DELTABLE`
pub(crate) fn deletion(family: Family, name: &Name) -> Message {
    message(DELTABLE, Flags::empty(), family).string(NFTA_TABLE_NAME, name.as_str().as_bytes())
}

/// What `nft -f` takes.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {} {} {{", self.family, self.name)?;
        self.maps.iter().try_for_each(|map| map.fmt(f))?;
        self.chains.iter().try_for_each(|chain| chain.fmt(f))?;
        writeln!(f, "}}")
    }
}

/// A table that lives as long as this value and its process.
///
/// Dropped, it deletes the table, untold. When the process ends, however it does, the kernel closes the socket and deletes the table; a
/// child that was forked and hasn't called `execve(2)` yet has a copy of the socket, and keeps it that long.
#[derive(Debug)]
pub struct HeldTable {
    table: Table,
    /// None once the table is gone.
    socket: Option<Netfilter>,
}

impl HeldTable {
    /// The table as it was made.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Runs a transaction: nobody but the owning socket may change the table.
    pub fn change(&mut self, transaction: &Transaction) -> Result<()> {
        self.socket.as_mut().map_or(Ok(()), |socket| transaction.apply(socket))
    }

    /// The socket that owns the table: who has it, or a copy of it, keeps the table.
    pub fn socket(&mut self) -> Option<&mut Netfilter> {
        self.socket.as_mut()
    }

    /// The socket alone; the table goes when it is closed.
    pub fn into_socket(mut self) -> Option<Netfilter> {
        self.socket.take()
    }

    /// Deletes the table; the socket is closed.
    pub fn close(mut self) -> Result<()> {
        self.delete()
    }

    fn delete(&mut self) -> Result<()> {
        let Some(mut socket) = self.socket.take() else { return Ok(()) };
        let (family, name) = (self.table.family, &self.table.name);
        let mut batch = Batch::new();
        batch.add(format_args!("delete table {family} {name}"), deletion(family, name));
        socket.commit(&batch)
    }
}

impl Drop for HeldTable {
    fn drop(&mut self) {
        // Told by `close`; closing the socket does it too.
        let _ = self.delete();
    }
}

const NFT_TABLE_F_OWNER: u32 = 2;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
