//! A zone: a bridge that is there while it has members. Nobody leads it.

use super::{IfName, MachineId, Socket};
use crate::Error;
use crate::registry::{Places, ZoneLock};
use crate::settings::Zone;
use ns_net::{Bridge, Kind, Link, Mac};
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A port that is one for longer is a member's.
const GRACE: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(4);

/// The bridge of a zone, as a value.
#[derive(Debug)]
pub(super) struct ZoneBridge {
    name: IfName,
    bridge: Bridge,
    places: Places,
}

impl ZoneBridge {
    pub fn new(zone: &Zone, host: MachineId, places: &Places) -> Result<ZoneBridge, Error> {
        let name = format!("vz-{}", zone.as_str());
        // Every member would make the same: a bridge that took its ports' addresses would change its own.
        let mac = Mac::of_machine(ns_net::End::Host, host, &name, 0);
        let name = IfName::new(&name).map_err(Error::host)?;
        Ok(ZoneBridge { name, bridge: Bridge::new(name).mac(mac), places: places.clone() })
    }

    pub fn name(&self) -> IfName {
        self.name
    }

    /// Finds it, or makes it. As long as the answer lives nobody removes it.
    pub fn join(&self, host: &mut Socket) -> Result<ZoneLock, Error> {
        let lock = ZoneLock::take(&self.places)?;
        match Bridge::find(host, self.name) {
            Err(e) if e.kind() == Kind::NotFound => self.bridge.apply(host).map(drop),
            found => found.map(drop),
        }
        .map_err(Error::host)?;
        Ok(lock)
    }

    /// Removes it if nobody is a member any more.
    pub fn leave(&self) -> Result<(), Error> {
        let _lock = ZoneLock::take(&self.places)?;
        let mut host = Socket::open().map_err(Error::host)?;
        let bridge = match Bridge::find(&mut host, self.name) {
            Err(e) if e.kind() == Kind::NotFound => return Ok(()),
            found => found.map_err(Error::host)?,
        };
        // The link of a container that has just ended, ours say, is there for some milliseconds more, and so may its namespace be.
        let began = Instant::now();
        while has_members(&mut host, &bridge)? {
            if began.elapsed() > GRACE {
                return Ok(());
            }
            sleep(PAUSE);
        }
        match Link::delete(&mut host, &bridge) {
            Err(e) if e.kind() == Kind::NotFound => Ok(()),
            deleted => deleted.map_err(Error::host),
        }
    }
}

fn has_members(host: &mut Socket, bridge: &Link) -> Result<bool, Error> {
    let links = Link::list(host).map_err(Error::host)?;
    Ok(links.iter().filter(|link| link.master == Some(bridge.index)).any(|port| !port.is_leftover(host)))
}

impl fmt::Display for ZoneBridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bridge)
    }
}
