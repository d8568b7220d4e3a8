#![cfg(target_arch = "x86_64")]
//! Everything that can fail while a container starts, made to fail: see FAULTS.md.

mod callers;
mod errors;
mod kills;
mod places;
#[path = "../probe/mod.rs"]
mod probe;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod trace;
mod verdict;

use std::collections::BTreeMap;
use std::time::Duration;

use support::in_rig;

/// How many points of a kind had which outcome.
#[derive(Debug, Default)]
pub struct Counts(BTreeMap<(String, String), u32>);

impl Counts {
    fn new() -> Counts {
        Counts::default()
    }

    fn add(&mut self, kind: &str, outcome: &str) {
        *self.0.entry((kind.to_owned(), outcome.to_owned())).or_default() += 1;
    }
}

/// One of so many, in the emulated machine of more.
fn one_of(many: usize) -> usize {
    if in_rig() { many * 8 } else { many }
}

#[test]
fn a_call_that_fails_is_a_refusal_or_nothing() {
    errors::fail_calls(&[], errors::some);
}

#[test]
fn death_at_a_call_leaves_nothing() {
    let step = one_of(11);
    kills::at_calls(|number, kind| number % step == 0 && number / step % kills::AT_CALLS.len() == kind);
}

#[test]
fn death_at_a_time_leaves_nothing() {
    let points = if in_rig() { 2 } else { 8 };
    kills::at_times(points, support::within(1) * 15 / 100);
}

#[test]
fn boot_death_at_a_time_leaves_nothing() {
    kills::at_times_of_a_boot(if in_rig() { 1 } else { 2 }, support::within(2));
}

#[test]
fn odd_callers_get_a_start_or_a_clear_line() {
    callers::odd_callers(true);
}

#[test]
fn a_container_in_a_container_is_a_start_or_a_clear_line() {
    places::nested();
}

#[test]
fn a_limit_of_time_is_the_same_in_a_time_namespace() {
    places::in_time_namespaces();
}

#[test]
#[ignore = "needs the rig: the pids controller of cgroup v2"]
fn rig_few_processes() {
    places::few_processes();
}

#[test]
fn source_the_page_has_every_kind() {
    table::check();
}

#[test]
#[ignore = "takes long: every call, every errno"]
fn every_call_fails() {
    table::record("calls", &errors::fail_calls(&[], |_, _, _| true));
}

#[test]
#[ignore = "takes long: every call, every victim"]
fn death_at_every_call() {
    table::record("deaths-at-calls", &kills::at_calls(|_, _| true));
}

#[test]
#[ignore = "takes long: 40 points for each victim"]
fn death_over_150_ms() {
    table::record("deaths-at-times", &kills::at_times(40, Duration::from_millis(150)));
}

#[test]
#[ignore = "takes long: 8 boots for each victim"]
fn boot_death_over_two_seconds() {
    table::record("deaths-in-a-boot", &kills::at_times_of_a_boot(8, Duration::from_secs(2)));
}

#[test]
#[ignore = "takes long: every limit, every capability"]
fn every_odd_caller() {
    table::record("callers", &callers::odd_callers(false));
}
