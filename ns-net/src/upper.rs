//! What macvlan and ipvlan have in common: a link on top of another, made straight in the namespace where it will be used.

use crate::error::{Error, Kind, Result};
use crate::ifname::IfName;
use crate::link::{IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU, Link, LinkFlags, LinkRef, ifinfomsg};
use crate::mac::Mac;
use crate::machine::LinkName;
use crate::message::{Batch, Call, Flags, Message};
use crate::socket::Socket;
use linux_raw_sys::netlink as nl;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(2);

/// A link to be made on top of `lower`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upper {
    pub kind: &'static str,
    pub lower: LinkRef,
    pub name: LinkName,
    pub mac: Option<Mac>,
    pub mtu: Option<u32>,
}

impl Upper {
    pub fn new(kind: &'static str, lower: LinkRef, name: LinkName) -> Upper {
        Upper { kind, lower, name, mac: None, mtu: None }
    }

    /// Makes it in the namespace of `container`; the lower link is one of `host`'s. `data`: the attributes of its kind.
    pub fn apply(&self, container: &mut Socket, host: &mut Socket, data: impl Fn(Message) -> Message) -> Result<Link> {
        let lower = Link::get(host, self.lower.clone()).map_err(|e| match e.kind() {
            Kind::NotFound => e.because(Kind::NotFound, format!("there is no link {} to make a {} on", self.lower, self.kind)),
            _ => e,
        })?;
        let namespace = container.namespace()?;
        let mut batch = Batch::new();
        batch.add(
            format_args!("make {} {} on {}", self.kind, self.name.name, self.lower),
            self.message(lower.index, namespace.as_fd(), data),
        );
        self.make(host, &batch)?;
        let made = self.name.altname.iter().cloned().fold(crate::Change::of(self.name.name), crate::Change::altname);
        made.apply(container)
    }

    /// The link of a container that has just ended has its address for some milliseconds more.
    fn make(&self, host: &mut Socket, batch: &Batch) -> Result<()> {
        let start = Instant::now();
        loop {
            match host.run(batch) {
                Err(e) if e.errno() == Some(libc::EADDRINUSE) && start.elapsed() < PATIENCE => sleep(PAUSE),
                made => return made.map(drop).map_err(|e| self.explain(e)),
            }
        }
    }

    pub fn message(&self, lower: u32, namespace: BorrowedFd<'_>, data: impl Fn(Message) -> Message) -> Message {
        Message::new(Call::NEWLINK, Flags::CREATE | Flags::EXCL)
            .fixed(&ifinfomsg(0, LinkFlags::UP, LinkFlags::UP))
            .string(IFLA_IFNAME, self.name.name.as_bytes())
            .with(self.mac, |m, mac| m.attribute(IFLA_ADDRESS, &mac.octets()))
            .with(self.mtu, |m, mtu| m.number(IFLA_MTU, mtu))
            .number(nl::IFLA_LINK as u16, lower)
            .number(nl::IFLA_NET_NS_FD as u16, namespace.as_raw_fd() as u32)
            .nest(IFLA_LINKINFO, |m| m.string(IFLA_INFO_KIND, self.kind.as_bytes()).nest(nl::IFLA_INFO_DATA as u16, &data))
    }

    fn explain(&self, e: Error) -> Error {
        match e.errno() {
            Some(libc::EOPNOTSUPP) => e.because(Kind::Unsupported, format!("this kernel has no {}: `modprobe {}`", self.kind, self.kind)),
            Some(libc::EBUSY) => e.because(Kind::Exists, format!("{} is a port, or has links of another kind on it", self.lower)),
            Some(libc::EADDRINUSE) => e.because(Kind::Exists, format!("another link on {} has the hardware address", self.lower)),
            _ => e,
        }
    }

    /// "ip link add link eth0 name mv-eth0 netns container up type macvlan"
    pub fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip link add link {} name {} netns container", self.lower, self.name.name)?;
        self.mac.iter().try_for_each(|mac| write!(f, " address {mac}"))?;
        self.mtu.iter().try_for_each(|mtu| write!(f, " mtu {mtu}"))?;
        write!(f, " up type {}", self.kind)
    }

    /// The further names that the command doesn't give it.
    pub fn write_altnames(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of: IfName = self.name.name;
        self.name.altname.iter().try_for_each(|name| write!(f, "\nip -n container link property add dev {of} altname {name}"))
    }
}
