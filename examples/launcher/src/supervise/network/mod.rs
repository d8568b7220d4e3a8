//! The links between host and container, made in the held payload's network namespace.

mod lent;
mod namespace;
mod zone;

use crate::Error;
use crate::registry::{Places, note_of_link};
use crate::settings::{Attach, Inner, Network, Settings};
use ns_core::Held;
use ns_net::{End, IfName, Ipvlan, LinkName, Mac, MachineId, Macvlan, Prefix, Socket, Veth};
use std::fmt;
use std::os::fd::AsFd;

pub(super) use lent::Lent;
pub(super) use namespace::Visit;
use zone::ZoneBridge;

/// The links that were asked for, as a value.
#[derive(Debug)]
pub(super) struct Wiring {
    zone: Option<ZoneBridge>,
    veths: Vec<Veth>,
    macvlans: Vec<Macvlan>,
    ipvlans: Vec<Ipvlan>,
    moves: Vec<ns_net::Move>,
}

impl Wiring {
    /// `None`: no link was asked for.
    ///
    /// # Errors
    /// A host without a machine id, of which addresses are made.
    pub fn new(settings: &Settings, places: &Places) -> Result<Option<Wiring>, Error> {
        let network = &settings.network;
        if !network.has_links() {
            return Ok(None);
        }
        let names = Names { host: MachineId::of_host().map_err(Error::host)?, machine: settings.machine.as_str() };
        let note = note_of_link(places, &settings.machine);
        let zone = match &network.veth {
            Some(Attach::Zone(zone)) => Some(ZoneBridge::new(zone, names.host, places)?),
            _ => None,
        };
        Ok(Some(Wiring {
            veths: names.veths(network, zone.as_ref())?.into_iter().map(|veth| ours(veth, note.as_deref())).collect(),
            macvlans: network.macvlans.iter().zip(0..).map(|(link, n)| names.macvlan(link, n)).collect::<Result<_, _>>()?,
            ipvlans: network.ipvlans.iter().map(ipvlan).collect::<Result<_, _>>()?,
            moves: network.interfaces.iter().map(moved).collect::<Result<_, _>>()?,
            zone,
        }))
    }

    /// Makes them, in the payload's namespace: pairs with their peers out on the host, others on links of the host's. They die with the
    /// namespace; links of the host's that are moved there come back by what is returned.
    ///
    /// # Errors
    /// A name that is taken, a link that isn't there or is none of the kind that was asked for; what was made goes with the payload, what was
    /// moved is back.
    pub fn connect(&self, held: &mut Held) -> Result<Lent, Error> {
        let namespace = held.namespace(ns_core::Kind::Net).map_err(Error::host)?;
        let mut inside = Socket::open_in(namespace.as_fd()).map_err(Error::host)?;
        let mut host = Socket::open().map_err(Error::host)?;
        self.make(&mut inside, &mut host)?;
        let mut lent = Lent::default();
        if !self.moves.is_empty() {
            lent.keep(inside);
        }
        self.moves.iter().try_for_each(|link| lent.lend(link, &mut host))?;
        Ok(lent)
    }

    fn make(&self, inside: &mut Socket, host: &mut Socket) -> Result<(), Error> {
        // Held until the machine's link is the bridge's port: whoever leaves the zone meanwhile removes no bridge without ports.
        let _joining = self.zone.as_ref().map(|zone| zone.join(host)).transpose()?;
        self.veths.iter().try_for_each(|veth| veth.apply(inside, host).map(drop)).map_err(Error::host)?;
        self.macvlans.iter().try_for_each(|link| link.apply(inside, host).map(drop)).map_err(Error::host)?;
        self.ipvlans.iter().try_for_each(|link| link.apply(inside, host).map(drop)).map_err(Error::host)
    }

