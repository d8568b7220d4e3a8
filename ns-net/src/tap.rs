//! A link whose other end is a descriptor.

use crate::error::{Doing, Error, Kind, Result};
use crate::ifname::IfName;
use crate::sys;
use rustix::fs::{Mode, OFlags, open};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A tap: `open("/dev/net/tun")`, `ioctl(TUNSETIFF, IFF_TAP|IFF_NO_PI)`. Frames are read and written by the descriptor; the link goes when
/// it is closed.
#[derive(Debug)]
pub struct Tap(OwnedFd);

impl Tap {
    /// Makes it in the calling thread's network namespace; [`in_namespace`](crate::in_namespace) for another. Needs `CAP_NET_ADMIN` there.
    ///
    /// [`Kind::NotFound`] without the driver, `EBUSY` or [`Kind::Exists`] where the name is taken.
    pub fn open(name: IfName) -> Result<Tap> {
        let what = format!("make tap {name}");
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = open(c"/dev/net/tun", flags, Mode::empty()).doing(&what, "open(\"/dev/net/tun\")").map_err(explain)?;
        sys::set_tap(fd.as_fd(), name.as_bytes()).doing(&what, "ioctl(TUNSETIFF)")?;
        Ok(Tap(fd))
    }
}

/// udev makes the node before anything needs the module, which makes it too.
fn explain(e: Error) -> Error {
    match e.kind() {
        Kind::NotFound => e.because(Kind::NotFound, "`modprobe tun` makes it, where the kernel has taps"),
        _ => e,
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Tap> for OwnedFd {
    fn from(tap: Tap) -> OwnedFd {
        tap.0
    }
}
