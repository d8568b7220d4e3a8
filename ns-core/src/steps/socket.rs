//! A unix socket, bound in a directory.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use super::at::c_string_or_empty;
use crate::error::Error;
use crate::step::{Call, Child, ChildFd, Fault, Slot, Step, Wires};
use rustix::fs::{AtFlags, Mode, OFlags, chownat, fchmod, openat};
use rustix::io::retry_on_intr;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, bind, listen, socket_with, sockopt::set_socket_passcred};
use rustix::process::{Gid, Uid, fchdir, umask};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

/// Datagrams, a stream, or packets in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketType {
    /// `SOCK_DGRAM`: what `sd_notify(3)` sends to.
    Datagram,
    /// `SOCK_STREAM`
    Stream,
    /// `SOCK_SEQPACKET`
    SeqPacket,
}

impl SocketType {
    const fn raw(self) -> rustix::net::SocketType {
        match self {
            SocketType::Datagram => rustix::net::SocketType::DGRAM,
            SocketType::Stream => rustix::net::SocketType::STREAM,
            SocketType::SeqPacket => rustix::net::SocketType::SEQPACKET,
        }
    }
}

/// `socket(AF_UNIX, type|SOCK_CLOEXEC)` into a slot, `unix(7)`; bound, listening, sent to the caller where asked.
///
/// It is bound by name in a directory's descriptor, which may be that of a mount that is not attached yet: `retry_on_intr(|| fchdir(dir))`,
/// `bind("name")`, and back. So the working directory and the umask are others for a moment; called alone in a threaded program, it
/// belongs on a thread that has unshared `CLONE_FS`.
///
/// ```
/// use ns_core::{Slot, steps::{Socket, SocketType}};
/// const RUN: Slot = Slot::new("/run/host");
/// const NOTIFY: Slot = Slot::new("the notify socket");
/// let socket = Socket::new(SocketType::Datagram, NOTIFY).bound(RUN, "notify")?.mode(0o666).with_credentials().sent();
/// assert_eq!(socket.to_string(), "datagram socket notify in /run/host, 0666, with senders' credentials, sent to the caller");
/// # Ok::<(), ns_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Socket {
    kind: SocketType,
    slot: Slot,
    bound: Option<Bound>,
    owner: Option<(u32, u32)>,
    mode: u32,
    backlog: Option<i32>,
    credentials: bool,
    sent: bool,
}

#[derive(Clone, Debug)]
#[allow(clippy::disallowed_types, reason = "made in the parent; the child only reads it")]
struct Bound {
    dir: Slot,
    name: std::ffi::CString,
    address: SocketAddrUnix,
}

#[allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
impl Socket {
    /// A socket of this type, kept in `slot`.
    pub fn new(kind: SocketType, slot: Slot) -> Socket {
        Socket { kind, slot, bound: None, owner: None, mode: 0o600, backlog: None, credentials: false, sent: false }
    }

    /// Bound to `name` (no path, at most 107 bytes) in the directory in `dir`: `bind(2)`, `EADDRINUSE` where there is something.
    pub fn bound(self, dir: Slot, name: impl AsRef<std::ffi::OsStr>) -> Result<Socket, Error> {
        let path = std::path::Path::new(name.as_ref());
        if path.file_name() != Some(path.as_os_str()) {
            return Err(Error::refused(format!("the socket's name {path:?} is not a plain file name")));
        }
        let name = c_string_or_empty(path.as_os_str())?;
        let too_long = || Error::refused(format!("the socket's name {path:?} is longer than 107 bytes"));
        // The kernel would take 108, without the zero that everybody who reads it expects.
        let address = match name.as_bytes().len() {
            ..108 => SocketAddrUnix::new(name.as_c_str()).map_err(|_| too_long())?,
            _ => return Err(too_long()),
        };
        Ok(Socket { bound: Some(Bound { dir, name, address }), ..self })
    }

