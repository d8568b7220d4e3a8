//! What `ns-spawn` is made of: it boots a whole distribution, or runs one command, from a plain directory.
//!
//! | module | what it knows |
//! |---|---|
//! | [`settings`] | what the user asked for, as plain data; parsing has no effects |
//! | [`guest`] | what the tree says of itself, read with bounds and never followed out of it |
//! | [`registry`] | who holds which tree and which range of user ids |
//! | [`console`] | the terminal, and the pump between it and the container's pty |
//! | [`notify`] | the service manager's readiness protocol, both ways |
//! | [`memory`] | giving back what waiting doesn't need |
//! | [`sealed`] | running from a copy of ourselves that nobody can write to |
//! | [`report`] | how a payload's end is told, and the exit code that says it |
//! | [`assemble`] | the recipe: settings and guest made into a plan |
//! | [`stat`] | a process's line in `/proc` |
//! | [`supervise`] | a container from its start to its end, over reboots |
//! | [`enter`] | a program in a container that runs |
//! | [`escape`] | strings of others, made safe to print |
//! | [`usage`] | what is wrong with a command line, in one line |
//!
//! Nothing here prints but the program, and nothing reads the tree but [`guest`].

pub mod assemble;
pub mod console;
pub mod enter;
mod error;
pub mod escape;
pub mod guest;
mod interrupted;
pub mod memory;
pub mod notify;
pub mod registry;
pub mod report;
pub mod sealed;
pub mod settings;
pub mod stat;
pub mod supervise;
pub mod usage;

pub use error::{Error, Kind};
