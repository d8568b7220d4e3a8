//! Names and locks: one machine of a name, one container on a tree or any number of readers, and where state can't be written.

#[path = "support/mounts.rs"]
mod mounts;
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Instant;

use mounts::{in_own_mounts, mount};
use nix::libc;
use nix::sys::signal::Signal;
use ns_net::{LinkName, Prefix};
use support::{Ended, Machine, Spawn, Started, Tree, until, within};

const STAYS: [&str; 3] = ["sh", "-c", "echo ready; exec sleep 1000"];

fn ready(spawn: Spawn) -> Started {
    let mut running = spawn.args(STAYS).start();
    running.expect("ready\n", within(10));
    running
}

fn stop(running: Started) {
    running.process().signal(Signal::SIGTERM);
    running.finish(within(10)).expect(1);
}

#[track_caller]
fn refused(ended: &Ended, line: &str) {
    assert!(ended.code == Some(1) && ended.stderr.trim_end() == format!("ns-spawn: {line}"), "{line:?} was expected:\n{}", ended.stderr);
}

/// The same name on another tree, with its state in the first's directory.
fn on_other_tree(first: &Machine, other: &Machine) -> Spawn {
    other
        .plain_spawn(["-q", "-M", first.name()])
        .args([format!("--directory={}", other.tree.path().display())])
        .env("NSKIT_RUN_DIR", first.run_dir())
}

#[test]
fn one_machine_of_a_name() {
    let (machine, other) = (Machine::of("busybox"), Machine::of("busybox"));
    let running = ready(machine.spawn(["-q"]));
    let began = Instant::now();
    let second = on_other_tree(&machine, &other).args(["true"]).run();
    assert!(began.elapsed() < within(1), "{:?}", began.elapsed());
    let (name, pid) = (machine.name(), running.process().0);
    refused(&second, &format!("Machine '{name}' already exists: container {name}, pid {pid}."));
    stop(running);
    on_other_tree(&machine, &other).args(["true"]).run().expect(0);
}

/// Each that runs makes a directory which must not be there, and removes it: no two are inside at once.
const ALONE: &str = "mkdir $0/inside || exit 9; sleep 0.02; rmdir $0/inside || exit 9";

fn never_two(spawns: impl Fn(usize) -> Spawn, expected: &str) {
    for round in 0..4 {
        let running: Vec<_> = (0..3).map(|n| spawns(round * 3 + n).start()).collect();
        let ended: Vec<_> = running.into_iter().map(|running| running.finish(within(20))).collect();
        let codes: Vec<_> = ended.iter().map(|ended| ended.code.unwrap_or(-1)).collect();
        assert!(codes.contains(&0) && codes.iter().all(|code| [0, 1].contains(code)), "{codes:?}: {}", ended[0].stderr);
        for late in ended.iter().filter(|ended| ended.code == Some(1)) {
            assert!(
                late.stderr.contains(expected) && late.stderr.contains(", pid ") && late.stderr.lines().count() == 1,
                "{}",
                late.stderr
            );
        }
    }
}

#[test]
fn of_launchers_at_once_on_one_name_one_starts() {
    let (machine, other) = (Machine::of("busybox"), Machine::of("busybox"));
    let shared = Tree::empty();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let bind = format!("--bind={}:/mnt", shared.path().display());
    let on_own = || machine.spawn(["-q"]);
    let spawns = |n: usize| {
        let spawn = if n % 2 == 0 { on_own() } else { on_other_tree(&machine, &other) };
        spawn.args([bind.as_str(), "sh", "-c", ALONE, "/mnt"])
    };
    never_two(spawns, &format!("container {}, pid ", machine.name()));
}

#[test]
fn of_launchers_at_once_on_one_tree_one_starts() {
    let machine = Machine::of("busybox");
    let spawns = |n: usize| machine.spawn(["-q", "-M", &format!("{}-{n}", machine.name()), "sh", "-c", ALONE, "/tmp/.."]);
    never_two(spawns, "is currently busy: container ");
}

