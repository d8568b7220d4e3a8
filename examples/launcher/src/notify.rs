//! The service manager's readiness protocol, `sd_notify(3)`: ours to whoever started us, and the payload's to us.

use std::ffi::OsStr;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, setsockopt};
use ns_core::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto, socket_with};

use crate::{Error, Kind, escape::Escaped};

/// Whoever started us and wants to know how we are.
#[derive(Debug)]
pub struct Notifier {
    socket: OwnedFd,
    address: SocketAddrUnix,
}

/// A service manager that doesn't read for so long is stuck; the payload must not wait for it.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

impl Notifier {
    /// To the socket of our environment's `NOTIFY_SOCKET`; `None` if nobody wants to know.
    ///
    /// # Errors
    /// The variable holds no socket's address.
    pub fn from_env() -> Result<Option<Notifier>, Error> {
        std::env::var_os("NOTIFY_SOCKET").filter(|value| !value.is_empty()).map(|value| Notifier::to(&value)).transpose()
    }

    /// To the socket of this address: an absolute path, or a name after `@`.
    ///
    /// # Errors
    /// It is neither, or too long for a socket's address.
    pub fn to(address: &OsStr) -> Result<Notifier, Error> {
        let bad = || Error::new(Kind::Host, format!("NOTIFY_SOCKET '{}' is no path and no @name of a socket", Escaped::os(address)));
        let parsed = match address.as_bytes() {
            [b'@', name @ ..] if !name.is_empty() => SocketAddrUnix::new_abstract_name(name),
            [b'/', _, ..] => SocketAddrUnix::new(address),
            _ => return Err(bad()),
        };
        let failed =
            |call: &str, errno: rustix::io::Errno| Error::call(Kind::Host, format!("notify {}: {call}", Escaped::os(address)), errno);
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).map_err(|e| failed("socket", e))?;
        set_socket_timeout(&socket, Timeout::Send, Some(SEND_TIMEOUT)).map_err(|e| failed("setsockopt", e))?;
        Ok(Notifier { socket, address: parsed.map_err(|_| bad())? })
    }

    /// `READY=1`
    ///
    /// # Errors
    /// As for [`Notifier::send`].
    pub fn ready(&self) -> Result<(), Error> {
        self.send("READY=1")
    }

    /// `STATUS=` and a line for people.
    ///
    /// # Errors
    /// As for [`Notifier::send`].
    pub fn status(&self, text: &str) -> Result<(), Error> {
        self.send(&format!("STATUS={}", Escaped::text(text)))
    }

    /// One message: assignments, a line each.
    ///
    /// # Errors
    /// The socket is gone, or nobody read it for a second. The payload is none the worse for it.
    pub fn send(&self, message: &str) -> Result<(), Error> {
        let sent = rustix::io::retry_on_intr(|| sendto(&self.socket, message.as_bytes(), SendFlags::NOSIGNAL, &self.address));
        sent.map(drop).map_err(|e| Error::call(Kind::Host, "notify the service manager: sendto", e))
    }
}

/// What a payload says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// `READY=1`
    pub ready: bool,
    /// `STOPPING=1`
    pub stopping: bool,
    /// `STATUS=`, escaped and cut to 512 bytes before that.
    pub status: Option<String>,
    /// `X_SYSTEMD_SIGNALS_LEVEL=`: from 2 on its signal handlers are in place.
    pub signals_level: Option<u32>,
}

/// A status is a line, not a letter.
const MAX_STATUS: usize = 512;

impl Notice {
    /// Reads a message; what isn't known, as `MAINPID=`, is passed over.
    pub fn parse(message: &[u8]) -> Notice {
        let mut notice = Notice::default();
        for line in message.split(|b| *b == b'\n') {
            match line {
                b"READY=1" => notice.ready = true,
                b"STOPPING=1" => notice.stopping = true,
                _ => notice.assign(line),
            }
        }
        notice
    }

    fn assign(&mut self, line: &[u8]) {
        if let Some(status) = line.strip_prefix(b"STATUS=") {
            self.status = Some(Escaped::bytes(status.get(..MAX_STATUS).unwrap_or(status)).to_string());
        }
        if let Some(level) = line.strip_prefix(b"X_SYSTEMD_SIGNALS_LEVEL=") {
            self.signals_level = std::str::from_utf8(level).ok().and_then(|level| level.parse().ok());
        }
    }
}

