//! A tree that another process changes while it is started: every place that the launcher looks at is now what it was, now something else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

use super::canary::Canary;
use super::links::{machine, source};
use super::mounts::in_own_mounts;
use super::outcome::{Outcome, SAYS, outcome_of_changing};
use super::support::{Machine, Spawn, in_rig};
use super::whole;

/// What takes a place in turns.
#[derive(Clone, Copy)]
enum Other {
    /// A link to the canary's of the same name.
    Link,
    /// A link to it by `..`.
    Relative,
    /// An empty directory.
    Directory,
    /// A FIFO.
    Fifo,
}

const PLACES: [&str; 14] =
    ["dev", "run", "proc", "sys", "tmp", "etc", "root", "usr", "a", "a/b", "etc/os-release", "etc/passwd", "etc/machine-id", "dev/pts"];

/// Where the other thing waits for its turn.
fn aside(tree: &Path, place: &str) -> PathBuf {
    tree.join(format!("aside-{}", place.replace('/', "-")))
}

fn prepare(tree: &Path, canary: &Path, place: &str, other: Other) {
    let (at, to) = (aside(tree, place), canary.join(place));
    fs::create_dir_all(tree.join(place).parent().unwrap()).unwrap();
    if !tree.join(place).exists() {
        fs::create_dir(tree.join(place)).unwrap();
    }
    super::plant::remove(&at);
    match other {
        Other::Link => symlink(to, at).unwrap(),
        Other::Relative => symlink(Path::new("../../../../../..").join(to.strip_prefix("/").unwrap()), at).unwrap(),
        Other::Directory => fs::create_dir(at).unwrap(),
        Other::Fifo => mknodat(CWD, at, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap(),
    }
}

/// Exchanges them again and again, one place or all, until it is told to stop.
fn exchange(tree: &Path, places: &[&str], stop: &AtomicBool) {
    let pairs: Vec<_> = places.iter().map(|place| (tree.join(place), aside(tree, place))).collect();
    while !stop.load(Ordering::Relaxed) {
        for (at, other) in &pairs {
            // While a parent is away there is nothing to exchange.
            let _ = renameat_with(CWD, at, CWD, other, RenameFlags::EXCHANGE);
        }
        // A start takes milliseconds, and a processor.
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Says that it runs, and whether a proc without its masks is anywhere.
const LOOKS: &str = "for p in /proc /aside-proc; do /bin/busybox head -c 1 $p/kallsyms 2>/dev/null | /bin/busybox grep -q . && echo unmasked in $p; done; echo started";

fn start(machine: &Machine, number: usize) -> Spawn {
    let [directory, file] = ["directory", "directory/file"].map(|name| source(machine, name));
    match number % 3 {
        0 => machine.spawn(["-q", &format!("--bind-ro={directory}:/a/b/c"), "/bin/busybox", "sh", "-c", LOOKS]),
        1 => machine.spawn(["-q", "--read-only", &format!("--bind={file}:/a/b/d"), "/bin/busybox", "echo", SAYS]),
        _ => machine.spawn(["-q"]).input(format!("{LOOKS}\n")),
    }
}

/// So many starts while these places change; how many were refused.
fn race(machine: &Machine, canary: &mut Canary, places: &[&str], other: Other, starts: usize) -> usize {
    let tree = machine.tree.path();
    places.iter().for_each(|place| prepare(tree, canary.path(), place, other));
    let inode = |place: &&str| tree.join(place).symlink_metadata().unwrap().ino();
    let before: Vec<_> = places.iter().map(inode).collect();
    let stop = AtomicBool::new(false);
    let mut refused = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| exchange(tree, places, &stop));
        let _stop = Stop(&stop);
        for number in 0..starts {
            let about = format!("start {number} while {places:?} change");
            let how = outcome_of_changing(start(machine, number), &about);
            canary.untouched(&about);
            refused += usize::from(how == Outcome::Refused);
        }
    });
    for (place, before) in places.iter().zip(before) {
        if inode(place) != before {
            renameat_with(CWD, tree.join(place), CWD, aside(tree, place), RenameFlags::EXCHANGE).unwrap();
        }
        super::plant::remove(&aside(tree, place));
    }
    refused
}

/// Also when a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Each place alone, so that the others let the start get so far.
fn one_by_one(other: Other) {
    let (starts, step) = match (whole(), in_rig()) {
        (true, _) => (25, 1),
        (_, true) => (1, 4),
        _ => (3, 1),
    };
    in_own_mounts(|| {
        let (machine, mut canary) = (machine(), Canary::new());
        let all = PLACES.iter().step_by(step).map(|place| race(&machine, &mut canary, &[place], other, starts));
        println!("{} refused", all.sum::<usize>());
        canary.unchanged("at the end");
    });
}

#[test]
fn a_directory_that_is_a_link_to_the_host_now_and_then() {
    one_by_one(Other::Link);
}

#[test]
fn a_directory_that_is_a_relative_link_now_and_then() {
    one_by_one(Other::Relative);
}

#[test]
fn a_directory_that_is_another_now_and_then() {
    one_by_one(Other::Directory);
}

#[test]
fn a_file_that_is_a_fifo_now_and_then() {
    one_by_one(Other::Fifo);
}

#[test]
fn everything_changes_at_once() {
    in_own_mounts(|| {
        let (machine, mut canary) = (machine(), Canary::new());
        let starts = if whole() { 400 } else { 20 };
        // Some of them are in others, which are away now and then.
        let places: Vec<_> = PLACES.into_iter().filter(|place| !place.contains('/')).collect();
        let refused = race(&machine, &mut canary, &places, Other::Link, if in_rig() { 5 } else { starts });
        assert!(refused > 0, "nothing was ever in the way");
        canary.unchanged("at the end");
    });
}

/// The tests of this file.
pub const ALL: [fn(); 5] = [
    a_directory_that_is_a_link_to_the_host_now_and_then,
    a_directory_that_is_a_relative_link_now_and_then,
    a_directory_that_is_another_now_and_then,
    a_file_that_is_a_fifo_now_and_then,
    everything_changes_at_once,
];
