//! What `poweroff` and `reboot` have in common: an init is asked by a signal, each in its own words.

use ns_core::PidFd;
use nskit_launcher::Error;
use nskit_launcher::Kind;
use nskit_launcher::registry::Record;
use nskit_launcher::report::Signal;

use crate::machine;

/// Sends process 1 of the machine a signal that it understands as a request; `None`: it understands none. Returns at once.
///
/// # Errors
/// It has ended, or could not be sent anything.
pub fn send(record: &Record, signal: Option<Signal>) -> Result<Option<PidFd>, Error> {
    let leader = machine::process(record, "process 1", record.leader)?;
    let Some(signal) = signal else { return Ok(None) };
    // Whoever is frozen hears nothing. What can't be thawed is left to its time-out.
    machine::cgroup(record).into_iter().for_each(|cgroup| drop(cgroup.thaw()));
    leader.signal(signal.0).map_err(|e| Error::new(Kind::Host, format!("Machine '{}': {e}", record.name)))?;
    Ok(Some(leader))
}

/// What can't be asked for.
pub fn not_understood(record: &Record, what: &str) -> Error {
    let why = if record.boot { "its init knows no signal that asks for it" } else { "it runs a command, not an init" };
    let hint = format!("ns-machine terminate {0}, or name a signal: --signal=", record.name);
    Error::new(Kind::Usage, format!("Machine '{}' can't be asked to {what}: {why}", record.name)).hint(hint)
}
