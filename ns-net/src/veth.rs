//! A veth pair between a container and its host.

use crate::address::Address;
use crate::bridge::Bridge;
use crate::change::{Change, altnames_message};
use crate::error::{Error, Kind, Result};
use crate::ifname::IfName;
use crate::link::{IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU, Link, LinkFlags, LinkRef, ifinfomsg};
use crate::mac::Mac;
use crate::machine::{End, LinkName, MachineId, Prefix};
use crate::message::{Batch, Call, Flags, Message};
use crate::route::Route;
use crate::socket::Socket;
use linux_raw_sys::netlink as nl;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a name is tried for when the link that has it is going away.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a veth that looks alive is watched: sockets of ended processes hold their network namespace until the next grace period.
const GRACE: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(2);

/// A veth pair to be made, `veth(4)`: one end in a container's network namespace, the other on the host.
///
/// It is made in the container's namespace with the peer out on the host, in one message: a link is never moved, which takes 35 ms. Nothing
/// has to be undone when the container ends, since the kernel removes both ends with its namespace.
///
/// ```
/// use ns_net::{IfName, MachineId, Veth};
/// let id: MachineId = "0123456789abcdef0123456789abcdef".parse()?;
/// let veth = Veth::port_of_machine("web", id, IfName::new("br0")?)?;
/// assert_eq!(veth.to_string(), "\
/// ip -n container link add name host0 up address da:fb:5c:16:4a:cc type veth peer name vb-web address 3a:23:55:9e:93:59 netns host
/// ip link set dev vb-web master br0 up");
/// # Ok::<(), ns_net::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veth {
    container: VethEnd,
    host: VethEnd,
    host_name: LinkName,
    mtu: Option<u32>,
    bridge: Option<IfName>,
    flags: LinkFlags,
    alias: Option<Box<str>>,
    taken: Taken,
    addresses: [Vec<Address>; 2],
    routes: Vec<Route>,
}

/// What becomes of a living veth with the host's end's name and hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Refuse,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct VethEnd {
    name: IfName,
    mac: Option<Mac>,
    index: Option<u32>,
}

/// The two ends of a pair that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VethPair {
    /// The host's end.
    pub host: Link,
    /// The container's end.
    pub container: Link,
}

impl VethPair {
    /// Deletes the pair, by the host's end; that it is gone already is no error. Takes 30 to 40 ms, and isn't needed when the container
    /// ends.
    pub fn close(self, host: &mut Socket) -> Result<()> {
        found(Link::delete(host, &self.host)).map(drop)
    }
}

impl Veth {
    /// A pair with these names, whose addresses the kernel chooses. Both ends will be up.
    pub fn new(host: impl Into<LinkName>, container: IfName) -> Veth {
        let host_name = host.into();
        let end = |name| VethEnd { name, mac: None, index: None };
        Veth {
            container: end(container),
            host: end(host_name.name),
            host_name,
            mtu: None,
            bridge: None,
            flags: LinkFlags::UP,
            alias: None,
            taken: Taken::Refuse,
            addresses: Default::default(),
            routes: Vec::new(),
        }
    }

    /// The pair of a machine: `ve-NAME` on the host, `host0` inside, addresses by [`Mac::of_machine`].
    pub fn of_machine(machine: &str, host: MachineId) -> Result<Veth> {
        Veth::named(Prefix::Veth, machine, host)
    }

    /// The same as a bridge's port: `vb-NAME`.
    pub fn port_of_machine(machine: &str, host: MachineId, bridge: IfName) -> Result<Veth> {
        Ok(Veth::named(Prefix::Port, machine, host)?.port_of(bridge))
    }

    fn named(prefix: Prefix, machine: &str, host: MachineId) -> Result<Veth> {
        let veth = Veth::new(LinkName::of(prefix, machine)?, IfName::HOST0);
        Ok(veth.host_mac(Mac::of_machine(End::Host, host, machine, 0)).container_mac(Mac::of_machine(End::Container, host, machine, 0)))
    }

    /// The host's end's hardware address.
    pub fn host_mac(mut self, mac: Mac) -> Veth {
        self.host.mac = Some(mac);
        self
    }

    /// The container's end's hardware address.
    pub fn container_mac(mut self, mac: Mac) -> Veth {
        self.container.mac = Some(mac);
        self
    }

    /// The host's end's index, so that later messages can name it before the pair is made; `EBUSY` where it is taken.
    pub fn host_index(mut self, index: u32) -> Veth {
        self.host.index = Some(index);
        self
    }

    /// The container's end's index.
    pub fn container_index(mut self, index: u32) -> Veth {
        self.container.index = Some(index);
        self
    }

