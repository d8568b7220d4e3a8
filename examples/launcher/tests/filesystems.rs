//! Trees on every file system that distributions are kept on, on those that can't be id-mapped, and the ranges of ids.

#[path = "support/mounts.rs"]
mod mounts;
mod probe;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use mounts::{in_own_mounts, mount, remember, unmount};
use nix::sys::signal::Signal;
use support::{Ended, Machine, Started, Tree, within};

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs the probe that writes into the tree; what it said.
fn write(machine: &Machine, options: &[&str]) -> (BTreeMap<String, String>, Ended) {
    let program = format!("/run/{}", probe::NAME);
    let bind = format!("--bind-ro={}:{program}", std::env::current_exe().unwrap().display());
    let ended = machine.spawn(["--quiet", &bind]).args(options).args([&program, "write"]).limit(within(60)).run().expect(0);
    let found = ended.text().lines().filter_map(|line| line.split_once('=')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    (found, ended)
}

fn owner(machine: &Machine, file: &str) -> (u32, u32) {
    let found = machine.tree.join(file).metadata().unwrap();
    (found.uid(), found.gid())
}

/// What container root writes is the host root's in the tree, since the tree is id-mapped.
#[track_caller]
fn works_id_mapped(machine: &Machine) {
    let (found, ended) = write(machine, &[]);
    assert_eq!(ended.stderr, "");
    for (row, expected) in [("write", "ok"), ("give away", "ok"), ("owner of the tree", "0:0")] {
        assert_eq!(found[row], expected, "{row}");
    }
    let map: Vec<u32> = found["uid_map"].split(' ').map(|n| n.parse().unwrap()).collect();
    assert!(map[0] == 0 && map[1] >= 524_288 && map[1] <= 1_878_982_656 && map[1] % 65_536 == 0 && map[2] == 65_536, "{map:?}");
    assert_eq!(found["uid_map"], found["gid_map"]);
    assert_eq!((owner(machine, "made-inside"), owner(machine, "given-away")), ((0, 0), (33, 33)));
}

/// A file system of this kind in a file, mounted in this thread's mount namespace.
fn on_a_loop_device(make: &[&str]) {
    let name = make[0].trim_start_matches("mkfs.");
    in_own_mounts(|| {
        let dir = tempfile::Builder::new().prefix("nskit-loop.").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let (file, place) = (dir.path().join("file"), dir.path().join("place"));
        fs::create_dir(&place).unwrap();
        fs::File::create(&file).unwrap().set_len(400 << 20).unwrap();
        let (file, place) = (file.to_str().unwrap(), place.to_str().unwrap());
        run(make[0], &[&make[1..], &[file]].concat());
        run("mount", &["-t", name, "-o", "loop", file, place]);
        remember(Path::new(place));
        {
            let machine = Machine::on(Tree::copy_in(Path::new(place), "busybox"));
            works_id_mapped(&machine);
            let ended = machine.spawn(["-q", "--read-only", "sh", "-c", "echo $(id -u); ! echo >/x"]).run().expect(0);
            assert_eq!(ended.text(), "0\n");
        }
        unmount(Path::new(place));
    });
}

#[test]
fn ext4() {
    on_a_loop_device(&["mkfs.ext4", "-q"]);
}

#[test]
fn xfs() {
    on_a_loop_device(&["mkfs.xfs", "-q"]);
}

#[test]
fn btrfs() {
    on_a_loop_device(&["mkfs.btrfs", "-q"]);
}

/// A btrfs subvolume is a tree, too.
#[test]
fn the_disk_that_the_tests_are_on() {
    works_id_mapped(&Machine::of("busybox"));
}

// ------------------------------------------------------------------------------------------------------------- that can't be id-mapped

/// The one line says which file system it is, how to copy the tree, what to run then, and what the other way costs.
#[track_caller]
fn is_told(machine: &Machine, ended: &Ended, file_system: &str) {
    let path = machine.tree.path().display();
    let copy = format!("cp -a {path} /var/lib/machines/{}", machine.name());
    let start = format!("ns-spawn -D /var/lib/machines/{}", machine.name());
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1), "{}", ended.stderr);
    for words in [file_system, "can't be id-mapped", &copy, &start, "--private-users=no", "the host's root"] {
        assert!(ended.stderr.contains(words), "{words:?} is not in {}", ended.stderr);
    }
}

