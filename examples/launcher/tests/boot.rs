//! Whole distributions, booted to a prompt that is logged in to.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use support::{Guest, Machine, Tree, boot_time, in_own_network, in_rig, link, until, within};

/// As the guest's own systemd sees itself.
fn is_healthy(guest: &mut Guest) {
    let state = guest.run_within("systemctl is-system-running --wait", boot_time());
    let failed = guest.run("systemctl --failed --no-legend --plain").said;
    assert_eq!((state.said.as_str(), failed.as_str()), ("running", ""));
    assert_eq!(guest.ok("systemd-detect-virt"), "systemd-nspawn");
    assert!(guest.ok("ps -o comm= 1").contains("systemd"));
    assert!(guest.ok("journalctl -b --no-pager -q | wc -l").parse::<u32>().unwrap() > 10);
    guest.ok("loginctl --no-pager list-sessions | grep -q root");
    guest.ok("systemd-tmpfiles --create");
}

/// Services that lock themselves in further, in namespaces of their own.
fn runs_sandboxed_units(guest: &mut Guest) {
    let options =
        ["PrivateDevices=yes", "PrivateTmp=yes", "ProtectSystem=strict", "DynamicUser=yes", "PrivateUsers=yes", "PrivateNetwork=yes"];
    let all = options.map(|option| format!("-p {option}")).join(" ");
    // Each alone says which it is that doesn't run, where starting seven units takes no minute.
    let alone = if in_rig() { Vec::new() } else { options.map(|option| format!("-p {option}")).to_vec() };
    for option in alone.iter().chain([&all]) {
        let answer = guest.run_within(&format!("systemd-run -q --wait {option} /bin/true || journalctl -b -n 20 --no-pager"), within(60));
        assert_eq!(answer.ok(), "", "{option}");
    }
}

/// What the container interface promises (interface.md 4): environment, `/run/host`, file systems, console, cgroups.
fn has_the_interface(guest: &mut Guest, machine: &Machine) {
    let environment = guest.ok("tr '\\0' '\\n' </proc/1/environ | sort");
    let names: Vec<&str> = environment.lines().filter_map(|row| row.split('=').next()).collect();
    let (told, rest): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.starts_with("container_host_"));
    assert_eq!(rest.len(), 8, "{environment}");
    assert!(told.len() <= 4, "{environment}");
    for row in ["container=systemd-nspawn", "NOTIFY_SOCKET=/run/host/notify", "HOME=/root", "USER=root", "LOGNAME=root", "TERM=vt220"] {
        assert!(environment.lines().any(|line| line == row), "no {row} in\n{environment}");
    }
    let id = machine.tree.read("etc/machine-id");
    let hyphenated = guest.ok("tr '\\0' '\\n' </proc/1/environ | sed -n s/^container_uuid=//p");
    assert_eq!(hyphenated.replace('-', ""), id.trim());
    assert_eq!(guest.ok("cat /run/host/container-manager /run/host/container-uuid"), format!("systemd-nspawn\n{hyphenated}"));
    let os_release = fs::read_to_string("/etc/os-release").or_else(|_| fs::read_to_string("/usr/lib/os-release")).unwrap_or_default();
    assert_eq!(guest.ok("cat /run/host/os-release"), os_release.trim_matches('\n'));
    assert_eq!(guest.ok("cd /run/host/inaccessible; stat -c '%a %F' blk chr dir fifo reg sock | sort -u | wc -l"), "6");
    assert_eq!(guest.ok("stat -c %a /run/host/inaccessible/* | sort -u"), "0");
    guest.ok("test -S /run/host/notify");
    guest.run("touch /run/host/x").fails();

    assert_eq!(guest.ok("hostname"), machine.name());
    assert_eq!(guest.ok("readlink -f /dev/console; ps -o tty= -p $$"), "/dev/pts/0\npts/0");
    assert_eq!(guest.ok("cat /proc/1/cgroup | tail -n 1"), "0::/init.scope");
    assert_eq!(guest.ok("stat -f -c %T /sys/fs/cgroup"), "cgroup2fs");
    guest.ok("mkdir /sys/fs/cgroup/x && rmdir /sys/fs/cgroup/x");
    // Everything is shared again inside, which is not the same as shared with the host.
    guest.ok("grep -qE '^([^ ]+ ){4}/ .* shared:' /proc/1/mountinfo");
    for read_only in ["/sys/x", "/proc/sys/kernel/x", "/proc/sys/kernel/domainname"] {
        let said = guest.run(&format!("echo x >{read_only}")).fails();
        assert!(said.contains("Read-only") || said.contains("Permission denied") || said.contains("nonexistent"), "{read_only}: {said}");
    }
    let boot_id = guest.ok("cat /proc/sys/kernel/random/boot_id");
    assert_ne!(boot_id, fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim());
    assert_eq!(guest.ok("journalctl --list-boots | tail -n 1 | tr -s ' ' | sed 's/^ //' | cut -d' ' -f2"), boot_id.replace('-', ""));
    // A FIFO, which is always empty: who reads the kernel's messages takes them away from the host.
    guest.ok("test -p /proc/kmsg");
}

