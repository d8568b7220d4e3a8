//! The steps in real children. Needs root and the feature `plan`.

mod common;

use common::namespace;
use ns_core::{Exec, Exit, Fds, IdMap, Namespaces, Plan, Slot, Stepped, Unshare};
use ns_net::{Address, IfName, Link, LinkFlags, LoopbackUp, MachineId, RouteSocket, Socket, Veth};
use std::os::fd::AsFd;
use std::process::Command;

const ROUTE: Slot = Slot::new("a route socket");
const ID: MachineId = MachineId::new(*b"0123456789abcdef");

fn plan(script: &str) -> Plan {
    Plan::new(Exec::new("/bin/sh").unwrap().args(["-c", script]).unwrap()).unshare(Namespaces::NET).inside(LoopbackUp)
}

#[test]
fn a_commands_child_has_its_loopback() {
    let mut command = Command::new("grep");
    command.args(["-q", "127.0.0.1", "/proc/thread-self/net/fib_trie"]);
    command.step(Unshare(Namespaces::NET)).unwrap().step(LoopbackUp).unwrap();
    assert!(command.status().unwrap().success());
}

#[test]
fn a_step_without_rights_is_told_in_words() {
    // Not its own namespace, and no rights over it.
    let ids = IdMap::range(0, 1_000_000, 65536).unwrap();
    let plan = Plan::new(Exec::new("/bin/true").unwrap()).user(ids).inside(LoopbackUp).seal().unwrap();
    let error = plan.start(Fds::new()).unwrap_err();
    assert!(error.to_string().ends_with("ip link set dev lo up: RTM_SETLINK: Operation not permitted"), "{error}");
}

/// The launcher's way: the child is held, the pair made in its namespace, the child released.
#[test]
fn a_held_child_gets_its_pair() {
    let ids = IdMap::range(0, 1_000_000, 65536).unwrap();
    let plan = plan("grep -q host0 /proc/thread-self/net/dev && grep -q 10.200.1.2 /proc/thread-self/net/fib_trie && exit 5");
    let plan = plan.user(ids).seal().unwrap();
    let mut held = plan.hold(Fds::new()).unwrap();
    let net = held.namespace(ns_core::Kind::Net).unwrap();
    let mut container = Socket::open_in(net.as_fd()).unwrap();
    let mut host = Socket::open_in(namespace().as_fd()).unwrap();
    let made = Veth::of_machine("web", ID).unwrap().apply(&mut container, &mut host).unwrap();
    assert!(made.host.flags.contains(LinkFlags::LOWER_UP));
    Address::new(&made.container, "10.200.1.2".parse().unwrap(), 28).unwrap().apply(&mut container).unwrap();
    drop((container, net));
    assert_eq!(held.release().unwrap().wait().unwrap(), Exit::Exited(5));
}

#[test]
fn a_socket_is_handed_out() {
    let ids = IdMap::range(0, 1_000_000, 65536).unwrap();
    let plan = plan("grep -q peer0 /proc/thread-self/net/dev && exit 5").user(ids).inside(RouteSocket::new(ROUTE)).seal().unwrap();
    assert!(plan.to_string().contains("route socket, sent to the caller as a route socket"), "{plan}");
    let mut held = plan.hold(Fds::new()).unwrap();
    let mut container = Socket::from_fd(held.wait_for(ROUTE).unwrap()).unwrap();
    // LoopbackUp came before it in the list.
    assert!(Link::get(&mut container, 1).unwrap().flags.contains(LinkFlags::UP));
    // The rights are the sender's, not those of the child that opened it: the peer may go to the host.
    let mut host = Socket::open_in(namespace().as_fd()).unwrap();
    let veth = Veth::new(IfName::new("ve-x").unwrap(), IfName::new("peer0").unwrap());
    assert_eq!(veth.apply(&mut container, &mut host).unwrap().host.name.to_string(), "ve-x");
    drop(container);
    assert_eq!(held.release().unwrap().wait().unwrap(), Exit::Exited(5));
}
