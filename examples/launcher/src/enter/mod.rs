//! A program in a machine that runs: `ns-machine shell`.
//!
//! The machine may be hostile, its process 1 first of all. What holds:
//!
//! - **The program gets what the payload has, and no more**: the machine's namespaces, limits, capabilities, filter and device program, all
//!   as its record says. What the record names and can't be had here is refused.
//! - **Nothing of ours is in reach.** The order in which the machine is entered is [`ns_core::Plan::enter`]'s. Of our descriptors the program
//!   has its three, of our environment what is built for it here. Our terminal is never its own: it gets a pty of the machine's devpts.
//! - **Nothing of the machine's runs with our rights.** The user is looked up in the machine's files by our own parser; no program, library
//!   or resolver of it is loaded before all rights are given up.
//! - **The machine can end at any time**, whether we are stopped, killed, or ask for its end.
//!
//! Any init will do, and none: nothing in the machine is asked for help. So there is no session of its login manager's.

mod container;
mod environment;
mod plan;
mod session;
mod streams;

use std::ffi::OsString;

use crate::Error;
use crate::registry::Record;
use crate::supervise::{Signals, forget_login};
use container::Container;
use session::Session;
use streams::Streams;

/// What is to be run in a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The user's name or number; root if there is none.
    pub user: Option<String>,
    /// The program with its arguments; none for the user's login shell. Without a slash it is looked for as the program's own `PATH` says.
    pub command: Vec<OsString>,
    /// More of its environment: `NAME=VALUE`, or `NAME` for what we have ourselves.
    pub environment: Vec<OsString>,
    /// Nothing is said but errors.
    pub quiet: bool,
}

/// Runs it, with our standard streams: on a pty of the machine's where input and output are our terminal, else on them as they are.
///
/// The answer is the program's exit status; 128 and the signal that ended it; 128 and ours, where we were asked to leave (TERM, INT, HUP);
/// 137 where the machine ended first.
///
/// # Errors
/// The machine doesn't run; it has no such user or program; it can't be entered as its record demands.
pub fn run(record: &Record, request: &Request) -> Result<u8, Error> {
    // First: a signal that comes while something is being made must not end us halfway.
    let signals = Signals::new()?;
    forget_login();
    let container = Container::open(record)?;
    let user = container.root.user(request.user.as_deref().unwrap_or("root"))?;
    let mut streams = Streams::new(&container, &user)?;
    let exec = environment::exec(&user, request, streams.has_pty())?;
    let cgroup = container.join()?;
    let plan = plan::of(&container, &user, exec)?;
    let entered = plan::enter(&plan, &container, cgroup.as_ref(), streams.take());
    let said = (environment::program(&user, request), request.quiet);
    let ended = entered.and_then(|entered| Session::new(&container, said, entered, streams, signals)?.run());
    // A service that was started from a shell has it to itself; what is left empty goes with the machine.
    let _ = cgroup.map(ns_cgroup::Joined::remove);
    ended
}