    /// An address of the host's end, given in the send that brings it up. [`Kind::Invalid`] as for [`Address::new`].
    pub fn host_address(mut self, ip: IpAddr, prefix: u8) -> Result<Veth> {
        let address = Address::new(self.host.name, ip, prefix)?;
        self.addresses[0].push(address);
        Ok(self)
    }

    /// An address of the container's end, given before it has a carrier: in the same send where its index was chosen
    /// ([`Veth::container_index`]).
    pub fn container_address(mut self, ip: IpAddr, prefix: u8) -> Result<Veth> {
        let address = Address::new(self.container.name, ip, prefix)?;
        self.addresses[1].push(address);
        Ok(self)
    }

    /// The container's default route of this family.
    pub fn container_gateway(mut self, gateway: IpAddr) -> Veth {
        self.routes.push(Route::via(gateway, self.container.name));
        self
    }

    /// Largest packet in bytes, of both ends.
    pub fn mtu(self, mtu: u32) -> Veth {
        Veth { mtu: Some(mtu), ..self }
    }

    /// Makes the host's end a port of an existing bridge.
    pub fn port_of(self, bridge: IfName) -> Veth {
        Veth { bridge: Some(bridge), ..self }
    }

    /// Leaves both ends down: for a caller who serves DHCP, and so wants to be there before the carrier.
    pub fn down(self) -> Veth {
        Veth { flags: LinkFlags::empty(), ..self }
    }

    /// A note at the host's end that tells whose it is, at most 255 bytes: [`Link::alias`].
    pub fn alias(self, note: &str) -> Veth {
        Veth { alias: Some(note.into()), ..self }
    }

    /// What the host's end is called.
    pub fn host_name(&self) -> &LinkName {
        &self.host_name
    }

    /// Deletes a left-over: a veth on the host that has this very name, hardware address and alias, though its container's namespace still
    /// lives.
    ///
    /// A killed container's open TCP connections can hold the namespace, and so the pair, for minutes. For callers who hold a lock on the
    /// machine's name, and so know that nobody uses the pair. Takes 30 to 40 ms when it happens.
    pub fn replace(self) -> Veth {
        Veth { taken: Taken::Delete, ..self }
    }

    /// Makes the pair, its addresses and its routes, in two sends (three where addresses of the container's end don't know its index);
    /// on failure nothing is left of it.
    ///
    /// `container` and `host` are sockets in the two namespaces. The bridge is looked for first ([`Kind::NotFound`],
    /// [`Kind::NotABridge`]).
    ///
    /// [`Kind::Exists`]: a link has one of the names. The host's end of a container that has just been stopped keeps its name for 20 to
    /// 60 ms: one whose other end's namespace has ended is renamed to `goneINDEX`, and vanishes under that name. Any other veth is watched
    /// for 100 ms, whether its namespace ends.
    pub fn apply(&self, container: &mut Socket, host: &mut Socket) -> Result<VethPair> {
        let bridge = self.bridge.map(|name| Bridge::find(host, name)).transpose()?;
        let inside = self.make(container, host)?;
        let finished = match inside.peer {
            Some(index) => self.finish(index, bridge.map(|b| b.index), host),
            None => Err(Error::refused(Kind::Garbled, self.title(), "RTM_GETLINK: the new link has no peer")),
        };
        let finished = finished.and_then(|outside| Ok(VethPair { host: outside, container: Link::get(container, &inside)? }));
        if finished.is_err() {
            // The first failure is told; what can't be deleted ends with the container's namespace.
            let _ = Link::delete(container, &inside);
        }
        finished
    }

    /// The pair itself; the container's end, which names the index of the other.
    fn make(&self, container: &mut Socket, host: &mut Socket) -> Result<Link> {
        let namespace = host.namespace()?;
        let link = LinkRef::Name(self.container.name);
        let mut batch = Batch::new();
        batch.add(self.title(), self.message(std::os::fd::AsFd::as_fd(&namespace)));
        batch.add(format_args!("look at {link}"), Link::query(&link));
        if let Some(index) = self.container.index {
            self.train(index, &mut batch);
        }
        let start = Instant::now();
        loop {
            match self.try_to_make(&batch, &link, container) {
                Err(e) if e.kind() == Kind::Exists && start.elapsed() < PATIENCE => self.free_the_name(e, container, host)?,
                made => return made,
            }
        }
    }

