//! `terminate`

use std::time::{Duration, Instant};

use ns_cgroup::{Cgroup, Hierarchy, Machine as Cgroups, Name};
use ns_core::PidFd;
use nskit_launcher::escape::Escaped;
use nskit_launcher::registry::{Machine, Machines, Record};
use nskit_launcher::settings::MachineName;
use nskit_launcher::{Error, Kind};

use crate::{gc, machine};

const TERM: i32 = 15;
const CONT: i32 = 18;
const KILL: i32 = 9;

/// The supervisor asks at the first signal and kills at the second, as soon as it has read the first: two at once would be one.
const PAUSE: Duration = Duration::from_millis(20);
/// After that the supervisor is taken to be stuck, and is killed; its keeper kills the payload then.
const SUPERVISOR: Duration = Duration::from_secs(25);
/// After that what is left waits in the kernel.
const REST: Duration = Duration::from_secs(10);

/// Ends each machine without asking it, and returns when nothing of it is left.
///
/// # Errors
/// One of them isn't known, or something of it doesn't end; those before it are gone.
pub fn run(names: &[MachineName]) -> Result<(), Error> {
    names.iter().try_for_each(|name| one(name).and_then(|()| gc::after(name)))
}

fn one(name: &MachineName) -> Result<(), Error> {
    match Machines::of_host()?.get(name)? {
        None => Err(machine::unknown(name)),
        Some(Machine::Known(record)) => {
            let cgroup = machine::cgroup(&record);
            supervisor(&record)?;
            rest(name, cgroup, &record)
        }
        // Its cgroup has its name, whatever has become of its record: the supervisor sees its payload end, and cleans up.
        Some(Machine::Damaged { why, pid, .. }) => match by_name(name) {
            Some(cgroup) => emptied(name, &cgroup),
            None => Err(machine::damaged(name, &why, pid)),
        },
    }
}

/// Has the supervisor end it all, in its own order.
fn supervisor(record: &Record) -> Result<(), Error> {
    let Some(supervisor) = record.supervisor.open()? else { return Ok(()) };
    let until = Instant::now() + SUPERVISOR;
    while Instant::now() < until {
        // One that was stopped reads no signals.
        for signal in [TERM, CONT] {
            send(&supervisor, signal)?;
        }
        if supervisor.ended_within(PAUSE) {
            return Ok(());
        }
    }
    send(&supervisor, KILL)?;
    supervisor.ended_within(REST);
    Ok(())
}

/// One that has just ended is as good.
fn send(process: &PidFd, signal: i32) -> Result<(), Error> {
    process.signal(signal).or_else(|e| if process.has_ended() { Ok(()) } else { Err(machine::failed(e)) })
}

/// What the supervisor has left, if it was killed or had gone before.
fn rest(name: &MachineName, cgroup: Option<Cgroup>, record: &Record) -> Result<(), Error> {
    if let Some(cgroup) = cgroup {
        emptied(name, &cgroup)?;
    }
    let left = [record.leader, record.keeper, Some(record.supervisor)].into_iter().flatten();
    for id in left {
        if id.open()?.is_some_and(|process| !process.ended_within(REST)) {
            return Err(stuck(name, &[id.pid]));
        }
    }
    Ok(())
}

fn emptied(name: &MachineName, cgroup: &Cgroup) -> Result<(), Error> {
    cgroup.kill().map_err(machine::failed)?;
    match cgroup.wait_empty(REST).map_err(machine::failed)? {
        true => Ok(()),
        false => Err(stuck(name, &cgroup.procs_below().unwrap_or_default())),
    }
}

fn by_name(name: &MachineName) -> Option<Cgroup> {
    Hierarchy::find().and_then(|hierarchy| Cgroups::open(&hierarchy, &Name::new(name.as_str())?)).ok()
}

/// They were killed, and are still there: the kernel says where they wait.
fn stuck(name: &MachineName, pids: &[u32]) -> Error {
    const SHOWN: usize = 5;
    let at = |pid: &u32| {
        let place = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
        format!("{pid} at {}", Escaped::text(place.trim()))
    };
    let places: Vec<String> = pids.iter().take(SHOWN).map(at).collect();
    Error::new(Kind::Host, format!("Machine '{name}' was killed, but processes of it wait in the kernel: {}", places.join(", ")))
}
