//! `terminate`

use std::thread::sleep;
use std::time::{Duration, Instant};

use ns_cgroup::{Cgroup, Hierarchy, Machine as Cgroups, Name};
use ns_core::{Errno, PidFd};
use nskit_launcher::registry::{Machine, Machines, Record};
use nskit_launcher::report::Signal;
use nskit_launcher::settings::MachineName;
use nskit_launcher::supervise::stuck;
use nskit_launcher::{Error, Kind};

use crate::{gc, machine};

/// The supervisor asks at the first signal and kills at the second, as soon as it has read the first: two at once would be one.
const PAUSE: Duration = Duration::from_millis(20);
/// After that the supervisor is taken to be stuck, and is killed; its keeper kills the payload then.
const SUPERVISOR: Duration = Duration::from_secs(25);
/// After that what is left waits in the kernel.
const REST: Duration = Duration::from_secs(10);

/// So long a machine without a record may be on its way: one that starts, or one that sees its payload end.
const UNRECORDED: Duration = Duration::from_secs(30);

/// Ends each machine without asking it, and returns when nothing of it is left.
///
/// # Errors
/// One of them isn't known, or something of it doesn't end; those before it are gone.
pub fn run(names: &[MachineName]) -> Result<(), Error> {
    let machines = Machines::of_host()?;
    names.iter().try_for_each(|name| one(&machines, name).and_then(|()| gc::after(machines.places(), name)))
}

fn one(machines: &Machines, name: &MachineName) -> Result<(), Error> {
    match machines.get(name)? {
        None => Err(machine::unknown(name)),
        Some(Machine::Known(record)) => known(&record),
        Some(Machine::Damaged { .. }) => unrecorded(machines, name, UNRECORDED),
    }
}

fn known(record: &Record) -> Result<(), Error> {
    // One that ends by itself meanwhile has none to kill.
    let cgroup = machine::own_cgroup(record).ok().flatten();
    supervisor(record)?;
    rest(&record.name, cgroup, record)
}

/// Its cgroup has its name, whatever has become of its record: the supervisor sees its payload end, and cleans up. One that has just begun
/// to start it may have none yet, nor a record: it is looked at until there is something to end, or nobody has the name.
fn unrecorded(machines: &Machines, name: &MachineName, limit: Duration) -> Result<(), Error> {
    let until = Instant::now() + limit;
    loop {
        let (why, pid) = match machines.get(name)? {
            None => return Ok(()),
            Some(Machine::Known(record)) => return known(&record),
            Some(Machine::Damaged { why, pid, .. }) => (why, pid),
        };
        match pid {
            Some(_) => by_name(name)
                .map_or(Ok(()), |cgroup| cgroup.kill())
                .or_else(|e| gone(&e).then_some(()).ok_or_else(|| machine::failed(e)))?,
            // Under the lock of its name, which nobody seems to have: what is another's of the same name is left alone.
            None => gc::after(machines.places(), name)?,
        }
        if Instant::now() >= until {
            return Err(on_its_way(name, &why, pid));
        }
        sleep(PAUSE);
    }
}

/// A cgroup that was removed in between.
fn gone(e: &ns_cgroup::Error) -> bool {
    let errno = e.errno().map(|errno| errno.raw_os_error());
    [Errno::ENOENT, Errno::ENODEV].iter().any(|gone| Some(gone.raw_os_error()) == errno)
}

fn on_its_way(name: &MachineName, why: &str, pid: Option<u32>) -> Error {
    let who = pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
    Error::new(Kind::Busy, format!("Machine '{name}' is still being started by {who}, or that does not end: {why}"))
}

/// Has the supervisor end it all, in its own order.
fn supervisor(record: &Record) -> Result<(), Error> {
    let Some(supervisor) = record.supervisor.open()? else { return Ok(()) };
    let until = Instant::now() + SUPERVISOR;
    while Instant::now() < until {
        // One that was stopped reads no signals.
        for signal in [Signal::TERM, Signal::CONT] {
            send(&supervisor, signal)?;
        }
        if supervisor.ended_within(PAUSE) {
            return Ok(());
        }
    }
    send(&supervisor, Signal::KILL)?;
    supervisor.ended_within(REST);
    Ok(())
}

/// One that has just ended is as good.
fn send(process: &PidFd, signal: Signal) -> Result<(), Error> {
    process.signal(signal.0).or_else(|e| if process.has_ended() { Ok(()) } else { Err(machine::failed(e)) })
}

/// What the supervisor has left, if it was killed or had gone before.
fn rest(name: &MachineName, cgroup: Option<Cgroup>, record: &Record) -> Result<(), Error> {
    if let Some(cgroup) = cgroup {
        emptied(name, &cgroup)?;
    }
    let left = [record.leader, record.keeper, Some(record.supervisor)].into_iter().flatten();
    for id in left {
        if id.open()?.is_some_and(|process| !process.ended_within(REST)) {
            return Err(stuck(name, vec![id.pid]));
        }
    }
    Ok(())
}

fn emptied(name: &MachineName, cgroup: &Cgroup) -> Result<(), Error> {
    cgroup.kill().map_err(machine::failed)?;
    match cgroup.wait_empty(REST).map_err(machine::failed)? {
        true => Ok(()),
        false => Err(stuck(name, cgroup.procs_below().unwrap_or_default())),
    }
}

fn by_name(name: &MachineName) -> Option<Cgroup> {
    Hierarchy::find().and_then(|hierarchy| Cgroups::open(&hierarchy, &Name::new(name.as_str())?)).ok()
}

#[cfg(test)]
mod tests {
    use nskit_launcher::registry::{NameLock, Owner, Places};

    use super::*;

    /// Somebody has its name and nothing else yet, as in the first moments of a start.
    #[test]
    fn who_starts_it_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let machines =
            Machines::at(Places { run: dir.path().join("nskit"), systemd: dir.path().join("systemd"), etc: dir.path().join("etc") });
        let name = MachineName::new(&format!("starts-{}", std::process::id())).unwrap();
        let owner = Owner { machine: name.clone(), pid: std::process::id() };
        let lock = NameLock::take(machines.places(), &owner).unwrap();
        let e = unrecorded(&machines, &name, Duration::from_millis(50)).unwrap_err();
        let begin = format!("Machine '{name}' is still being started by process {}", std::process::id());
        assert!(e.kind() == Kind::Busy && e.to_string().starts_with(&begin), "{e}");
        let began = Instant::now();
        let release = std::thread::spawn(move || {
            sleep(Duration::from_millis(200));
            lock.release().unwrap();
        });
        one(&machines, &name).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(200));
        release.join().unwrap();
        assert!(one(&machines, &name).unwrap_err().to_string().contains("is not known"));
    }
}
