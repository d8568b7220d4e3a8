//! What would hang or lack something is refused when a plan is sealed, with a sentence; and a sound plan as it is printed.

mod common;

use common::{Act, Scripted, Shared, ids, shell};
use ns_core::steps::{Hostname, Reached};
use ns_core::{ErrorKind, Exec, Fds, Locked, Mark, Namespaces, Plan, Setns, Slot};

const A: Mark = Mark("a");
const B: Mark = Mark("b");
const NET: Slot = Slot::new("a network namespace");
const LOCK: Slot = Slot::new("lock");

fn plan() -> Plan {
    Plan::new(Exec::new("/bin/true").unwrap())
}

fn step(number: u32) -> Scripted {
    Scripted::new(number, Act::Pass, Shared::new())
}

fn after(number: u32, mark: Mark) -> Scripted {
    Scripted { after: Some(mark), ..step(number) }
}

fn refused(plan: Plan, sentence: &str) {
    let error = plan.seal().expect_err(sentence);
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Refused, sentence));
}

#[test]
fn a_mark_that_nobody_reaches() {
    refused(plan().outside(step(1)).outside(after(2, A)), "outside 2/2, before step 2: nothing inside reaches \"a\"");
    refused(plan().outside(step(1)).inside(step(1)).inside(after(2, A)), "inside 2/3, before step 2: nothing outside reaches \"a\"");
    // Without the namespace nobody says that it is there.
    let joins = Setns::new(Slot::PAYLOAD, Namespaces::NET);
    refused(
        plan().outside(after(1, Mark::NETWORK)).outside(joins),
        "outside 1/2, before step 1: nothing inside reaches \"network namespace made\"",
    );
    refused(plan().kept().inside(after(1, Mark::CGROUP)), "inside 1/2, before step 1: nothing outside reaches \"cgroup namespace made\"");
    // Without a builder there is no other list at all.
    refused(plan().inside(after(1, A)), "inside 1/2, before step 1: nothing outside reaches \"a\"");
}

#[test]
fn a_list_that_waits_for_what_it_says_itself_later() {
    refused(plan().outside(after(1, A)).outside(Reached(A)).inside(step(1)), "outside 1/2, before step 1: nothing inside reaches \"a\"");
    assert!(plan().outside(Reached(A)).outside(after(2, A)).seal().is_ok());
}

#[test]
fn two_lists_that_wait_for_each_other() {
    let crossed = plan().outside(step(1)).outside(after(2, A)).outside(Reached(B)).inside(after(1, B)).inside(Reached(A));
    refused(crossed, "each list waits for the other: outside 2/3, before step 2: \"a\"; inside 1/3, before step 1: \"b\"");
    // The given marks too.
    refused(
        plan().user(ids()).outside(after(2, A)).inside(after(1, Mark::BUILT)).inside(Reached(A)),
        "each list waits for the other: outside 2/2, before step 2: \"a\"; inside 1/3, before step 1: \"built\"",
    );
    assert!(plan().outside(step(1)).outside(after(2, A)).outside(Reached(B)).inside(Reached(A)).inside(after(1, B)).seal().is_ok());
}

#[test]
fn a_slot_that_nothing_fills() {
    let joins = || Setns::new(NET, Namespaces::NET);
    let what =
        "join the net namespaces of a network namespace: needs \"a network namespace\", which nothing before it makes and nothing gives";
    refused(plan().outside(step(1)).outside(joins()), &format!("outside 2/2, {what}"));
    refused(plan().inside(joins()), &format!("inside 1/2, {what}"));
    refused(plan().join(NET, Namespaces::NET), &format!("inside 1/2, {what}"));
    // Each list has descriptors of its own.
    refused(plan().outside_pause("bring it", &[NET]).inside(joins()), &format!("inside 1/2, {what}"));
    // Order matters.
    refused(plan().outside(joins()).outside_pause("bring it", &[NET]), &format!("outside 1/2, {what}"));
    assert!(plan().outside_pause("bring it", &[NET]).outside(joins()).seal().is_ok());
    assert!(plan().given(NET).outside(joins()).inside(joins()).seal().is_ok());
}

#[test]
fn what_exec_and_birth_need_is_given() {
    let file = Exec::file(NET, "program").unwrap();
    refused(Plan::new(file), "inside 1/1, exec: needs \"a network namespace\", which nothing before it makes and nothing gives");
    let passed = Exec::new("/bin/true").unwrap().pass(NET, 5).unwrap();
    refused(Plan::new(passed), "inside 1/1, exec: needs \"a network namespace\", which nothing before it makes and nothing gives");
    refused(plan().into_cgroup(NET), "plan: needs \"a network namespace\", which nothing gives");
    refused(plan().join(NET, Namespaces::PID), "plan: needs \"a network namespace\", which nothing gives");
}

#[test]
fn a_user_namespace_of_nobody() {
    let joins = Setns::new(Slot::USER_NS, Namespaces::USER);
    refused(
        plan().outside(joins),
        "outside 1/1, join the user namespaces of the payload's user namespace: needs \"the payload's user namespace\", which nothing \
         before it makes and nothing gives",
    );
}

#[test]
fn mounts_that_nothing_locks() {
    let sentence = "plan: the inside list never copies the builder's mounts: add the step Locked";
    refused(plan().unshare(Namespaces::MOUNT).outside(step(1)), sentence);
    refused(plan().unshare(Namespaces::MOUNT).kept(), sentence);
    refused(plan().user(ids()).unshare(Namespaces::all()).kept().inside(step(1)), sentence);
    assert!(plan().unshare(Namespaces::MOUNT).kept().inside(Locked).seal().is_ok());
    assert!(plan().unshare(Namespaces::MOUNT).seal().is_ok(), "its own from birth");
}

