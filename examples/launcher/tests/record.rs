//! The record of a running machine: what it says, how long it stays, and what of a crash is found and removed by it.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use nix::sys::signal::Signal;
use nskit_launcher::guest::InitKind;
use nskit_launcher::registry::{
    BootId, IdRow, Machines, NetworkKind, Places, ProcessId, Record, RecordFile, State, collect, gc, note_of_link,
};
use nskit_launcher::settings::MachineName;
use support::{Machine, Process, Started, Tree, until, within};

/// A payload that says when it is there, and stays.
const STAYS: [&str; 3] = ["sh", "-c", "echo ready; exec sleep 1000"];

fn start(machine: &Machine, arguments: &[&str]) -> Started {
    let mut running = machine.spawn(arguments).args(STAYS).start();
    running.expect("ready\n", within(10));
    // It is written when the payload runs.
    until("the record says that it runs", within(5), || read(machine).is_some_and(|record| record.state == State::Running));
    running
}

fn stop(running: Started) {
    running.process().signal(Signal::SIGTERM);
    running.finish(within(10)).expect(1);
}

/// A deaf init: asked, and then asked again.
fn kill(machine: &Machine, running: Started) {
    running.process().signal(Signal::SIGTERM);
    until("it is closing", within(5), || read(machine).is_some_and(|record| record.state == State::Closing));
    stop(running);
}

fn places(machine: &Machine) -> Places {
    Places { run: machine.run_dir().into(), systemd: "/run/systemd".into(), etc: "/etc".into() }
}

fn name(machine: &Machine) -> MachineName {
    MachineName::new(machine.name()).unwrap()
}

fn file(machine: &Machine) -> RecordFile {
    RecordFile::new(&places(machine), &name(machine)).unwrap()
}

fn read(machine: &Machine) -> Option<Record> {
    file(machine).read().unwrap()
}

/// Of all machines with their state in this one's directory.
fn listed(machine: &Machine) -> Vec<String> {
    Machines::at(places(machine)).list().unwrap().iter().map(|machine| machine.name().to_string()).collect()
}

/// A tree whose init is this script.
fn with_init(script: &str) -> Machine {
    let tree = Tree::copy("busybox");
    fs::remove_file(tree.join("sbin/init")).unwrap();
    tree.script("sbin/init", &format!("#!/bin/sh\n{script}\n"));
    Machine::on(tree)
}

#[test]
fn it_says_what_runs_and_by_what_it_is_held() {
    let machine = Machine::of("busybox");
    support::in_own_network("br0", || {
        let running = start(&machine, &["-n"]);
        let record = read(&machine).unwrap();
        assert_eq!(listed(&machine), [machine.name()]);
        assert_eq!(record.boot_id, BootId::current().unwrap());
        let pids = [Some(record.supervisor), record.keeper, record.leader].map(|id| Process(id.unwrap().pid));
        assert_eq!(pids, [running.process(), running.keeper(), running.payload()]);
        assert!([Some(record.supervisor), record.keeper, record.leader].into_iter().flatten().all(ProcessId::lives));
        let tree = machine.tree.path().metadata().unwrap();
        assert_eq!((record.root.as_path(), record.tree.dev, record.tree.ino), (machine.tree.path(), tree.dev(), tree.ino()));
        assert_eq!((record.class.as_str(), record.service.as_str(), record.boot, record.init), ("container", "ns-spawn", false, None));
        assert!(running.payload().environment().contains(&format!("container_uuid={}", record.machine_id.hyphenated())));
        assert_eq!(record.cgroup, machine.cgroup());
        assert_eq!(record.network.kind, NetworkKind::Private);
        let links: Vec<_> = record.network.interfaces.iter().map(ToString::to_string).collect();
        assert_eq!(links, [format!("ve-{}", machine.name())]);
        holds(&record, running.payload());
        assert_eq!(file(&machine).path().metadata().unwrap().permissions().mode() & 0o7777, 0o644);
        stop(running);
        assert!(read(&machine).is_none() && listed(&machine).is_empty());
    });
}

