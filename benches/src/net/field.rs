//! A host and machines on it, each a network namespace.

use super::Result;
use ns_net::{Change, HeldRules, IfName, Link, MachineId, MachineRules, Netfilter, Socket, Veth, in_namespace};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

pub const ID: MachineId = MachineId::new(*b"nskit benchmarks");

/// A new network namespace, kept by its descriptor.
pub fn namespace() -> Result<OwnedFd> {
    let make = || -> std::io::Result<OwnedFd> {
        // SAFETY: CLONE_NEWNET concerns this thread alone, which ends here, and no descriptor.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
        Ok(File::open("/proc/thread-self/ns/net")?.into())
    };
    let made = thread::scope(|scope| scope.spawn(make).join());
    Ok(made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
}

/// Work in a namespace; a socket made there stays there.
pub fn inside<T: Send>(namespace: &OwnedFd, work: impl FnOnce() -> std::io::Result<T> + Send) -> Result<T> {
    Ok(in_namespace(namespace.as_fd(), "measure", work)??)
}

/// A namespace that plays the host, its `lo` up.
pub fn host() -> Result<(OwnedFd, Socket)> {
    let host = namespace()?;
    let mut socket = Socket::open_in(host.as_fd())?;
    Change::of(1).up().apply(&mut socket)?;
    Ok((host, socket))
}

/// A machine with number N: 10.(200 + N / 256).(N % 256).2 and fd00:N::2 behind the host's .1.
pub struct Machine {
    pub namespace: OwnedFd,
    pub device: Link,
    number: usize,
}

impl Machine {
    /// Its pair, its addresses, its routes: what [`super::links`] measures.
    pub fn new(number: usize, host: &mut Socket) -> Result<Machine> {
        let namespace = namespace()?;
        let mut inside = Socket::open_in(namespace.as_fd())?;
        let device = connect(number, &mut inside, host)?;
        Ok(Machine { namespace, device, number })
    }

    pub fn rules(&self) -> Result<MachineRules> {
        let [_, guest4, _, guest6] = addresses(self.number);
        let rules = MachineRules::new(&format!("m{}", self.number), self.device.name)?;
        let rules = rules.guest(guest4.parse()?).guest(guest6.parse()?);
        Ok(rules.masquerade(format!("{guest4}/28").parse()?).masquerade(format!("{guest6}/64").parse()?))
    }

    /// With one port of each protocol forwarded, also from 127.0.0.1 and `::1`.
    pub fn forward(&self, port: u16, host: &OwnedFd, socket: &mut Socket) -> Result<HeldRules> {
        let rules = self.rules()?.forward(format!("{port}").parse()?).forward(format!("udp:{port}").parse()?);
        rules.sysctls().apply_in(host.as_fd())?;
        rules.loopback_route(self.device.index).apply(socket)?;
        Ok(rules.hold(Netfilter::open_in(host.as_fd())?)?)
    }
}

/// Of a machine: the host's and the guest's, of both families.
pub fn addresses(number: usize) -> [String; 4] {
    let (a, b) = (200 + number / 256, number % 256);
    [format!("10.{a}.{b}.1"), format!("10.{a}.{b}.2"), format!("fd00:{number}::1"), format!("fd00:{number}::2")]
}

/// A veth pair, four addresses, two routes.
pub fn connect(number: usize, inside: &mut Socket, host: &mut Socket) -> Result<Link> {
    let [host4, guest4, host6, guest6] = addresses(number);
    let veth = Veth::of_machine(&format!("m{number}"), ID)?.container_index(2);
    let veth = veth.host_address(host4.parse()?, 28)?.host_address(host6.parse()?, 64)?;
    let veth = veth.container_address(guest4.parse()?, 28)?.container_address(guest6.parse()?, 64)?;
    Ok(veth.container_gateway(host4.parse()?).container_gateway(host6.parse()?).apply(inside, host)?.host)
}

/// The name of machine `number`'s device on the host.
pub fn device(number: usize) -> Result<IfName> {
    Ok(IfName::new(&format!("ve-m{number}"))?)
}
