//! Verbs that end machines which run a command.

mod manager;
#[path = "../../launcher/tests/support/mod.rs"]
mod support;

use std::fs;
use std::time::Instant;

use manager::{complaint, ns_machine, output, started};
use nix::sys::signal::Signal;
use support::{Machine, Started, until, within};

/// Until the machine isn't known any more; its launcher's code, and what that said.
fn gone(machine: &Machine, running: Started, code: i32) -> String {
    let ended = running.finish(within(10)).expect(code);
    assert_eq!(output(machine, "list"), "No machines.\n");
    ended.stderr
}

#[test]
fn signals_go_to_whom_they_are_for() {
    let machine = Machine::of("busybox");
    let script = "trap 'echo leader' USR1; trap 'exit 7' USR2
        sh -c 'trap \"echo child\" USR1; while :; do sleep 0.05; done' &
        sleep 0.2; echo ready; while :; do sleep 0.05; done";
    let mut running = started(&machine, script);
    running.expect("ready", within(10));
    let said = |running: &Started| String::from_utf8_lossy(&running.stdout()).into_owned();

    output(&machine, "kill NAME --kill-whom=leader -s USR1");
    running.expect("leader", within(10));
    assert!(!said(&running).contains("child"));
    // Sleeps don't survive it, and are begun anew.
    output(&machine, "kill NAME -s SIGUSR1");
    running.expect("child", within(10));
    output(&machine, "kill NAME --kill-who=leader --signal=12");
    gone(&machine, running, 7);

    let running = started(&machine, "sleep 300 & sleep 300");
    output(&machine, "kill NAME -s KILL");
    assert!(gone(&machine, running, 1).contains("terminated by signal KILL"));

    let running = started(&machine, "sleep 300");
    output(&machine, "kill NAME --kill-whom=supervisor");
    gone(&machine, running, 1);
}

#[test]
fn of_several_the_first_failure_is_the_last() {
    let machine = Machine::of("busybox");
    let running = started(&machine, "trap 'exit 9' USR1; while :; do sleep 0.05; done");
    assert!(complaint(&machine, "kill -s USR1 --kill-whom=leader none NAME").starts_with("Machine 'none' is not known"));
    assert!(running.payload().runs());
    assert!(complaint(&machine, "kill -s USR1 --kill-whom=leader NAME none").starts_with("Machine 'none' is not known"));
    gone(&machine, running, 9);
}

/// A command isn't asked in an init's words; but what it does understand can be said.
#[test]
fn a_command_is_no_init() {
    let machine = Machine::of("busybox");
    let running = started(&machine, "trap 'exit 5' PWR; while :; do sleep 0.05; done");
    for (verb, what) in [("poweroff", "power off"), ("reboot", "reboot")] {
        let why = format!("Machine '{}' can't be asked to {what}: it runs a command, not an init; ", machine.name());
        assert!(complaint(&machine, &format!("{verb} NAME")).starts_with(&why));
    }
    assert_eq!(output(&machine, "poweroff --wait -s PWR NAME"), "");
    gone(&machine, running, 5);
}

/// Whoever is stopped or frozen hears nothing, wherever in its cgroups.
#[test]
fn who_is_stopped_or_frozen_hears_a_request() {
    let machine = Machine::of("busybox");
    let script = "trap 'exit 5' PWR; while :; do sleep 0.05; done";
    let running = started(&machine, script);
    running.payload().signal(Signal::SIGSTOP);
    assert_eq!(output(&machine, "poweroff --wait -s PWR NAME"), "");
    gone(&machine, running, 5);
    for below in ["", "payload"] {
        let running = started(&machine, script);
        let cgroup = machine.cgroup().expect("a cgroup");
        fs::write(cgroup.join(below).join("cgroup.freeze"), "1").unwrap();
        assert_eq!(output(&machine, "poweroff --wait -s PWR NAME"), "");
        gone(&machine, running, 5);
    }
}

/// Its record says nothing, and nobody has the name where it was left: the machine of that name is another's.
#[test]
fn another_states_machine_of_the_name_is_left_alone() {
    let machine = Machine::of("busybox");
    let running = started(&machine, "trap 'exit 4' USR1; while :; do sleep 0.05; done");
    let other = tempfile::tempdir().unwrap();
    let record = other.path().join(format!("machines/{}.json", machine.name()));
    fs::create_dir(record.parent().unwrap()).unwrap();
    fs::write(&record, "{").unwrap();
    let elsewhere = |line: &str| ns_machine(&machine, line).env("NSKIT_RUN_DIR", other.path()).run();
    let said = elsewhere("status NAME").expect(1).stderr;
    assert!(said.contains("ns-machine gc removes what is left of it"), "{said}");
    elsewhere("terminate NAME").expect(0);
    assert!(!record.exists() && running.payload().runs());
    output(&machine, "kill --kill-whom=leader -s USR1 NAME");
    gone(&machine, running, 4);
}

#[test]
fn whatever_runs_is_terminated() {
    let machine = Machine::of("busybox");
    // It ignores signals, has left its session, and has stopped processes.
    let script = "trap '' TERM INT HUP USR1
        (setsid sh -c 'trap \"\" TERM HUP; (sleep 300 & kill -STOP $!); sleep 300' &)
        echo deep; kill -STOP $$; while :; do sleep 1; done";
    let mut running = started(&machine, script);
    running.expect("deep", within(10));
    assert_eq!(output(&machine, "terminate NAME"), "");
    assert_eq!(machine.cgroup(), None);
    gone(&machine, running, 1);

    // A launcher that was stopped.
    let running = started(&machine, "sleep 300");
    running.process().signal(Signal::SIGSTOP);
    output(&machine, "terminate NAME");
    gone(&machine, running, 1);

    // One that was frozen.
    let running = started(&machine, "sleep 300");
    let cgroup = machine.cgroup().expect("a cgroup");
    fs::write(cgroup.join("cgroup.freeze"), "1").unwrap();
    output(&machine, "terminate NAME");
    gone(&machine, running, 1);
}

#[test]
fn a_machine_whose_record_is_damaged_is_terminated() {
    let machine = Machine::of("busybox");
    let running = started(&machine, "sleep 300");
    fs::write(machine.run_dir().join(format!("machines/{}.json", machine.name())), "{").unwrap();
    output(&machine, "terminate NAME");
    gone(&machine, running, 1);
}

/// Killed with its keeper, in one moment: what is left is gone with the next look, and `gc` removes what lies about.
#[test]
fn what_a_crash_left_is_collected() {
    let machine = Machine::of("busybox");
    let mut running = started(&machine, "trap '' TERM; while :; do sleep 1; done");
    let (keeper, leader) = (running.keeper(), running.payload());
    keeper.signal(Signal::SIGKILL);
    running.kill();
    let began = Instant::now();
    until("the payload is gone", within(5), || !leader.runs());
    until("the machine is not known", within(5), || output(&machine, "list --no-legend").is_empty());
    assert!(began.elapsed() < within(5));
    assert!(complaint(&machine, "status NAME").starts_with(&format!("Machine '{}' is not known", machine.name())));
    // Machines of others, who keep their state elsewhere, may be in its way and are left alone.
    let collect = || ns_machine(&machine, "gc").run().text();
    let said = collect();
    for what in ["record", "cgroup"] {
        assert!(said.contains(&format!("Removed {what} of {}.\n", machine.name())), "{said}");
    }
    assert!(!collect().contains(machine.name()));
}