    fn try_to_make(&self, batch: &Batch, link: &LinkRef, container: &mut Socket) -> Result<Link> {
        let done = container.0.run_all(batch)?;
        if done.failed.first().is_some_and(|(n, _)| *n == 0) {
            self.take_back(&done.failed, container);
            return done.finish().and_then(|answers| Link::of_answers(&answers, link));
        }
        let made = Link::of_answers(&done.answers, link)?;
        let mut rest = Batch::new();
        if self.container.index.is_none() {
            self.train(made.index, &mut rest);
        }
        if let Err(e) = done.finish().and_then(|_| container.run(&rest)) {
            // The first failure is told; what can't be deleted ends with the container's namespace.
            let _ = Link::delete(container, &made);
            return Err(e);
        }
        Ok(made)
    }

    /// What the container's end gets when it is there.
    fn train(&self, index: u32, batch: &mut Batch) {
        for address in &self.addresses[1] {
            batch.add(address.title(), address.message(index));
        }
        for route in &self.routes {
            batch.add(route.title(), route.message(Call::NEWROUTE, Flags::CREATE | Flags::EXCL, index));
        }
    }

    /// The pair was not made, but another link has the index that was chosen, and got the addresses: they are taken from it.
    fn take_back(&self, failed: &[(usize, Error)], container: &mut Socket) {
        let Some(index) = self.container.index else { return };
        let routes = self.routes.iter().map(|route| route.message(Call::DELROUTE, Flags::empty(), index));
        let removals = self.addresses[1].iter().map(|address| address.removal(index)).chain(routes);
        let mut batch = Batch::new();
        // After the pair itself and the look at it.
        for (_, removal) in (2..).zip(removals).filter(|(n, _)| failed.iter().all(|(at, _)| at != n)) {
            batch.add("take back", removal);
        }
        // The pair's failure is told.
        let _ = container.run(&batch);
    }

    /// Returns when it is worth another try.
    fn free_the_name(&self, e: Error, container: &mut Socket, host: &mut Socket) -> Result<()> {
        let start = Instant::now();
        while let Some(taken) = found(Link::get(host, self.host.name))? {
            let is_veth = taken.kind.as_deref() == Some("veth");
            if taken.is_leftover(host) {
                return set_aside(host, &taken);
            }
            if is_veth && self.taken == Taken::Delete && self.is_like(&taken) {
                return found(Link::delete(host, &taken)).map(drop);
            }
            if !is_veth || start.elapsed() > GRACE {
                return Err(e.because(Kind::Exists, format!("the host has a link of this name: {taken}")));
            }
            sleep(PAUSE);
        }
        if let Some(taken) = found(Link::get(container, self.container.name))? {
            return Err(e.because(Kind::Exists, format!("the container has a link of this name: {taken}")));
        }
        match self.container.index.map(|index| found(Link::get(container, index))).transpose()?.flatten() {
            Some(taken) => Err(e.because(Kind::Exists, format!("the container has a link of this index: {taken}"))),
            None => Ok(()),
        }
    }

    /// systemd-nspawn's links have our names and addresses: the alias tells them apart.
    fn is_like(&self, other: &Link) -> bool {
        let note = self.alias.as_deref().map(|note| note.as_bytes().escape_ascii().to_string());
        self.host.mac.is_some() && self.host.mac == other.mac && note == other.alias
    }

    /// What the kernel doesn't do while it makes a peer: master, altname, alias, up (`ENOTCONN` then).
    fn finish(&self, index: u32, bridge: Option<u32>, host: &mut Socket) -> Result<Link> {
        let change = Change::of(self.host.name);
        let change = if self.flags.contains(LinkFlags::UP) { change.up() } else { change };
        let change = bridge.into_iter().fold(change, Change::master);
        let change = self.host_name.altname.iter().cloned().fold(change, Change::altname);
        let change = self.alias.iter().fold(change, |change, note| change.alias(note));
        let link = LinkRef::Index(index);
        let mut batch = change.requests(index);
        for address in &self.addresses[0] {
            batch.add(address.title(), address.message(index));
        }
        batch.add(format_args!("look at {}", self.host.name), Link::query(&link));
        Link::of_answers(&host.run(&batch)?, &link)
    }

    pub(crate) fn message(&self, host: BorrowedFd<'_>) -> Message {
        Message::new(Call::NEWLINK, Flags::CREATE | Flags::EXCL)
            .fixed(&ifinfomsg(self.container.index.unwrap_or(0), self.flags, self.flags))
            .nested_end(&self.container, self.mtu)
            .nest(IFLA_LINKINFO, |m| {
                m.string(IFLA_INFO_KIND, b"veth").nest(nl::IFLA_INFO_DATA as u16, |m| {
                    m.nest_unmarked(VETH_INFO_PEER, |m| {
                        m.fixed(&ifinfomsg(self.host.index.unwrap_or(0), LinkFlags::empty(), LinkFlags::empty()))
                            .nested_end(&self.host, self.mtu)
                            .number(nl::IFLA_NET_NS_FD as u16, host.as_raw_fd() as u32)
                    })
                })
            })
    }

