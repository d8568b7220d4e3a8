//! Measurements: `ns-spawn` against other launchers and against the least that the machine allows.
//!
//! `cargo run --release -p nskit-benches -- start|boot|memory|net|all [--rounds=N]`, as root, on a Debian tree: `NSKIT_TREES/debian`, by default
//! `/var/cache/nskit/trees/debian` (`.ci/tree debian` makes it). Other launchers are installed by `.ci/install bench`; one that is missing is
//! a row that says so. All of a table comes from one run, in which everybody takes turns in an order that is drawn anew in each round: on a
//! machine that does other things too only the ratios mean something. Nothing is asserted.

mod boot;
mod cgroup;
mod contestants;
mod machine;
mod memory;
mod net;
mod notify;
mod random;
mod start;
mod statistics;
mod table;
mod tree;

use contestants::Programs;
use std::io;
use std::process::ExitCode;
use tree::Source;

const USAGE: &str = "usage: nskit-benches start|boot|memory|net|all [--rounds=N]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("nskit-benches: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let (what, rounds) = arguments()?;
    if !rustix::process::geteuid().is_root() {
        return Err(io::Error::other("the namespaces of a whole distribution are made by root: run it as root"));
    }
    if what == "net" {
        println!("{}", machine::describe());
        return net::run(rounds.unwrap_or(100));
    }
    let source = Source::find()?;
    let programs = Programs::find()?;
    machine::own_run()?;
    println!("{}", machine::describe());
    let all = what == "all";
    if all || what == "start" {
        start::run(&source, &programs, rounds.unwrap_or(200))?;
    }
    if all || what == "boot" {
        boot::run(&source, &programs, rounds.unwrap_or(10))?;
    }
    if all || what == "memory" {
        memory::run(&source, &programs, rounds.unwrap_or(5))?;
    }
    if all {
        net::run(rounds.unwrap_or(100))?;
    }
    Ok(())
}

fn arguments() -> io::Result<(String, Option<usize>)> {
    let wrong = || io::Error::other(USAGE);
    let (mut what, mut rounds) = (None, None);
    for word in std::env::args().skip(1) {
        match word.strip_prefix("--rounds=") {
            Some(number) => rounds = Some(number.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?),
            None if what.is_none() && ["start", "boot", "memory", "net", "all"].contains(&word.as_str()) => what = Some(word),
            None => return Err(wrong()),
        }
    }
    Ok((what.ok_or_else(wrong)?, rounds))
}
