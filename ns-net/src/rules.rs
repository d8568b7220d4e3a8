//! The rules of one machine: its ports, its way out.

use crate::error::Result;
use crate::forward::Forward;
use crate::ifname::IfName;
use crate::ipnet::IpNet;
use crate::netfilter::Netfilter;
use crate::nft::{Chain, Element, Family, Field, HeldTable, Hook, Map, Name, Protocol, Rule, Table, Transaction, Value};
use crate::route::Route;
use crate::sysctl::Sysctls;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the host's netfilter is to do for one machine, in a table of its own.
///
/// - Ports are forwarded from every address: those of the host as others see it, 127.0.0.1, `::1`, and from the machine itself and its
///   neighbours. `127.0.0.53` and the like stay the host's.
/// - What leaves the machine's subnets by another device is masqueraded.
/// - On the machine's own device nothing from or to 127.0.0.0/8 comes in: `route_localnet`, which forwarding from 127.0.0.1 takes, would
///   else open the host's loopback services to it.
///
/// No chain is asked for each packet but the one on the machine's own device: connections' first packets pass the others. IPv4 needs
/// [`MachineRules::sysctls`], `::1` needs [`MachineRules::loopback_route`], which a link loses by going down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineRules {
    name: Name,
    device: IfName,
    port: IfName,
    subnets: Vec<IpNet>,
    guest: Guest,
    forwards: Vec<Forward>,
    serves: bool,
    dns: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Guest {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Guest {
    fn set(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.v4 = Some(ip),
            IpAddr::V6(ip) => self.v6 = Some(ip),
        }
    }
}

const LOOPBACK_V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// Before and after those of `nft`'s and other programs' chains, at -100 and 100.
const BEFORE_DNAT: i32 = -101;
const AFTER_SNAT: i32 = 101;
const FIRST: i32 = -500;

impl MachineRules {
    /// The table `nsk-MACHINE`; `device` is the one by which the host reaches the machine: the host's end of its pair, or the bridge.
    pub fn new(machine: &str, device: IfName) -> Result<MachineRules> {
        let name = Name::new(&format!("nsk-{machine}"))?;
        let (subnets, forwards) = (Vec::new(), Vec::new());
        Ok(MachineRules { name, device, port: device, subnets, guest: Guest::default(), forwards, serves: false, dns: None })
    }

    /// The host's end of the machine's pair, where `device` is a bridge.
    pub fn port(self, port: IfName) -> MachineRules {
        MachineRules { port, ..self }
    }

    /// Addresses whose packets are masqueraded when they leave.
    pub fn masquerade(mut self, subnet: IpNet) -> MachineRules {
        self.subnets.push(subnet);
        self
    }

    /// The machine's address of this family, to which ports lead.
    pub fn guest(mut self, ip: IpAddr) -> MachineRules {
        self.guest.set(ip);
        self
    }

    /// A port to be forwarded.
    pub fn forward(mut self, forward: Forward) -> MachineRules {
        self.forwards.push(forward);
        self
    }

    /// The host answers the machine's DHCP and is its router: the machine's answers to others and its router advertisements are dropped,
    /// and so are requests, which a packet socket has seen before (the kernel would say that the port is unreachable).
    pub fn serves(self) -> MachineRules {
        MachineRules { serves: true, ..self }
    }

    /// Questions for the host's port 53 go to this one.
    pub fn dns(self, port: u16) -> MachineRules {
        MachineRules { dns: Some(port), ..self }
    }

    /// The table.
    pub fn table(&self) -> Result<Table> {
        let [any4, any6, at4, at6] = self.maps()?;
        let dnat = |chain: Chain| chain.rules(to_guest(&any4, &any6, &at4, &at6));
        let pre =
            Chain::new(Name::new("pre")?, Hook::NatPrerouting, BEFORE_DNAT).rules(self.dns.into_iter().flat_map(|p| self.redirect(p)));
        let out = Chain::new(Name::new("out")?, Hook::NatOutput, BEFORE_DNAT);
        let chains = [self.guard()?, dnat(pre), dnat(out), self.post()?];
        let table = Table::new(Family::Inet, self.name.clone());
        let table = [&any4, &any6, &at4, &at6].into_iter().cloned().fold(table, Table::map);
        Ok(chains.into_iter().fold(table, Table::chain))
    }

