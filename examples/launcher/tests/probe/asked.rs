//! The test's side of the probe: runs it in a container, and compares what it says with a table.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::ffi::CString;

use nix::libc;

use crate::support::{Machine, within};

/// What the rows of a verb said.
pub type Found = BTreeMap<String, String>;

/// A row's name, and what it has to say: one word, or several with bars between.
pub type Expected<'a> = &'a [(&'a str, &'a str)];

/// The option without which container root has ids of its own.
pub const NO_USERS: &str = "--private-users=no";

/// What it said, a line each.
pub fn parse(text: &str) -> Found {
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, outcome)| (name.to_owned(), outcome.to_owned())).collect()
}

/// Runs the probe in a container; what it said.
pub fn probe(machine: &Machine, options: &[&str], verb: &str, given: &[String]) -> Found {
    let own = std::env::current_exe().unwrap();
    let program = format!("/run/{}", super::NAME);
    let bind = format!("--bind-ro={}:{program}", own.display());
    let spawn = machine.spawn(["--quiet", &bind]).args(options).args([&program, verb]).args(given).limit(within(120));
    parse(&spawn.run().expect(0).text())
}

/// Fails with every row that said something else, and those that are missing or weren't asked for.
#[track_caller]
pub fn compare(found: &Found, expected: Expected) {
    let allowed: BTreeMap<&str, &str> = expected.iter().copied().collect();
    assert_eq!(allowed.len(), expected.len(), "a row is expected twice");
    let mut wrong = Vec::new();
    for (name, outcome) in found {
        match allowed.get(name.as_str()) {
            Some(words) if words.split('|').any(|word| word == outcome) => {}
            words => wrong.push(format!("{name}: {outcome}, expected {}", words.unwrap_or(&"nothing"))),
        }
    }
    wrong.extend(allowed.keys().filter(|name| !found.contains_key(**name)).map(|name| format!("{name}: said nothing")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `expected`, with some rows changed.
pub fn but<'a>(expected: Expected<'a>, changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let change = |name: &str| changes.iter().find(|(changed, _)| *changed == name);
    assert!(changes.iter().all(|(name, _)| expected.iter().any(|(row, _)| row == name)), "a change of a row that isn't there");
    expected.iter().map(|row| *change(row.0).unwrap_or(row)).collect()
}

/// A tree with device nodes planted in it: a loop device, and the kernel's log.
pub fn machine() -> Machine {
    let machine = Machine::of("busybox");
    let plant = |name: &str, kind, device| {
        let path = CString::new(machine.tree.join(name).into_os_string().into_encoded_bytes()).unwrap();
        // SAFETY: a path and two numbers.
        assert_eq!(unsafe { libc::mknod(path.as_ptr(), kind | 0o666, device) }, 0, "mknod {name}");
    };
    plant("planted-block", libc::S_IFBLK, libc::makedev(7, 0));
    plant("planted-char", libc::S_IFCHR, libc::makedev(1, 11));
    machine
}
