//! `reboot`

use std::time::Duration;

use nskit_launcher::registry::{Record, State};
use nskit_launcher::report::Signal;
use nskit_launcher::settings::MachineName;
use nskit_launcher::{Error, Kind};

use crate::cli::Options;
use crate::machine;
use crate::request::{self, Asked};

/// Between two looks at a machine that reboots.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks each machine's init to reboot, and returns at once, or with `--wait` when each has a new process 1.
///
/// # Errors
/// One of them isn't known or can't be asked; those before it were. With `--wait`: one of them has ended instead, or takes longer than it
/// may take to stop.
pub fn run(names: &[MachineName], options: &Options) -> Result<(), Error> {
    let mut all = Vec::new();
    for name in names {
        let record = machine::find(name)?;
        let asked = Asked::new(&record)?;
        let signal = options.signal.or(record.reboot_signal.map(Signal));
        request::send(&record, signal.ok_or_else(|| request::not_understood(&record, "reboot"))?)?;
        all.push((record, asked));
    }
    all.iter().filter(|_| options.wait).try_for_each(|(record, asked)| wait(record, asked))
}

fn wait(before: &Record, asked: &Asked) -> Result<(), Error> {
    loop {
        if let Ok(now) = machine::find(&before.name) {
            if has_rebooted(before, &now)? {
                return Ok(());
            }
        }
        if asked.ended_within(PAUSE)? {
            return Err(Error::new(Kind::Host, format!("Machine '{}' has ended, and does not come again", before.name)));
        }
    }
}

/// Another launcher's machine is another machine.
fn has_rebooted(before: &Record, now: &Record) -> Result<bool, Error> {
    match now.supervisor == before.supervisor {
        true => Ok(now.state == State::Running && now.leader.is_some() && now.leader != before.leader),
        false => Err(machine::replaced(before)),
    }
}