    fn maps(&self) -> Result<[Map; 4]> {
        let mut maps = empty_maps()?;
        for (place, elements) in self.elements().into_iter().enumerate() {
            if let Some(map) = maps.get_mut(place) {
                *map = map.clone().elements(elements)?;
            }
        }
        Ok(maps)
    }

    /// Of each map, in the order of [`MachineRules::maps`].
    fn elements(&self) -> [Vec<Element>; 4] {
        let mut all: [Vec<Element>; 4] = Default::default();
        for forward in &self.forwards {
            for (place, element) in elements(forward, self.guest) {
                all[place].push(element);
            }
        }
        all
    }

    fn guard(&self) -> Result<Chain> {
        let loopback = IpNet::around(LOOPBACK_V4, 8);
        let guard = Chain::new(Name::new("guard")?, Hook::Ingress(self.port), FIRST);
        let guard = guard.rule(Rule::new().to(loopback).drop()).rule(Rule::new().from(loopback).drop());
        let served = [
            Rule::new().to_port(Protocol::Udp, 67).drop(),
            Rule::new().from_port(Protocol::Udp, 67).drop(),
            Rule::new().router_advertisement().drop(),
        ];
        Ok(if self.serves { guard.rules(served) } else { guard })
    }

    fn post(&self) -> Result<Chain> {
        let device = self.device;
        let post = Chain::new(Name::new("post")?, Hook::NatPostrouting, AFTER_SNAT);
        let outward = self.subnets.iter().map(|subnet| Rule::new().from(*subnet).not_to_device(device).masquerade());
        Ok(post.rules(outward).rules([
            Rule::new().from_device(device).to_device(device).was_dnat().masquerade(),
            Rule::new().to_device(device).from(IpNet::around(LOOPBACK_V4, 8)).masquerade(),
            Rule::new().to_device(device).from(IpNet::around(LOOPBACK_V6, 128)).masquerade(),
        ]))
    }

    fn redirect(&self, port: u16) -> [Rule; 2] {
        let to_port = |protocol| Rule::new().from_device(self.device).to_this_machine().to_port(protocol, 53).redirect(port);
        [to_port(Protocol::Udp), to_port(Protocol::Tcp)]
    }

    /// `route_localnet` of the device alone: it ends with the link.
    pub fn sysctls(&self) -> Sysctls {
        Sysctls::new().set(format_args!("net/ipv4/conf/{}/route_localnet", self.device), 1)
    }

    /// Makes `::1` this machine's on the device, so that answers to what was sent from `::1` are taken; `index` is the device's.
    ///
    /// Its metric is 4096 and the index: `lo`'s own has 0 and is taken before, and no two links may have the same.
    pub fn loopback_route(&self, index: u32) -> Route {
        Route::local(IpNet::around(LOOPBACK_V6, 128), index).metric(4096u32.saturating_add(index))
    }

    /// Makes the table, as [`Table::hold`] does.
    pub fn hold(self, socket: Netfilter) -> Result<HeldRules> {
        let table = self.table()?.hold(socket)?;
        Ok(HeldRules { rules: self, table })
    }
}

/// The table's text.
impl fmt::Display for MachineRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.table() {
            Ok(table) => table.fmt(f),
            Err(e) => e.fmt(f),
        }
    }
}

/// Those of all addresses, of both families, then those of one.
fn empty_maps() -> Result<[Map; 4]> {
    let (proto, port) = (Field::Protocol, Field::Port);
    Ok([
        Map::new(Name::new("any4")?, [proto, port], [Field::Ipv4, port]),
        Map::new(Name::new("any6")?, [proto, port], [Field::Ipv6, port]),
        Map::new(Name::new("at4")?, [Field::Ipv4, proto, port], [Field::Ipv4, port]),
        Map::new(Name::new("at6")?, [Field::Ipv6, proto, port], [Field::Ipv6, port]),
    ])
}