    /// Owner of the bound name, as the child's user namespace numbers them. `fchownat(2)`.
    #[must_use]
    pub fn owned_by(self, uid: u32, gid: u32) -> Socket {
        Socket { owner: Some((uid, gid)), ..self }
    }

    /// Mode of the bound name, whatever the umask; 0600 if not given. It has it from the start.
    #[must_use]
    pub fn mode(self, mode: u32) -> Socket {
        Socket { mode: mode & 0o777, ..self }
    }

    /// `listen(2)` with this backlog.
    #[must_use]
    pub fn listening(self, backlog: i32) -> Socket {
        Socket { backlog: Some(backlog), ..self }
    }

    /// `SO_PASSCRED`: whoever receives is told the sender's pid, uid and gid.
    #[must_use]
    pub fn with_credentials(self) -> Socket {
        Socket { credentials: true, ..self }
    }

    /// Sends it to the caller, who takes it from its slot.
    #[must_use]
    pub fn sent(self) -> Socket {
        Socket { sent: true, ..self }
    }
}

impl Socket {
    /// Does it now; `dir` in place of the slot's directory.
    pub fn make(&self, dir: Option<BorrowedFd<'_>>) -> Result<ChildFd, Fault> {
        let socket = retry_on_intr(|| socket_with(AddressFamily::UNIX, self.kind.raw(), SocketFlags::CLOEXEC, None))
            .map(ChildFd::from)
            .call("socket")?;
        match self.prepare(socket.as_fd(), dir) {
            Ok(()) => Ok(socket),
            Err(fault) => {
                socket.close();
                Err(fault)
            }
        }
    }

    fn prepare(&self, socket: BorrowedFd<'_>, dir: Option<BorrowedFd<'_>>) -> Result<(), Fault> {
        if self.credentials {
            retry_on_intr(|| set_socket_passcred(socket, true)).call("setsockopt SO_PASSCRED")?;
        }
        if let (Some(bound), Some(dir)) = (&self.bound, dir) {
            self.bind_in(socket, bound, dir)?;
        }
        self.backlog.map_or(Ok(()), |backlog| retry_on_intr(|| listen(socket, backlog)).call("listen"))
    }

    /// The socket's own mode becomes that of the name, less the umask: set before, nobody connects in between.
    fn bind_in(&self, socket: BorrowedFd<'_>, bound: &Bound, dir: BorrowedFd<'_>) -> Result<(), Fault> {
        retry_on_intr(|| fchmod(socket, Mode::from_raw_mode(self.mode))).call("fchmod")?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let before = retry_on_intr(|| openat(rustix::fs::CWD, c".", flags, Mode::empty()));
        let before = before.map(ChildFd::from).call("openat")?;
        let answer = bind_here(socket, &bound.address, dir);
        let back = retry_on_intr(|| fchdir(before.as_fd())).call("fchdir");
        before.close();
        answer?;
        back?;
        let Some((uid, gid)) = self.owner else { return Ok(()) };
        retry_on_intr(|| chownat(dir, bound.name.as_c_str(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW))
            .call("fchownat")
    }
}

fn bind_here(socket: BorrowedFd<'_>, address: &SocketAddrUnix, dir: BorrowedFd<'_>) -> Result<(), Fault> {
    retry_on_intr(|| fchdir(dir)).call("fchdir")?;
    let mask = umask(Mode::empty());
    let answer = retry_on_intr(|| bind(socket, address)).call("bind");
    umask(mask);
    answer
}

// SAFETY: system calls on memory of `self`.
unsafe impl Step for Socket {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        let dir = self.bound.as_ref().map(|bound| child.fd(bound.dir)).transpose()?;
        let socket = self.make(dir)?;
        child.keep(self.slot, socket)?;
        if self.sent { child.send(self.slot) } else { Ok(()) }
    }

