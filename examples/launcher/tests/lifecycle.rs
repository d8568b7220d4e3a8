//! How containers stop, are stopped, and are found gone, whoever dies first.

mod support;

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::{Machine, Started, Tree, boot_time, until, within};

/// A payload that says when it is there, and stays.
const STAYS: [&str; 3] = ["sh", "-c", "echo ready; exec sleep 1000"];

fn start(machine: &Machine) -> Started {
    let mut running = machine.spawn(STAYS).start();
    running.expect("ready\n", within(10));
    running
}

/// A tree whose init is this script.
fn with_init(script: &str) -> Machine {
    let tree = Tree::copy("busybox");
    std::fs::remove_file(tree.join("sbin/init")).unwrap();
    tree.script("sbin/init", &format!("#!/bin/sh\n{script}\n"));
    Machine::on(tree)
}

/// The look at the machine sees what there is to see: otherwise no test around it proves anything.
#[test]
fn a_running_container_shows() {
    let machine = Machine::of("busybox");
    support::in_own_network("br0", || {
        let mut running = machine.spawn(["-n"]).args(STAYS).start();
        running.expect("ready\n", within(10));
        let seen = machine.fingerprint();
        for kind in ["link ve-", "cgroup ", "process ", "file ", "lock /run/systemd/nspawn/locks/"] {
            assert!(seen.iter().any(|line| line.starts_with(kind)), "no {kind}in {seen:#?}");
        }
        let processes = [running.process(), running.keeper(), running.payload()];
        for process in processes {
            let shown = format!("process /proc/{} ", process.0);
            assert!(seen.iter().any(|line| line.starts_with(&shown)), "no {shown}in {seen:#?}");
        }
        running.process().signal(Signal::SIGTERM);
        running.finish(within(10)).expect(1);
        machine.check();
    });
}

#[test]
fn a_command_is_killed_at_once() {
    let machine = Machine::of("busybox");
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let running = start(&machine);
        running.process().signal(signal);
        running.finish(within(5)).expect(1).said(&format!("Container {} terminated by signal KILL.", machine.name()));
    }
}

#[test]
fn init_is_asked_first_and_killed_when_asked_again() {
    let machine = with_init("echo ready; while :; do sleep 1; done");
    let mut running = machine.spawn(["--boot"]).start();
    running.expect("ready\n", within(10));
    running.process().signal(Signal::SIGTERM);
    let asked = "Trying to halt container by sending SIGRTMIN+3 to container PID 1. Send SIGTERM again to trigger immediate termination.";
    running.expect(asked, within(10));
    std::thread::sleep(Duration::from_millis(300));
    assert!(running.payload().runs(), "a deaf init was not waited for");
    running.process().signal(Signal::SIGTERM);
    running.finish(within(5)).expect(1).said(&format!("Container {} terminated by signal KILL.", machine.name()));
}

#[test]
fn a_deaf_init_is_killed_at_the_limit() {
    let machine = with_init("echo ready; while :; do sleep 1; done");
    let mut running = machine.spawn(["--stop-timeout=2", "--boot"]).start();
    running.expect("ready\n", within(10));
    let began = Instant::now();
    running.process().signal(Signal::SIGINT);
    running.finish(within(10)).expect(1).said("Send SIGINT again");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1900) && took < within(6), "{took:?}");
}

#[test]
fn init_that_listens_stops_in_its_time() {
    let machine = with_init("trap 'echo stopping; sleep 0.3; poweroff -f; sleep 9' 37; echo ready; while :; do sleep 0.1; done");
    let mut running = machine.spawn(["--boot"]).start();
    running.expect("ready\n", within(10));
    running.process().signal(Signal::SIGTERM);
    let ended = running.finish(within(10)).expect(0).said(&format!("Container {} has been shut down.", machine.name()));
    assert_eq!(ended.text(), "ready\nstopping\n");
}

#[test]
fn reboots_are_the_same_machine_and_new_ids() {
    let script = "cat /proc/sys/kernel/random/boot_id; hostname; cat /proc/sys/kernel/random/boot_id >>/boots; echo up\n\
                  [ $(wc -l </boots) -ge 3 ] && poweroff -f || { sleep 0.2; reboot -f; }; sleep 9";
    let machine = with_init(script);
    support::in_own_network("br0", || reboots(&machine));
}

