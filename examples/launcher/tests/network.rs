//! Links of every kind: made, seen from both sides, and gone or back afterwards. A network namespace of the test's own plays the host.

mod support;

use std::fs::File;
use std::os::fd::AsFd;

use ns_net::{Change, IfName, Link, Socket, Veth};
use rustix::thread::UnshareFlags;
use support::{Machine, Spawn, Started, link, until, within};

fn name(name: &str) -> IfName {
    IfName::new(name).unwrap()
}

/// A veth pair on the host that stands for hardware: `eth0`, whose other end is `far0`.
fn hardware() {
    let (mut one, mut other) = (Socket::open().unwrap(), Socket::open().unwrap());
    Veth::new(name("eth0"), name("far0")).apply(&mut one, &mut other).unwrap();
}

/// Starts a container that stays.
fn stays(machine: &Machine, options: &[&str]) -> Started {
    let mut running = machine.spawn(options).args(["sh", "-c", "echo ready; exec sleep 1000"]).start();
    running.expect("ready\n", within(10));
    running
}

fn stop(running: Started) {
    running.process().signal(nix::sys::signal::Signal::SIGTERM);
    running.finish(within(10)).expect(1);
}

/// A start that is refused, in words that hold these.
fn refused(spawn: Spawn, words: &[&str]) {
    words.iter().fold(spawn.run().expect(1), |ended, word| ended.said(word));
}

/// The links that a container with these options sees, with their hardware addresses, a line each.
fn inside(machine: &Machine, options: &[&str]) -> String {
    let ended = machine
        .spawn(["-q"])
        .args(options)
        .args(["sh", "-c", "ip -o link | sed 's/^[0-9]*: \\([^:@]*\\)[:@].*link.[a-z]* \\([^ ]*\\).*/\\1: \\2/'"])
        .run()
        .expect(0);
    ended.text()
}

#[test]
fn further_pairs_have_their_names_and_addresses() {
    let machine = Machine::of("busybox");
    support::in_own_network("br0", || {
        let running = stays(&machine, &["-n", "--network-veth-extra=out1:in1", "--network-veth-extra=same"]);
        let first = format!("ve-{}", machine.name());
        let macs: Vec<_> = [&first, "out1", "same"].into_iter().map(|name| link(name).expect(name).mac).collect();
        assert!(macs.iter().all(Option::is_some) && macs[0] != macs[1] && macs[1] != macs[2], "{macs:?}");
        stop(running);
        until("the links are gone", within(5), || ["out1", "same", &first].into_iter().all(|name| link(name).is_none()));
        let seen = inside(&machine, &["-n", "--network-veth-extra=out1:in1", "--network-veth-extra=same"]);
        for name in ["lo:", "host0:", "in1:", "same:"] {
            assert!(seen.contains(name), "{name} in\n{seen}");
        }
        assert_eq!(seen.lines().count(), 4, "{seen}");
    });
}

#[test]
fn a_zones_bridge_is_there_while_it_has_members() {
    let machines = [Machine::of("busybox"), Machine::of("busybox")];
    support::in_own_network("br0", || {
        let [one, two] = machines.each_ref().map(|machine| stays(machine, &["--network-zone=test"]));
        let bridge = link("vz-test").expect("the zone's bridge");
        assert_eq!(bridge.kind.as_deref(), Some("bridge"));
        for machine in &machines {
            let port = link(&format!("vb-{}", machine.name())).expect("a port");
            assert_eq!(port.master, Some(bridge.index));
            assert!(port.flags.contains(ns_net::LinkFlags::UP));
        }
        stop(one);
        assert_eq!(link("vz-test").map(|bridge| bridge.index), Some(bridge.index), "it has a member yet");
        stop(two);
        assert!(link("vz-test").is_none(), "the zone has no member");
        // Joined and left at the same time, the bridge is never pulled from under a member.
        for _ in 0..5 {
            let started =
                machines.each_ref().map(|machine| machine.spawn(["-q", "--network-zone=test", "ip", "link", "show", "host0"]).start());
            started.into_iter().for_each(|running| drop(running.finish(within(20)).expect(0)));
        }
        until("the bridge is gone", within(5), || {
            machines[0].spawn(["-q", "--network-zone=test", "true"]).run().expect(0);
            link("vz-test").is_none()
        });
    });
}

