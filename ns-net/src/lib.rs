//! Placeholder.
#![deny(unsafe_code)]
mod address;
mod bridge;
mod change;
mod error;
mod ifname;
mod link;
mod mac;
mod machine;
pub mod message;
pub mod reply;
mod siphash;
mod socket;
mod sys;
mod veth;

pub use address::Address;
pub use bridge::Bridge;
pub use change::Change;
pub use error::{Error, Kind, Result};
pub use ifname::{AltName, IfName};
pub use link::{Link, LinkFlags, LinkRef};
pub use mac::Mac;
pub use machine::{End, LinkName, MachineId, Prefix};
pub use socket::{Answer, Socket};
pub use veth::{Veth, VethPair};
