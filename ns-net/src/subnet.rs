//! Which subnet a machine or zone has: the same each time, and nobody else's.
#![forbid(unsafe_code)]

mod lease;

pub use lease::{Lease, Leases, MemberLease};

use crate::ipnet::IpNet;
use crate::machine::MachineId;
use crate::siphash::siphash24;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a subnet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// One machine's link: a /28.
    Machine,
    /// A zone's bridge: a /24.
    Zone,
}

/// An IPv4 block and an IPv6 /64 for one link.
///
/// ```
/// use ns_net::{MachineId, Purpose, Subnet};
/// let host: MachineId = "0123456789abcdef0123456789abcdef".parse()?;
/// let subnet = Subnet::first_choice(host, Purpose::Machine, "web");
/// assert_eq!(subnet.to_string(), "10.159.227.32/28 and fd29:5d55:50d1:fe32::/64");
/// assert_eq!(subnet.gateway().to_string(), "10.159.227.33");
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet {
    first: Ipv4Addr,
    prefix: u8,
    first6: Ipv6Addr,
}

/// Where the subnets of a purpose are taken from, in this order: `(first, prefix)`.
///
/// Ranges that Docker, podman, libvirt, LXC, networkd, kubernetes and carriers take by default lie outside: 10.0/9, 172.16/12, 192.168/16,
/// 100.64/10, 169.254/16. The second is for hosts that route all of 10/8: benchmarks' addresses (RFC 2544), which nobody else has.
const POOLS: [[(Ipv4Addr, u8); 2]; 2] = [
    [(Ipv4Addr::new(10, 128, 0, 0), 10), (Ipv4Addr::new(198, 18, 0, 0), 16)],
    [(Ipv4Addr::new(10, 192, 0, 0), 10), (Ipv4Addr::new(198, 19, 0, 0), 16)],
];

/// Shorter ones are ways to everywhere, as VPNs set them, and no network's own; longer routes go before them.
const SHORTEST4: u8 = 8;
const SHORTEST6: u8 = 16;

impl Purpose {
    const fn prefix(self) -> u8 {
        match self {
            Purpose::Machine => 28,
            Purpose::Zone => 24,
        }
    }

    const fn pools(self) -> [(Ipv4Addr, u8); 2] {
        POOLS[self as usize]
    }
}

/// A hash of a name, the same on a host each time.
fn hash(host: MachineId, what: &str, name: &str) -> u64 {
    siphash24(host.bytes(), &[what.as_bytes(), &[0], name.as_bytes()].concat())
}

impl Subnet {
    /// The one that a name has where no other name has taken it and the host routes none of it.
    pub fn first_choice(host: MachineId, purpose: Purpose, name: &str) -> Subnet {
        let (first, prefix) = purpose.pools()[0];
        Subnet::slot(host, purpose, first, (hash(host, "subnet", name) % slots(prefix, purpose)) as u32)
    }

    /// All that a name may have, best first; none of a range that is taken as a whole.
    fn choices(host: MachineId, purpose: Purpose, name: &str, taken: &[IpNet]) -> impl Iterator<Item = Subnet> {
        let hash = hash(host, "subnet", name);
        let free = move |pool: IpNet| !taken.iter().any(|t| t.prefix() >= SHORTEST4 && t.covers(pool));
        let pools = purpose.pools().into_iter().filter(move |(first, prefix)| free(IpNet::around((*first).into(), *prefix)));
        pools.flat_map(move |(first, prefix)| {
            let slots = slots(prefix, purpose);
            (0..slots).map(move |n| Subnet::slot(host, purpose, first, ((hash % slots + n) % slots) as u32))
        })
    }

    fn slot(host: MachineId, purpose: Purpose, pool: Ipv4Addr, slot: u32) -> Subnet {
        let prefix = purpose.prefix();
        let first = Ipv4Addr::from_bits(pool.to_bits() + (slot << (32 - prefix)));
        Subnet { first, prefix, first6: unique_local(host, first) }
    }

    /// The one that starts here, if there is one of this purpose.
    fn starting_at(host: MachineId, purpose: Purpose, first: Ipv4Addr) -> Option<Subnet> {
        let prefix = purpose.prefix();
        let block = IpNet::around(first.into(), prefix);
        let ours = purpose.pools().iter().any(|(pool, bits)| IpNet::around((*pool).into(), *bits).covers(block));
        (ours && block.first() == IpAddr::from(first)).then(|| Subnet { first, prefix, first6: unique_local(host, first) })
    }

    /// The IPv4 block.
    pub fn net4(&self) -> IpNet {
        IpNet::around(self.first.into(), self.prefix)
    }

    /// The IPv6 block.
    pub fn net6(&self) -> IpNet {
        IpNet::around(self.first6.into(), 64)
    }

    /// The gateway's IPv4 address: the first that a host can have.
    pub fn gateway(&self) -> Ipv4Addr {
        self.host(1)
    }

