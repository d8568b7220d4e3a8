//! `poweroff`

use std::time::Duration;

use nskit_launcher::Error;
use nskit_launcher::registry::Record;
use nskit_launcher::report::Signal;
use nskit_launcher::settings::MachineName;

use crate::cli::Options;
use crate::machine;
use crate::request::{self, Asked};

/// A wait that has no limit is polled in pieces.
const PIECE: Duration = Duration::from_secs(3600);

/// Asks each machine's init to power off, and returns at once, or with `--wait` when all of them have.
///
/// # Errors
/// One of them isn't known or can't be asked; those before it were. With `--wait`: one of them takes longer than it may take to stop.
pub fn run(names: &[MachineName], options: &Options) -> Result<(), Error> {
    let mut all = Vec::new();
    for name in names {
        let record = machine::find(name)?;
        let asked = Asked::new(&record)?;
        ask(&record, &asked, options.signal)?;
        all.push(asked);
    }
    for asked in all.iter().filter(|_| options.wait) {
        while !asked.ended_within(PIECE)? {}
    }
    Ok(())
}

/// By the signal that was asked for, or the init's own. Where there is none but the supervisor knows another way, it is asked instead.
fn ask(record: &Record, asked: &Asked, signal: Option<Signal>) -> Result<(), Error> {
    match signal.or(record.halt_signal.map(Signal)) {
        Some(signal) => request::send(record, signal),
        None if record.boot => asked.supervisor().signal(Signal::TERM.0).map_err(machine::failed),
        None => Err(request::not_understood(record, "power off")),
    }
}