/// The payload's notify socket, at our end.
#[derive(Debug)]
pub struct Receiver(OwnedFd);

/// A message that is longer is not taken.
const MAX_MESSAGE: usize = 4096;
/// What a datagram can carry (`SCM_MAX_FD`): with room for all of them none is left open by a message that was cut.
const MAX_FDS: usize = 253;
/// As many messages are looked at in one turn of the event loop: a flood must not keep it from anything else.
const TURN: u32 = 64;

impl Receiver {
    /// Takes a bound datagram socket of the unix family, and asks the kernel for its senders' credentials. What was sent before has
    /// none and is not taken: ask for them (`SO_PASSCRED`) where the socket is made if the payload may be faster.
    ///
    /// # Errors
    /// It is no such socket.
    pub fn new(socket: OwnedFd) -> Result<Receiver, Error> {
        let failed = |errno| Error::call(Kind::Host, "receive from the payload's notify socket: setsockopt", Errno::new(errno as i32));
        setsockopt(&socket, PassCred, &true).map_err(failed)?;
        Ok(Receiver(socket))
    }

    /// The next message of this process, as the kernel names the sender; those of others are dropped. `None`: no more for now.
    ///
    /// # Errors
    /// The socket failed.
    pub fn receive(&self, payload: u32) -> Result<Option<Notice>, Error> {
        for _ in 0..TURN {
            match self.datagram() {
                Ok((sender, Some(message))) if sender == i32::try_from(payload).ok() => return Ok(Some(Notice::parse(&message))),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::EAGAIN) => return Ok(None),
                Err(e) => return Err(Error::call(Kind::Host, "receive from the payload's notify socket: recvmsg", Errno::new(e as i32))),
            }
        }
        Ok(None)
    }

    /// A datagram's sender, and its bytes unless they were too many. Descriptors that came with it are closed.
    fn datagram(&self) -> nix::Result<(Option<i32>, Option<Vec<u8>>)> {
        let mut bytes = vec![0; MAX_MESSAGE];
        let mut space = nix::cmsg_space!(UnixCredentials, [RawFd; MAX_FDS]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        let mut sender = None;
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::ScmCredentials(credentials) => sender = Some(credentials.pid()),
                ControlMessageOwned::ScmRights(fds) => fds.into_iter().for_each(close),
                _ => {}
            }
        }
        let (length, cut) = (message.bytes, message.flags.contains(MsgFlags::MSG_TRUNC));
        bytes.truncate(length);
        Ok((sender, (!cut).then_some(bytes)))
    }
}

