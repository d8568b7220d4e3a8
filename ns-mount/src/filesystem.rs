//! `fsopen(2)`, `fsconfig(2)`, `fsmount(2)`: a file system as a value, mounted detached, with the kernel's own words when it fails.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]
#![allow(clippy::disallowed_types, reason = "names and parameters are made and dropped in the parent")]

use crate::error::{Error, ErrorKind};
use crate::flags::MountFlags;
use crate::shown::Shown;
use ns_core::{Call, ChildFd, Fault, raw};
use rustix::io::retry_on_intr;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

/// A file system to mount: its type, parameters, and the mount's flags.
///
/// ```
/// use ns_mount::{Filesystem, MountFlags};
/// let tmpfs = Filesystem::new("tmpfs")?.param("size", "4m")?.mount_flags(MountFlags::NOSUID | MountFlags::NODEV);
/// assert_eq!(tmpfs.to_string(), "tmpfs nosuid nodev size=4m");
/// # Ok::<(), ns_mount::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Filesystem {
    kind: CString,
    params: Vec<Param>,
    flags: MountFlags,
}

#[derive(Clone, Debug)]
struct Param {
    key: CString,
    value: Option<CString>,
}

#[allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
impl Filesystem {
    /// A file system of this type, as /proc/filesystems names it.
    pub fn new(kind: &str) -> Result<Filesystem, Error> {
        Ok(Filesystem { kind: no_nul("file system type", kind)?, params: Vec::new(), flags: MountFlags::empty() })
    }

    pub(crate) fn fixed(kind: &'static CStr, flags: MountFlags) -> Filesystem {
        Filesystem { kind: kind.to_owned(), params: Vec::new(), flags }
    }

    /// `fsconfig(fs, FSCONFIG_SET_STRING, key, value)`: a parameter with a value; the kernel checks both when it is mounted.
    pub fn param(mut self, key: &str, value: &str) -> Result<Filesystem, Error> {
        self.params.push(Param { key: no_nul("parameter", key)?, value: Some(no_nul("parameter's value", value)?) });
        Ok(self)
    }

    /// `fsconfig(fs, FSCONFIG_SET_FLAG, key)`: a parameter without a value.
    pub fn flag(mut self, key: &str) -> Result<Filesystem, Error> {
        self.params.push(Param { key: no_nul("parameter", key)?, value: None });
        Ok(self)
    }

    /// A number can't be wrong.
    pub(crate) fn number(mut self, key: &'static CStr, value: impl fmt::Display) -> Filesystem {
        let value = CString::new(value.to_string()).unwrap_or_default();
        self.params.retain(|param| param.key.as_c_str() != key);
        self.params.push(Param { key: key.to_owned(), value: Some(value) });
        self
    }

    pub(crate) fn word(mut self, key: &'static CStr) -> Filesystem {
        self.params.push(Param { key: key.to_owned(), value: None });
        self
    }

    /// Adds flags of the mount.
    #[must_use]
    pub fn mount_flags(mut self, flags: MountFlags) -> Filesystem {
        self.flags |= flags;
        self
    }
}

#[allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
fn no_nul(what: &str, text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::new(ErrorKind::Value, format!("{what} \"{}\" has a NUL byte in it", Shown(text.as_bytes()))))
}

impl Filesystem {
    /// `fsopen(type, FSOPEN_CLOEXEC)`, `fsconfig(2)` for each parameter, `fsmount(fs, FSMOUNT_CLOEXEC, flags)`: a new detached mount,
    /// which vanishes when its descriptor is closed unless it was attached. Linux 5.2. In the child, or anywhere.
    ///
    /// The fault carries the kernel's own text ("tmpfs: Bad value for 'size'"), or the parameter's name where the kernel has none.
    /// See fsopen(2), fsconfig(2), fsmount(2).
    pub fn fsmount(&self) -> Result<ChildFd, Fault> {
        self.fsmount_with(|_| Ok(()))
    }

    /// The same; `more` configures what is no string.
    pub(crate) fn fsmount_with(&self, more: impl FnOnce(BorrowedFd<'_>) -> Result<(), Fault>) -> Result<ChildFd, Fault> {
        let context = retry_on_intr(|| fsopen(self.kind.as_c_str(), FsOpenFlags::FSOPEN_CLOEXEC)).map(ChildFd::from).call("fsopen")?;
        let mounted = self.configure(context.as_fd(), more);
        context.close();
        mounted
    }

    fn configure(&self, context: BorrowedFd<'_>, more: impl FnOnce(BorrowedFd<'_>) -> Result<(), Fault>) -> Result<ChildFd, Fault> {
        for param in &self.params {
            param.set(context).map_err(|fault| in_kernel_words(context, fault, param.key.to_bytes()))?;
        }
        more(context)?;
        retry_on_intr(|| fsconfig_create(context)).call("fsconfig").map_err(|fault| in_kernel_words(context, fault, b""))?;
        let flags = MountAttrFlags::from_bits_retain(self.flags.bits() as u32);
        retry_on_intr(|| fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, flags))
            .map(ChildFd::from)
            .call("fsmount")
            .map_err(|fault| in_kernel_words(context, fault, b""))
    }
}

impl Param {
    fn set(&self, context: BorrowedFd<'_>) -> Result<(), Fault> {
        let set = || match &self.value {
            Some(value) => fsconfig_set_string(context, self.key.as_c_str(), value.as_c_str()),
            None => fsconfig_set_flag(context, self.key.as_c_str()),
        };
        retry_on_intr(set).call("fsconfig")
    }
}

/// The context's log: one message a read, `e ` before an error. Old file systems write none: then the parameter's name.
fn in_kernel_words(context: BorrowedFd<'_>, fault: Fault, otherwise: &[u8]) -> Fault {
    let mut buffer = [0; 256];
    let message = raw::read(context, &mut buffer).ok().and_then(|len| buffer.get(..len)).and_then(|text| text.strip_prefix(b"e "));
    match message {
        Some(text) => fault.saying(text.strip_suffix(b"\n").unwrap_or(text)),
        None => fault.saying(otherwise),
    }
}

/// "tmpfs nosuid nodev size=4m".
impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Shown(self.kind.to_bytes()), f)?;
        if !self.flags.is_empty() {
            f.write_fmt(format_args!(" {}", self.flags))?;
        }
        self.params.iter().try_for_each(|param| match &param.value {
            Some(value) => f.write_fmt(format_args!(" {}={}", Shown(param.key.to_bytes()), Shown(value.to_bytes()))),
            None => f.write_fmt(format_args!(" {}", Shown(param.key.to_bytes()))),
        })
    }
}
