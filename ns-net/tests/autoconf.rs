//! A machine's link served: real clients get their address, route and prefix. Needs root and a static busybox.

mod common;

use common::{busybox, inside, namespace, serving};
use ns_net::{Address, Autoconf, Bridge, Change, Dhcp, IfName, Link, Mac, MachineId, Router, Socket, Veth};
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const ID: MachineId = MachineId::new(*b"0123456789abcdef");
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 201, 7, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 201, 7, 1);

struct Net {
    host: OwnedFd,
    container: OwnedFd,
    /// The host's end, and the hardware address of the gateway.
    link: u32,
    mac: Mac,
}

/// A pair whose container's end is down yet: the service is there before the carrier.
fn net(bridge: bool) -> Net {
    let (host, container) = (namespace(), namespace());
    let [mut outside, mut within] = [&host, &container].map(|ns| Socket::open_in(ns.as_fd()).unwrap());
    let bridged = bridge.then(|| Bridge::new(IfName::new("br0").unwrap()).mac(Mac::new([2, 0, 0, 0, 0, 9])).apply(&mut outside).unwrap());
    let veth = match &bridged {
        Some(bridge) => Veth::port_of_machine("web", ID, bridge.name).unwrap(),
        None => Veth::of_machine("web", ID).unwrap(),
    };
    let pair = veth.down().apply(&mut within, &mut outside).unwrap();
    Change::of(&pair.host).up().apply(&mut outside).unwrap();
    let gateway = bridged.as_ref().unwrap_or(&pair.host);
    Address::new(gateway, GATEWAY.into(), 28).unwrap().apply(&mut outside).unwrap();
    Net { link: pair.host.index, mac: gateway.mac.unwrap(), host, container }
}

impl Net {
    fn serve<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let dhcp = Dhcp::new(ADDRESS, 28, GATEWAY).unwrap().routed().resolver(GATEWAY).domain("machines").unwrap().mtu(1400);
        let router = Router::new("fd00:1:2:3::".parse().unwrap(), self.mac).resolver("fd00:1:2:3::1".parse().unwrap()).mtu(1400);
        let open = || Autoconf::open(self.link, self.mac, Some(dhcp), Some(router)).unwrap();
        serving(&self.host, open, |autoconf: &mut Autoconf| autoconf.turn().map(drop), body)
    }

    fn up(&self) {
        let mut within = Socket::open_in(self.container.as_fd()).unwrap();
        let link = Link::get(&mut within, IfName::HOST0).unwrap();
        Change::of(&link).up().apply(&mut within).unwrap();
    }
}

/// A script for udhcpc that sets the address, and writes what it has learnt, a line per event.
fn script(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("script");
    let log = directory.join("log");
    let busybox = busybox("ip").get_program().to_str().unwrap().to_owned();
    let set = format!("[ \"$1\" = bound ] && {busybox} ip address add $ip/$mask dev $interface");
    let write = format!("echo \"$1 $ip/$mask $router $dns $domain $mtu $serverid $lease\" >> {}", log.display());
    let text = format!("#!/bin/sh\n{set}\n{write}\n");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        match found() {
            Some(found) => return found,
            None if start.elapsed() > Duration::from_secs(30) => panic!("no {what} in 30 s"),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn a_client_is_given_its_address(bridge: bool) {
    let net = net(bridge);
    let directory = tempfile::tempdir().unwrap();
    let script = script(directory.path());
    let told = |what: &str| {
        until(what, || fs::read_to_string(directory.path().join("log")).ok()?.lines().find(|l| l.starts_with(what)).map(String::from))
    };
    net.serve(|| {
        net.up();
        let start = || {
            let mut client = busybox("udhcpc");
            client.args(["-f", "-i", "host0", "-O", "mtu", "-s"]).arg(&script).stderr(Stdio::null()).stdout(Stdio::null());
            client.spawn().unwrap()
        };
        let mut client = inside(&net.container, start);
        // As a rule would: else the kernel says that nobody has port 67, and the client may believe it.
        let _silent = inside(&net.host, || std::net::UdpSocket::bind((GATEWAY, 67)).unwrap());
        assert_eq!(told("bound"), "bound 10.201.7.2/28 10.201.7.1 10.201.7.1 machines 1400 10.201.7.1 3600");
        // It renews by sending to the server itself.
        let pid = rustix::process::Pid::from_child(&client);
        rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
        assert_eq!(told("renew"), "renew 10.201.7.2/28 10.201.7.1 10.201.7.1 machines 1400 10.201.7.1 3600");
        client.kill().unwrap();
        client.wait().unwrap();
    });
}

#[test]
fn a_client_behind_a_veth_is_given_its_address() {
    a_client_is_given_its_address(false);
}

#[test]
fn a_client_behind_a_bridges_port_is_given_its_address() {
    a_client_is_given_its_address(true);
}

/// The kernel is the client.
#[test]
fn a_kernel_behind_a_bridges_port_makes_its_address_and_route() {
    let net = net(true);
    net.serve(|| {
        let set = |name: &str, value: &str| fs::write(format!("/proc/sys/net/ipv6/conf/{name}"), value).unwrap();
        inside(&net.container, || {
            set("host0/accept_dad", "0");
            set("host0/router_solicitation_delay", "0");
        });
        net.up();
        let mac = Mac::of_machine(ns_net::End::Container, ID, "web", 0);
        let wanted = format!("{:032x}", mac.address_in("fd00:1:2:3::".parse().unwrap()).to_bits());
        inside(&net.container, || {
            until("address", || fs::read_to_string("/proc/thread-self/net/if_inet6").ok()?.contains(&wanted).then_some(()));
            let through = format!("{:032x}", net.mac.link_local().to_bits());
            let default = format!("{:032} 00 {:032} 00 {through}", 0, 0);
            until("route", || fs::read_to_string("/proc/thread-self/net/ipv6_route").ok()?.contains(&default).then_some(()));
            assert_eq!(fs::read_to_string("/proc/sys/net/ipv6/conf/host0/mtu").unwrap().trim(), "1400");
        });
    });
}

/// A link that goes away, and comes and goes, harms nobody.
#[test]
fn a_link_may_go_down_and_away() {
    let net = net(false);
    let mut outside = Socket::open_in(net.host.as_fd()).unwrap();
    let link = Link::get(&mut outside, net.link).unwrap();
    net.serve(|| {
        net.up();
        Change::of(&link).down().apply(&mut outside).unwrap();
        Change::of(&link).up().apply(&mut outside).unwrap();
        let run = || busybox("udhcpc").args(["-q", "-n", "-f", "-t", "20", "-T", "1", "-s", "/bin/true", "-i", "host0"]).output().unwrap();
        let answered = inside(&net.container, run);
        assert!(answered.status.success(), "{answered:?}");
        Link::delete(&mut outside, &link).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    });
}