    fn title(&self) -> String {
        format!("make veth {}, peer {}", self.container.name, self.host.name)
    }
}

/// `None` where there is no such link (any more).
fn found<T>(done: Result<T>) -> Result<Option<T>> {
    match done {
        Err(e) if e.kind() == Kind::NotFound => Ok(None),
        done => done.map(Some),
    }
}

impl Link {
    /// Whether this is the end of a veth pair whose other end's namespace has ended: it vanishes by itself within some milliseconds.
    pub fn is_leftover(&self, socket: &mut Socket) -> bool {
        self.kind.as_deref() == Some("veth") && has_ended(socket, self.peer_namespace)
    }
}

/// Whether the namespace of this id has no users left: it can't be named as a target any more (`EINVAL`), while its links still exist.
fn has_ended(host: &mut Socket, namespace: Option<i32>) -> bool {
    let Some(id) = namespace else { return false };
    let mut batch = Batch::new();
    batch.add("look into a namespace", Link::query(&LinkRef::Index(1)).number(nl::IFLA_TARGET_NETNSID as u16, id as u32));
    host.run(&batch).is_err_and(|e| e.errno() == Some(libc::EINVAL))
}

/// Gives a link that will vanish by itself another name, and takes its further ones. Down first: before Linux 6.2 no link that is up is renamed.
fn set_aside(host: &mut Socket, link: &Link) -> Result<()> {
    let aside = IfName::new(&format!("gone{}", link.index))?;
    let mut batch = Change::of(link).down().rename(aside).requests(link.index);
    if !link.altnames.is_empty() {
        batch.add(
            format_args!("take the altnames of {}", link.name),
            altnames_message(Call::DELLINKPROP, Flags::empty(), link.index, &link.altnames),
        );
    }
    match host.run(&batch) {
        Err(e) if !matches!(e.kind(), Kind::NotFound | Kind::Exists | Kind::Other) => Err(e),
        // Gone meanwhile, or (`EBUSY`) about to go: tried again after a pause.
        Err(_) => {
            sleep(PAUSE);
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// `VETH_INFO_PEER` of linux/veth.h.
const VETH_INFO_PEER: u16 = 1;

impl Message {
    fn nested_end(self, end: &VethEnd, mtu: Option<u32>) -> Message {
        self.string(IFLA_IFNAME, end.name.as_bytes())
            .with(end.mac, |m, mac| m.attribute(IFLA_ADDRESS, &mac.octets()))
            .with(mtu, |m, mtu| m.number(IFLA_MTU, mtu))
    }
}

/// The commands of `ip(8)`, one a line, where namespaces called `host` and `container` have been added, and `ip` runs on the host.
impl fmt::Display for Veth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let up = self.flags.contains(LinkFlags::UP);
        write!(f, "ip -n container link add name {}{}", self.container.name, if up { " up" } else { "" })?;
        self.write_end(f, &self.container)?;
        write!(f, " type veth peer name {}", self.host.name)?;
        self.write_end(f, &self.host)?;
        f.write_str(" netns host")?;
        if up || self.bridge.is_some() || self.alias.is_some() {
            write!(f, "\nip link set dev {}", self.host.name)?;
            self.alias.iter().try_for_each(|note| write!(f, " alias \"{}\"", note.as_bytes().escape_ascii()))?;
            self.bridge.iter().try_for_each(|bridge| write!(f, " master {bridge}"))?;
            f.write_str(if up { " up" } else { "" })?;
        }
        self.host_name.altname.iter().try_for_each(|name| write!(f, "\nip link property add dev {} altname {name}", self.host.name))?;
        let [host, container] = &self.addresses;
        host.iter().try_for_each(|address| write!(f, "\n{address}"))?;
        let inside = |command: String| command.replacen("ip ", "ip -n container ", 1);
        container.iter().try_for_each(|address| write!(f, "\n{}", inside(address.to_string())))?;
        self.routes.iter().try_for_each(|route| write!(f, "\n{}", inside(route.to_string())))
    }
}

impl Veth {
    fn write_end(&self, f: &mut fmt::Formatter<'_>, end: &VethEnd) -> fmt::Result {
        end.index.iter().try_for_each(|index| write!(f, " index {index}"))?;
        end.mac.iter().try_for_each(|mac| write!(f, " address {mac}"))?;
        self.mtu.iter().try_for_each(|mtu| write!(f, " mtu {mtu}"))
    }
}
