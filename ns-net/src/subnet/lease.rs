//! Leases: files in a directory, held by locks that end with their holders.

use super::{Purpose, Subnet, hash};
use crate::error::{Doing, Error, Kind, Result};
use crate::ipnet::IpNet;
use crate::machine::MachineId;
use crate::sys::{self, Lock};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long somebody else who takes the same name's lease is waited for: it takes him well below a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_micros(200);
/// A file has an address in it.
const LONGEST: u64 = 64;
/// So that a file's name, with what is put before it, fits.
const LONGEST_NAME: usize = 100;

/// The directory in which a host's subnets are leased, as `/run/nskit/subnets`.
///
/// A lease is two files: one by the name, with the subnet in it, one by the subnet. Both are locked (`F_OFD_SETLK`, Linux 3.15) for as
/// long as the lease is held by anybody, and so are free at once when its holders end, however they do. What is left tells the next of
/// that name where it was, so that it has the same subnet again, unless another has taken it meanwhile; nothing has to be cleaned up.
#[derive(Debug)]
pub struct Leases {
    directory: OwnedFd,
    path: PathBuf,
    host: MachineId,
}

/// A subnet that is its holders' until the last one drops it.
#[derive(Debug)]
pub struct Lease {
    subnet: Subnet,
    _name: File,
    _slot: File,
}

/// A machine's address in a zone's subnet, until it is dropped.
#[derive(Debug)]
pub struct MemberLease {
    address: Ipv4Addr,
    _name: File,
    _slot: File,
}

impl Lease {
    /// What was leased.
    pub fn subnet(&self) -> Subnet {
        self.subnet
    }
}

impl MemberLease {
    /// What was leased.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}

/// What was found under a name.
enum Found {
    /// Others hold this, and we with them now.
    Shared(Ipv4Addr),
    /// Nobody else: we are alone with the file; what was there before.
    Alone(Option<Ipv4Addr>),
}

impl Leases {
    /// The directory, made where it is missing (0755), for a host of this machine id.
    pub fn open(path: &Path, host: MachineId) -> Result<Leases> {
        let what = format!("open the leases in {}", path.escape());
        match mkdirat(CWD, path, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e).doing(&what, "mkdir"),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(CWD, path, flags, Mode::empty()).doing(&what, "open")?;
        Ok(Leases { directory, path: path.to_owned(), host })
    }

    /// Leases the subnet of this name: the one that others of the same name and purpose hold now, or the one it had before, or the first
    /// of its choices that nobody else holds and that overlaps with nothing in `taken`: the host's routes and what is to be avoided.
    ///
    /// Any number of callers may do so at a time: equal names get the same, different names different subnets. [`Kind::Invalid`]: the name
    /// can't be a file's, or is longer than 100 bytes. [`Kind::NotFound`]: all are taken.
    pub fn take(&self, purpose: Purpose, name: &str, taken: &[IpNet]) -> Result<Lease> {
        let what = format!("lease a subnet for {}", name.escape_debug());
        let (by_name, found) = self.named(&what, purpose.word(), name)?;
        let before = match found {
            Found::Shared(first) => {
                let subnet = Subnet::starting_at(self.host, purpose, first).ok_or_else(|| garbled(&what))?;
                let slot = self.slot(&what, &subnet.net4().to_string(), Lock::Shared)?.ok_or_else(|| garbled(&what))?;
                return Ok(Lease { subnet, _name: by_name, _slot: slot });
            }
            Found::Alone(first) => first.and_then(|first| Subnet::starting_at(self.host, purpose, first)),
        };
        let before = before.into_iter().filter(|s| !s.collides(taken, true));
        let fresh = Subnet::choices(self.host, purpose, name, taken).filter(|s| !s.collides(taken, false));
        let mut free = before.chain(fresh).filter_map(|subnet| {
            let slot = self.slot(&what, &subnet.net4().to_string(), Lock::Alone).transpose()?;
            Some(slot.map(|slot| (subnet, slot)))
        });
        let (subnet, slot) = free.next().ok_or_else(|| none_left(&what, "the host routes, or other machines have, all subnets"))??;
        self.share(&what, &by_name, &slot, subnet.first)?;
        Ok(Lease { subnet, _name: by_name, _slot: slot })
    }