fn reboots(machine: &Machine) {
    let mut running = machine.spawn(["-n", "--boot"]).start();
    running.expect("up\n", within(10));
    let cgroup = machine.cgroup().expect("the machine's cgroup");
    let made = std::os::unix::fs::MetadataExt::ino(&cgroup.metadata().unwrap());
    until("the second boot", within(10), || running.stdout().iter().filter(|b| **b == b'u').count() >= 2);
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&cgroup.metadata().unwrap()), made, "the machine's cgroup is another");
    let ended = running.finish(within(20)).expect(0);
    assert_eq!(ended.stderr.matches("is being rebooted.").count(), 2, "{}", ended.stderr);
    let text = ended.text();
    let words: Vec<&str> = text.split_whitespace().collect();
    let boots: Vec<_> = words.chunks(3).collect();
    assert!(boots.iter().all(|boot| boot[1] == machine.name()), "{boots:?}");
    assert!(boots.len() == 3 && boots[0][0] != boots[1][0] && boots[1][0] != boots[2][0] && boots[0][0] != boots[2][0], "{boots:?}");
    let host = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(boots.iter().all(|boot| boot[0] != host.trim()), "{boots:?}");
}

/// A command that calls `reboot(2)` has ended: there is nothing to start again but the command, which nspawn does too.
#[test]
fn a_command_may_power_off() {
    let machine = Machine::of("busybox");
    machine.spawn(["poweroff", "-f"]).run().expect(0).said(&format!("Container {} has been shut down.", machine.name()));
}

#[test]
fn a_killed_launcher_leaves_nothing() {
    let machine = Machine::of("busybox");
    support::in_own_network("br0", || {
        let mut running = machine.spawn(["--network-bridge=br0"]).args(STAYS).start();
        running.expect("ready\n", within(10));
        let (keeper, payload) = (running.keeper(), running.payload());
        running.kill();
        let link = format!("vb-{}", machine.name());
        until("keeper and payload are gone", within(2), || !keeper.runs() && !payload.runs());
        // At once: a lock that nobody holds any more is no lock, what is left of the cgroup is taken over, and so is the link's name,
        // which lives on for a moment after its namespace.
        machine.spawn(["--network-bridge=br0", "true"]).run().expect(0);
        until("the link is gone", within(5), || support::link(&link).is_none());
    });
}

#[test]
fn a_killed_keeper_ends_it() {
    let machine = Machine::of("busybox");
    let running = start(&machine);
    let payload = running.payload();
    running.keeper().signal(Signal::SIGKILL);
    let ended = running.finish(within(10)).expect(1);
    assert!(!payload.runs());
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("keeper") || last.contains("KILL"), "{}", ended.stderr);
    machine.spawn(["true"]).run().expect(0);
}

