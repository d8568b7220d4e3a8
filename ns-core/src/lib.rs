//! ns-core
#![allow(missing_docs)]
pub(crate) mod link;
pub mod raw;
pub mod step;
pub use raw::Errno;
pub use step::{Call, Child, ChildFd, Fault, Mark, Slot, Step, Text, Wires};