#[test]
fn readers_share_a_tree_and_writers_do_not() {
    let machine = Machine::of("busybox");
    let named = |n: usize| format!("{}-{n}", machine.name());
    let readers: Vec<_> = (0..3).map(|n| ready(machine.spawn(["-q", "--read-only", "-M", &named(n)]))).collect();
    let late = machine.spawn(["-q", "-M", &named(9), "true"]).run();
    let tree = machine.tree.path().display();
    refused(&late, &format!("Directory tree {tree} is currently busy: container {}, pid {}.", named(2), readers[2].process().0));
    for reader in readers {
        stop(reader);
    }
    let writer = ready(machine.spawn(["-q"]));
    let late = machine.spawn(["-q", "--read-only", "-M", &named(9), "true"]).run();
    refused(&late, &format!("Directory tree {tree} is currently busy: container {}, pid {}.", machine.name(), writer.process().0));
    stop(writer);
    let at_once: Vec<_> = (0..6).map(|n| machine.spawn(["-q", "--read-only", "-M", &named(n), "true"]).start()).collect();
    for reader in at_once {
        reader.finish(within(20)).expect(0);
    }
}

/// A process that its tracer, this thread, has stopped; when dropped it runs again. See ptrace(2).
struct Traced(i32);

impl Traced {
    fn stop(pid: u32) -> Traced {
        let pid = i32::try_from(pid).unwrap();
        let ask = |request| {
            // SAFETY: these requests take no pointers.
            let done = unsafe { libc::ptrace(request, pid, 0, 0) };
            assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        };
        ask(libc::PTRACE_SEIZE);
        ask(libc::PTRACE_INTERRUPT);
        // SAFETY: no status is asked for.
        assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) }, pid);
        Traced(pid)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // SAFETY: the request takes no pointers. One that has ended needs no detaching.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, 0, 0) };
    }
}

/// As long as the payload lives, whoever of the others was killed.
#[test]
fn a_name_and_a_tree_are_held_until_the_payload_is_gone() {
    let machine = Machine::of("busybox");
    let mut running = ready(machine.spawn(["-q"]));
    let (keeper, payload) = (running.keeper(), running.payload());
    // It can't end its payload then. A SIGSTOP would not do: it is woken when its caller ends.
    let held = Traced::stop(keeper.0);
    running.kill();
    assert!(payload.runs());
    for spawn in [machine.spawn(["-q", "true"]), machine.spawn(["-q", "-M", "another-name", "true"])] {
        let ended = spawn.run().expect(1);
        assert!(ended.stderr.contains(&format!("container {}, pid ", machine.name())), "{}", ended.stderr);
    }
    assert!(payload.runs());
    drop(held);
    until("keeper and payload are gone", within(5), || !keeper.runs() && !payload.runs());
    machine.spawn(["-q", "true"]).run().expect(0);
}

#[test]
fn a_machine_is_found_by_its_name_in_the_directories_of_machines() {
    let machine = Machine::of("busybox");
    in_own_mounts(|| {
        mount("tmpfs", Path::new("/run"), "tmpfs", 0, "mode=755");
        let named = || machine.plain_spawn(["-q", "-M", machine.name(), "hostname"]);
        refused(&named().run(), &format!("No image for machine '{}'.", machine.name()));
        fs::create_dir("/run/machines").unwrap();
        symlink("/no/such", format!("/run/machines/{}", machine.name())).unwrap();
        refused(&named().run(), &format!("No image for machine '{}'.", machine.name()));
        fs::remove_file(format!("/run/machines/{}", machine.name())).unwrap();
        symlink(machine.tree.path(), format!("/run/machines/{}", machine.name())).unwrap();
        assert_eq!(named().run().expect(0).text(), format!("{}\n", machine.name()));
    });
}

