//! What may come of a start that something went wrong in: a refusal in one clear line, or the same protections as ever.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use nix::libc;
use ns_core::Errno;

use crate::probe::asked::{Found, parse};
use crate::support::{Machine, Spawn, within};
use crate::trace::{Call, Run, run};

/// The option that shows the probe inside, and its path there.
pub fn program() -> (String, String) {
    let program = format!("/run/{}", crate::probe::NAME);
    (format!("--bind-ro={}:{program}", std::env::current_exe().unwrap().display()), program)
}

/// The payload: the probe, which tells what it is.
pub fn asked(machine: &Machine, options: &[&str]) -> Spawn {
    let (bind, program) = program();
    let spaces = ["user", "mnt", "pid", "ipc", "uts", "net", "cgroup", "time"];
    let given = spaces.map(|kind| format!("{kind}={}", fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default().display()));
    let boot_id = format!("boot-id={}", fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim());
    machine.spawn([&bind]).args(options).args([&program, "fingerprint"]).args(given).args([boot_id])
}

/// How long a run may take: a start, a stop, and what the kernel needs.
pub fn limit() -> Duration {
    within(20)
}

/// A start in which nothing goes wrong: its calls, and what its payload is.
pub struct Base {
    pub calls: Vec<Call>,
    pub found: Found,
    pub notices: Vec<String>,
}

impl Base {
    /// Every call from `main` on: not those of the C library's and the runtime's beginnings.
    pub fn calls_of(spawn: &Spawn) -> Vec<Call> {
        let plain = run(spawn.command(), None, limit());
        assert!(plain.code == Some(0) && plain.started, "without a fault: {plain:?}");
        let main = plain.calls.iter().position(|call| call.name() == "getcwd").expect("main begins with getcwd");
        plain.calls.into_iter().skip(main).collect()
    }

    pub fn of(spawn: &Spawn) -> Base {
        let calls = Base::calls_of(spawn);
        // With the filter that stops at calls there is one filter more.
        let none = Call { number: 9999, ..calls[0] };
        let filtered = run(spawn.command(), Some((none, crate::trace::Act::Fail(0))), limit());
        let notices = filtered.stderr.lines().map(str::to_owned).collect();
        Base { calls, found: parse(&filtered.stdout), notices }
    }

    /// The calls of the start itself.
    pub fn of_start(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.starting)
    }
}

/// What came of it, if it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Exit code 1, one line.
    Refused,
    /// As if nothing had happened.
    Same,
    /// The same inside, and a line that names what is missing around it.
    Told,
    /// The same protections; device nodes are the host's, bound, as for those who may make none.
    Bound,
    /// The call was not come to this time.
    Missed,
}

impl Verdict {
    /// For the table.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Refused => "refused in one clear line",
            Verdict::Same => "started, protections unchanged",
            Verdict::Told => "started, protections inside unchanged, and a line that says what the host lacks",
            Verdict::Bound => "started, protections unchanged, device nodes bound from the host's",
            Verdict::Missed => "not come to",
        }
    }
}

/// A wall behind another, or a limit, that a host may not have: the payload is the same, and a line says so.
const NOTICES: [&str; 3] = ["No device program: ", "No cgroup: ", "No limit of "];

/// Judges it; the words of a failure.
pub fn judge(base: &Base, run: &Run, errno: Option<i32>) -> Result<Verdict, String> {
    if run.hung {
        return Err("it did not end".to_owned());
    }
    let new: Vec<&str> = run.stderr.lines().filter(|line| !base.notices.iter().any(|notice| notice == line)).collect();
    match (run.code, new.as_slice()) {
        (Some(0), lines) => {
            let found = parse(&run.stdout);
            let told = lines.iter().all(|line| NOTICES.iter().any(|notice| line.starts_with(notice)));
            let differences = differences(&base.found, &found);
            match (differences.is_empty(), told, lines.len()) {
                (true, true, 0) if run.done => Ok(Verdict::Same),
                (true, true, 0) => Ok(Verdict::Missed),
                (true, true, 1) => Ok(Verdict::Told),
                (false, true, 0) if is_bound(&base.found, &found) => Ok(Verdict::Bound),
                _ => Err(format!("it started, with {lines:?} and other than ever: {differences:?}")),
            }
        }
        (Some(1), [line]) => is_clear(line, errno).map(|()| Verdict::Refused),
        _ => Err(format!("code {:?}, signal {:?}, it said {:?}", run.code, run.signal, run.stderr)),
    }
}

/// Whether what it said ends in a line of the program's, and has none of a panic's before it.
pub fn is_refusal(said: &str) -> bool {
    let mut lines = said.lines().rev();
    lines.next().is_some_and(|line| line.starts_with("ns-spawn: ") && line.len() > 20) && !lines.any(|line| line.contains("panicked"))
}

/// It names the program, what was being done, and why it failed.
fn is_clear(line: &str, errno: Option<i32>) -> Result<(), String> {
    let why = errno.map(|errno| Errno::new(errno).to_string()).unwrap_or_default();
    // These two tell no failure: it is found by reading back.
    let says_why = line.contains(&why) || line.ends_with("setfsuid: Operation not permitted");
    match line.starts_with("ns-spawn: ") && says_why && line.len() > "ns-spawn: ".len() + why.len() + 8 {
        true => Ok(()),
        false => Err(format!("an unclear line: {line:?}")),
    }
}

/// Only the nodes differ, and the mounts by binds onto them.
fn is_bound(usual: &Found, found: &Found) -> bool {
    let mounts = |found: &Found| -> BTreeSet<String> {
        let rows = found.get("mounts").map(|rows| rows.split('|').map(str::to_owned).collect::<BTreeSet<_>>()).unwrap_or_default();
        rows.into_iter().filter(|row| !NODES.iter().any(|node| row.split(' ').nth(1) == Some(node))).collect()
    };
    let others = |found: &Found| -> Found {
        found.iter().filter(|(name, _)| !["devices", "mounts"].contains(&name.as_str())).map(|(a, b)| (a.clone(), b.clone())).collect()
    };
    mounts(usual) == mounts(found) && others(usual) == others(found)
}

const NODES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// The rows that aren't the same.
pub fn differences(usual: &Found, found: &Found) -> Vec<String> {
    let names: BTreeMap<&String, ()> = usual.keys().chain(found.keys()).map(|name| (name, ())).collect();
    let differs = names.into_keys().filter(|name| usual.get(*name) != found.get(*name));
    differs.map(|name| format!("{name}: {:?}, usually {:?}", found.get(name), usual.get(name))).collect()
}

/// An errno's symbol.
pub fn name(errno: i32) -> String {
    Errno::new(errno).symbol().unwrap_or("?").to_owned()
}

/// The errnos that calls are made to fail with.
pub const ERRNOS: [i32; 6] = [libc::EPERM, libc::ENOMEM, libc::EMFILE, libc::ENOSPC, libc::EINTR, libc::ENOSYS];
