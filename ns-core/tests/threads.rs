//! Starts from a program with threads: they allocate and lock, while children are copies of the process with one thread.

mod common;

use common::{Progress, Watchdog, ids, in_rig};
use ns_core::credentials::{CapSet, Credentials};
use ns_core::steps::{Hostname, Keyring, Rlimits, Session, Umask, Write};
use ns_core::{Exec, Exit, Fds, Kind, Locked, Namespaces, Plan, Sealed, Setns, Slot};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A network namespace is dear, and ends slowly: most starts here do without.
const MOST: Namespaces = Namespaces::all().difference(Namespaces::NET);
/// A start takes some milliseconds, on a machine that has nothing else to do.
const ONE: Duration = Duration::from_secs(30);

/// New namespaces, and what most payloads are given; among it the calls that hang in glibc's form.
fn plan(kept: bool, kinds: Namespaces) -> Sealed {
    let plan = Plan::new(Exec::new("/bin/true").unwrap().env("PATH", "/bin").unwrap())
        .user(ids())
        .unshare(kinds)
        .outside(Setns::new(Slot::PAYLOAD, Namespaces::IPC | Namespaces::UTS))
        .inside(Hostname::new("box").unwrap())
        .inside(Keyring)
        .inside(Umask::new(0o022))
        .inside(Rlimits::new())
        .inside(Write::new("/proc/self/comm", "box").unwrap())
        .inside(Locked)
        .inside(Session::new())
        .inside(Credentials::root_with(CapSet::OS).build().unwrap());
    if kept { plan.kept() } else { plan }.seal().unwrap()
}

/// Threads that allocate, free and lock until this is dropped.
struct Noise {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Noise {
    fn new(count: usize) -> Noise {
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Mutex::new(HashMap::<usize, Vec<u8>>::new()));
        let make = |n: usize| {
            let (stop, shared) = (stop.clone(), shared.clone());
            std::thread::spawn(move || noise(n, &stop, &shared))
        };
        Noise { threads: (0..count).map(make).collect(), stop }
    }
}

fn noise(n: usize, stop: &AtomicBool, shared: &Mutex<HashMap<usize, Vec<u8>>>) {
    let mut round = 0usize;
    while !stop.load(SeqCst) {
        round += 1;
        let own: Vec<Box<[u8]>> = (0..20).map(|i| vec![n as u8; (round * 37 + i * 100) % 2_000].into_boxed_slice()).collect();
        shared.lock().unwrap().insert(n * 10 + round % 10, own.concat());
        if round % 10 == 0 {
            // What glibc locks too: the environment, the list of streams, the resolver's locale.
            assert!(std::env::var_os("NO_SUCH_VARIABLE").is_none());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn one_plan_from_two_threads() {
    let progress = Progress::new("one plan from two threads", ONE);
    let _noise = Noise::new(3);
    let starts = if in_rig() { 50 } else { 250 };
    for sealed in [plan(true, MOST), plan(false, MOST)] {
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (sealed, progress) = (&sealed, &progress);
                scope.spawn(move || {
                    for n in 0..starts / 2 {
                        let exit = if n % 2 == 0 {
                            sealed.start(Fds::new()).and_then(|mut running| running.wait())
                        } else {
                            let mut held = sealed.hold(Fds::new()).unwrap();
                            assert!(held.namespace(Kind::Cgroup).is_ok());
                            held.release().and_then(|mut running| running.wait())
                        };
                        assert_eq!(exit.unwrap(), Exit::Exited(0), "start {n} of thread {thread}");
                        progress.done();
                    }
                });
            }
        });
    }
}

/// One plan that many threads start and stop while others only hold it: a socket's end that another start's child keeps would hang this.
#[test]
fn many_at_once() {
    let _watchdog = Watchdog::new("many at once", common::LONG);
    let sealed = plan(true, Namespaces::all());
    let held: Vec<_> = (0..16).map(|_| sealed.hold(Fds::new()).unwrap()).collect();
    let running: Vec<_> = held.into_iter().map(|held| held.release().unwrap()).collect();
    running.into_iter().for_each(|mut running| assert_eq!(running.wait().unwrap(), Exit::Exited(0)));
    // The last started is dropped first, and the other way round.
    let mut held: Vec<_> = (0..8).map(|_| sealed.hold(Fds::new()).unwrap()).collect();
    held.truncate(4);
    held.drain(..).for_each(drop);
}

/// With one arena `malloc` in a child hangs at the first start, `setresuid` of glibc's at the 9th: in a process of its own.
#[test]
fn many_in_a_row_with_one_arena() {
    const INNER: &str = "NSKIT_TEST_ONE_ARENA";
    if std::env::var_os(INNER).is_some() {
        return in_a_row();
    }
    let mut inner = std::process::Command::new(std::env::current_exe().unwrap());
    inner.args(["many_in_a_row_with_one_arena", "--exact", "--nocapture"]).env(INNER, "1").env("MALLOC_ARENA_MAX", "1");
    let output = inner.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

fn in_a_row() {
    assert_eq!(std::env::var("MALLOC_ARENA_MAX").unwrap(), "1");
    let progress = Progress::new("a start with one arena", ONE);
    let _noise = Noise::new(3);
    let starts = if in_rig() { 300 } else { 1500 };
    let (kept, free) = (plan(true, MOST), plan(false, MOST));
    for n in 0..starts {
        let sealed = if n % 2 == 0 { &kept } else { &free };
        assert_eq!(sealed.start(Fds::new()).unwrap().wait().unwrap(), Exit::Exited(0), "start {n}");
        progress.done();
    }
}
