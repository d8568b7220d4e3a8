//! Rule sets of nf_tables (`nft(8)`), by messages of our own: values that read as `nft` writes them.
//!
//! A [`Table`] is a value with its [`Map`]s, [`Chain`]s and [`Rule`]s; printed, it is what `nft -f` takes. [`Table::hold`] makes it in one
//! transaction, owned by the socket: no other program can change or delete it, `nft flush ruleset` passes it by, and the kernel removes it
//! when the socket closes, however the process ends. Later changes, also of other programs' chains, are a [`Transaction`].
//!
//! ```
//! use ns_net::nft::{Chain, Family, Hook, Name, Rule, Table};
//! use ns_net::{IfName, IpNet};
//! let device = IfName::new("ve-web")?;
//! let loopback = IpNet::new("127.0.0.0".parse().unwrap(), 8)?;
//! let guard = Chain::new(Name::new("guard")?, Hook::Ingress(device), -500).rule(Rule::new().to(loopback).drop());
//! let table = Table::new(Family::Inet, Name::new("nsk-web")?).chain(guard);
//! assert_eq!(table.to_string(), r#"table inet nsk-web {
//!     chain guard {
//!         type filter hook ingress device "ve-web" priority -500; policy accept;
//!         ip daddr 127.0.0.0/8 drop
//!     }
//! }
//! "#);
//! # Ok::<(), ns_net::Error>(())
//! ```

mod chain;
mod entry;
mod expression;
mod map;
mod rule;
mod table;
mod transaction;
mod value;

pub use chain::{Chain, Hook};
pub use entry::{ChainEntry, RuleEntry};
pub use map::{Element, Map};
pub use rule::Rule;
pub use table::{HeldTable, Table};
pub use transaction::Transaction;
pub use value::{Family, Field, Name, Protocol, Value};

use crate::message::{Call, Flags, Message};

macro_rules! calls {
    ($($name:ident = $number:expr),* $(,)?) => {
        $(pub(crate) const $name: Call = Call::new(10 << 8 | $number, concat!("NFT_MSG_", stringify!($name)));)*
    };
}

// `NFNL_SUBSYS_NFTABLES` in the upper byte, `enum nf_tables_msg_types` in the lower.
calls! {
    NEWTABLE = 0, DELTABLE = 2, NEWCHAIN = 3, GETCHAIN = 4, NEWRULE = 6, GETRULE = 7, DELRULE = 8, NEWSET = 9, NEWSETELEM = 12, DELSETELEM = 14,
}

/// A message with its `struct nfgenmsg`: family, version, resource.
pub(crate) fn message(call: Call, flags: Flags, family: Family) -> Message {
    Message::new(call, flags).fixed(&[family.number(), 0, 0, 0])
}
