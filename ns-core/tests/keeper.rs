//! The stub's two verbs: the keeper, which ends the payload with the caller, and the init, process 1 of a payload that is process 2.

mod common;

use common::{alone, exists, ids, shell};
use ns_core::{Exec, Exit, Fds, Locked, Namespaces, Plan, Running, Slot};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const OUT: Slot = Slot::new("output");
const IN: Slot = Slot::new("input");

/// A directory that is removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ns-core-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
}

fn within(limit: Duration, what: &str, mut done: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < limit, "{what}: not after {limit:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    began.elapsed()
}

/// Deaf to every signal that can be ignored, without a parent-death signal, with two children: one of a session of its own, one stopped.
const STUBBORN: &str = "trap '' TERM INT HUP QUIT USR1 USR2 PIPE ALRM; setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 10; done' & \
                        sleep 1000 & kill -STOP $!; echo ready; while :; do sleep 1000; done";

fn stubborn(kinds: Namespaces) -> Plan {
    let exec = shell(STUBBORN).env("PATH", "/usr/bin:/bin").unwrap().pass(OUT, 1).unwrap();
    Plan::new(exec).given(OUT).user(ids()).unshare(kinds).kept()
}

fn start(plan: Plan) -> (Running, BufReader<std::fs::File>) {
    let (output, end) = pipe();
    let running = plan.seal().unwrap().start(Fds::new().give(OUT, end)).unwrap();
    let mut output = BufReader::new(std::fs::File::from(output));
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (running, output)
}

/// Everything below a process, itself included.
fn tree(pid: i32) -> Vec<i32> {
    let below = common::children_of(pid).into_iter().flat_map(tree);
    std::iter::once(pid).chain(below).collect()
}

const CALLER: &str = "NSKIT_TEST_CALLER";

/// Not a test of its own: the process that `the_caller_is_killed` kills.
#[test]
fn caller() {
    let Ok(kinds) = std::env::var(CALLER) else { return };
    let kinds = if kinds == "all" { Namespaces::all() } else { Namespaces::UTS };
    let plan = stubborn(kinds);
    let plan = if kinds.contains(Namespaces::MOUNT) { plan.inside(Locked) } else { plan };
    let (running, _output) = start(plan);
    let mut out = std::io::stdout();
    writeln!(out, "\nkeeper {} payload {}", running.keeper().unwrap().pid().unwrap(), running.payload().unwrap().pid().unwrap()).unwrap();
    out.flush().unwrap();
    std::thread::sleep(Duration::from_secs(100));
}

#[test]
fn the_caller_is_killed() {
    let alone = alone("the caller is killed");
    for kinds in ["all", "few"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["caller", "--exact", "--nocapture"]).env(CALLER, kinds).stdout(Stdio::piped());
        let mut caller = command.spawn().unwrap();
        let output = BufReader::new(caller.stdout.take().unwrap());
        let line = output.lines().map(Result::unwrap).find(|line| line.starts_with("keeper ")).expect("the caller says who is who");
        let numbers: Vec<i32> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let all = tree(numbers[0]);
        assert!(all.len() >= 4 && all.contains(&numbers[1]), "{line}: {all:?}");
        caller.kill().unwrap();
        within(Duration::from_secs(2), &format!("{kinds}: the end of {all:?}"), || !all.iter().any(|pid| exists(*pid) && !is_zombie(*pid)));
        caller.wait().unwrap();
        alone.nothing_left(&kinds);
    }
}

