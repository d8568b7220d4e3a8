//! Seccomp
mod action;
mod arch;
mod call;
mod compile;
mod condition;
pub mod embed;
mod error;
pub mod group;
mod install;
mod policy;
pub mod profile;
mod program;
pub mod syscall;

pub use action::Action;
pub use arch::Arch;
pub use call::Call;
pub use condition::{Arg, Condition};
pub use error::{Error, Kind as ErrorKind};
pub use install::{Flags, Install};
pub use policy::{Policy, Rule};
pub use program::Program;
