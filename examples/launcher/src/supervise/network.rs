//! The links between host and container, made in the held payload's network namespace.

use crate::Error;
use crate::settings::{Network, Settings};
use ns_core::Held;
use ns_net::{IfName, MachineId, Socket, Veth};
use std::os::fd::AsFd;

/// The link that was asked for, as a value; `None`: none was.
pub(super) fn link(settings: &Settings) -> Result<Option<Veth>, Error> {
    let host = || MachineId::of_host().map_err(Error::host);
    let machine = settings.machine.as_str();
    let veth = match &settings.network {
        Network::Private | Network::Host => return Ok(None),
        Network::Veth => Veth::of_machine(machine, host()?),
        Network::Bridge(bridge) => Veth::port_of_machine(machine, host()?, IfName::new(bridge.as_str()).map_err(Error::host)?),
    };
    veth.map(Some).map_err(Error::host)
}

/// Makes it: the pair in the payload's namespace, its peer out on the host. It dies with the namespace.
pub(super) fn connect(veth: &Veth, held: &mut Held) -> Result<(), Error> {
    let namespace = held.namespace(ns_core::Kind::Net).map_err(Error::host)?;
    let mut inside = Socket::open_in(namespace.as_fd()).map_err(Error::host)?;
    let mut host = Socket::open().map_err(Error::host)?;
    veth.apply(&mut inside, &mut host).map(drop).map_err(Error::host)
}
