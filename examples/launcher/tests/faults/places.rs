//! Where a launcher may be started: in a container of ours, in a time namespace, in a cgroup with few processes.

use std::fs;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Machine, Tree, launcher, until, within};
use crate::verdict::is_refusal;

/// In each kind of container of ours, each kind: a start, or one clear line. All namespaces of the outer one go with it.
pub fn nested() {
    let machine = Machine::of("busybox");
    let inner = machine.tree.join("inner");
    let trees = std::env::var("NSKIT_TREES").unwrap_or_else(|_| "/var/cache/nskit/trees".into());
    let copied = std::process::Command::new("cp").args(["-a", &format!("{trees}/busybox")]).arg(&inner).status();
    assert!(copied.is_ok_and(|status| status.success()), "{trees}/busybox");
    let bind = format!("--bind-ro={}:/run/ns-spawn", launcher().display());
    for outer in ["--private-users=pick", "--private-users=no"] {
        for users in ["--private-users=pick", "--private-users=identity", "--private-users=no", "--private-users=0:1"] {
            let ended =
                machine.spawn(["-q", outer, &bind, "/run/ns-spawn", "-D", "/inner", users, "echo", "inside"]).limit(within(10)).run();
            let started = ended.code == Some(0) && ended.text() == "inside\n";
            // The outer one's line on how its payload ended is the last.
            let inner = ended.stderr.lines().filter(|line| !line.contains(machine.name())).collect::<Vec<_>>().join("\n");
            let refused = ended.code == Some(1) && ended.text().is_empty() && is_refusal(&inner);
            assert!(started || refused, "{outer}, {users}: {:?} {:?} {:?}", ended.code, ended.text(), ended.stderr);
            machine.check();
        }
    }
}

/// A year later, and as early as the kernel allows: a deaf init is killed when its second is over.
pub fn in_time_namespaces() {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let earlier: i64 = uptime.split('.').next().unwrap().parse().unwrap();
    let tree = Tree::copy("busybox");
    fs::remove_file(tree.join("sbin/init")).unwrap();
    tree.script("sbin/init", "#!/bin/sh\necho ready; while :; do sleep 1; done\n");
    let machine = Machine::on(tree);
    for offset in [365 * 86400, 10 - earlier] {
        let (monotonic, boot) = (format!("--monotonic={offset}"), format!("--boottime={offset}"));
        let mut running = machine.spawn(["--stop-timeout=1", "--boot"]).under(["unshare", "-T", &monotonic, &boot, "--fork"]).start();
        running.expect("ready\n", within(10));
        let launcher = running.process().children()[0];
        let began = Instant::now();
        launcher.signal(Signal::SIGINT);
        until("the deaf init is killed", within(6), || !launcher.runs());
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(900) && took < within(3), "offset {offset}: {took:?}");
        running.finish(within(10)).expect(1);
        machine.check();
    }
}

/// A cgroup of the test's own, below the root, with room for so many.
pub fn few_processes() {
    let machine = Machine::of("busybox");
    let own = std::path::PathBuf::from(format!("/sys/fs/cgroup/nskit-few-{}", std::process::id()));
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+pids").expect("the pids controller of cgroup v2");
    fs::create_dir(&own).unwrap();
    for most in 1..=20 {
        fs::write(own.join("pids.max"), most.to_string()).unwrap();
        let procs = own.join("cgroup.procs");
        let mut command = machine.spawn(["-q", "true"]).command();
        // SAFETY: after fork, system calls alone but for a path's memory; one thread.
        unsafe { command.pre_exec(move || fs::write(&procs, "0")) };
        let began = Instant::now();
        let ended = command.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.code() == Some(0) || ended.status.code() == Some(1) && is_refusal(&said), "{most}: {:?} {said}", ended.status);
        assert!(began.elapsed() < within(2), "{most}: {:?}", began.elapsed());
        machine.check();
    }
    until("the test's cgroup is empty", within(5), || fs::remove_dir(&own).is_ok());
}