    /// What of them is on the host.
    ///
    /// # Errors
    /// None that a name which the kernel takes could have.
    pub fn host_ends(&self) -> Result<Vec<crate::settings::IfName>, Error> {
        self.veths.iter().map(|veth| crate::settings::IfName::new(veth.host_name().name.to_string().as_ref())).collect()
    }

    /// What the container's end leaves: a zone without members.
    ///
    /// # Errors
    /// The bridge can't be removed.
    pub fn close(&self) -> Result<(), Error> {
        self.zone.as_ref().map_or(Ok(()), ZoneBridge::leave)
    }
}

/// Takes the place of one that this machine left behind, which a killed container's open connections hold for minutes. The machine's name is
/// ours by the time that it is made, and the note tells ours from that of another tool's machine of the same name.
fn ours(veth: Veth, note: Option<&str>) -> Veth {
    match note {
        Some(note) => veth.alias(note).replace(),
        None => veth,
    }
}

/// What links are named after.
struct Names<'a> {
    host: MachineId,
    machine: &'a str,
}

impl Names<'_> {
    fn veths(&self, network: &Network, zone: Option<&ZoneBridge>) -> Result<Vec<Veth>, Error> {
        let first = network.veth.iter().map(|attach| self.first(attach, zone));
        first.chain(network.extra.iter().zip(0..).map(|(link, n)| self.extra(link, n))).collect()
    }

    fn first(&self, attach: &Attach, zone: Option<&ZoneBridge>) -> Result<Veth, Error> {
        let veth = match (attach, zone) {
            (Attach::Bridge(bridge), _) => Veth::port_of_machine(self.machine, self.host, name(bridge)?),
            (_, Some(zone)) => Veth::port_of_machine(self.machine, self.host, zone.name()),
            _ => Veth::of_machine(self.machine, self.host),
        };
        veth.map_err(Error::host)
    }

    fn extra(&self, link: &Inner, n: u64) -> Result<Veth, Error> {
        let veth = Veth::new(name(&link.outer)?, name(link.inner.as_ref().unwrap_or(&link.outer))?);
        Ok(veth.host_mac(self.mac(End::ExtraHost, n)).container_mac(self.mac(End::ExtraContainer, n)))
    }

    fn macvlan(&self, link: &Inner, n: u64) -> Result<Macvlan, Error> {
        Ok(Macvlan::new(name(&link.outer)?, upper(Prefix::Macvlan, link)?).mac(self.mac(End::Macvlan, n)))
    }

    fn mac(&self, end: End, n: u64) -> Mac {
        Mac::of_machine(end, self.host, self.machine, n)
    }
}

fn name(name: &crate::settings::IfName) -> Result<IfName, Error> {
    IfName::new(name.as_str()).map_err(Error::host)
}

/// What a link on another is called in the container: after it, unless the user says otherwise.
fn upper(prefix: Prefix, link: &Inner) -> Result<LinkName, Error> {
    match &link.inner {
        Some(inner) => name(inner).map(LinkName::from),
        None => LinkName::of(prefix, link.outer.as_str()).map_err(Error::host),
    }
}

fn ipvlan(link: &Inner) -> Result<Ipvlan, Error> {
    Ok(Ipvlan::new(name(&link.outer)?, upper(Prefix::Ipvlan, link)?))
}

fn moved(link: &Inner) -> Result<ns_net::Move, Error> {
    let move_it = ns_net::Move::new(name(&link.outer)?);
    link.inner.as_ref().map_or(Ok(move_it.clone()), |inner| Ok(move_it.rename(name(inner)?)))
}

/// The commands of `ip(8)`.
impl fmt::Display for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.zone.iter().try_for_each(|zone| writeln!(f, "{zone}"))?;
        self.veths.iter().try_for_each(|link| writeln!(f, "{link}"))?;
        self.macvlans.iter().try_for_each(|link| writeln!(f, "{link}"))?;
        self.ipvlans.iter().try_for_each(|link| writeln!(f, "{link}"))?;
        self.moves.iter().try_for_each(|link| writeln!(f, "{link}"))
    }
}
