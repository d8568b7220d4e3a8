//! ns-cgroup alone: a command with limits and few devices, in a cgroup of its own. As root.

use ns_cgroup::{DeviceRules, Hierarchy, Limit, Limits, Machine, Name};
use std::error::Error;
use std::process::{Command, Stdio};
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let machine = Machine::create(&Hierarchy::find()?, &Name::new(&format!("tour-{}", std::process::id()))?)?;
    let result = run_in(&machine);
    machine.kill(Duration::from_secs(10))?;
    machine.remove()?;
    result
}

fn run_in(machine: &Machine) -> Result<(), Box<dyn Error>> {
    // null, zero, full, random, urandom, tty, ptmx and pseudo-terminals; nothing else, whoever asks.
    let devices = DeviceRules::container();
    print!("{devices}");
    devices.compile().attach(machine.cgroup())?;

    // A default that can't be had (its controller may belong to cgroup v1) is told; one that is asked for would be an error.
    let limits = Limits::new().or_default(Limit::memory_max(512 << 20)).or_default(Limit::pids_max(64));
    let applied = limits.apply(machine.cgroup())?;
    if !applied.missing().is_empty() {
        eprintln!("{applied}");
    }

    let payload = machine.payload(0, 0)?;
    let script = "read go; true </dev/null && ! true 2>/dev/null </dev/kmsg";
    let mut child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn()?;
    payload.enter(child.id())?; // a plan's payload is born in it instead: Plan::into_cgroup
    drop(child.stdin.take()); // go
    if !child.wait()?.success() {
        return Err("a device that is not in the list could be opened".into());
    }
    println!("{:?}", machine.cgroup().statistics()?);
    Ok(())
}

#[test]
fn runs() {
    main().unwrap();
}
