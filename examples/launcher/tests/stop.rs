//! How a payload is asked to stop, what happens when it can't hear, and what is said when nothing helps.

#[path = "support/mounts.rs"]
mod mounts;
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use mounts::in_own_mounts;
use nix::sys::signal::Signal;
use support::{Guest, Machine, Process, Spawn, Started, Tree, until, within};

/// The kernel's number of `SIGRTMIN+3`, as the busybox shell takes it.
const HALT: &str = "37";

/// A script for process 1 that ends the container as `poweroff` does when it gets this signal, and says so.
fn listens_to(signal: &str) -> String {
    format!("trap 'echo asked; poweroff -f; sleep 9' {signal}\necho ready\nwhile :; do sleep 0.05; done\n")
}

/// A tree whose init is this script.
fn with_init(script: &str) -> Machine {
    let tree = Tree::copy("busybox");
    fs::remove_file(tree.join("sbin/init")).unwrap();
    tree.script("sbin/init", &format!("#!/bin/sh\n{script}"));
    Machine::on(tree)
}

fn start(spawn: Spawn) -> Started {
    let mut running = spawn.start();
    running.expect("ready\n", within(10));
    running
}

/// Stops it, which takes no longer than a moment.
#[track_caller]
fn stops(machine: &Machine, running: Started, signal: &str) {
    let began = Instant::now();
    running.process().signal(Signal::SIGTERM);
    let ended = running.finish(within(10)).expect(0).said(&format!("Container {} has been shut down.", machine.name()));
    let ended = ended.said(&format!("Trying to halt container by sending SIG{signal} to container PID 1. Send SIGTERM again"));
    assert!(began.elapsed() < within(5) && ended.text().ends_with("asked\n"), "{:?}: {}", began.elapsed(), ended.text());
}

// ---------------------------------------------------------------------------------------------------------------------- the two options

#[test]
fn signals_are_listed() {
    for word in ["help", "list"] {
        let ended = Spawn::new([format!("--kill-signal={word}")]).run().expect(0);
        let text = ended.text();
        let names: Vec<&str> = text.lines().collect();
        assert_eq!((names[0], names[14], names[31], names.len()), ("SIGHUP", "SIGTERM", "SIGRTMIN", 62), "{text}");
        assert_eq!(ended.stderr, "");
    }
    let refused = Spawn::new(["--kill-signal=SIGFOO", "-D", "/nonexistent"]).run().expect(1);
    assert_eq!(refused.stderr, "ns-spawn: Unknown signal 'SIGFOO'; --kill-signal=list shows the names\n");
}

#[test]
fn the_users_signal_is_sent_whatever_runs() {
    let machine = with_init(&listens_to("USR1"));
    for option in ["--kill-signal=SIGUSR1", "--kill-signal=usr1", "--kill-signal=10"] {
        stops(&machine, start(machine.spawn([option, "--boot"])), "USR1");
    }
    // A command is asked, too, then.
    let script = "trap 'echo heard; exit 7' 41; echo ready; while :; do sleep 0.05; done";
    let running = start(machine.spawn(["--kill-signal=RTMIN+7", "sh", "-c", script]));
    running.process().signal(Signal::SIGINT);
    let ended = running.finish(within(10)).expect(7).said("by sending SIGRTMIN+7 to container PID 1. Send SIGINT again");
    assert_eq!(ended.text(), "ready\nheard\n");
}

#[test]
fn a_deaf_command_is_killed_at_the_users_limit() {
    let machine = Machine::of("busybox");
    let script = "trap '' TERM USR1; echo ready; while :; do sleep 0.05; done";
    let running = start(machine.spawn(["--kill-signal=USR1", "--stop-timeout=300ms", "sh", "-c", script]));
    let began = Instant::now();
    running.process().signal(Signal::SIGTERM);
    running.finish(within(10)).expect(1).said(&format!("Container {} terminated by signal KILL.", machine.name()));
    assert!(began.elapsed() >= Duration::from_millis(290) && began.elapsed() < within(5), "{:?}", began.elapsed());
}

#[test]
fn without_a_limit_only_a_second_signal_kills() {
    let machine = with_init("trap '' 37; echo ready; while :; do sleep 0.05; done");
    let running = start(machine.spawn(["--stop-timeout=infinity", "--boot"]));
    running.process().signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(500));
    assert!(running.payload().runs());
    running.process().signal(Signal::SIGTERM);
    running.finish(within(5)).expect(1).said("terminated by signal KILL.");
}