#[test]
fn namespaces_that_can_not_be() {
    refused(plan().unshare(Namespaces::USER), "plan: a new user namespace needs an id map: Plan::user");
    refused(
        plan().given(NET).unshare(Namespaces::NET | Namespaces::UTS).join(NET, Namespaces::NET),
        "plan: the net namespaces are to be new and joined",
    );
    let init = Exec::new("/bin/true").unwrap().as_pid2();
    refused(Plan::new(init), "plan: the stub init is process 1 of a new pid namespace: Plan::unshare");
    let init = Exec::new("/bin/true").unwrap().as_pid2();
    refused(
        Plan::new(init).given(NET).join(NET, Namespaces::PID),
        "plan: the stub init is process 1 of a new pid namespace: Plan::unshare",
    );
}

#[test]
fn holding_without_a_keeper() {
    let sentence = "plan: lock is to be held, which only a keeper does, and only what is given";
    refused(plan().given(LOCK).holding(LOCK), sentence);
    refused(plan().holding(LOCK).kept(), sentence);
    assert!(plan().given(LOCK).holding(LOCK).kept().seal().is_ok());
}

#[test]
fn more_marks_than_can_be_told() {
    let names = || (0..70).map(|n| Mark(Box::leak(format!("mark {n}").into_boxed_str())));
    let marks: Vec<Mark> = names().collect();
    let many = |count: usize| {
        let said = marks.iter().take(count).fold(plan(), |plan, mark| plan.outside(Reached(*mark)));
        marks.iter().take(count).zip(0..).fold(said, |plan, (mark, n)| plan.inside(after(n, *mark)))
    };
    refused(many(70), "plan: 72 marks: at most 64 can be told apart");
    let sealed = many(62).seal().unwrap();
    assert_eq!(sealed.start(Fds::new()).unwrap().wait().unwrap(), ns_core::Exit::Exited(0));
}

#[test]
fn more_is_held_than_fits() {
    let many = (0..80).fold(plan().kept(), |plan, n| plan.given(LOCK.nth(n)).holding(LOCK.nth(n)));
    refused(many, "plan: 80 descriptors are to be held: at most 58");
}

#[test]
fn a_pause_that_is_left() {
    let sealed = plan().outside_pause("bring it", &[]).seal().unwrap();
    let error = sealed.start(Fds::new()).unwrap_err();
    assert_eq!(error.to_string(), "start: the plan has a pause: Sealed::hold");
    let held = sealed.hold(Fds::new()).unwrap();
    assert_eq!(held.paused(), Some("bring it"));
    let error = held.release().unwrap_err();
    assert_eq!(error.to_string(), "release: the plan is at a pause, or has one left: Held::proceed");
    let held = sealed.hold(Fds::new()).unwrap().proceed().unwrap();
    assert_eq!(held.paused(), None);
    let error = held.proceed().unwrap_err();
    assert_eq!(error.to_string(), "proceed: the plan is at no pause");
}

#[test]
fn what_a_start_lacks() {
    let sealed = plan().given(LOCK).seal().unwrap();
    assert_eq!(sealed.start(Fds::new()).unwrap_err().to_string(), "start: \"lock\" was not given");
}

#[test]
fn more_is_passed_than_fits() {
    let pass = |count: u16| (3..3 + count).fold(Exec::new("/bin/true").unwrap(), |exec, n| exec.pass(LOCK, n).unwrap());
    refused(Plan::new(pass(62)).given(LOCK), "exec: 62 descriptors are passed beside stdio: at most 61");
    let sealed = Plan::new(pass(61)).given(LOCK).seal().unwrap();
    let own = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(sealed.start(Fds::new().give(LOCK, own.into())).unwrap().wait().unwrap(), ns_core::Exit::Exited(0));
}

const GOLDEN: &str = "\
outside, with the caller's rights, in a mount namespace of its own, and a process namespace; stays to end the payload with the caller:
   1  map ids 0..65535 -> 1000000..1065535
        say \"ids mapped\"
   2  step 1
        wait until \"network namespace made\"
   3  step 1
   4  join the net namespaces of the payload's pidfd
   5  pause: the caller does \"bring it\", supplies a network namespace
   6  reach \"a\"
        say \"a\"
        say \"built\"
inside new namespaces (user, mnt, net), born in cgroup:
   1  unshare net
        say \"network namespace made\"
        wait until \"a\"
   2  step 1
        wait until \"built\"
   3  unshare mnt: lock what was built
        say \"mounts locked\"
   4  hostname box
        wait until \"ids mapped\"
   5  exec /bin/sh -c exit 0
descriptors from the caller: cgroup, lock
held until the payload is gone: lock
";

#[test]
fn a_plan_reads_as_it_runs() {
    const CGROUP: Slot = Slot::new("cgroup");
    let joins = Scripted { after: Some(Mark::NETWORK), ..step(1) };
    let plan = Plan::new(shell("exit 0"))
        .given(CGROUP)
        .into_cgroup(CGROUP)
        .given(LOCK)
        .holding(LOCK)
        .user(ids())
        .unshare(Namespaces::MOUNT | Namespaces::NET)
        .kept()
        .outside(step(1))
        .outside(joins)
        .outside(Setns::new(Slot::PAYLOAD, Namespaces::NET))
        .outside_pause("bring it", &[NET])
        .outside(Reached(A))
        .inside(after(1, A))
        .inside(Locked)
        .inside(Hostname::new("box").unwrap());
    let text = plan.seal().unwrap().to_string();
    assert_eq!(text, GOLDEN, "{text}");
}
