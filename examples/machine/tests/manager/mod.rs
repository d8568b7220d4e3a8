//! ns-machine, run on a test's machines.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Ended, Machine, Spawn, Started, until, within};

/// The program under test: of another build where `NS_MACHINE` says so.
fn program() -> PathBuf {
    std::env::var_os("NS_MACHINE").map_or_else(|| env!("CARGO_BIN_EXE_ns-machine").into(), PathBuf::from)
}

/// `ns-machine LINE`, where this machine is the only one; NAME in the line is its name.
pub fn ns_machine(machine: &Machine, line: &str) -> Spawn {
    let words = line.split_whitespace().map(|word| if word == "NAME" { machine.name() } else { word });
    Spawn::program(program(), words).env("NSKIT_RUN_DIR", machine.run_dir()).env("TZ", "UTC")
}

/// Its output, if it succeeds and has nothing to complain of.
#[track_caller]
pub fn output(machine: &Machine, line: &str) -> String {
    let ended = ns_machine(machine, line).run().expect(0);
    assert_eq!(ended.stderr, "", "{line}");
    ended.text()
}

/// Its one line of complaint.
#[track_caller]
pub fn complaint(machine: &Machine, line: &str) -> String {
    let ended = ns_machine(machine, line).run().expect(1);
    assert_eq!(ended.stderr.matches('\n').count(), 1, "{line}: {}", ended.stderr);
    ended.stderr.trim_end().trim_start_matches("ns-machine: ").to_owned()
}

/// A machine that runs this shell script until it ends; it is listed as running.
pub fn started(machine: &Machine, script: &str) -> Started {
    started_with(machine, &["--quiet"], script)
}

/// The same, with more options of ns-spawn's.
pub fn started_with(machine: &Machine, options: &[&str], script: &str) -> Started {
    let script = format!("echo begun\n{script}");
    let mut started = machine.spawn(options).args(["--", "/bin/sh", "-c", &script]).start();
    started.expect("begun", within(10));
    until("the machine is known to run", within(10), || property(machine, "State") == "running");
    started
}

/// `show -P`, empty where the machine isn't known.
pub fn property(machine: &Machine, name: &str) -> String {
    let Ended { stdout, .. } = ns_machine(machine, &format!("show NAME -P {name}")).run();
    String::from_utf8_lossy(&stdout).trim_end().to_owned()
}

/// `list --output=json`
pub fn listed(machine: &Machine) -> Vec<Value> {
    let json = output(machine, "list --output=json");
    serde_json::from_str(&json).unwrap_or_else(|e| panic!("{json}: {e}"))
}
