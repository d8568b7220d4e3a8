//! Builder and payload die at every step and at random: no hang, nothing left, and the right one is blamed.

mod common;

use common::{Act, Alone, Scripted, Shared, alone, children, children_of, exists, ids, kill, shell};
use ns_core::{Error, ErrorKind, Exec, Exit, Fds, Locked, Mark, Namespaces, Plan, Sealed, Setns, Side, Slot};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Steps of each list: one stands at each place where something can happen between the two.
const STEPS: u32 = 20;
/// More than a busy machine needs, less than any limit of the library's own.
const PROMPT: Duration = Duration::from_secs(20);

/// The rig's machine is emulated, and slow: there it is the first and last, and every third between them.
fn places() -> impl Iterator<Item = u32> {
    (1..=STEPS).filter(|number| !common::in_rig() || number % 3 == 1 || *number == STEPS)
}

const MIDWAY: Mark = Mark("midway outside");
const CROSSED: Mark = Mark("midway inside");

/// Two lists of 20 steps that meet in the middle, in namespaces of every kind; `at` does `act`.
fn plan(exec: Exec, kept: bool, at: Option<(Side, u32)>, act: Act) -> (Sealed, &'static Shared) {
    let there = Shared::new();
    let of = |side: Side, number: u32| {
        let mut step = Scripted::new(number, if at == Some((side, number)) { act } else { Act::Pass }, there);
        match (side, number) {
            (Side::Outside, 7) => step.reaches = Some(MIDWAY),
            (Side::Inside, 9) => step.after = Some(MIDWAY),
            (Side::Inside, 12) => step.reaches = Some(CROSSED),
            (Side::Outside, 14) => step.after = Some(CROSSED),
            (Side::Outside, 5) => step.after = Some(Mark::NETWORK),
            _ => {}
        }
        step
    };
    let kinds = Namespaces::all();
    let mut plan = Plan::new(exec).user(ids()).unshare(kinds);
    if kept {
        plan = plan.kept();
    }
    for number in 1..=STEPS {
        plan = plan.outside(of(Side::Outside, number)).inside(of(Side::Inside, number));
        if number % 5 == 0 {
            // What asks for the payload fails when that has died: the step is not to blame.
            plan = plan.outside(Setns::new(Slot::PAYLOAD, Namespaces::IPC | Namespaces::UTS));
        }
    }
    (plan.inside(Locked).seal().unwrap(), there)
}

/// The builder of the only start under way, or the payload, which is in another user namespace, and without a keeper a child of ours too.
fn find(side: Side, kept: bool) -> Option<i32> {
    let own_ns = std::fs::read_link("/proc/self/ns/user").unwrap();
    let is_payload = |pid: &i32| std::fs::read_link(format!("/proc/{pid}/ns/user")).is_ok_and(|ns| ns != own_ns);
    let mut own = children().into_iter();
    match (side, kept) {
        (Side::Outside, _) => own.find(|pid| !is_payload(pid)),
        (Side::Inside, true) => children_of(own.next()?).first().copied(),
        (Side::Inside, false) => own.find(is_payload),
    }
}

fn whole(sealed: &Sealed, held: bool) -> Result<Exit, Error> {
    if held { sealed.hold(Fds::new())?.release()?.wait() } else { sealed.start(Fds::new())?.wait() }
}

/// Kills whoever says that it has stopped.
fn killed_while(there: &'static Shared, side: Side, kept: bool, start: impl FnOnce() -> Result<Exit, Error>) -> Result<Exit, Error> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while there.get().load(SeqCst) == 0 && !done.load(SeqCst) {
                std::thread::sleep(Duration::from_micros(100));
            }
            if let Some(pid) = find(side, kept).filter(|_| !done.load(SeqCst)) {
                kill(pid, 9);
            }
        });
        let answer = start();
        done.store(true, SeqCst);
        answer
    })
}

fn name(side: Side, number: u32) -> String {
    format!("{side} step {number}")
}