    /// The gateway's IPv6 address.
    pub fn gateway6(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.first6.to_bits() | 1)
    }

    /// The IPv4 address of the one machine of a [`Purpose::Machine`]; in a zone see [`Leases::join`]. Its IPv6 address is made of its
    /// hardware address: [`Mac::address_in`](crate::Mac::address_in).
    pub fn machine(&self) -> Ipv4Addr {
        self.host(2)
    }

    fn host(&self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first.to_bits() + n)
    }

    /// Whether a route leads to a part of it. Routes to everywhere don't count; nor, if it is `ours` already, do routes within it.
    fn collides(&self, taken: &[IpNet], ours: bool) -> bool {
        [self.net4(), self.net6()].iter().any(|net| {
            let shortest = if net.first().is_ipv4() { SHORTEST4 } else { SHORTEST6 };
            taken.iter().any(|t| t.prefix() >= shortest && t.overlaps(*net) && !(ours && net.covers(*t)))
        })
    }
}

fn slots(pool: u8, purpose: Purpose) -> u64 {
    1 << (purpose.prefix() - pool)
}

/// `fd`, 36 bits of the host's, and 20 that tell the 16 addresses' block among those of all pools: RFC 4193 asks for 40 that are random.
fn unique_local(host: MachineId, first: Ipv4Addr) -> Ipv6Addr {
    let site = u128::from(siphash24(host.bytes(), b"unique local addresses") >> 28);
    let block = match first.octets() {
        [10, ..] => (first.to_bits() & 0x7f_ffff) >> 4,
        _ => 1 << 19 | (first.to_bits() & 0x1_ffff) >> 4,
    };
    Ipv6Addr::from_bits(0xfd << 120 | site << 84 | u128::from(block) << 64)
}

/// "10.159.227.32/28 and fd29:5d55:50d1:fe32::/64"
impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.net4(), self.net6())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const HOST: MachineId = MachineId::new(*b"0123456789abcdef");

    #[test]
    fn all_choices_differ_in_both_families_and_end() {
        for (purpose, count) in [(Purpose::Machine, (1 << 18) + (1 << 12)), (Purpose::Zone, (1 << 14) + (1 << 8))] {
            let all: Vec<Subnet> = Subnet::choices(HOST, purpose, "web", &[]).collect();
            assert_eq!(all.len(), count);
            assert_eq!(all.iter().map(|s| s.first).collect::<HashSet<_>>().len(), count);
            assert_eq!(all.iter().map(|s| s.first6).collect::<HashSet<_>>().len(), count);
            assert_eq!(all[0], Subnet::first_choice(HOST, purpose, "web"));
            let elsewhere = Subnet::choices(HOST, purpose, "web", &["10.0.0.0/8".parse().unwrap()]).next().unwrap();
            assert_eq!(elsewhere.first.octets()[0], 198);
        }
    }

    #[test]
    fn machines_and_zones_never_meet_and_none_is_anybody_elses() {
        let nets = |text: &str| text.split(' ').map(|n| n.parse::<IpNet>().unwrap()).collect::<Vec<_>>();
        let pools = nets("10.128.0.0/10 198.18.0.0/16 10.192.0.0/10 198.19.0.0/16");
        for (n, pool) in pools.iter().enumerate() {
            assert!(pools[n + 1..].iter().all(|other| !other.overlaps(*pool)));
            assert!(nets("10.0.0.0/9 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16").iter().all(|n| !n.overlaps(*pool)));
        }
    }

    #[test]
    fn routes_collide_but_those_to_everywhere_and_ones_own() {
        let subnet = Subnet::first_choice(HOST, Purpose::Machine, "web");
        let net = |text: &str| vec![text.parse::<IpNet>().unwrap()];
        assert!(subnet.collides(&net("10.0.0.0/8"), true));
        assert!(subnet.collides(&[IpNet::around(subnet.machine().into(), 32)], false));
        assert!(!subnet.collides(&[subnet.net4(), IpNet::around(subnet.gateway().into(), 32)], true));
        assert!(subnet.collides(&[subnet.net6()], false) && !subnet.collides(&[subnet.net6()], true));
        for everywhere in ["0.0.0.0/0", "0.0.0.0/1", "::/0", "fc00::/7", "172.17.0.0/16"] {
            assert!(!subnet.collides(&net(everywhere), false), "{everywhere}");
        }
    }

    #[test]
    fn a_subnet_is_found_by_its_start_only() {
        let subnet = Subnet::first_choice(HOST, Purpose::Zone, "lan");
        assert_eq!(Subnet::starting_at(HOST, Purpose::Zone, subnet.first), Some(subnet));
        assert_eq!(Subnet::starting_at(HOST, Purpose::Zone, subnet.host(1)), None);
        assert_eq!(Subnet::starting_at(HOST, Purpose::Machine, subnet.first), None);
        assert_eq!(Subnet::starting_at(HOST, Purpose::Zone, Ipv4Addr::new(10, 1, 0, 0)), None);
    }
}
