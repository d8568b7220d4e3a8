//! Machines' names and addresses, shared by those who serve them.

use crate::error::{Doing, Error, Kind, Result};
use crate::sys::{self, Lock};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// A file has an address in each of at most 16 lines.
const LONGEST: u64 = 1024;
const MOST: usize = 16;
const LOCK: &str = "fcntl(F_OFD_SETLK)";

/// Who knows machines' addresses: a [`MachineNames`], or a function.
pub trait Names {
    /// The addresses of the machine of this name, which is in small letters; `None` if there is no such machine.
    fn addresses(&mut self, name: &str) -> Option<Vec<IpAddr>>;
}

impl<F: FnMut(&str) -> Option<Vec<IpAddr>>> Names for F {
    fn addresses(&mut self, name: &str) -> Option<Vec<IpAddr>> {
        self(name)
    }
}

/// A directory of machines, a file for each with its addresses, as `/run/nskit/names/ZONE`: what all who serve a zone answer from.
///
/// A file counts for as long as its publisher has it locked (`F_OFD_SETLK`, Linux 3.15), however he ends.
#[derive(Clone, Debug)]
pub struct MachineNames {
    directory: Arc<OwnedFd>,
}

/// A machine in a [`MachineNames`], until it is dropped.
#[derive(Debug)]
pub struct Published {
    names: MachineNames,
    name: String,
    file: File,
}

impl MachineNames {
    /// The directory, made where it is missing (0755).
    pub fn open(path: &Path) -> Result<MachineNames> {
        let what = format!("open the machines' names in {}", path.as_os_str().as_encoded_bytes().escape_ascii());
        match mkdirat(CWD, path, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e).doing(&what, "mkdir"),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(CWD, path, flags, Mode::empty()).doing(&what, "open")?;
        Ok(MachineNames { directory: Arc::new(directory) })
    }

    /// Publishes a machine's addresses; the first 16 count. [`Kind::Invalid`] for what is no host's name, [`Kind::Exists`] where another
    /// publishes it.
    pub fn publish(&self, name: &str, addresses: &[IpAddr]) -> Result<Published> {
        let what = format!("publish the addresses of {}", name.escape_debug());
        let name = name.to_ascii_lowercase();
        if !is_host(&name) {
            return Err(Error::refused(Kind::Invalid, what, "letters, digits, hyphens and dots make a name"));
        }
        if self.read(&name).is_some() {
            return Err(Error::refused(Kind::Exists, what, "somebody else does so"));
        }
        let file = self.write(&what, &name, addresses)?;
        Ok(Published { names: self.clone(), name, file })
    }

    /// Complete and locked before it has its name.
    fn write(&self, what: &str, name: &str, addresses: &[IpAddr]) -> Result<File> {
        let new = format!(".{name}");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Left by a crash; nobody else publishes this name.
        let _ = unlinkat(&self.directory, &new, AtFlags::empty());
        let mut file: File = openat(&self.directory, &new, flags, Mode::from_raw_mode(0o644)).doing(what, "open")?.into();
        sys::lock(file.as_fd(), Lock::Alone).doing(what, LOCK)?;
        let text: String = addresses.iter().take(MOST).map(|a| format!("{a}\n")).collect();
        file.write_all(text.as_bytes()).map_err(|e| Error::kernel(what, "write", e.raw_os_error().unwrap_or(libc::EIO), ""))?;
        renameat(&self.directory, &new, &self.directory, name).doing(what, "rename")?;
        Ok(file)
    }

    fn read(&self, name: &str) -> Option<Vec<IpAddr>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&*self.directory, name, flags, Mode::empty()).ok()?;
        sys::is_locked(file.as_fd()).ok().filter(|locked| *locked)?;
        let mut text = String::new();
        File::from(file).take(LONGEST).read_to_string(&mut text).ok()?;
        Some(text.lines().filter_map(|line| line.parse().ok()).take(MOST).collect())
    }
}

impl Names for MachineNames {
    fn addresses(&mut self, name: &str) -> Option<Vec<IpAddr>> {
        if is_host(name) { self.read(name) } else { None }
    }
}

impl Published {
    /// Publishes other addresses in place of those before.
    pub fn change(&mut self, addresses: &[IpAddr]) -> Result<()> {
        let what = format!("publish the addresses of {}", self.name);
        self.file = self.names.write(&what, &self.name, addresses)?;
        Ok(())
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // What stays isn't locked, and so says nothing.
        let _ = unlinkat(&self.names.directory, &self.name, AtFlags::empty());
    }
}

/// A name that is no file's of ours or of the system's.
fn is_host(name: &str) -> bool {
    let label = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
    (1..=100).contains(&name.len()) && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_while_its_publisher_lives() {
        let directory = tempfile::tempdir().unwrap();
        let mut names = MachineNames::open(directory.path()).unwrap();
        let addresses: Vec<IpAddr> = vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let mut web = names.publish("Web", &addresses).unwrap();
        assert_eq!(names.addresses("web"), Some(addresses.clone()));
        assert_eq!(names.publish("web", &[]).unwrap_err().kind(), Kind::Exists);
        web.change(&addresses[1..]).unwrap();
        assert_eq!(names.addresses("web"), Some(addresses[1..].to_vec()));
        drop(web);
        assert_eq!(names.addresses("web"), None);
        // Killed: the file stays, the lock doesn't.
        std::fs::write(directory.path().join("web"), "10.0.0.9\n").unwrap();
        assert_eq!(names.addresses("web"), None);
        drop(names.publish("web", &[]).unwrap());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let names = MachineNames::open(directory.path()).unwrap();
        for bad in ["", ".", "..", "../x", "/etc/hosts", ".web", "a..b", "a b", "ä", &"x".repeat(101)] {
            assert_eq!(names.publish(bad, &[]).unwrap_err().kind(), Kind::Invalid, "{bad}");
        }
    }
}
