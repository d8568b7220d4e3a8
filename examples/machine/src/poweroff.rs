//! `poweroff`

use std::time::Duration;

use ns_core::PidFd;
use nskit_launcher::Error;
use nskit_launcher::registry::Record;
use nskit_launcher::report::Signal;
use nskit_launcher::settings::MachineName;

use crate::cli::Options;
use crate::{machine, request};

/// `SIGTERM`
const TERM: i32 = 15;
/// A wait has no limit but the one of the machine's own supervisor; polled in pieces.
const PIECE: Duration = Duration::from_secs(3600);

/// Asks each machine's init to power off, and returns at once, or with `--wait` when all of them have.
///
/// # Errors
/// One of them isn't known or can't be asked; those before it were.
pub fn run(names: &[MachineName], options: &Options) -> Result<(), Error> {
    let mut supervisors = Vec::new();
    for name in names {
        let record = machine::find(name)?;
        let supervisor = machine::process(&record, "supervisor", Some(record.supervisor))?;
        ask(&record, &supervisor, options.signal)?;
        supervisors.push(supervisor);
    }
    for supervisor in supervisors.iter().filter(|_| options.wait) {
        while !supervisor.ended_within(PIECE) {}
    }
    Ok(())
}

/// By the signal that was asked for, or the init's own. Where there is none but the supervisor knows another way, it is asked instead.
fn ask(record: &Record, supervisor: &PidFd, signal: Option<Signal>) -> Result<(), Error> {
    let signal = signal.or(record.halt_signal.map(Signal));
    match request::send(record, signal)? {
        Some(_) => Ok(()),
        None if record.boot => supervisor.signal(TERM).map_err(machine::failed),
        None => Err(request::not_understood(record, "power off")),
    }
}
