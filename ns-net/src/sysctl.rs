//! A network namespace's sysctls.

use crate::error::{Error, Kind, Result};
use crate::netns::in_namespace;
use std::fmt;
use std::fs;
use std::os::fd::BorrowedFd;

/// Values below `/proc/sys/net`, in order.
///
/// Applied, they give the values that there were before as a value of the same type: to apply that is to undo it. A path has slashes, since
/// links' names may have dots.
///
/// ```
/// let sysctls = ns_net::Sysctls::new().set("net/ipv4/conf/ve-web/route_localnet", 1);
/// assert_eq!(sysctls.to_string(), "sysctl -w net/ipv4/conf/ve-web/route_localnet=1\n");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sysctls(Vec<(String, String)>);

impl Sysctls {
    /// None.
    pub fn new() -> Sysctls {
        Sysctls::default()
    }

    /// With one more, by its path below `/proc/sys`.
    pub fn set(mut self, path: impl fmt::Display, value: impl fmt::Display) -> Sysctls {
        self.0.push((path.to_string(), value.to_string()));
        self
    }

    /// Writes them in this network namespace, by [`in_namespace`]: the kernel shows each thread its own namespace's.
    pub fn apply_in(&self, netns: BorrowedFd<'_>) -> Result<Sysctls> {
        in_namespace(netns, "set sysctls in a network namespace", || self.apply())?
    }

    /// Writes them in the calling thread's network namespace; gives the values before, of those that differed, the last one first.
    ///
    /// After a failure those that were written are put back. [`Kind::NotFound`] where the kernel or the namespace has no such value,
    /// [`Kind::Invalid`] for a path outside `net/`.
    pub fn apply(&self) -> Result<Sysctls> {
        let mut before = Vec::new();
        for (path, value) in &self.0 {
            match write(path, value) {
                Ok(None) => {}
                Ok(Some(old)) => before.insert(0, (path.clone(), old)),
                Err(e) => {
                    // The first failure is told.
                    before.iter().for_each(|(path, old)| drop(write(path, old)));
                    return Err(e);
                }
            }
        }
        Ok(Sysctls(before))
    }

    /// Reads one in the calling thread's network namespace.
    pub fn get(path: &str) -> Result<String> {
        check(path)?;
        let value = fs::read_to_string(format!("/proc/sys/{path}"));
        Ok(value.map_err(|e| failed(format_args!("read sysctl {path}"), "open", &e))?.trim_end().to_owned())
    }
}

/// The value before, if it was another.
fn write(path: &str, value: &str) -> Result<Option<String>> {
    let old = Sysctls::get(path)?;
    if old == value {
        return Ok(None);
    }
    fs::write(format!("/proc/sys/{path}"), value).map_err(|e| failed(format_args!("set sysctl {path} to {value}"), "write", &e))?;
    Ok(Some(old))
}

fn failed(operation: impl fmt::Display, call: &'static str, e: &std::io::Error) -> Error {
    Error::kernel(operation, call, e.raw_os_error().unwrap_or(libc::EIO), "")
}

fn check(path: &str) -> Result<()> {
    let below = path.strip_prefix("net/").is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")));
    if below { Ok(()) } else { Err(Error::refused(Kind::Invalid, format_args!("sysctl {path:?}"), "not a path below net/")) }
}

/// The commands of `sysctl(8)`, one a line.
impl fmt::Display for Sysctls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(path, value)| writeln!(f, "sysctl -w {path}={value}"))
    }
}