/// The host's side: the tree is a plain directory, there and here.
fn is_transparent(guest: &mut Guest, machine: &Machine) {
    machine.tree.write("srv/from-host", "hello guest\n");
    assert_eq!(guest.ok("cat /srv/from-host"), "hello guest");
    guest.ok("echo hello host >/srv/from-guest");
    assert_eq!(machine.tree.read("srv/from-guest"), "hello host\n");
    let owner = std::os::unix::fs::MetadataExt::uid(&machine.tree.join("srv/from-guest").metadata().unwrap());
    assert_eq!(owner, 0, "root's inside, root's outside");
}

/// The essay's own command.
#[test]
fn boot_on_a_bridge_to_a_login() {
    let machine = Machine::of("debian");
    in_own_network("lxcbr0", || {
        let mut terminal = machine.spawn(["--network-bridge=lxcbr0", "--boot"]).terminal();
        terminal.expect(&format!("Spawning container {} on {}.\n", machine.name(), machine.tree.path().display()), within(10));
        terminal.expect("Press ^] three times within 1s to kill container.\n", within(10));
        terminal.expect("Detected virtualization systemd-nspawn.\n", within(20));
        let mut guest = Guest::log_in(terminal);
        is_healthy(&mut guest);
        runs_sandboxed_units(&mut guest);
        has_the_interface(&mut guest, &machine);
        is_transparent(&mut guest, &machine);

        assert_eq!(guest.ok("ls -1 /sys/class/net"), "host0\nlo");
        assert!(guest.ok("ip -o link show host0").contains("UP"));
        let (port, bridge) = (link(&format!("vb-{}", machine.name())).expect("the bridge's port"), link("lxcbr0").unwrap());
        assert_eq!(port.master, Some(bridge.index), "{port:?}");
        assert!(port.flags.contains(ns_net::LinkFlags::UP), "{port:?}");
        guest.run_within("systemctl enable --now systemd-networkd 2>&1", within(60)).ok();
        assert_eq!(guest.ok("networkctl list --no-legend host0 | tr -s ' ' | cut -d' ' -f3,4"), "host0 ether");
        let ids = guest.terminal.payload().read("uid_map");
        assert_eq!(ids.split_whitespace().nth(2), Some("65536"), "{ids}");
        let text = guest.power_off(machine.name());
        assert!(text.contains("Powering off."), "{text}");
        until("the link is gone", within(5), || link(&format!("vb-{}", machine.name())).is_none());
    });
}