#[test]
fn one_container_on_a_tree() {
    let machine = Machine::of("busybox");
    let running = start(&machine);
    let refused = |ended: support::Ended, what: &str| {
        assert_eq!(ended.code, Some(1), "{what}: {}", ended.stderr);
        let line = format!("is currently busy: container {}, pid {}.\n", machine.name(), running.process().0);
        assert!(ended.stderr.ends_with(&line) && ended.stderr.lines().count() == 1, "{what}: {}", ended.stderr);
    };
    let began = Instant::now();
    refused(machine.spawn(["true"]).run(), "the same path");
    assert!(began.elapsed() < within(2), "{:?}", began.elapsed());
    refused(machine.spawn(["-M", "other", "true"]).run(), "under another name");
    refused(machine.spawn(["--read-only", "-q", "true"]).run(), "read-only");

    let other = Tree::empty();
    let link = other.join("link");
    symlink(machine.tree.path(), &link).unwrap();
    let directory = |path: &std::path::Path| format!("--directory={}", path.display());
    refused(machine.plain_spawn([directory(&link).as_str(), "true"]).run(), "through a link");

    let mount = other.join("mount");
    std::fs::create_dir(&mount).unwrap();
    let spawn = machine.plain_spawn([directory(&mount).as_str(), "true"]);
    let (from, to) = (machine.tree.path().to_str().unwrap(), mount.to_str().unwrap());
    let spawn = spawn.under(["unshare", "-m", "sh", "-c", "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"", "sh", from, to]);
    refused(spawn.run(), "through a bind mount");

    running.process().signal(Signal::SIGTERM);
    running.finish(within(5)).expect(1);
    machine.spawn(["true"]).run().expect(0);
}

#[test]
fn two_machines_have_ranges_of_their_own() {
    let (one, two) = (Machine::of("busybox"), Machine::of("busybox"));
    let running = [start(&one), start(&two)];
    let ranges = running.each_ref().map(|running| running.payload().read("uid_map"));
    assert!(ranges[0] != ranges[1], "{ranges:?}");
    for range in &ranges {
        let numbers: Vec<u32> = range.split_whitespace().map(|n| n.parse().unwrap()).collect();
        assert!(numbers[0] == 0 && numbers[1] >= 65536 && numbers[1] % 65536 == 0 && numbers[2] == 65536, "{range}");
    }
    for running in running {
        running.process().signal(Signal::SIGTERM);
        running.finish(within(5)).expect(1);
    }
}

#[test]
fn nothing_of_our_environment_is_the_payloads() {
    let machine = Machine::of("busybox");
    let ended = machine.spawn(["env"]).env("SECRET", "x").env("LD_PRELOAD", "").env("CREDENTIALS_DIRECTORY", "/x").run().expect(0);
    let text = ended.text();
    let mut names: Vec<_> =
        text.lines().filter_map(|line| line.split('=').next()).filter(|name| !name.starts_with("container_host_")).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LANG", "LOGNAME", "NOTIFY_SOCKET", "PATH", "TERM", "USER", "container", "container_uuid"], "{text}");
    assert!(text.contains("TERM=dumb\n") && text.contains("HOME=/root\n") && text.contains("container=systemd-nspawn\n"), "{text}");
}

#[test]
fn boot_is_killed_when_asked_twice() {
    let machine = Machine::of("debian");
    // Long enough to be asked in.
    machine.tree.write(
        "etc/systemd/system/slow.service",
        "[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 60\n[Install]\nWantedBy=multi-user.target\n",
    );
    let wants = machine.tree.join("etc/systemd/system/multi-user.target.wants");
    std::fs::create_dir_all(&wants).unwrap();
    symlink("../slow.service", wants.join("slow.service")).unwrap();
    let mut terminal = machine.boot_to_prompt(["--private-network"]);
    terminal.process().signal(Signal::SIGINT);
    terminal.expect("Send SIGINT again to trigger immediate termination.", within(10));
    std::thread::sleep(within(1));
    terminal.process().signal(Signal::SIGINT);
    terminal.expect(&format!("Container {} terminated by signal KILL.", machine.name()), within(10));
    assert_eq!(terminal.finish(within(10)), Some(1));
}

/// On a console that nobody sees; and asked so early that init's handlers are not in place, so that it has to be asked again.
#[test]
fn boot_without_a_console_halts_however_early_it_is_asked() {
    let machine = Machine::of("debian");
    let mut running = machine.spawn(["--console=passive", "--notify-ready=yes", "--boot"]).start();
    std::thread::sleep(within(1));
    running.process().signal(Signal::SIGTERM);
    running.expect("has been shut down", boot_time());
    assert_eq!(running.finish(within(90)).expect(0).text(), "");
}

#[test]
fn what_is_bound_over_run_host_covers_no_mask() {
    let machine = Machine::of("busybox");
    let source = Tree::empty();
    source.write("file", "");
    let bind = format!("--bind={}:/run/host", source.path().display());
    let ended = machine.spawn([&bind, "sh", "-c", "cat /proc/keys | wc -c; ls /run/host/file"]).run().expect(0);
    assert_eq!(ended.text(), "0\n/run/host/file\n");
}

#[test]
fn a_home_that_leads_through_a_descriptor_is_not_entered() {
    let tree = Tree::copy("busybox");
    let machine = Machine::on(tree);
    for fd in [0, 3, 9, 13, 17, 18, 23] {
        machine.tree.write("etc/passwd", &format!("root:x:0:0::/proc/self/fd/{fd}/..:/bin/sh\n"));
        let ended = machine.spawn(Vec::<&str>::new()).input(b"pwd\n").run().expect(1);
        ended.said("chdir");
    }
}