/// The number that a plan prints for a step.
fn printed(sealed: &Sealed, side: Side, number: u32) -> usize {
    let text = sealed.to_string();
    let part = text.split("inside ").nth(usize::from(side == Side::Inside)).unwrap();
    let line = part.lines().find(|line| line.ends_with(&format!("  step {number}"))).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn at_every_place(alone: &Alone, act: Act, sentence: &str) {
    for kept in [false, true] {
        for side in [Side::Outside, Side::Inside] {
            for number in places() {
                let (sealed, there) = plan(Exec::new("/bin/true").unwrap(), kept, Some((side, number)), act);
                let what = format!("{}, kept: {kept}, {act:?}", name(side, number));
                let began = Instant::now();
                let held = number % 2 == 0;
                let error = killed_while(there, side, kept, || whole(&sealed, held)).expect_err(&what);
                assert!(began.elapsed() < PROMPT, "{what}: took {:?}", began.elapsed());
                assert_eq!(error.place(), Some((side, printed(&sealed, side, number))), "{what}: {error}");
                let text = error.to_string();
                assert!(text.ends_with(&format!(", step {number}: {sentence}")), "{what}: {text}");
                alone.nothing_left(&what);
            }
        }
    }
}

#[test]
fn killed_at_every_place() {
    at_every_place(&alone("killed at every place"), Act::Stop("to be killed"), "killed by signal 9");
}

#[test]
fn crashed_at_every_place() {
    // The init of a pid namespace is deaf to a SIGKILL of its own, but not to a fault of the processor's.
    at_every_place(&alone("crashed at every place"), Act::Crash, "killed by signal 4");
}

#[test]
fn gone_at_every_place() {
    at_every_place(&alone("gone at every place"), Act::Exit, "left with status 3 and no word");
}

#[test]
fn failed_at_every_place() {
    at_every_place(&alone("failed at every place"), Act::Fail, "scripted: Protocol error");
}

#[test]
fn killed_by_itself() {
    let alone = alone("killed by itself");
    // No init is among these, so each can do it itself.
    for side in [Side::Outside, Side::Inside] {
        for number in places() {
            let there = Shared::new();
            let of = |at: Side, n| Scripted::new(n, if (at, n) == (side, number) { Act::Kill } else { Act::Pass }, there);
            let steps = (1..=STEPS).map(|n| (of(Side::Outside, n), of(Side::Inside, n)));
            let plan = steps.fold(Plan::new(Exec::new("/bin/true").unwrap()), |plan, (o, i)| plan.outside(o).inside(i));
            let error = whole(&plan.seal().unwrap(), number % 2 == 0).unwrap_err();
            assert_eq!((error.kind(), error.place()), (ErrorKind::Died, Some((side, number as usize))), "{error}");
            alone.nothing_left(&name(side, number));
        }
    }
}

/// One is stuck in a step, and can't notice that the other has died.
#[test]
fn killed_while_the_other_is_stuck() {
    let alone = alone("killed while the other is stuck");
    for kept in [false, true] {
        for (side, at, stuck_at) in [(Side::Outside, 3, 2), (Side::Inside, 3, 4)] {
            let there = Shared::new();
            let stuck = Shared::new();
            let step = |one: Side| {
                if one == side {
                    Scripted::new(at, Act::Stop("to be killed"), there)
                } else {
                    Scripted::new(stuck_at, Act::Stop("stuck"), stuck)
                }
            };
            let plan = Plan::new(Exec::new("/bin/true").unwrap()).user(ids());
            let plan = plan.outside(step(Side::Outside)).inside(step(Side::Inside));
            let sealed = if kept { plan.kept() } else { plan }.seal().unwrap();
            let error = killed_while(there, side, kept, || whole(&sealed, false)).unwrap_err();
            assert_eq!((error.kind(), error.place()), (ErrorKind::Died, Some((side, printed(&sealed, side, at)))), "kept: {kept}: {error}");
            alone.nothing_left(&format!("{side}, kept: {kept}"));
        }
    }
}

/// A generator for tests: the same numbers each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn killed_at_random() {
    let alone = alone("killed at random");
    let rounds = if common::in_rig() { 100 } else { 500 };
    let mut random = Random(std::process::id().into());
    let (kept_plan, _) = plan(Exec::new("/bin/true").unwrap(), true, None, Act::Pass);
    let (free_plan, _) = plan(Exec::new("/bin/true").unwrap(), false, None, Act::Pass);
    // How long a start takes here, to aim at any part of it.
    let began = Instant::now();
    (0..10).for_each(|n| assert_eq!(whole(&kept_plan, n % 2 == 0).unwrap(), Exit::Exited(0)));
    let start = began.elapsed().as_micros() as u64 / 10;
    let mut outcomes = std::collections::BTreeMap::<&str, u32>::new();
    for round in 0..rounds {
        let kept = round % 2 == 0;
        let side = if random.below(2) == 0 { Side::Outside } else { Side::Inside };
        let (held, delay) = (random.below(2) == 0, Duration::from_micros(random.below(start * 5 / 4)));
        let sealed = if kept { &kept_plan } else { &free_plan };
        let (hit, done) = (AtomicU64::new(0), AtomicBool::new(false));
        let began = Instant::now();
        let answer = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(delay);
                while !done.load(SeqCst) {
                    if let Some(pid) = find(side, kept) {
                        hit.store(u64::from(kill(pid, 9)), SeqCst);
                        return;
                    }
                }
            });
            let answer = whole(sealed, held);
            done.store(true, SeqCst);
            answer
        });
        let what = format!("round {round}: {side}, kept: {kept}, held: {held}, after {delay:?}, hit: {hit:?}: {answer:?}");
        assert!(began.elapsed() < PROMPT, "{what}: took {:?}", began.elapsed());
        alone.nothing_left(&what);
        let outcome = match &answer {
            Ok(Exit::Exited(0)) => "ended well",
            Ok(Exit::Signalled(9)) if side == Side::Inside && hit.load(SeqCst) == 1 => "killed when it ran",
            Ok(_) => panic!("{what}"),
            Err(e) if hit.load(SeqCst) == 0 => panic!("{what}: {e}"),
            // When the payload runs there is no place in the plan any more.
            Err(e) if side == Side::Outside && e.to_string().starts_with("the keeper was killed by signal 9") => "keeper killed",
            Err(e) => {
                assert_eq!(e.place().map(|place| place.0), Some(side), "{what}: {e}");
                assert!(e.to_string().ends_with("killed by signal 9"), "{what}: {e}");
                if side == Side::Outside { "builder killed" } else { "payload killed" }
            }
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    eprintln!("{outcomes:?}");
    for outcome in ["builder killed", "payload killed"] {
        assert!(outcomes.contains_key(outcome), "the test missed: {outcomes:?}");
    }
}