/// A stop is a stop, whichever way the guest takes it.
#[test]
fn a_guest_that_reboots_when_asked_to_stop_is_not_started_again() {
    let machine = with_init("trap 'echo asked; reboot -f; sleep 9' 37\necho ready\nwhile :; do sleep 0.05; done\n");
    stops(&machine, start(machine.spawn(["--boot"])), "RTMIN+3");
}

// -------------------------------------------------------------------------------------------------------- a payload that can't hear it

#[test]
fn a_stopped_init_is_continued_and_asked() {
    let machine = with_init(&listens_to(HALT));
    let running = start(machine.spawn(["--boot"]));
    let payload = running.payload();
    payload.signal(Signal::SIGSTOP);
    until("process 1 is stopped", within(5), || payload.status("State").is_some_and(|state| state.starts_with('T')));
    stops(&machine, running, "RTMIN+3");
}

fn freeze(cgroup: &Path) {
    fs::write(cgroup.join("cgroup.freeze"), "1").unwrap_or_else(|e| panic!("{}: {e}", cgroup.display()));
    let is_frozen = || fs::read_to_string(cgroup.join("cgroup.events")).is_ok_and(|text| text.contains("frozen 1"));
    until("the cgroup is frozen", within(5), is_frozen);
}

/// At each level on the way to process 1, which has made cgroups of its own.
#[test]
fn a_frozen_init_is_thawed_and_asked() {
    let below = format!("mkdir -p /sys/fs/cgroup/a/b && echo 1 >/sys/fs/cgroup/a/b/cgroup.procs\n{}", listens_to(HALT));
    let machine = with_init(&below);
    for frozen in ["", "payload", "payload/a", "payload/a/b"] {
        let running = start(machine.spawn(["--boot"]));
        freeze(&machine.cgroup().expect("the machine's cgroup").join(frozen));
        stops(&machine, running, "RTMIN+3");
    }
}

/// Frozen and stopped and deaf, with others that it has started: gone when time is up.
#[test]
fn what_does_not_hear_is_killed_when_time_is_up() {
    let deaf = "trap '' HUP INT QUIT USR1 USR2 TERM PWR 37 38 39";
    let machine =
        with_init(&format!("{deaf}\n(setsid sh -c '{deaf}; (sleep 1000 &); kill -STOP $$' &)\necho ready\nwhile :; do sleep 1; done\n"));
    let running = start(machine.spawn(["--stop-timeout=500ms", "--boot"]));
    running.payload().signal(Signal::SIGSTOP);
    freeze(&machine.cgroup().unwrap().join("payload"));
    let began = Instant::now();
    running.process().signal(Signal::SIGTERM);
    running.finish(within(10)).expect(1).said(&format!("Container {} terminated by signal KILL.", machine.name()));
    assert!(began.elapsed() >= Duration::from_millis(490), "{:?}", began.elapsed());
}

#[test]
fn a_frozen_command_is_killed_at_once() {
    let machine = Machine::of("busybox");
    let running = start(machine.spawn(["sh", "-c", "(setsid sleep 1000 &); kill -STOP $$; echo ready; exec sleep 1000"]));
    freeze(&machine.cgroup().unwrap().join("payload"));
    running.process().signal(Signal::SIGTERM);
    running.finish(within(5)).expect(1).said("terminated by signal KILL.");
}

// ----------------------------------------------------------------------------------------------------------------- stuck in the kernel

/// A file system whose writers wait in the kernel, and can't be killed, until it is thawed.
struct Frozen {
    place: PathBuf,
    thawed: bool,
}

impl Frozen {
    fn new(dir: &Path) -> Frozen {
        let (file, place) = (dir.join("file"), dir.join("place"));
        fs::create_dir(&place).unwrap();
        fs::File::create(&file).unwrap().set_len(8 << 20).unwrap();
        run("mkfs.ext4", &["-q".as_ref(), &file]);
        run("mount", &["-o".as_ref(), "loop".as_ref(), &file, &place]);
        fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        run("fsfreeze", &["-f".as_ref(), &place]);
        Frozen { place, thawed: false }
    }

    fn thaw(&mut self) {
        self.thawed = true;
        run("fsfreeze", &["-u".as_ref(), &self.place]);
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if !self.thawed {
            let _ = Command::new("fsfreeze").arg("-u").arg(&self.place).status();
        }
        let _ = Command::new("umount").arg("-l").arg(&self.place).status();
    }
}