#[test]
fn boot_without_a_user_namespace() {
    let machine = Machine::of("debian");
    in_own_network("br0", || {
        let mut terminal = machine.spawn(["-n", "--private-users=no", "--boot"]).terminal();
        terminal.expect("Warning: without a user namespace", within(10));
        let mut guest = Guest::log_in(terminal);
        is_healthy(&mut guest);
        runs_sandboxed_units(&mut guest);
        has_the_interface(&mut guest, &machine);
        is_transparent(&mut guest, &machine);
        assert_eq!(guest.ok("ls -1 /sys/class/net"), "host0\nlo");
        let port = link(&format!("ve-{}", machine.name())).expect("the pair's end");
        assert!(port.master.is_none() && port.flags.contains(ns_net::LinkFlags::UP), "{port:?}");
        assert_eq!(guest.ok("cat /proc/self/uid_map | tr -s ' '").trim(), "0 0 4294967295");
        guest.power_off(machine.name());
    });
}

#[test]
fn boot_again_is_the_same_machine() {
    let machine = Machine::of("debian");
    // A machine that was never booted takes the id that it is told.
    machine.tree.write("etc/machine-id", "");
    machine
        .tree
        .write("etc/systemd/system/mine.service", "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n");
    in_own_network("br0", || comes_back(&machine));
}

fn comes_back(machine: &Machine) {
    let mut guest = machine.boot(["--network-bridge=br0"]);
    guest.run_within("systemctl is-system-running --wait", boot_time()).ok();
    let id = guest.ok("cat /etc/machine-id");
    assert_eq!(guest.ok("tr -d - </run/host/container-uuid"), id);
    guest.ok("systemctl enable --now mine.service && systemctl is-active mine.service");
    let boot_id = guest.ok("cat /proc/sys/kernel/random/boot_id");
    let cgroup = machine.cgroup().expect("the machine's cgroup");
    let inode = |path: &std::path::Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
    let (before, ids) = (inode(&cgroup), guest.terminal.payload().read("uid_map"));

    guest.last("systemctl reboot");
    guest.terminal.expect(&format!("Container {} is being rebooted.", machine.name()), boot_time());
    let mut guest = Guest::log_in(guest.terminal);
    guest.run_within("systemctl is-system-running --wait", boot_time()).ok();
    assert_ne!(guest.ok("cat /proc/sys/kernel/random/boot_id"), boot_id);
    assert_eq!(guest.ok("systemctl is-active mine.service; cat /etc/machine-id; hostname"), format!("active\n{id}\n{}", machine.name()));
    assert_eq!((inode(&cgroup), guest.terminal.payload().read("uid_map")), (before, ids));

    guest.terminal.send("\x1d\x1dr");
    guest.terminal.expect(&format!("Container {} is being rebooted.", machine.name()), boot_time());
    let mut guest = Guest::log_in(guest.terminal);
    guest.last("systemctl exit 5");
    guest.terminal.expect(&format!("Container {} failed with error code 5.", machine.name()), boot_time());
    assert_eq!(guest.terminal.finish(within(10)), Some(5));
}