    fn wires(&self, wires: &mut Wires) {
        if let Some(bound) = &self.bound {
            wires.uses(bound.dir);
        }
        wires.fills(self.slot);
    }
}

#[allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "runs in the parent")]
impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            SocketType::Datagram => "datagram socket",
            SocketType::Stream => "stream socket",
            SocketType::SeqPacket => "packet socket",
        })?;
        if let Some(bound) = &self.bound {
            write!(f, " {} in {}, {:04o}", bound.name.to_string_lossy().escape_debug(), bound.dir, self.mode)?;
        }
        if let Some((uid, gid)) = self.owner {
            write!(f, ", of {uid}:{gid}")?;
        }
        f.write_str(if self.backlog.is_some() { ", listening" } else { "" })?;
        f.write_str(if self.credentials { ", with senders' credentials" } else { "" })?;
        f.write_str(if self.sent { ", sent to the caller" } else { "" })
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::indexing_slicing,
    reason = "tests run in the parent"
)]
mod tests {
    use super::*;
    use crate::steps::trial::{Trial, scratch};
    use crate::steps::{Umask, Write};
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    const DIR: Slot = Slot::new("a directory");
    const SOCKET: Slot = Slot::new("a socket");

    #[test]
    fn is_bound_with_its_mode_and_arrives_with_credentials() {
        use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
        let dir = scratch();
        let socket = Socket::new(SocketType::Datagram, SOCKET).bound(DIR, "notify").unwrap().mode(0o626).owned_by(5, 6);
        let socket = socket.with_credentials().sent();
        // The file at the end is made where the child was before: the working directory is put back.
        let here = dir.path().join("here");
        std::fs::create_dir(&here).unwrap();
        let cwd = std::fs::File::open(&here).unwrap();
        let after = Write::new("after", "x").unwrap().create(0o666);
        let received = Trial::new()
            .lend(DIR, dir.fd())
            .slot(SOCKET)
            .cwd(cwd)
            .look(&[&Umask::new(0o037), &socket, &after], |mut seen| {
                let name = dir.path().join("notify");
                let meta = std::fs::metadata(&name).unwrap();
                assert!(meta.file_type().is_socket());
                assert_eq!((meta.mode() & 0o777, meta.uid(), meta.gid()), (0o626, 5, 6));
                std::os::unix::net::UnixDatagram::unbound().unwrap().send_to(b"READY=1", &name).unwrap();
                let got = seen.sent.remove(0).1;
                let mut bytes = [0; 16];
                let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let n = recvmsg(&got, &mut [std::io::IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::empty()).unwrap().bytes;
                let pid = control.drain().find_map(|m| match m {
                    RecvAncillaryMessage::ScmCredentials(c) => Some(c.pid.as_raw_nonzero().get()),
                    _ => None,
                });
                (bytes[..n].to_vec(), pid)
            })
            .unwrap();
        assert_eq!(received, (b"READY=1".to_vec(), Some(std::process::id() as i32)));
        assert_eq!(std::fs::metadata(here.join("after")).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_listening_stream_takes_connections() {
        let dir = scratch();
        let socket = Socket::new(SocketType::Stream, SOCKET).bound(DIR, "s").unwrap().listening(4);
        Trial::new()
            .lend(DIR, dir.fd())
            .slot(SOCKET)
            .look(&[&socket], |_| std::os::unix::net::UnixStream::connect(dir.path().join("s")).unwrap())
            .unwrap();
        let again = Trial::new().lend(DIR, dir.fd()).slot(SOCKET).run(&[&socket]).unwrap_err();
        assert_eq!(again.to_string(), "bind: Address already in use");
    }

    #[test]
    fn names_are_plain() {
        for bad in ["", "a/b", "/a", "..", ".", "a/", &"x".repeat(108)] {
            assert!(Socket::new(SocketType::Stream, SOCKET).bound(DIR, bad).is_err(), "{bad}");
        }
    }
}
