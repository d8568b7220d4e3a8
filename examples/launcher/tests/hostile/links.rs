//! Links and nodes in every place, one at a time.

use super::canary::Canary;
use super::mounts::in_own_mounts;
use super::outcome::{Outcome, SAYS, outcome};
use super::plant::{LINKS, Link, NODES, Node, Planted, What};
use super::support::{Machine, Spawn, Tree, in_rig};
use super::whole;

/// Directories that the launcher mounts on, looks into, or makes mount points in.
const DIRECTORIES: [&str; 16] =
    ["dev", "run", "proc", "sys", "tmp", "etc", "var", "usr", "root", "bin", "sbin", "usr/lib", "dev/pts", "sys/fs", "a", "a/b"];
/// Files that it reads, executes or mounts on.
const FILES: [&str; 12] = [
    "etc/os-release",
    "usr/lib/os-release",
    "etc/machine-id",
    "etc/passwd",
    "etc/group",
    "etc/hostname",
    "sbin/init",
    "usr/lib/systemd",
    "bin/sh",
    "bin/busybox",
    "a/c",
    "a/b/c",
];

/// How a tree is started: a command with something bound into it, its init, its shell.
const STARTS: [fn(&Machine) -> Spawn; 3] = [command, boot, shell];

fn command(machine: &Machine) -> Spawn {
    machine.spawn(["-q", &format!("--bind-ro={}:/a/b/c", source(machine, "directory")), "/bin/busybox", "echo", SAYS])
}

fn boot(machine: &Machine) -> Spawn {
    machine.spawn(["-q", "--boot", &format!("--bind={}:/a/c", source(machine, "directory/file"))])
}

fn shell(machine: &Machine) -> Spawn {
    machine.spawn(["-q", "--read-only"]).input(format!("echo {SAYS}\n"))
}

/// A busybox whose init says that it was started, and powers off.
pub fn machine() -> Machine {
    let tree = Tree::copy("busybox");
    std::fs::remove_file(tree.join("sbin/init")).unwrap();
    tree.script("sbin/init", &format!("#!/bin/sh\necho {SAYS}\nexec /bin/busybox poweroff -f\n"));
    tree.write("usr/lib/systemd/nothing", "");
    let machine = Machine::on(tree);
    std::fs::create_dir(source(&machine, "directory")).unwrap();
    std::fs::write(source(&machine, "directory/file"), "").unwrap();
    machine
}

/// What is bound into it: beside the tree, and the test's as well.
pub fn source(machine: &Machine, name: &str) -> String {
    machine.tree.path().parent().unwrap().join(name).display().to_string()
}

/// Plants each of these in each of the places, and starts the tree in every way.
fn try_all(places: &[&str], whats: &[What]) {
    in_own_mounts(|| {
        let (machine, mut canary) = (machine(), Canary::new());
        let pairs = places.iter().flat_map(|place| whats.iter().map(move |what| (*place, *what)));
        let all: Vec<_> = pairs.flat_map(|(place, what)| STARTS.map(|start| (place, what, start))).collect();
        // Primes, so that every place and everything planted has its turn.
        let step = if whole() { 1 } else { (all.len() / if in_rig() { 11 } else { 43 }).max(1) | 1 };
        let (mut refused, mut count) = (0, 0);
        for (place, what, start) in all.into_iter().step_by(step) {
            let _planted = Planted::new(machine.tree.path(), canary.path(), place, what);
            let about = format!("{what:?} at /{place}");
            let (how, ended) = outcome(start(&machine), &about);
            canary.untouched(&about);
            refused += u32::from(how == Outcome::Refused);
            count += 1;
            if how == Outcome::Refused {
                names_it(place, &ended.stderr, &about);
            }
        }
        canary.unchanged("at the end");
        assert!(refused > 0 && refused < count, "{refused} of {count} were refused");
        println!("{count} starts, {refused} refused");
    });
}

/// The line has the place in it, or what is below it.
#[track_caller]
fn names_it(place: &str, line: &str, about: &str) {
    let last = place.rsplit('/').next().unwrap();
    // To which other names lead.
    if last == "busybox" {
        return;
    }
    // The last: of a script's interpreter that is one itself, which is planted.
    let missing = [
        "the os-release file is missing",
        "none of /usr/lib/systemd/systemd, ",
        "execve (interpreter): Too many levels of symbolic links: /proc/self/exe",
    ];
    assert!([last].iter().chain(&missing).any(|words| line.contains(words)), "{about}: {place} is not named in {line}");
}

fn links(of: &[Link]) -> Vec<What> {
    of.iter().map(|link| What::Link(*link)).collect()
}

fn nodes(of: &[Node]) -> Vec<What> {
    of.iter().map(|node| What::Node(*node)).collect()
}

#[test]
fn links_to_the_host_for_directories() {
    try_all(&DIRECTORIES, &links(&LINKS[..3]));
}

#[test]
fn magic_links_for_directories() {
    try_all(&DIRECTORIES, &links(&LINKS[3..9]));
}

#[test]
fn links_to_nowhere_and_into_the_tree_for_directories() {
    try_all(&DIRECTORIES, &links(&LINKS[9..]));
}

#[test]
fn links_to_the_host_for_files() {
    try_all(&FILES, &links(&LINKS[..3]));
}

#[test]
fn magic_links_for_files() {
    try_all(&FILES, &links(&LINKS[3..9]));
}

#[test]
fn links_to_nowhere_and_into_the_tree_for_files() {
    try_all(&FILES, &links(&LINKS[9..]));
}

#[test]
fn nodes_for_directories() {
    try_all(&DIRECTORIES, &nodes(&NODES));
}

#[test]
fn nodes_for_files() {
    try_all(&FILES, &nodes(&NODES));
}

/// The tests of this file.
pub const ALL: [fn(); 8] = [
    links_to_the_host_for_directories,
    magic_links_for_directories,
    links_to_nowhere_and_into_the_tree_for_directories,
    links_to_the_host_for_files,
    magic_links_for_files,
    links_to_nowhere_and_into_the_tree_for_files,
    nodes_for_directories,
    nodes_for_files,
];
