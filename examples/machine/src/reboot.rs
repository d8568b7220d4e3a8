//! `reboot`

use std::time::Duration;

use nskit_launcher::registry::{Record, State};
use nskit_launcher::report::Signal;
use nskit_launcher::settings::MachineName;
use nskit_launcher::{Error, Kind};

use crate::cli::Options;
use crate::{machine, request};

/// Between two looks at a machine that reboots.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks each machine's init to reboot, and returns at once, or with `--wait` when each has a new process 1.
///
/// # Errors
/// One of them isn't known or can't be asked; those before it were. With `--wait`: one of them has ended instead.
pub fn run(names: &[MachineName], options: &Options) -> Result<(), Error> {
    let mut before = Vec::new();
    for name in names {
        let record = machine::find(name)?;
        let signal = options.signal.or(record.reboot_signal.map(Signal));
        request::send(&record, signal)?.ok_or_else(|| request::not_understood(&record, "reboot"))?;
        before.push(record);
    }
    before.iter().filter(|_| options.wait).try_for_each(wait)
}

fn wait(before: &Record) -> Result<(), Error> {
    let supervisor = machine::process(before, "supervisor", Some(before.supervisor))?;
    loop {
        let now = machine::find(&before.name).ok();
        if now.is_some_and(|now| now.state == State::Running && now.leader.is_some() && now.leader != before.leader) {
            return Ok(());
        }
        if supervisor.ended_within(PAUSE) {
            return Err(Error::new(Kind::Host, format!("Machine '{}' has ended, and does not come again", before.name)));
        }
    }
}