#[test]
fn a_held_one_that_is_dropped() {
    let alone = alone("a held one that is dropped");
    for kept in [false, true] {
        let (sealed, _) = plan(shell("sleep 100"), kept, None, Act::Pass);
        let held = sealed.hold(Fds::new()).unwrap();
        let pid = held.payload().unwrap().pid().unwrap();
        drop(held);
        assert!(!exists(pid as i32));
        alone.nothing_left(&format!("kept: {kept}"));
    }
}

#[test]
fn a_caller_that_panics_while_it_holds() {
    let alone = alone("a caller that panics while it holds");
    for kept in [false, true] {
        let (sealed, _) = plan(shell("sleep 100"), kept, None, Act::Pass);
        let panicked = std::panic::catch_unwind(move || {
            let _held = sealed.hold(Fds::new()).unwrap();
            std::panic::resume_unwind(Box::new("while holding"));
        });
        assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"while holding"));
        alone.nothing_left(&format!("kept: {kept}"));
    }
}

#[test]
fn held_by_a_thread_that_has_ended() {
    let alone = alone("held by a thread that has ended");
    for kept in [false, true] {
        let (sealed, _) = plan(shell("exit 5"), kept, None, Act::Pass);
        let held = std::thread::spawn(move || sealed.hold(Fds::new()).unwrap()).join().unwrap();
        // The kernel has noticed the thread's end.
        std::thread::sleep(Duration::from_millis(20));
        let running = std::thread::spawn(move || held.release().unwrap()).join().unwrap();
        let exit = std::thread::spawn(move || { running }.wait().unwrap()).join().unwrap();
        assert_eq!(exit, Exit::Exited(5));
        alone.nothing_left(&format!("kept: {kept}"));
    }
}

#[test]
fn a_plan_that_is_dropped() {
    let alone = alone("a plan that is dropped");
    let (sealed, _) = plan(Exec::new("/bin/true").unwrap(), true, None, Act::Pass);
    let stub = || common::open_fds().into_iter().filter(|fd| fd.contains(common::STUB)).count();
    assert_eq!(stub(), 0);
    (0..3).for_each(|n| assert_eq!(whole(&sealed, n == 1).unwrap(), Exit::Exited(0)));
    assert_eq!(stub(), 1);
    drop(sealed);
    assert_eq!(stub(), 0);
    alone.nothing_left(&"the plan");
}

#[test]
fn a_start_that_can_not_be() {
    let alone = alone("a start that can not be");
    const CGROUP: Slot = Slot::new("cgroup");
    for kept in [false, true] {
        let plan = Plan::new(Exec::new("/bin/true").unwrap()).given(CGROUP).into_cgroup(CGROUP);
        let sealed = if kept { plan.kept() } else { plan }.seal().unwrap();
        let none = std::fs::File::open("/dev/null").unwrap();
        let error = sealed.start(Fds::new().give(CGROUP, none.into())).unwrap_err();
        assert_eq!(error.errno(), Some(ns_core::Errno::EBADF), "{error}");
        assert!(error.to_string().contains("clone3"), "{error}");
        drop(sealed);
        alone.nothing_left(&format!("kept: {kept}"));
    }
}
