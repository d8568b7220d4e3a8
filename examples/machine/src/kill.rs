//! `kill`

use nskit_launcher::registry::{ProcessId, Record};
use nskit_launcher::report::Signal;
use nskit_launcher::settings::MachineName;
use nskit_launcher::{Error, Kind};

use crate::cli::{Options, Whom};
use crate::machine;

/// Sends a signal to the first process of each machine, to its supervisor, or to all processes in it.
///
/// Each is known by its pidfd before it is sent anything. `SIGKILL` for all of them misses none (`cgroup.kill`); another signal may miss
/// one that is being forked.
///
/// # Errors
/// One of the machines isn't known, or can't be sent the signal; those before it were.
pub fn run(names: &[MachineName], options: &Options) -> Result<(), Error> {
    let signal = options.signal.unwrap_or(Signal::TERM);
    for name in names {
        let record = machine::find(name)?;
        match options.whom {
            Whom::Leader => one(&record, "process 1", record.leader, signal)?,
            Whom::Supervisor => one(&record, "supervisor", Some(record.supervisor), signal)?,
            Whom::All => all(&record, signal)?,
        }
    }
    Ok(())
}

fn one(record: &Record, what: &str, id: Option<ProcessId>, signal: Signal) -> Result<(), Error> {
    machine::process(record, what, id)?.signal(signal.0).map_err(machine::failed)
}

fn all(record: &Record, signal: Signal) -> Result<(), Error> {
    let none = || Error::new(Kind::Host, format!("Machine '{}' has no cgroup", record.name)).hint("--kill-whom=leader needs none");
    let cgroup = machine::own_cgroup(record)?.ok_or_else(none)?;
    match signal {
        Signal::KILL => cgroup.kill(),
        Signal(number) => cgroup.signal(number).map(drop),
    }
    .map_err(machine::failed)
}