/// Whoever inherits orphans here may take its time to reap them.
fn is_zombie(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

#[test]
fn the_keeper_is_killed() {
    let alone = alone("the keeper is killed");
    for kinds in [Namespaces::all(), Namespaces::UTS] {
        let plan = stubborn(kinds);
        let plan = if kinds.contains(Namespaces::MOUNT) { plan.inside(Locked) } else { plan };
        let (mut running, output) = start(plan);
        assert_eq!(running.try_wait().unwrap(), None);
        let all = tree(running.keeper().unwrap().pid().unwrap() as i32);
        running.keeper().unwrap().signal(9).unwrap();
        let began = Instant::now();
        let error = running.wait().unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(error.to_string(), "the keeper was killed by signal 9, and the payload has ended with it");
        assert!(!all.iter().any(|pid| exists(*pid) && !is_zombie(*pid)), "{all:?}");
        drop((running, output));
        alone.nothing_left(&kinds);
    }
}

#[test]
fn a_keeper_is_deaf_and_tells_every_end() {
    let alone = alone("a keeper is deaf and tells every end");
    let plan = || Plan::new(shell("read line; exit $line").pass(IN, 0).unwrap()).given(IN).unshare(Namespaces::PID).kept().seal().unwrap();
    let (input, mut end) = {
        let (a, b) = pipe();
        (a, std::fs::File::from(b))
    };
    let mut running = plan().start(Fds::new().give(IN, input)).unwrap();
    for signal in [1, 2, 3, 15, 10, 12] {
        running.keeper().unwrap().signal(signal).unwrap();
    }
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(running.try_wait().unwrap(), None);
    end.write_all(b"42\n").unwrap();
    assert_eq!(running.wait().unwrap(), Exit::Exited(42));
    assert_eq!(running.try_wait().unwrap(), Some(Exit::Exited(42)), "told again");
    drop(running);
    let (input, open) = pipe();
    let mut running = plan().start(Fds::new().give(IN, input)).unwrap();
    running.payload().unwrap().signal(9).unwrap();
    assert_eq!(running.wait().unwrap(), Exit::Signalled(9));
    drop((running, open, end));
    alone.nothing_left(&"keepers");
}

#[test]
fn the_keeper_holds_what_it_is_told_to_and_nothing_else() {
    let alone = alone("the keeper holds what it is told to");
    const LOCK: Slot = Slot::new("lock");
    let scratch = Scratch::new("lock");
    let file = |name: &str| OwnedFd::from(std::fs::File::create(scratch.0.join(name)).unwrap());
    let plan = stubborn(Namespaces::all()).given(LOCK).holding(LOCK).given(LOCK.nth(1)).holding(LOCK.nth(1)).inside(Locked);
    let (output, end) = pipe();
    let sealed = plan.seal().unwrap();
    let fds = Fds::new().give(OUT, end).give(LOCK, file("a")).give(LOCK.nth(1), file("b"));
    let running = sealed.start(fds).unwrap();
    let mut line = String::new();
    BufReader::new(std::fs::File::from(output)).read_line(&mut line).unwrap();
    let keeper = running.keeper().unwrap().pid().unwrap();
    let links = |pid: u32| -> Vec<String> {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<(u32, String)> =
            entries.map(|path| (path.file_name().unwrap().to_str().unwrap().parse().unwrap(), read_link(&path))).collect();
        all.sort();
        all.into_iter().map(|(_, target)| target).collect()
    };
    within(Duration::from_secs(5), "the keeper's exec", || {
        std::fs::read_to_string(format!("/proc/{keeper}/comm")).unwrap() == "(ns-keeper)\n"
    });
    let held = links(keeper);
    let name = |name: &str| scratch.0.join(name).to_str().unwrap().to_owned();
    assert_eq!(held[..5], ["/dev/null", "/dev/null", "/dev/null", "a pidfd", "a pidfd"], "{held:?}");
    assert!(held[5].starts_with("socket:"), "{held:?}");
    assert_eq!(held[6..], [name("a"), name("b")], "{held:?}");
    let payload = links(running.payload().unwrap().pid().unwrap());
    assert!(!payload.contains(&name("a")) && !payload.contains(&name("b")), "{payload:?}");
    running.payload().unwrap().signal(9).unwrap();
    let mut running = running;
    assert_eq!(running.wait().unwrap(), Exit::Signalled(9));
    drop((running, sealed));
    alone.nothing_left(&"locks");
}

fn read_link(path: &Path) -> String {
    let target = std::fs::read_link(path).unwrap().to_str().unwrap().to_owned();
    // Its name before Linux 6.9, and since.
    if target.starts_with("pidfd:") || target == "anon_inode:[pidfd]" { "a pidfd".to_owned() } else { target }
}

fn init(script: &str) -> Plan {
    let exec = shell(script).env("PATH", "/usr/bin:/bin").unwrap().pass(OUT, 1).unwrap().as_pid2();
    let kinds = Namespaces::PID | Namespaces::MOUNT;
    Plan::new(exec).given(OUT).unshare(kinds).kept().outside(PrivateMounts).inside(Locked)
}

/// What the payload mounts is to stay with it.
struct PrivateMounts;

impl std::fmt::Display for PrivateMounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("make / private, recursively")
    }
}

// SAFETY: one system call on constant strings.
unsafe impl ns_core::Step for PrivateMounts {
    fn run(&self, _: &mut ns_core::Child<'_>) -> Result<(), ns_core::Fault> {
        use rustix::mount::{MountPropagationFlags, mount_change};
        ns_core::Call::call(mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC), "mount")
    }
}

fn run_init(plan: Plan) -> (String, Exit) {
    let (output, end) = pipe();
    let mut running = plan.seal().unwrap().start(Fds::new().give(OUT, end)).unwrap();
    let exit = running.wait().unwrap();
    let mut text = String::new();
    std::fs::File::from(output).read_to_string(&mut text).unwrap();
    (text, exit)
}

#[test]
fn the_stub_init_is_process_1_and_its_payload_2() {
    let alone = alone("the stub init is process 1");
    let script =
        "mount -t proc proc /proc; echo $$ $(cat /proc/1/comm) $(ps -o sid= -p $$ 2>/dev/null || cut -d' ' -f6 /proc/$$/stat); exit 7";
    let (text, exit) = run_init(init(script));
    assert_eq!((text.split_whitespace().collect::<Vec<_>>(), exit), (vec!["2", "(ns-init)", "2"], Exit::Exited(7)), "{text}");
    let (_, exit) = run_init(init("exit 0"));
    assert_eq!(exit, Exit::Exited(0));
    let (_, exit) = run_init(init("kill -9 $$"));
    assert_eq!(exit, Exit::Exited(255), "ended by a signal");
    alone.nothing_left(&"inits");
}

