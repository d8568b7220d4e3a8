//! Names of the UTS namespace.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::error::Error;
use crate::step::{Call, Child, Fault, Step};
use rustix::io::retry_on_intr;
use std::fmt;

/// `__NEW_UTS_LEN`: longest name that the kernel takes.
const MAX: usize = 64;

/// `sethostname(2)`, in the UTS namespace that the child is in: `EPERM` without CAP_SYS_ADMIN over it.
///
/// A systemd inside takes its tree's `/etc/hostname` over this one.
///
/// ```
/// use ns_core::steps::Hostname;
/// assert_eq!(Hostname::new("box")?.to_string(), "hostname box");
/// assert!(Hostname::new("x".repeat(65)).is_err());
/// # Ok::<(), ns_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[allow(clippy::disallowed_types, reason = "made in the parent; the child only reads it")]
pub struct Hostname(Box<str>);

/// `setdomainname(2)`: the NIS domain, as in `uname(2)`; errors as for [`Hostname`].
#[derive(Clone, Debug)]
#[allow(clippy::disallowed_types, reason = "made in the parent; the child only reads it")]
pub struct Domainname(Box<str>);

#[allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
fn checked(name: impl Into<Box<str>>) -> Result<Box<str>, Error> {
    let name = name.into();
    match name.len() {
        1..=MAX if !name.contains('\0') => Ok(name),
        _ => Err(Error::refused(format!("the name {name:?}: the kernel takes 1 to {MAX} bytes, and no zero byte"))),
    }
}

#[allow(clippy::disallowed_types, reason = "runs in the parent")]
impl Hostname {
    /// A name of 1 to 64 bytes.
    pub fn new(name: impl Into<Box<str>>) -> Result<Hostname, Error> {
        checked(name).map(Hostname)
    }
}

#[allow(clippy::disallowed_types, reason = "runs in the parent")]
impl Domainname {
    /// A name of 1 to 64 bytes.
    pub fn new(name: impl Into<Box<str>>) -> Result<Domainname, Error> {
        checked(name).map(Domainname)
    }
}

impl Hostname {
    /// Does it now.
    pub fn apply(&self) -> Result<(), Fault> {
        retry_on_intr(|| rustix::system::sethostname(self.0.as_bytes())).call("sethostname")
    }
}

impl Domainname {
    /// Does it now.
    pub fn apply(&self) -> Result<(), Fault> {
        retry_on_intr(|| rustix::system::setdomainname(self.0.as_bytes())).call("setdomainname")
    }
}

// SAFETY: one system call on memory of `self`.
unsafe impl Step for Hostname {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }
}

// SAFETY: one system call on memory of `self`.
unsafe impl Step for Domainname {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hostname {}", self.0.escape_debug())
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Domainname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "domain name {}", self.0.escape_debug())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests run in the parent")]
mod tests {
    use super::*;
    use crate::steps::trial::Trial;

    #[test]
    fn names_the_namespace_and_not_the_host() {
        let (host, domain) = (Hostname::new("nskit-test").unwrap(), Domainname::new("nskit.test").unwrap());
        let before = rustix::system::uname().nodename().to_owned();
        let seen = Trial::new().unshared(linux_raw_sys::general::CLONE_NEWUTS).look(&[&host, &domain], |seen| {
            let ns = std::fs::File::open(format!("/proc/{}/ns/uts", seen.pid)).unwrap();
            std::thread::spawn(move || {
                use std::os::fd::AsFd;
                crate::raw::setns(ns.as_fd(), linux_raw_sys::general::CLONE_NEWUTS).unwrap();
                let uname = rustix::system::uname();
                (uname.nodename().to_owned(), uname.domainname().to_owned())
            })
            .join()
            .unwrap()
        });
        assert_eq!(seen.unwrap(), (c"nskit-test".to_owned(), c"nskit.test".to_owned()));
        assert_eq!(rustix::system::uname().nodename(), before.as_c_str());
    }

    #[test]
    fn bad_names_are_refused() {
        assert!(Hostname::new("").is_err() && Domainname::new("a\0b").is_err() && Hostname::new("x".repeat(65)).is_err());
        assert!(Hostname::new("x".repeat(64)).is_ok());
    }
}