/// Set-uid programs and file capabilities come with packages, and are the guest's own.
#[test]
fn boot_and_install_packages() {
    let machine = Machine::of("debian");
    let mut guest = machine.boot(["--private-network"]);
    guest.run_within("systemctl is-system-running --wait", boot_time()).ok();
    let install = "DEBIAN_FRONTEND=noninteractive apt-get install --no-download -y --no-install-recommends sudo iputils-ping";
    guest.run_within(install, within(120)).ok();
    assert_eq!(guest.ok("stat -c '%a %U' /usr/bin/sudo"), "4755 root");
    guest.ok("useradd -m user && echo 'user ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/user");
    assert_eq!(guest.ok("su user -c 'sudo -n id -u 2>/dev/null'"), "0");
    assert_eq!(guest.ok("su user -c 'id -u'"), "1000");
    guest.ok("su user -c 'ping -c 1 -W 5 127.0.0.1'");
    guest.power_off(machine.name());
    let sudo = machine.tree.join("usr/bin/sudo").metadata().unwrap();
    assert_eq!(sudo.permissions().mode() & 0o7777, 0o4755);
    let mut value = [0; 64];
    let size = rustix::fs::getxattr(machine.tree.join("usr/bin/ping"), "security.capability", &mut value).expect("ping's capability");
    // Of the host's root, in the tree: revision 2, which belongs to no user namespace (`vfs_cap_data`), effective, CAP_NET_RAW.
    assert_eq!(&value[..size], [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

/// Whoever started us is told when the guest is up, not before; a console that takes no input takes none; asked to stop, it halts.
#[test]
fn boot_tells_when_it_is_ready() {
    let machine = Machine::of("debian");
    let address = machine.tree.path().with_extension("notify");
    let listener = UnixDatagram::bind(&address).unwrap();
    listener.set_read_timeout(Some(boot_time())).unwrap();
    let spawn = machine.spawn(["--notify-ready=yes", "--console=read-only", "--boot"]);
    let mut running = spawn.env("NOTIFY_SOCKET", &address).input("root\n").start();
    let (mut heard, mut space) = (Vec::new(), [0; 4096]);
    while !heard.iter().any(|message: &String| message.contains("READY=1")) {
        let size = listener.recv(&mut space).unwrap_or_else(|e| panic!("{e}; heard {heard:?}; it said:\n{}", running.stderr()));
        heard.push(String::from_utf8_lossy(&space[..size]).into_owned());
    }
    assert!(heard.len() > 1 && heard.iter().any(|message| message.contains("STATUS=Container running: ")), "{heard:?}");
    // It is ready when its default target is reached, of which the login prompt is a part.
    running.expect("login:", within(10));
    running.process().signal(nix::sys::signal::Signal::SIGTERM);
    running.expect("Trying to halt container by sending SIGRTMIN+3 to container PID 1.", within(10));
    let ended = running.finish(within(90)).expect(0).said(&format!("Container {} has been shut down.", machine.name()));
    assert!(!ended.text().contains("root@"), "{}", ended.text());
    fs::remove_file(&address).unwrap();
}

#[test]
fn ready_is_told_at_once_unless_asked() {
    let machine = Machine::of("busybox");
    let address = machine.tree.path().with_extension("notify");
    let listener = UnixDatagram::bind(&address).unwrap();
    listener.set_read_timeout(Some(within(10))).unwrap();
    machine.spawn(["true"]).env("NOTIFY_SOCKET", &address).run().expect(0);
    let mut space = [0; 4096];
    let size = listener.recv(&mut space).unwrap();
    assert!(space[..size].starts_with(b"READY=1"), "{}", String::from_utf8_lossy(&space[..size]));
    fs::remove_file(&address).unwrap();
}

#[test]
fn boot_debian_testing() {
    let machine = Machine::of("testing");
    let mut guest = machine.boot(["--private-network"]);
    is_healthy(&mut guest);
    runs_sandboxed_units(&mut guest);
    guest.power_off(machine.name());
}

/// One directory of programs, no machine id, the tree one level further down.
#[test]
fn boot_arch_shaped() {
    let outer = Tree::copy("arch-shaped");
    let machine = Machine::on(outer.inner("root.x86_64"));
    let mut guest = machine.boot(["--private-network"]);
    is_healthy(&mut guest);
    assert_eq!(guest.ok("tr -d - </run/host/container-uuid"), guest.ok("cat /etc/machine-id"));
    // The keys for it instead of a command.
    let mut terminal = guest.terminal;
    terminal.send("\x1d\x1dp");
    terminal.expect(&format!("Container {} has been shut down.", machine.name()), boot_time());
    assert_eq!(terminal.finish(within(10)), Some(0));
}

#[test]
fn the_directory_above_a_tree_is_no_tree() {
    let machine = Machine::of("arch-shaped");
    for arguments in [&["--boot"][..], &["true"], &[]] {
        let ended = machine.spawn(arguments).run().expect(1);
        let inner = machine.tree.join("root.x86_64");
        assert!(ended.stderr.contains(&inner.display().to_string()), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}