/// What the kernel says of the payload is what the record says.
fn holds(record: &Record, payload: Process) {
    let row = record.ids.iter().map(|IdRow { inside, outside, count }| format!("{inside} {outside} {count}")).collect::<Vec<_>>();
    assert_eq!(payload.read("uid_map").split_whitespace().collect::<Vec<_>>().join(" "), row.join(" "));
    assert!(record.user_namespace);
    let protections = &record.protections;
    assert_eq!(payload.status("CapBnd").unwrap(), format!("{:016x}", protections.capabilities.bits()));
    assert_eq!(payload.status("NoNewPrivs").unwrap(), u8::from(protections.no_new_privileges).to_string());
    assert_eq!((payload.status("Seccomp").unwrap().as_str(), protections.filter.as_deref()), ("2", Some("os")));
    assert_eq!(protections.limits.len(), 16);
    let limits = payload.read("limits");
    for (row, word) in
        [("Max open files", "NOFILE"), ("Max core file size", "CORE"), ("Max processes", "NPROC"), ("Max locked memory", "MEMLOCK")]
    {
        let limit = protections.limits.iter().find(|limit| limit.resource.to_string() == word).unwrap();
        let number = |n: u64| if n == u64::MAX { "unlimited".to_owned() } else { n.to_string() };
        let line = limits.lines().find_map(|line| line.strip_prefix(row)).unwrap();
        let found: Vec<_> = line.split_whitespace().take(2).collect();
        assert_eq!(found, [number(limit.soft), number(limit.hard)], "{row}");
    }
}

#[test]
fn a_reboot_is_the_same_machine_with_another_leader() {
    let machine = with_init("echo up; [ -e /booted ] || { touch /booted; sleep 0.5; reboot -f; }; exec sleep 1000");
    let mut running = machine.spawn(["--boot"]).start();
    running.expect("up\n", within(10));
    until("the first boot runs", within(5), || read(&machine).is_some_and(|record| record.state == State::Running));
    let first = read(&machine).unwrap();
    assert!(first.boot && first.init == Some(InitKind::Other) && first.halt_signal.is_some() && first.reboot_signal.is_some());
    let is_second = |record: Record| record.state == State::Running && record.leader != first.leader;
    until("the second boot runs", within(10), || read(&machine).is_some_and(is_second));
    let second = read(&machine).unwrap();
    assert_eq!((second.supervisor, second.since, second.machine_id), (first.supervisor, first.since, first.machine_id));
    assert!(second.keeper != first.keeper && second.leader.unwrap().lives() && !first.leader.unwrap().lives());
    kill(&machine, running);
}

#[test]
fn what_was_asked_to_stop_is_closing() {
    let machine = with_init("echo up; exec sleep 1000");
    let mut running = machine.spawn(["--boot"]).start();
    running.expect("up\n", within(10));
    kill(&machine, running);
}

