//! From settings to an exit code: locks, cgroup, start, the loop of a running container, reboots, and leaving nothing behind.

mod boot;
mod cgroup;
mod event;
mod explain;
mod heard;
mod locks;
mod network;
mod prepare;
mod recorded;
mod requests;
mod signals;
mod stdio;
mod stop;
mod stuck;

pub use heard::send;
pub use stuck::stuck;

use crate::report::{Ended, show, tell};
use crate::settings::Settings;
use crate::{Error, Kind};
use prepare::Prepared;
pub(crate) use signals::{Sent, Signals};
pub(crate) use stdio::{Relay, Stdio};

/// Runs a container until it ends; the exit code of names(6.4).
///
/// # Errors
/// It could not be started; nothing is left of it.
pub fn run(settings: &Settings) -> Result<u8, Error> {
    // First: a signal that comes while something is being made must not end us halfway.
    let signals = Signals::new()?;
    forget_login();
    let prepared = Prepared::new(settings)?;
    if settings.dry_run {
        return show(&prepared.dry_run()?).map(|()| 0);
    }
    let last = prepared.supervise(signals);
    let (ended, running) = last.map_or_else(|e| (Err(e), None), |last| (Ok(last.ended), Some(last.running)));
    match ended {
        // What is stuck still uses the tree: its keeper holds the locks, and everything stays until that lets go.
        Err(e) if e.kind() == Kind::Stuck => {
            prepared.abandon();
            Err(e)
        }
        ended => {
            let cleaned = prepared.clean(running);
            let ended = ended?;
            cleaned?;
            Ok(ended.code())
        }
    }
}

/// What the payload does is nothing that the user who logged in here did: the audit's id of the login, which is inherited, is unset. A
/// kernel without audit has none; who may not unset it keeps it, and nothing in the container depends on it.
pub(crate) fn forget_login() {
    const UNSET: &str = "4294967295";
    let _ = std::fs::write("/proc/self/loginuid", UNSET);
}

/// A line for people about what goes well.
fn say(settings: &Settings, line: &str) {
    if !settings.quiet {
        tell(line);
    }
}

/// The line that says how it ended.
fn report(settings: &Settings, ended: Ended) {
    if ended.is_failure() || !settings.quiet {
        tell(ended.message(&settings.machine));
    }
}