#[test]
fn a_name_that_is_none_is_refused_before_anything_is_made() {
    let machine = Machine::of("busybox");
    let directory = format!("--directory={}", machine.tree.path().display());
    let long = "a".repeat(65);
    for name in ["-x", ".x", "x.", "a..b", "a/b", "../x", "Zürich", "bad_name!", "a\n", "\u{1b}[2J", &long] {
        let ended = machine.plain_spawn([directory.as_str(), &format!("--machine={name}"), "true"]).run();
        assert!(ended.code == Some(1) && ended.stderr.contains("nvalid machine name"), "{name:?}: {}", ended.stderr);
        assert!(!ended.stderr.trim_end().chars().any(char::is_control), "{:?}", ended.stderr);
        assert_eq!(fs::read_dir(machine.run_dir()).unwrap().count(), 0, "{name:?}");
    }
}

#[test]
fn long_names_have_links_of_their_own_and_those_that_meet_are_told_so() {
    let machine = Machine::of("busybox");
    let link = |name: &str| LinkName::of(Prefix::Veth, name).unwrap();
    // 64 letters, equal in the first fifteen bytes and beyond.
    let [one, two] = ["b", "c"].map(|end| format!("{:a<63}{end}", machine.name()));
    assert!(one.len() == 64 && link(&one).name != link(&two).name);
    let (first, second) = colliding(machine.name());
    let other = Machine::of("busybox");
    support::in_own_network("br0", || {
        let on = |machine: &Machine, name: &str| machine.spawn(["-q", "-n", &format!("--machine={name}")]);
        let running = ready(on(&machine, &one));
        let names = link(&one);
        assert_eq!(support::link(&names.name.to_string()).unwrap().altnames, [names.altname.unwrap()]);
        on(&other, &two).args(["true"]).run().expect(0);
        stop(running);

        let running = ready(on(&machine, &first));
        let ended = on(&other, &second).args(["true"]).run().expect(1);
        let taken = link(&first);
        let expected = format!(
            "the host has a link of this name: {}: {} ({})",
            support::link(&taken.name.to_string()).unwrap().index,
            taken.name,
            taken.altname.unwrap()
        );
        assert!(ended.stderr.contains(&expected) && ended.stderr.lines().count() == 1, "{expected}: {}", ended.stderr);
        assert!(running.payload().runs());
        stop(running);
    });
}

/// Two names that make one link's name: of some thousands with one beginning, two have the same 24 bits.
fn colliding(beginning: &str) -> (String, String) {
    let mut seen = std::collections::HashMap::new();
    for n in 0.. {
        let name = format!("{beginning:a<12}{n}");
        if let Some(other) = seen.insert(LinkName::of(Prefix::Veth, &name).unwrap().name, name.clone()) {
            return (other, name);
        }
    }
    unreachable!()
}

/// A machine that nobody could find is not started; the words say what is full, and where.
#[test]
fn a_run_directory_that_is_full_or_read_only_is_named_or_does() {
    let machine = Machine::of("busybox");
    let run = machine.run_dir();
    in_own_mounts(|| {
        let mut ends = Vec::new();
        for pages in 0..6 {
            mount("tmpfs", run, "tmpfs", 0, "mode=755,size=64k");
            fs::write(run.join("fill"), vec![b'x'; (16 - pages) << 12]).unwrap();
            let ended = machine.spawn(["-q", "echo", "started"]).run();
            let failed = ended.code == Some(1) && ended.text().is_empty();
            let why = ended.stderr.contains(&run.display().to_string()) && ended.stderr.contains("No space left on device");
            let started = ended.code == Some(0) && ended.text() == "started\n";
            assert!(failed && why || started && (ended.stderr.is_empty() || why), "{pages} pages: {}", ended.stderr);
            ends.push(started);
            assert_eq!(fs::read_dir(run.join("machines")).map_or(0, Iterator::count), 0, "{pages} pages");
            mounts::unmount(run);
        }
        assert!(!ends[0] && ends[5], "{ends:?}");
        mount("tmpfs", run, "tmpfs", libc::MS_RDONLY, "mode=755");
        let ended = machine.spawn(["-q", "true"]).run().expect(1);
        assert!(ended.stderr.contains(&run.display().to_string()) && ended.stderr.contains("Read-only file system"), "{}", ended.stderr);
        mounts::unmount(run);
    });
}