fn run(program: &str, arguments: &[&Path]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Process 1 itself, on a terminal, and one that process 1 waits for. Killed, neither ends: that is told with where it waits, the locks stay
/// as long as they do, and then everything goes.
#[test]
fn what_is_stuck_in_the_kernel_is_named_and_stays_locked() {
    in_own_mounts(|| {
        let dir = tempfile::Builder::new().prefix("nskit-frozen.").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let machines = [Machine::of("busybox"), Machine::of("busybox")];
        let mut frozen = Frozen::new(dir.path());
        let bind = format!("--bind={}:/mnt", frozen.place.display());
        let mut terminal = machines[0].spawn([bind.as_str(), "sh", "-c", "printf ready; echo x >/mnt/one"]).terminal();
        let before = format!("{:?}", terminal.settings());
        let second = machines[1].spawn(["--console=passive", &bind, "sh", "-c", "cp /etc/passwd /mnt/two & wait"]).start();
        terminal.expect("ready", within(10));
        until("a child of the second", within(5), || !second.payload().children().is_empty());
        let stuck = [terminal.payload(), second.payload().children()[0]];
        stuck.into_iter().for_each(waits_for_long);
        let (launchers, keepers) = ([terminal.process(), second.process()], [terminal.keeper(), second.keeper()]);
        launchers.iter().for_each(|launcher| launcher.signal(Signal::SIGTERM));
        assert_eq!(terminal.finish(within(20)), Some(1), "{}", terminal.text());
        is_told(&terminal.text(), stuck[0], "sh");
        assert_eq!(format!("{:?}", terminal.settings()), before, "the terminal is not as it was");
        is_told(&second.finish(within(20)).expect(1).stderr, stuck[1], "cp");
        for (machine, launcher) in machines.iter().zip(launchers) {
            let refused = machine.spawn(["true"]).run().expect(1).said("is currently busy");
            assert!(refused.stderr.contains(&format!("container {}, pid {}", machine.name(), launcher.0)), "{}", refused.stderr);
            assert!(record(machine).exists(), "the machine can't be found any more");
        }
        assert!(keepers.iter().all(|keeper| keeper.runs()), "a keeper has let go");
        frozen.thaw();
        until("the keepers have gone", within(10), || keepers.iter().all(|keeper| !keeper.runs()));
        for machine in &machines {
            machine.spawn(["true"]).run().expect(0);
            assert!(!record(machine).exists());
        }
    });
}

/// Its keeper is killed then, which the kernel does not end either: the launcher hears and tells all the same, asked or not.
#[test]
fn what_is_stuck_when_its_keeper_is_killed_is_named() {
    in_own_mounts(|| {
        let dir = tempfile::Builder::new().prefix("nskit-frozen.").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let machines = [Machine::of("busybox"), Machine::of("busybox")];
        let mut frozen = Frozen::new(dir.path());
        let bind = format!("--bind={}:/mnt", frozen.place.display());
        let script = |name: &str| format!("printf ready; echo x >/mnt/{name}");
        let mut terminal = machines[0].spawn([bind.as_str(), "sh", "-c", &script("one")]).terminal();
        let before = format!("{:?}", terminal.settings());
        let second = machines[1].spawn(["--console=passive", &bind, "sh", "-c", &script("two")]).start();
        terminal.expect("ready", within(10));
        let stuck = [terminal.payload(), second.payload()];
        stuck.into_iter().for_each(waits_for_long);
        let keepers = [terminal.keeper(), second.keeper()];
        keepers.iter().for_each(|keeper| keeper.signal(Signal::SIGKILL));
        (0..2).for_each(|_| terminal.process().signal(Signal::SIGTERM));
        assert_eq!(terminal.finish(within(20)), Some(1), "{}", terminal.text());
        is_told(&terminal.text(), stuck[0], "sh");
        assert_eq!(format!("{:?}", terminal.settings()), before, "the terminal is not as it was");
        is_told(&second.finish(within(20)).expect(1).stderr, stuck[1], "sh");
        frozen.thaw();
        until("the payloads have gone", within(10), || keepers.iter().chain(&stuck).all(|process| !process.runs()));
        for machine in &machines {
            assert!(record(machine).exists(), "the machine can't be found any more");
            machine.spawn(["true"]).run().expect(0);
        }
    });
}

/// Launcher and keeper are killed, and what they ran stays in the kernel: whoever comes next is refused, and again, since the file that names
/// who had the tree outlasts each refusal, and `gc`.
#[test]
fn what_is_stuck_keeps_its_tree_and_name_from_all_who_come() {
    in_own_mounts(|| {
        let dir = tempfile::Builder::new().prefix("nskit-frozen.").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let machine = Machine::of("busybox");
        let mut frozen = Frozen::new(dir.path());
        let bind = format!("--bind={}:/mnt", frozen.place.display());
        let mut running = machine.spawn([bind.as_str(), "sh", "-c", "echo x >/mnt/one"]).start();
        let (payload, keeper) = (running.payload(), running.keeper());
        waits_for_long(payload);
        running.process().signal(Signal::SIGSTOP);
        keeper.signal(Signal::SIGKILL);
        running.kill();
        // It waits in the kernel for what it was the init of, but holds nothing any more.
        let descriptors = format!("/proc/{}/fd", keeper.0);
        until("the keeper holds nothing", within(5), || fs::read_dir(&descriptors).map_or(true, |held| held.count() == 0));
        let places =
            nskit_launcher::registry::Places { run: machine.run_dir().to_owned(), ..nskit_launcher::registry::Places::of_host().unwrap() };
        let locks = machine.run_dir().join("locks");
        let files = || {
            let mut all: Vec<_> = fs::read_dir(&locks).unwrap().map(|file| file.unwrap().path()).collect();
            all.sort();
            all.into_iter().map(|path| (fs::read_to_string(&path).unwrap(), path)).collect::<Vec<_>>()
        };
        let other = format!("{}-other", machine.name());
        let before = files();
        assert_eq!(before.len(), 2, "{before:?}");
        // Each takes the ten seconds in which what was killed may still end: at once, they take them together.
        std::thread::scope(|scope| {
            let collected = scope.spawn(|| nskit_launcher::registry::gc(&places).unwrap());
            std::thread::sleep(Duration::from_millis(300));
            machine.spawn(["-M", &other, "--read-only", "true"]).run().expect(1).said("is being removed");
            let collected = collected.join().unwrap();
            assert!(collected.kept.iter().any(|e| e.to_string().contains(&payload.0.to_string())), "{collected:?}");
        });
        assert_eq!(files(), before);
        let refused = machine.spawn(["-M", &other, "--read-only", "true"]).run().expect(1);
        assert!(refused.stderr.contains(&payload.0.to_string()), "{}", refused.stderr);
        assert_eq!(files(), before);
        assert!(payload.runs() && record(&machine).exists());
        frozen.thaw();
        until("the payload has gone", within(10), || !payload.runs());
        machine.spawn(["-M", &other, "--read-only", "true"]).run().expect(0);
        assert!(!record(&machine).exists());
    });
}

fn record(machine: &Machine) -> PathBuf {
    machine.run_dir().join("machines").join(format!("{}.json", machine.name()))
}

/// It also waits for its program to be read, but not for long.
fn waits_for_long(process: Process) {
    let waits = || process.status("State").is_some_and(|state| state.starts_with('D'));
    let stays = || {
        (0..20).all(|_| {
            std::thread::sleep(Duration::from_millis(5));
            waits()
        })
    };
    until("it is stuck", within(10), stays);
}

#[track_caller]
fn is_told(said: &str, stuck: Process, name: &str) {
    let line = said.lines().last().unwrap_or_default();
    let words = format!("ns-spawn: The container was killed, but 1 process is stuck in the kernel: pid {} ({name}), waiting in ", stuck.0);
    let place = line.strip_prefix(&words).unwrap_or_else(|| panic!("{words:?} does not begin {line:?}"));
    assert!(place.starts_with(|c: char| c.is_ascii_lowercase() || c == '_'), "{line}");
    assert!(place.contains("; the tree stays locked until that ends"), "{line}");
}

// -------------------------------------------------------------------------------------------------------------- inits of every kind

/// A tree whose `/sbin/init` is a link to this program, which listens to these signals in its way.
fn with_program(path: &str, script: &str, files: &[(&str, &str)]) -> Machine {
    let tree = Tree::copy("busybox");
    fs::remove_file(tree.join("sbin/init")).unwrap();
    tree.script(path, &format!("#!/bin/sh\n{script}"));
    if path != "sbin/init" {
        symlink(format!("/{path}"), tree.join("sbin/init")).unwrap();
    }
    files.iter().for_each(|(file, content)| tree.script(file, content));
    Machine::on(tree)
}

/// An init's path, its script, files beside it, and the signal that it is asked by.
type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn each_init_is_asked_in_its_own_way() {
    let sysv = |version: &str, signal: &str| format!("# INIT_VERSION=sysvinit-{version}\n{}", listens_to(signal));
    let power = ("etc/inittab", "pf::powerwait:/sbin/halt\n");
    let script = "#!/bin/sh\n";
    let s6 = format!("# as s6-linux-init\n{}", listens_to("USR1"));
    let (rtmin3, rtmin4) = (listens_to(HALT), sysv("3.18", "38"));
    let table: [Row<'_>; 9] = [
        ("usr/lib/systemd/systemd", &rtmin3, &[], "RTMIN+3"),
        ("sbin/openrc-init", &listens_to("TERM"), &[], "TERM"),
        ("sbin/runit-init", &listens_to("PWR"), &[("etc/runit/pwrfail", script)], "PWR"),
        ("sbin/runit-init", &listens_to("INT"), &[("etc/runit/ctrlaltdel", script)], "INT"),
        ("command/s6-svscan", &listens_to("TERM"), &[], "TERM"),
        ("sbin/init", &s6, &[], "USR1"),
        ("sbin/init", &rtmin4, &[], "RTMIN+4"),
        ("sbin/init", &sysv("3.06", "PWR"), &[power], "PWR"),
        ("sbin/some-init", &rtmin3, &[], "RTMIN+3"),
    ];
    for (path, script, files, signal) in table {
        let machine = with_program(path, script, files);
        stops(&machine, start(machine.spawn(["--boot"])), signal);
    }
}

/// An older sysvinit understands a reboot and no halt: a reboot that nobody follows is one.
#[test]
fn an_init_that_can_only_reboot_is_asked_for_that() {
    let cad = ("etc/inittab", "ca:12345:ctrlaltdel:/sbin/shutdown -r now\n");
    let script = "# INIT_VERSION=sysvinit-3.06\ntrap 'echo asked; reboot -f; sleep 9' INT\necho ready\nwhile :; do sleep 0.05; done\n";
    let machine = with_program("sbin/init", script, &[cad]);
    stops(&machine, start(machine.spawn(["--boot"])), "INT");
}

#[test]
fn an_init_that_nothing_asks_is_killed_and_that_is_told() {
    let machine = with_program("sbin/runit-init", "echo ready\nwhile :; do sleep 0.05; done\n", &[]);
    let running = start(machine.spawn(["--boot"]));
    running.process().signal(Signal::SIGTERM);
    let ended = running.finish(within(5)).expect(1).said("No signal asks this container's init (runit) to stop: it is killed.");
    ended.said("terminated by signal KILL.");
}

/// Its own init, a shell on its console: it reboots by the key for it, and stops by a signal to the launcher, each as it should.
#[test]
fn busybox_boots_reboots_and_stops() {
    let tree = Tree::copy("busybox");
    tree.write("etc/inittab", "::sysinit:/bin/sh -c 'echo up >>/boots'\n::shutdown:/bin/sh -c 'echo down >>/boots'\n::respawn:-/bin/sh\n");
    let machine = Machine::on(tree);
    let mut terminal = machine.spawn(["--boot"]).terminal();
    let before = terminal.settings();
    terminal.expect("# ", within(10));
    let mut guest = Guest::in_shell(terminal);
    assert_eq!(guest.ok("cat /proc/1/comm; cat /boots"), "init\nup");
    guest.terminal.send("\x1d\x1dr");
    guest.terminal.expect(&format!("Container {} is being rebooted.", machine.name()), within(20));
    guest.terminal.expect("# ", within(10));
    let mut guest = Guest::in_shell(guest.terminal);
    assert_eq!(guest.ok("cat /boots"), "up\ndown\nup");
    let began = Instant::now();
    guest.terminal.process().signal(Signal::SIGTERM);
    guest.terminal.expect("by sending SIGUSR2 to container PID 1.", within(5));
    guest.terminal.expect(&format!("Container {} has been shut down.", machine.name()), within(20));
    assert_eq!(guest.terminal.finish(within(10)), Some(0));
    assert!(began.elapsed() < within(10), "{:?}", began.elapsed());
    assert_eq!(format!("{:?}", guest.terminal.settings()), format!("{before:?}"), "the terminal is not as it was");
    assert_eq!(machine.tree.read("boots"), "up\ndown\nup\ndown\n");
}