    /// Leases a machine's address in a zone's subnet, whose lease must be held: the same each time unless another machine has it. A second
    /// caller of the same machine gets the same one.
    pub fn join(&self, zone: &Lease, machine: &str) -> Result<MemberLease> {
        let net = zone.subnet.net4();
        let what = format!("lease an address of {net} for {}", machine.escape_debug());
        let (by_name, found) = self.named(&what, &format!("{}-{}", zone.subnet.first, net.prefix()), machine)?;
        let of = |address: Ipv4Addr| format!("{address}-{}", net.prefix());
        let ours = |a: &Ipv4Addr| net.contains((*a).into());
        let before = match found {
            Found::Shared(address) => {
                let slot = self.slot(&what, &of(address), Lock::Shared)?.filter(|_| ours(&address)).ok_or_else(|| garbled(&what))?;
                return Ok(MemberLease { address, _name: by_name, _slot: slot });
            }
            Found::Alone(address) => address.filter(ours),
        };
        // Not the first, the gateway's and the last.
        let hosts = (1 << (32 - net.prefix())) - 3;
        let hash = (hash(self.host, "address", machine) % u64::from(hosts)) as u32;
        let choices = (0..hosts).map(|n| zone.subnet.host(2 + (hash + n) % hosts));
        let mut free = before.into_iter().chain(choices).filter_map(|address| {
            let slot = self.slot(&what, &of(address), Lock::Alone).transpose()?;
            Some(slot.map(|slot| (address, slot)))
        });
        let (address, slot) = free.next().ok_or_else(|| none_left(&what, "other machines have all addresses of the zone"))??;
        self.share(&what, &by_name, &slot, address)?;
        Ok(MemberLease { address, _name: by_name, _slot: slot })
    }

    /// The file of a name, locked: shared with those who hold the lease, or alone where nobody does.
    fn named(&self, what: &str, kind: &str, name: &str) -> Result<(File, Found)> {
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains(['/', '\0']) {
            return Err(Error::refused(Kind::Invalid, what, "the name can't be a file's, or is longer than 100 bytes"));
        }
        let file = self.file(what, &format!("{kind}:{name}"))?;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if sys::lock(file.as_fd(), Lock::Alone).doing(what, LOCK)? {
                let before = address_in(&file);
                return Ok((file, Found::Alone(before)));
            }
            // Not while one who is alone with it writes.
            if sys::lock(file.as_fd(), Lock::Shared).doing(what, LOCK)? {
                match self.shared(&file, what)? {
                    Some(address) => return Ok((file, Found::Shared(address))),
                    None => continue,
                }
            }
            sleep(PAUSE);
        }
        Err(Error::refused(Kind::Changing, what, "somebody has been taking the same lease for 2 s"))
    }

    /// The address, if others hold it still: a lock that we have alone now says that they have just ended.
    fn shared(&self, file: &File, what: &str) -> Result<Option<Ipv4Addr>> {
        match sys::is_locked(file.as_fd()).doing(what, LOCK)? {
            true => Ok(address_in(file)),
            false => Ok(None),
        }
    }

    /// The file of a subnet or address, locked; `None` where others have it.
    fn slot(&self, what: &str, of: &str, lock: Lock) -> Result<Option<File>> {
        let file = self.file(what, &of.replace('/', "-"))?;
        let locked = sys::lock(file.as_fd(), lock).doing(what, LOCK)?;
        Ok(locked.then_some(file))
    }

    /// Writes down what was taken, and lets others of the name have it too.
    fn share(&self, what: &str, by_name: &File, slot: &File, address: Ipv4Addr) -> Result<()> {
        let text = format!("{address}\n");
        let written = by_name.set_len(0).and_then(|()| by_name.write_all_at(text.as_bytes(), 0));
        written.map_err(|e| Error::kernel(what, "write", e.raw_os_error().unwrap_or(libc::EIO), ""))?;
        // From exclusive to shared: nobody can come between.
        for file in [slot, by_name] {
            sys::lock(file.as_fd(), Lock::Shared).doing(what, LOCK)?;
        }
        Ok(())
    }

    fn file(&self, what: &str, name: &str) -> Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(&self.directory, name, flags, Mode::from_raw_mode(0o644));
        opened.map(File::from).doing(&format!("{what} in {}", self.path.escape()), "open")
    }
}

const LOCK: &str = "fcntl(F_OFD_SETLK)";

fn address_in(file: &File) -> Option<Ipv4Addr> {
    let mut text = String::new();
    let mut from_start = file;
    std::io::Seek::rewind(&mut from_start).ok()?;
    from_start.take(LONGEST).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

fn garbled(what: &str) -> Error {
    Error::refused(Kind::Garbled, what, "the lease that others hold is none of these")
}

fn none_left(what: &str, why: &str) -> Error {
    Error::refused(Kind::NotFound, what, why).because(Kind::NotFound, "choose the address yourself")
}

impl Purpose {
    const fn word(self) -> &'static str {
        match self {
            Purpose::Machine => "machine",
            Purpose::Zone => "zone",
        }
    }
}

/// Paths as errors print them.
trait Escape {
    fn escape(&self) -> String;
}

impl Escape for Path {
    fn escape(&self) -> String {
        self.as_os_str().as_encoded_bytes().escape_ascii().to_string()
    }
}

#[cfg(test)]
mod tests;
