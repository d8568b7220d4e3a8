//! A host with an uplink, the outside, and machines: network namespaces of the test's own.

use crate::common::{inside, namespace};
use ns_net::{Address, Change, HeldRules, IfName, Link, MachineId, MachineRules, Netfilter, Route, Socket, Sysctls, Veth, VethPair};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

const ID: MachineId = MachineId::new(*b"0123456789abcdef");

pub struct Net {
    pub host: OwnedFd,
    pub outside: OwnedFd,
}

pub struct Machine {
    pub namespace: OwnedFd,
    pub device: IfName,
    pub link: Link,
    pub number: u8,
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn up(socket: &mut Socket) {
    Change::of(1).up().apply(socket).unwrap();
}

fn give(socket: &mut Socket, link: &Link, ips: [(&str, u8); 2]) {
    ips.iter().for_each(|(text, prefix)| Address::new(link, ip(text), *prefix).unwrap().apply(socket).unwrap());
}

impl Net {
    /// The host has 10.9.0.1 and fd09::1 on its uplink, the outside .2, and no route to machines.
    pub fn new() -> Net {
        let net = Net { host: namespace(), outside: namespace() };
        let mut host = net.socket();
        let mut outside = Socket::open_in(net.outside.as_fd()).unwrap();
        up(&mut host);
        up(&mut outside);
        let pair = Veth::new(IfName::new("up0").unwrap(), IfName::new("net0").unwrap()).apply(&mut outside, &mut host).unwrap();
        give(&mut host, &pair.host, [("10.9.0.1", 24), ("fd09::1", 64)]);
        give(&mut outside, &pair.container, [("10.9.0.2", 24), ("fd09::2", 64)]);
        let forwarding = Sysctls::new().set("net/ipv4/ip_forward", 1).set("net/ipv6/conf/all/forwarding", 1);
        forwarding.apply_in(net.host.as_fd()).unwrap();
        net
    }

    pub fn socket(&self) -> Socket {
        Socket::open_in(self.host.as_fd()).unwrap()
    }

    /// Machine `number` has 10.200.NUMBER.2 and fd00:NUMBER::2, the host .1; its default routes lead there.
    pub fn machine(&self, name: &str, number: u8) -> Machine {
        let namespace = namespace();
        let (mut host, mut socket) = (self.socket(), Socket::open_in(namespace.as_fd()).unwrap());
        up(&mut socket);
        let VethPair { host: link, container, .. } = Veth::of_machine(name, ID).unwrap().apply(&mut socket, &mut host).unwrap();
        let (v4, v6) = (format!("10.200.{number}"), format!("fd00:{number}:"));
        give(&mut host, &link, [(&format!("{v4}.1"), 28), (&format!("{v6}:1"), 64)]);
        give(&mut socket, &container, [(&format!("{v4}.2"), 28), (&format!("{v6}:2"), 64)]);
        Route::via(ip(&format!("{v4}.1")), &container).apply(&mut socket).unwrap();
        Route::via(ip(&format!("{v6}:1")), &container).apply(&mut socket).unwrap();
        Machine { namespace, device: link.name, link, number }
    }

    /// The machine's rules, with its sysctl and its route of `::1`.
    pub fn hold(&self, rules: MachineRules, machine: &Machine) -> HeldRules {
        rules.sysctls().apply_in(self.host.as_fd()).unwrap();
        rules.loopback_route(machine.link.index).apply(&mut self.socket()).unwrap();
        rules.hold(Netfilter::open_in(self.host.as_fd()).unwrap()).unwrap()
    }

    /// Work in the host's namespace.
    pub fn on_host<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        inside(&self.host, body)
    }
}

impl Machine {
    pub fn rules(&self, name: &str) -> MachineRules {
        let (v4, v6) = (format!("10.200.{}.", self.number), format!("fd00:{}:", self.number));
        let rules = MachineRules::new(name, self.device).unwrap();
        let rules = rules.masquerade(format!("{v4}0/28").parse().unwrap()).masquerade(format!("{v6}:/64").parse().unwrap());
        rules.guest(ip(&format!("{v4}2"))).guest(ip(&format!("{v6}:2")))
    }
}