#[test]
fn a_macvlan_is_on_a_link_of_the_host() {
    let machine = Machine::of("busybox");
    support::in_own_network("br0", || {
        hardware();
        let options = ["--network-macvlan=eth0", "--network-macvlan=eth0:second"];
        let seen = inside(&machine, &options);
        assert!(seen.contains("mv-eth0:") && seen.contains("second:") && seen.lines().count() == 3, "{seen}");
        assert_eq!(inside(&machine, &options), seen, "its address is always the same");
        assert!(link("mv-eth0").is_none());
        refused(machine.spawn(["-q", "--network-macvlan=eth7", "true"]), &["eth7", "no link"]);
    });
}

#[test]
#[ignore = "needs the rig: this machine's kernel may lack ipvlan"]
fn rig_an_ipvlan_is_on_a_link_of_the_host() {
    let machine = Machine::of("busybox");
    support::in_own_network("br0", || {
        hardware();
        let seen = inside(&machine, &["--network-ipvlan=eth0", "--network-ipvlan=eth0:second"]);
        assert!(seen.contains("iv-eth0:") && seen.contains("second:") && seen.lines().count() == 3, "{seen}");
    });
}

#[test]
fn a_link_of_the_host_comes_back_under_its_name() {
    let machine = Machine::of("busybox");
    support::in_own_network("br0", || {
        hardware();
        let before = link("eth0").unwrap();
        let running = stays(&machine, &["--network-interface=eth0:lan"]);
        assert!(link("eth0").is_none() && link("far0").is_some());
        stop(running);
        let same = |link: Link| (link.name, link.mac, link.kind);
        assert_eq!(same(link("eth0").expect("eth0 is back")), same(before.clone()));

        // Whatever the container does with it but deleting it.
        let rename = "ip link set lan down; ip link set lan name mine; ip link set mine up";
        machine.spawn(["-q", "--network-interface=eth0:lan", "sh", "-c", rename]).run().expect(0);
        assert_eq!(same(link("eth0").expect("eth0 is back")), same(before));
        // A start that fails gives it back too.
        refused(machine.spawn(["-q", "--network-interface=eth0:lan", "/no/such"]), &["/no/such"]);
        assert!(link("eth0").is_some());
        refused(machine.spawn(["-q", "--network-interface=eth0", "--network-interface=eth7", "true"]), &["eth7", "no link"]);
        assert!(link("eth0").is_some());
        machine.spawn(["-q", "--network-interface=eth0", "ip", "link", "del", "eth0"]).run().expect(0).said("move eth0 back");
    });
}

#[test]
fn a_network_namespace_that_is_there_is_joined() {
    let machine = Machine::of("busybox");
    support::in_own_network("br0", || {
        let namespace = std::thread::spawn(|| {
            // SAFETY: a network namespace is this thread's alone.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let namespace = namespace.join().unwrap();
        let mut there = Socket::open_in(namespace.as_fd()).unwrap();
        let mut again = Socket::open_in(namespace.as_fd()).unwrap();
        Veth::new(name("foo"), name("bar")).apply(&mut again, &mut there).unwrap();
        Change::of(name("lo")).up().apply(&mut there).unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&namespace));
        for users in ["pick", "no"] {
            let options = [format!("--network-namespace-path={path}"), format!("--private-users={users}")];
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let seen = inside(&machine, &options);
            assert!(seen.contains("foo:") && seen.contains("bar:") && seen.lines().count() == 3, "{seen}");
            let shown = machine.spawn(["-q"]).args(&options).args(["ls", "/sys/class/net"]).run().expect(0).text();
            assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["bar", "foo", "lo"]);
        }
        // Ours is what it was.
        assert!(link("foo").is_none() && link("br0").is_some());
        refused(machine.spawn(["-q", "--network-namespace-path=/dev/null", "true"]), &["/dev/null", "no network namespace"]);
        refused(machine.spawn(["-q", "--network-namespace-path=/no/such", "true"]), &["/no/such", "No such file"]);
    });
}
