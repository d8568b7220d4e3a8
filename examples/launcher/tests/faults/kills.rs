//! Death, at each system call of a start and over its first moments: of the launcher, of the keeper, of both, of everything.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::Counts;
use crate::support::{Machine, Process, within};
use crate::trace::{Act, Call, Role, Run, run};
use crate::verdict::{Base, limit, program};

/// Who dies at a call.
pub const AT_CALLS: [(&str, Act); 5] = [
    ("launcher killed", Act::Kill(&[Role::Launcher])),
    ("keeper killed", Act::Kill(&[Role::Builder])),
    ("both killed", Act::Kill(&[Role::Launcher, Role::Builder])),
    ("all killed", Act::Kill(&[Role::Launcher, Role::Builder, Role::Payload, Role::Helper])),
    ("one stopped, launcher killed", Act::StopThenKillLauncher),
];

/// Kills at the calls that `chosen` picks.
pub fn at_calls(chosen: impl Fn(usize, usize) -> bool) -> Counts {
    let machine = Machine::of("busybox");
    let spawn = machine.spawn(["true"]);
    let base = Base::calls_of(&spawn);
    let (mut counts, mut failures) = (Counts::new(), Vec::new());
    let points: BTreeSet<Call> = base.into_iter().collect();
    for (number, call) in points.iter().enumerate() {
        for (kind, (name, act)) in AT_CALLS.into_iter().enumerate() {
            if !chosen(number, kind) {
                continue;
            }
            let outcome = run(spawn.command(), Some((*call, act)), limit());
            match judge(&machine, &outcome, act) {
                Ok(()) => counts.add(name, if outcome.done { "gone, next start works" } else { "not come to" }),
                Err(why) => failures.push(format!("{call}, {name}: {why}")),
            }
        }
    }
    assert!(failures.is_empty(), "{} of {counts:?}:\n{}", failures.len(), failures.join("\n"));
    counts
}

fn judge(machine: &Machine, run: &Run, act: Act) -> Result<(), String> {
    if run.hung {
        return Err("it did not end".to_owned());
    }
    let launcher_dies = !matches!(act, Act::Kill(&[Role::Builder]));
    let expected = match (run.signal, run.code) {
        (Some(Signal::SIGKILL), _) => launcher_dies,
        // The container had ended already.
        (_, Some(0)) => true,
        (_, Some(1)) => run.stderr.lines().last().is_some_and(|line| line.starts_with("ns-spawn: ") || line.contains("signal KILL")),
        _ => false,
    };
    if run.done && !expected {
        return Err(format!("code {:?}, signal {:?}, it said {:?}", run.code, run.signal, run.stderr));
    }
    if run.after > within(2) {
        return Err(format!("it took {:?}", run.after));
    }
    is_gone(machine)
}

/// What a failed test leaves is in the way of the next point.
fn end(pid: i32) {
    let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
}

/// Everything but what the next start of the name collects is gone within two seconds; the next start works at once, and leaves nothing.
fn is_gone(machine: &Machine) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let now = machine.fingerprint();
        let left: Vec<&String> =
            now.iter().filter(|line| ["process ", "mount ", "link "].iter().any(|kind| line.starts_with(kind))).collect();
        if left.is_empty() {
            break;
        }
        if began.elapsed() > within(2) {
            let text = format!("left after two seconds: {left:?}");
            left.iter().filter_map(|line| line.strip_prefix("process /proc/")?.split(' ').next()?.parse().ok()).for_each(end);
            return Err(text);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut next = machine.spawn(["-q", "true"]).run();
    // A process that ends is out of sight a moment before its locks are free.
    while next.code == Some(1) && next.stderr.contains("currently busy") && began.elapsed() < within(2) {
        next = machine.spawn(["-q", "true"]).run();
    }
    if next.code != Some(0) {
        return Err(format!("the next start failed: {}", next.stderr));
    }
    let cleaned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.check()));
    cleaned.map_err(|left| left.downcast_ref::<String>().cloned().unwrap_or_default())
}

/// Who dies at a time.
#[derive(Clone, Copy, Debug)]
pub enum Victim {
    Launcher,
    Keeper,
    Both,
    Payload,
    /// Of the launcher, as a terminal's hang-up or a shell's `kill %1` reaches it.
    Group,
}

/// All of them.
pub const VICTIMS: [(&str, Victim); 5] = [
    ("launcher killed", Victim::Launcher),
    ("keeper killed", Victim::Keeper),
    ("both killed", Victim::Both),
    ("payload killed", Victim::Payload),
    ("process group killed", Victim::Group),
];

/// Kills so often for each victim, evenly over the time; the payload is stubborn.
pub fn at_times(points: u32, time: Duration) -> Counts {
    let machine = Machine::of("busybox");
    let path = program();
    let spawn = || machine.spawn(["-q", &path.0, &path.1, "stay"]).command();
    over(&machine, spawn, points, time)
}

/// The same for a distribution that boots.
pub fn at_times_of_a_boot(points: u32, time: Duration) -> Counts {
    let machine = Machine::of("debian");
    over(&machine, || machine.spawn(["-q", "--console=passive", "--boot"]).command(), points, time)
}

fn over(machine: &Machine, spawn: impl Fn() -> Command, points: u32, time: Duration) -> Counts {
    let (mut counts, mut failures) = (Counts::new(), Vec::new());
    for (name, victim) in VICTIMS {
        for point in 0..points {
            let after = time * point / points;
            let mut command = spawn();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
            let mut launcher = command.spawn().expect("the launcher");
            std::thread::sleep(after);
            let was_there = kill(&launcher, victim);
            let ended = ends(&mut launcher);
            match ended.and_then(|()| is_gone(machine)) {
                Ok(()) => counts.add(name, if was_there { "gone, next start works" } else { "not there yet: gone, next start works" }),
                Err(why) => failures.push(format!("{name} after {after:?}: {why}")),
            }
        }
    }
    assert!(failures.is_empty(), "{} of {counts:?}:\n{}", failures.len(), failures.join("\n"));
    counts
}

/// One that isn't there yet is the launcher itself. Whether it was there.
fn kill(launcher: &Child, victim: Victim) -> bool {
    let own = Process(launcher.id());
    let keeper = own.children().first().copied();
    let payload = keeper.and_then(|keeper| keeper.children().first().copied());
    let signal = |process: Option<Process>| process.map(|process| nix::sys::signal::kill(Pid::from_raw(process.0 as i32), Signal::SIGKILL));
    let found = match victim {
        Victim::Launcher | Victim::Group => Some(own),
        Victim::Keeper | Victim::Both => keeper,
        Victim::Payload => payload,
    };
    match victim {
        Victim::Group => drop(killpg(Pid::from_raw(launcher.id() as i32), Signal::SIGKILL).ok()),
        _ => drop(signal(found)),
    }
    if matches!(victim, Victim::Both) || found.is_none() {
        let _ = signal(Some(own));
    }
    found.is_some()
}

fn ends(launcher: &mut Child) -> Result<(), String> {
    let began = Instant::now();
    while launcher.try_wait().unwrap().is_none() {
        if began.elapsed() > within(2) {
            let _ = launcher.kill();
            let _ = launcher.wait();
            return Err("the launcher did not end".to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