fn close(fd: RawFd) {
    // It was made for us a moment ago; that it can't be closed would only say that its file is broken.
    let _ = nix::unistd::close(fd);
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::os::unix::net::UnixDatagram;

    use nix::sys::socket::{ControlMessage, sendmsg};
    use tempfile::TempDir;

    use super::*;

    fn pair() -> (TempDir, Receiver, UnixDatagram) {
        let dir = tempfile::tempdir().unwrap();
        let ours = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        let theirs = UnixDatagram::unbound().unwrap();
        theirs.connect(dir.path().join("notify")).unwrap();
        (dir, Receiver::new(ours.into()).unwrap(), theirs)
    }

    #[test]
    fn messages() {
        let notice = Notice::parse(b"READY=1\nSTATUS=Up \x1b[2J and\trunning\nMAINPID=1\nX_SYSTEMD_SIGNALS_LEVEL=2\nSTOPPING=1");
        assert!(notice.ready && notice.stopping);
        assert_eq!(notice.status.as_deref(), Some("Up \\x1b[2J and\\trunning"));
        assert_eq!(notice.signals_level, Some(2));
        let nothing: [&[u8]; 8] = [b"", b"READY=0", b"READY=1 ", b"ready=1", b"MAINPID=1", b"X_SYSTEMD_SIGNALS_LEVEL=-1", b"\0", b"READY"];
        for message in nothing {
            assert_eq!(Notice::parse(message), Notice::default(), "{}", message.escape_ascii());
        }
        let long = [b"STATUS=".as_slice(), &[b'x'; 4000]].concat();
        assert_eq!(Notice::parse(&long).status.unwrap().len(), 512);
        assert_eq!(Notice::parse(b"STATUS=\xff").status.as_deref(), Some("\\xff"));
    }

    #[test]
    fn only_the_payload_is_heard() {
        let (_dir, ours, theirs) = pair();
        assert_eq!(ours.receive(std::process::id()).unwrap(), None);
        theirs.send(b"READY=1").unwrap();
        assert!(ours.receive(std::process::id()).unwrap().unwrap().ready);
        theirs.send(b"READY=1").unwrap();
        theirs.send(b"READY=1").unwrap();
        assert_eq!(ours.receive(1).unwrap(), None);
        assert_eq!(ours.receive(std::process::id()).unwrap(), None, "what others sent is gone");
        assert_eq!(ours.receive(u32::MAX).unwrap(), None);
    }

    #[test]
    fn a_childs_message_is_a_childs() {
        let (dir, ours, _theirs) = pair();
        let path = dir.path().join("notify");
        let script = format!("import socket;s=socket.socket(1,2);s.connect('{}');s.send(b'READY=1')", path.display());
        let mut child = std::process::Command::new("python3").args(["-c", &script]).spawn().expect("python3 plays the payload");
        assert!(child.wait().unwrap().success());
        assert_eq!(ours.receive(std::process::id()).unwrap(), None);
        let mut child = std::process::Command::new("python3").args(["-c", &script]).spawn().unwrap();
        assert!(child.wait().unwrap().success());
        assert!(ours.receive(child.id()).unwrap().unwrap().ready);
    }

    #[test]
    fn long_ones_are_dropped_and_descriptors_closed() {
        let (_dir, ours, theirs) = pair();
        theirs.send(&[b'x'; MAX_MESSAGE + 1]).unwrap();
        theirs.send(b"").unwrap();
        theirs.send(b"READY=1").unwrap();
        let me = std::process::id();
        let notices = [ours.receive(me).unwrap().unwrap(), ours.receive(me).unwrap().unwrap()];
        assert_eq!((notices[0].ready, notices[1].ready), (false, true));
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let fds = [writer.as_raw_fd(); MAX_FDS];
        sendmsg::<()>(theirs.as_raw_fd(), &[IoSlice::new(b"READY=1")], &[ControlMessage::ScmRights(&fds)], MsgFlags::empty(), None)
            .unwrap();
        drop(writer);
        assert!(ours.receive(me).unwrap().unwrap().ready);
        assert_eq!(rustix::io::read(&reader, &mut [0; 1]).unwrap(), 0, "no writer is left");
    }

    #[test]
    fn a_flood_ends_the_turn() {
        let (_dir, ours, theirs) = pair();
        theirs.set_nonblocking(true).unwrap();
        let sent = (0..1000).take_while(|_| theirs.send(b"READY=1").is_ok()).count();
        assert!(sent > 4);
        assert_eq!(ours.receive(1).unwrap(), None);
    }

    #[test]
    fn our_own_news_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str()).unwrap();
        let mut bytes = [0; 100];
        notifier.ready().unwrap();
        let n = manager.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..n], b"READY=1");
        notifier.status("Container running: \n x").unwrap();
        let n = manager.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..n], b"STATUS=Container running: \\n x");
        drop(manager);
        assert_eq!(notifier.ready().unwrap_err().errno(), Some(Errno::ECONNREFUSED));
    }

    #[test]
    fn an_abstract_name_is_an_address_and_other_words_are_none() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("nskit-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        Notifier::to(format!("@{name}").as_ref()).unwrap().ready().unwrap();
        assert_eq!(manager.recv(&mut [0; 100]).unwrap(), 7);
        for bad in ["", "@", "/", "relative", "vsock:2:1234", &format!("/{}", "x".repeat(108)), &format!("@{}", "x".repeat(108))] {
            assert!(Notifier::to(bad.as_ref()).is_err(), "{bad}");
        }
    }
}