#[test]
fn the_stub_init_reaps_orphans() {
    let alone = alone("the stub init reaps orphans");
    // Each subshell leaves its child an orphan of process 1's.
    let script = "mount -t proc proc /proc; for n in 1 2 3 4 5 6 7 8; do (sleep 0.01 & exec true); done; sleep 0.3; \
                  cat /proc/[0-9]*/stat 2>/dev/null | grep -c ' Z '; exit 0";
    let (text, exit) = run_init(init(script));
    assert_eq!((text.trim(), exit), ("0", Exit::Exited(0)), "{text}");
    alone.nothing_left(&"inits");
}

#[test]
fn an_init_ends_what_its_payload_leaves() {
    let alone = alone("an init ends what its payload leaves");
    let (output, end) = pipe();
    let mut running = init("sleep 1000 & sleep 1000 & exit 3").seal().unwrap().start(Fds::new().give(OUT, end)).unwrap();
    assert_eq!(running.wait().unwrap(), Exit::Exited(3));
    // End-of-file: nobody holds it any more.
    let mut text = String::new();
    std::fs::File::from(output).read_to_string(&mut text).unwrap();
    drop(running);
    alone.nothing_left(&"inits");
}

fn signalled(signal: i32, script: &str) -> Exit {
    let (output, end) = pipe();
    let mut running = init(script).seal().unwrap().start(Fds::new().give(OUT, end)).unwrap();
    let mut output = BufReader::new(std::fs::File::from(output));
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    running.payload().unwrap().signal(signal).unwrap();
    running.wait().unwrap()
}

#[test]
fn a_manager_signals_the_stub_init() {
    let alone = alone("a manager signals the stub init");
    const READY: &str = "echo ready; exec sleep 1000";
    const RTMIN: i32 = 34;
    for (signal, exit) in [
        (2, Exit::Rebooted),
        (RTMIN + 3, Exit::PoweredOff),
        (RTMIN + 4, Exit::PoweredOff),
        (RTMIN + 5, Exit::Rebooted),
        (RTMIN + 6, Exit::Rebooted),
        (RTMIN + 13, Exit::PoweredOff),
        (RTMIN + 15, Exit::Rebooted),
    ] {
        assert_eq!(signalled(signal, READY), exit, "signal {signal}");
    }
    // The payload is told, and has the time to stop.
    let careful = "trap 'sleep 0.05; exit 9' TERM; echo ready; while :; do sleep 0.01; done";
    assert_eq!(signalled(RTMIN + 3, careful), Exit::PoweredOff);
    // A signal that says nothing of the machine is not for it.
    let script = "echo ready; sleep 0.1; exit 4";
    assert_eq!(signalled(10, script), Exit::Exited(4));
    alone.nothing_left(&"inits");
}

#[test]
fn what_the_stub_init_can_not_run() {
    let alone = alone("what the stub init can not run");
    let exec = Exec::new("/no/such").unwrap().or("/no/such/either").unwrap().as_pid2();
    let plan = Plan::new(exec).unshare(Namespaces::PID).kept();
    let error = plan.seal().unwrap().start(Fds::new()).unwrap_err();
    assert!(error.to_string().contains("stub init, exec /no/such, else /no/such/either"), "{error}");
    assert_eq!(error.errno(), Some(ns_core::Errno::ENOENT));
    // A second alternative that is there.
    let exec = Exec::new("/no/such").unwrap().or("/bin/sh").unwrap().args(["-c", "exit 6"]).unwrap().as_pid2();
    let mut running = Plan::new(exec).unshare(Namespaces::PID).kept().seal().unwrap().start(Fds::new()).unwrap();
    assert_eq!(running.wait().unwrap(), Exit::Exited(6));
    drop(running);
    alone.nothing_left(&"inits");
}

/// Not kept: an init of the caller's own.
#[test]
fn a_stub_init_without_a_keeper() {
    let alone = alone("a stub init without a keeper");
    let exec = shell("exit 8").as_pid2();
    let mut running = Plan::new(exec).unshare(Namespaces::PID).seal().unwrap().start(Fds::new()).unwrap();
    assert_eq!(running.wait().unwrap(), Exit::Exited(8));
    drop(running);
    alone.nothing_left(&"init");
}

#[test]
fn a_keeper_watches_the_process_not_the_thread() {
    let alone = alone("the thread that started it ends");
    let plan = Plan::new(shell("sleep 0.2; exit 5").env("PATH", "/usr/bin:/bin").unwrap()).kept().seal().unwrap();
    let mut running = std::thread::spawn(move || plan.start(Fds::new()).unwrap()).join().unwrap();
    std::thread::sleep(Duration::from_millis(30));
    assert!(!running.has_ended());
    assert_eq!(running.wait().unwrap(), Exit::Exited(5));
    drop(running);
    alone.nothing_left(&"keeper");
}