/// With the host's ids the same tree runs, with one warning.
#[track_caller]
fn works_with_the_hosts_ids(machine: &Machine) {
    let (found, ended) = write(machine, &["--private-users=no"]);
    assert_eq!((found["write"].as_str(), found["uid_map"].as_str()), ("ok", "0 0 4294967295"));
    assert!(ended.stderr.starts_with("Warning: without a user namespace") && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    assert_eq!(owner(machine, "made-inside"), (0, 0));
}

fn on(kind: &str, data: impl FnOnce(&Path) -> String, test: impl FnOnce(&Machine) + Send) {
    let dir = tempfile::Builder::new().prefix("nskit-place.").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let place = dir.path().join("place");
    fs::create_dir(&place).unwrap();
    let data = data(dir.path());
    in_own_mounts(|| {
        mount(kind, &place, kind, 0, &data);
        test(&Machine::on(Tree::copy_in(&place, "busybox")));
        unmount(&place);
    });
}

#[test]
fn overlay_is_refused_by_name() {
    let layers = |base: &Path| {
        for name in ["lower", "upper", "work"] {
            fs::create_dir(base.join(name)).unwrap();
        }
        let base = base.display();
        format!("lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work")
    };
    on("overlay", layers, |machine| {
        is_told(machine, &machine.spawn(["-q", "true"]).run(), "overlay");
        is_told(machine, &machine.spawn(["-q", "--private-users=identity", "true"]).run(), "overlay");
        works_with_the_hosts_ids(machine);
    });
}

#[test]
fn ramfs_is_refused_by_name() {
    on(
        "ramfs",
        |_| "mode=755".into(),
        |machine| {
            is_told(machine, &machine.spawn(["-q", "true"]).run(), "ramfs");
            works_with_the_hosts_ids(machine);
        },
    );
}

/// tmpfs takes an id map from Linux 6.3 on.
#[test]
fn tmpfs_works_or_is_refused_by_name() {
    on(
        "tmpfs",
        |_| "mode=755,size=64m".into(),
        |machine| {
            works_or_is_told(machine, "tmpfs");
            works_with_the_hosts_ids(machine);
        },
    );
}

#[track_caller]
fn works_or_is_told(machine: &Machine, file_system: &str) {
    let ended = machine.spawn(["-q", "true"]).run();
    if ended.code == Some(0) { works_id_mapped(machine) } else { is_told(machine, &ended, file_system) }
}

/// What is mounted in the tree belongs to it, and is id-mapped with it.
#[test]
fn a_mount_in_the_tree_is_part_of_it() {
    in_own_mounts(|| {
        let machine = Machine::of("busybox");
        let inner = machine.tree.join("var");
        for (kind, always) in [("tmpfs", false), ("ramfs", true)] {
            mount(kind, &inner, kind, 0, "mode=755");
            fs::write(inner.join("seen"), "").unwrap();
            if always {
                is_told(&machine, &machine.spawn(["-q", "true"]).run(), kind);
            } else {
                works_or_is_told(&machine, kind);
            }
            let ended = machine.spawn(["-q", "--private-users=no", "ls", "/var"]).run().expect(0);
            assert_eq!(ended.text(), "seen\n");
            unmount(&inner);
        }
    });
}

// ----------------------------------------------------------------------------------------------------------------------------- the ids

fn maps(machine: &Machine, users: &str) -> String {
    write(machine, &[&format!("--private-users={users}")]).0.remove("uid_map").unwrap()
}

#[test]
fn the_ids_are_those_that_were_asked_for() {
    let machine = Machine::of("busybox");
    // No other test's: 64 blocks of its own.
    let start = 0x4000_0000u32 + (std::process::id() % 0x80) * 0x40_0000;
    let table = [
        ("identity".to_owned(), "0 0 65536".to_owned()),
        (format!("{start}"), format!("0 {start} 65536")),
        (format!("{start}:65536"), format!("0 {start} 65536")),
        (format!("{}:1000", start + 5), format!("0 {} 1000", start + 5)),
        (format!("{start}:{}", 48 * 65_536), format!("0 {start} {}", 48 * 65_536)),
    ];
    for (users, map) in table {
        assert_eq!(maps(&machine, &users), map, "{users}");
        assert_eq!((owner(&machine, "made-inside"), owner(&machine, "given-away")), ((0, 0), (33, 33)), "{users}");
    }
    assert_eq!(maps(&machine, "no"), "0 0 4294967295");
}

#[test]
fn a_range_of_one_id_runs_a_command() {
    let machine = Machine::of("busybox");
    let ended = machine.spawn(["-q", "--private-users=1900000000:1", "cat", "/proc/self/uid_map"]).run().expect(0);
    assert_eq!(ended.text().split_whitespace().collect::<Vec<_>>(), ["0", "1900000000", "1"]);
}

/// A payload that says when it is there, and stays.
fn started(machine: &Machine) -> Started {
    let mut running = machine.spawn(["-q", "sh", "-c", "echo ready; exec sleep 1000"]).start();
    running.expect("ready\n", within(20));
    running
}

fn start_of(running: &Started) -> u32 {
    let map = running.payload().read("uid_map");
    map.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Whether somebody has systemd-nspawn's lock on a range.
fn is_locked(start: u32) -> bool {
    let path = format!("/run/systemd/nspawn-uid/{start}");
    let Ok(file) = fs::File::options().read(true).write(true).open(path) else { return false };
    let mut asked =
        nix::libc::flock { l_type: nix::libc::F_WRLCK as i16, l_whence: nix::libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 };
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_OFD_GETLK(&mut asked)).unwrap();
    asked.l_type != nix::libc::F_UNLCK as i16
}

#[test]
fn containers_never_share_a_range_and_a_machine_keeps_its_own() {
    let machines = [Machine::of("busybox"), Machine::of("busybox"), Machine::of("busybox")];
    let running: Vec<_> = machines.iter().map(started).collect();
    let starts: Vec<_> = running.iter().map(start_of).collect();
    assert!(starts[0] != starts[1] && starts[1] != starts[2] && starts[0] != starts[2], "{starts:?}");
    for start in &starts {
        assert!(is_locked(*start), "{start}");
    }
    for running in running {
        running.process().signal(Signal::SIGTERM);
        running.finish(within(20)).expect(1);
    }
    for (machine, start) in machines.iter().zip(starts) {
        assert_eq!(maps(machine, "pick"), format!("0 {start} 65536"));
        assert!(!is_locked(start));
    }
}

/// The first choice follows from the name: where it is taken, the next is.
#[test]
fn a_range_that_is_taken_is_passed_over() {
    let (machine, other) = (Machine::of("busybox"), Machine::of("busybox"));
    let first = maps(&machine, "pick");
    let start = first.split(' ').nth(1).unwrap();
    let holder = other.spawn(["-q", &format!("--private-users={start}"), "sh", "-c", "echo ready; exec sleep 1000"]);
    let mut holder = holder.start();
    holder.expect("ready\n", within(20));
    let second = maps(&machine, "pick");
    assert!(first != second && second.ends_with(" 65536"), "{first}, {second}");
    holder.process().signal(Signal::SIGTERM);
    holder.finish(within(20)).expect(1);
}
