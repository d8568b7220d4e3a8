//! Plans started for real.

use ns_core::{ErrorKind, Exec, Exit, Fds, IdMap, Kind, Locked, Namespaces, Plan, Setns, Slot};

const ALL: Namespaces = Namespaces::all();

fn shell(script: &str) -> Exec {
    Exec::new("/bin/sh").unwrap().args(["-c", script]).unwrap()
}

fn ids() -> IdMap {
    IdMap::range(0, 1_000_000, 65536).unwrap()
}

#[test]
fn a_plain_program() {
    let plan = Plan::new(shell("exit 7")).seal().unwrap();
    assert_eq!(plan.start(Fds::new()).unwrap().wait().unwrap(), Exit::Exited(7));
}

#[test]
fn all_namespaces_kept() {
    let plan = Plan::new(shell("test $$ = 1 && test $(id -u) = 65534 && exit 5")).user(ids()).unshare(ALL).kept();
    let plan = plan.inside(Locked).seal().unwrap();
    println!("{plan}");
    let mut running = plan.start(Fds::new()).unwrap();
    assert_eq!(running.wait().unwrap(), Exit::Exited(5));
}

#[test]
fn all_namespaces_without_a_builder() {
    let plan = Plan::new(shell("test $$ = 1 && exit 5")).user(ids()).unshare(ALL).seal().unwrap();
    let mut held = plan.hold(Fds::new()).unwrap();
    let net = held.namespace(Kind::Net).unwrap();
    assert_eq!(net.kind(), Kind::Net);
    assert_eq!(held.release().unwrap().wait().unwrap(), Exit::Exited(5));
}

#[test]
fn what_cannot_be_executed_is_named() {
    let plan = Plan::new(Exec::new("/no/such/program").unwrap()).unshare(Namespaces::UTS).kept().seal().unwrap();
    let error = plan.start(Fds::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Step);
    assert_eq!(error.to_string(), "inside 1/1, exec /no/such/program: execve: No such file or directory");
}

#[test]
fn killed_is_told_apart_from_exited() {
    for plan in [Plan::new(shell("kill -9 $$")), Plan::new(shell("kill -9 $$")).kept()] {
        assert_eq!(plan.seal().unwrap().start(Fds::new()).unwrap().wait().unwrap(), Exit::Signalled(9));
    }
}

#[test]
fn a_held_start_that_is_dropped_leaves_nothing() {
    for kept in [false, true] {
        let plan = Plan::new(shell("sleep 100")).user(ids()).unshare(ALL).inside(Locked);
        let plan = if kept { plan.kept() } else { plan.outside(ns_core::Setns::new(NET, Namespaces::NET)).given(NET) };
        let plan = plan.seal().unwrap();
        let own = std::fs::File::open("/proc/self/ns/net").unwrap();
        let fds = if kept { Fds::new() } else { Fds::new().give(NET, own.into()) };
        let held = plan.hold(fds).unwrap();
        let pid = held.payload().unwrap().pid().unwrap();
        drop(held);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}

const NET: Slot = Slot::new("a network namespace");

#[test]
fn joins_what_it_is_given() {
    let plan =
        Plan::new(shell("test $(readlink /proc/self/ns/net) = $(readlink /proc/$PPID/ns/net)")).join(NET, Namespaces::NET).given(NET);
    let plan = plan.seal().unwrap();
    let own = std::fs::File::open("/proc/self/ns/net").unwrap();
    assert_eq!(plan.start(Fds::new().give(NET, own.into())).unwrap().wait().unwrap(), Exit::Exited(0));
    let error = plan.start(Fds::new()).unwrap_err();
    assert_eq!(error.to_string(), "start: \"a network namespace\" was not given");
}

#[test]
fn what_would_hang_is_refused() {
    let error = Plan::new(shell("")).outside(Setns::new(NET, Namespaces::NET)).seal().unwrap_err();
    assert_eq!(
        error.to_string(),
        "outside 1/1, join the net namespaces of a network namespace: needs \"a network namespace\", which nothing before it makes and \
         nothing gives"
    );
}