/// All of a forward's elements, each with its map's place.
fn elements(forward: &Forward, guest: Guest) -> Vec<(usize, Element)> {
    let guests = [guest.v4.map(IpAddr::V4), guest.v6.map(IpAddr::V6)].into_iter().enumerate();
    let concerned = guests.filter_map(|(n, ip)| Some((n, ip?))).filter(|(_, ip)| forward.concerns(ip.is_ipv4()));
    let of_guest = |(family, ip): (usize, IpAddr)| {
        let (address, protocol) = (forward.address(), Value::Protocol(forward.protocol()));
        forward.ports().map(move |(host, container)| {
            let to = [Value::Address(ip), Value::Port(container)];
            match address {
                Some(at) => (family + 2, Element::new([Value::Address(at), protocol, Value::Port(host)], to)),
                None => (family, Element::new([protocol, Value::Port(host)], to)),
            }
        })
    };
    concerned.flat_map(of_guest).collect()
}

/// An address that was named comes before all of them; of 127.0.0.0/8 only 127.0.0.1 is one of all.
fn to_guest(any4: &Map, any6: &Map, at4: &Map, at6: &Map) -> [Rule; 5] {
    [
        Rule::new().family(Family::Ip).dnat(at4),
        Rule::new().family(Family::Ip6).dnat(at6),
        Rule::new().to(IpNet::around(LOOPBACK_V4, 32)).dnat(any4),
        Rule::new().to_this_machine().not_to(IpNet::around(LOOPBACK_V4, 8)).dnat(any4),
        Rule::new().family(Family::Ip6).to_this_machine().dnat(any6),
    ]
}

/// A machine's rules, as long as this value and its process live: see [`HeldTable`].
#[derive(Debug)]
pub struct HeldRules {
    rules: MachineRules,
    table: HeldTable,
}

impl HeldRules {
    /// The rules as they are now.
    pub fn rules(&self) -> &MachineRules {
        &self.rules
    }

    /// The machine has another address: its ports lead there, in one transaction. Flows of UDP stay where they were until
    /// [`Flow::forget`](crate::Flow::forget).
    pub fn guest(&mut self, ip: IpAddr) -> Result<()> {
        let rules = self.rules.clone().guest(ip);
        self.become_(rules)
    }

    /// One more port.
    pub fn forward(&mut self, forward: Forward) -> Result<()> {
        let rules = self.rules.clone().forward(forward);
        self.become_(rules)
    }

    /// One port less; one that isn't forwarded is no error.
    pub fn unforward(&mut self, forward: &Forward) -> Result<()> {
        let mut rules = self.rules.clone();
        rules.forwards.retain(|one| one != forward);
        self.become_(rules)
    }

    /// The elements that differ, in one transaction.
    fn become_(&mut self, rules: MachineRules) -> Result<()> {
        let change = rules.change_from(&self.rules)?;
        self.table.change(&change)?;
        self.rules = rules;
        Ok(())
    }

    /// Deletes the table; dropping does so too, untold.
    pub fn close(self) -> Result<()> {
        self.table.close()
    }
}

impl MachineRules {
    fn change_from(&self, old: &MachineRules) -> Result<Transaction> {
        let mut change = Transaction::new();
        for ((map, old), new) in empty_maps()?.iter().zip(old.elements()).zip(self.elements()) {
            let without = |these: &[Element], those: &[Element]| {
                let those: std::collections::BTreeSet<_> = those.iter().collect();
                these.iter().filter(|one| !those.contains(one)).cloned().collect::<Vec<_>>()
            };
            change = change.delete_elements(Family::Inet, &self.name, map, without(&old, &new))?;
            change = change.add_elements(Family::Inet, &self.name, map, without(&new, &old))?;
        }
        Ok(change)
    }
}