/// A record of a machine that has ended, with another process's pid: the start time tells.
#[test]
fn a_recycled_pid_is_neither_believed_nor_signalled() {
    let machine = Machine::of("busybox");
    let running = start(&machine, &[]);
    let record = read(&machine).unwrap();
    stop(running);
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    let recycled = ProcessId { pid: other.id(), ..record.supervisor };
    let stale = Record { supervisor: recycled, keeper: Some(recycled), leader: Some(recycled), ..record };
    file(&machine).write(&stale).unwrap();
    assert!(listed(&machine).is_empty());
    machine.spawn(["true"]).run().expect(0);
    assert!(read(&machine).is_none());
    file(&machine).write(&stale).unwrap();
    let collected = collect(&places(&machine), &name(&machine));
    assert!(collected.removed.contains(&format!("record of {}", machine.name())) && collected.kept.is_empty(), "{collected:?}");
    assert!(other.try_wait().unwrap().is_none(), "a process that is none of ours was signalled");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn records_of_another_boot_and_nonsense_are_in_no_starts_way() {
    let machine = Machine::of("busybox");
    let running = start(&machine, &[]);
    let record = read(&machine).unwrap();
    stop(running);
    let boot = |id: &str| format!("\"boot_id\":\"{id}\"");
    let json = String::from_utf8(Record { leader: None, ..record.clone() }.to_json()).unwrap();
    let other = json.replace(&boot(record.boot_id.as_str()), &boot("00000000-0000-4000-8000-000000000000"));
    for text in [other.as_str(), "", &json[..json.len() / 2], "{\"version\":2}", "\u{1b}[2J"] {
        fs::write(file(&machine).path(), text).unwrap();
        machine.spawn(["true"]).run().expect(0);
        assert!(!file(&machine).path().exists());
    }
}

/// The launcher is killed, its payload is gone soon after: what stays is found and removed by its name, and nothing of one that runs.
#[test]
fn what_a_killed_launcher_left_is_collected() {
    let (killed, lives) = (Machine::of("busybox"), Machine::of("busybox"));
    let other = lives.spawn(["--quiet"]).env("NSKIT_RUN_DIR", killed.run_dir()).args(STAYS);
    let mut other = other.start();
    other.expect("ready\n", within(10));
    until("both are listed", within(5), || listed(&killed).contains(&lives.name().to_owned()));
    let mut running = start(&killed, &[]);
    let (keeper, payload) = (running.keeper(), running.payload());
    running.kill();
    until("keeper and payload are gone", within(5), || !keeper.runs() && !payload.runs());
    assert_eq!(listed(&killed), [lives.name()]);
    let collected = gc(&places(&killed)).unwrap();
    for what in ["cgroup of ", "record of ", "lock of name "] {
        assert!(collected.removed.contains(&format!("{what}{}", killed.name())), "{what}: {collected:?}");
    }
    let left = killed.fingerprint().into_iter().filter(|line| line.contains(killed.name())).collect::<Vec<_>>();
    assert!(left.is_empty(), "{left:?}");
    assert!(other.payload().runs() && listed(&killed) == [lives.name()]);
    // Nor is there a word of one whose state is elsewhere: by its cgroup it is seen to run.
    let elsewhere = gc(&places(&lives)).unwrap();
    let told = elsewhere.kept.iter().map(ToString::to_string).chain(elsewhere.removed).find(|line| line.contains(lives.name()));
    assert!(told.is_none() && other.payload().runs(), "{told:?}");
    stop(other);
    let again = gc(&places(&killed)).unwrap();
    assert!(!again.removed.iter().any(|line| line.contains(killed.name())), "{again:?}");
}

/// Launcher and keeper at once: the kernel lets go of the locks before it has ended the payload. Whoever takes one looks.
#[test]
fn a_start_right_after_both_were_killed_has_the_tree_for_itself() {
    let machine = Machine::of("busybox");
    for round in 0..4 {
        let mut running = start(&machine, &[]);
        let payload = running.payload();
        running.keeper().signal(Signal::SIGKILL);
        running.kill();
        let other = format!("{}-other", machine.name());
        let next = if round % 2 == 0 { machine.spawn(["true"]) } else { machine.spawn(["-M", &other, "true"]) };
        next.run().expect(0);
        assert!(!payload.runs(), "two containers were on one tree");
        let collected = collect(&places(&machine), &name(&machine));
        assert!(collected.kept.is_empty(), "{collected:?}");
    }
}

#[test]
fn a_link_that_was_left_behind_is_replaced_and_collected_and_another_tools_is_not() {
    use ns_net::{MachineId, Socket, Veth};
    let machine = Machine::of("busybox");
    let note = note_of_link(&places(&machine), &name(&machine)).unwrap();
    support::in_own_network("br0", || {
        let link = format!("ve-{}", machine.name());
        let mut host = Socket::open().unwrap();
        let namespace = namespace();
        let mut inside = Socket::open_in(std::os::fd::AsFd::as_fd(&namespace)).unwrap();
        let veth = Veth::of_machine(machine.name(), MachineId::of_host().unwrap()).unwrap();
        let foreign = veth.apply(&mut inside, &mut host).unwrap();
        machine.spawn(["-n", "true"]).run().expect(1).said(&format!("the host has a link of this name: {}: {link}", foreign.host.index));
        assert!(collect(&places(&machine), &name(&machine)).removed.is_empty());
        assert_eq!(support::link(&link).unwrap().index, foreign.host.index);
        foreign.close(&mut host).unwrap();

        let ours = veth.clone().alias(&note).apply(&mut inside, &mut host).unwrap();
        assert_eq!(ours.host.alias.as_ref(), Some(&note));
        let running = start(&machine, &["-n"]);
        let found = support::link(&link).unwrap();
        assert!(found.index != ours.host.index && found.alias == Some(note.clone()));
        stop(running);
        until("its link is gone", within(5), || support::link(&link).is_none());

        veth.alias(&note).apply(&mut inside, &mut host).unwrap();
        let collected = gc(&places(&machine)).unwrap();
        assert!(collected.removed.contains(&format!("link {link} of {}", machine.name())), "{collected:?}");
        assert!(support::link(&link).is_none());
    });
}

/// A network namespace that lives as long as its descriptor.
fn namespace() -> fs::File {
    let made = std::thread::spawn(|| {
        // SAFETY: a network namespace is this thread's alone; no memory and no descriptor is shared by it.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        fs::File::open("/proc/thread-self/ns/net").unwrap()
    });
    made.join().unwrap()
}
