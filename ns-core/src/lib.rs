//! ns-core
#![allow(missing_docs)]

#[cfg_attr(not(feature = "spawn"), allow(dead_code, reason = "without it only descriptors are sent"))]
pub(crate) mod link;
pub mod raw;
pub mod step;

pub use raw::Errno;
pub use step::{Call, Child, ChildFd, Fault, Mark, Slot, Step, Text, Wires};

pub use namespace::{Kind, Locked, Namespaces, NsFd, Setns, Unshare};

#[cfg(feature = "spawn")]
mod command;
#[cfg(feature = "spawn")]
pub mod credentials;
#[cfg(feature = "spawn")]
mod error;
#[cfg(feature = "spawn")]
mod exec;
#[cfg(feature = "spawn")]
mod exit;
#[cfg(feature = "spawn")]
mod ids;
mod namespace;
#[cfg(feature = "spawn")]
mod pidfd;
#[cfg(feature = "spawn")]
mod plan;
#[cfg(feature = "spawn")]
pub mod pty;
#[cfg(feature = "spawn")]
mod spawn;
#[cfg(feature = "spawn")]
pub mod steps;
#[cfg(feature = "spawn")]
mod stub;

#[cfg(feature = "spawn")]
pub use {
    command::Stepped,
    error::{Error, ErrorKind, Side},
    exec::Exec,
    exit::Exit,
    ids::{IdMap, IdRange},
    pidfd::PidFd,
    plan::{Plan, Sealed},
    spawn::{Event, Fds, Held, Running},
};
