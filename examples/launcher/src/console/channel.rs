//! One of our own standard descriptors, moved from and to without waiting and without a change to what others share with us.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use ns_core::Errno;
use rustix::fs::{FileType, Mode, OFlags, fstat, major, minor, open};
use rustix::io::{Errno as Rustix, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::termios::isatty;

use crate::{Error, Kind};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
}

#[derive(Debug)]
pub(super) struct Channel {
    fd: OwnedFd,
    manner: Manner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// An open file of our own, `O_NONBLOCK`.
    Own,
    /// `MSG_DONTWAIT` on each call.
    Socket,
    /// Never makes anybody wait, or not for long: a regular file, `/dev/null`.
    Plain,
    /// Shared and blocking: after poll said so, a piece of this size doesn't wait.
    Shared,
}

/// `PIPE_BUF`: a pipe that poll calls writable takes as much at once.
const PIECE: usize = 4096;

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    Bytes(usize),
    /// Nothing for now.
    Later,
    /// No more: end of input, or why not.
    Ended(Option<Errno>),
}

impl Channel {
    pub(super) fn new(fd: impl AsFd, way: Way) -> Result<Channel, Error> {
        let failed = |call: &str, errno: Rustix| Error::call(Kind::Host, format!("connect the console: {call}"), errno);
        let stat = fstat(&fd).map_err(|e| failed("fstat", e))?;
        let own = rustix::io::fcntl_dupfd_cloexec(&fd, 3).map_err(|e| failed("fcntl", e))?;
        let reopened = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => return Ok(Channel { fd: own, manner: Manner::Socket }),
            FileType::Fifo => reopen(fd.as_fd(), way),
            FileType::CharacterDevice if isatty(&fd) && !is_multiplexer(stat.st_rdev) => reopen(fd.as_fd(), way),
            FileType::CharacterDevice if isatty(&fd) => None,
            _ => return Ok(Channel { fd: own, manner: Manner::Plain }),
        };
        Ok(reopened.map_or(Channel { fd: own, manner: Manner::Shared }, |fd| Channel { fd, manner: Manner::Own }))
    }

    /// Whether a call may be made without having polled.
    pub(super) fn is_eager(&self) -> bool {
        self.manner != Manner::Shared
    }

    pub(super) fn read(&self, space: &mut [u8]) -> Moved {
        if space.is_empty() {
            return Moved::Later;
        }
        let result = retry_on_intr(|| match self.manner {
            Manner::Socket => recv(&self.fd, &mut *space, RecvFlags::DONTWAIT).map(|(n, _)| n),
            _ => rustix::io::read(&self.fd, &mut *space),
        });
        match result {
            Ok(0) => Moved::Ended(None),
            result => moved(result),
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> Moved {
        moved(retry_on_intr(|| match self.manner {
            Manner::Socket => send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Manner::Shared => rustix::io::write(&self.fd, bytes.get(..PIECE).unwrap_or(bytes)),
            _ => rustix::io::write(&self.fd, bytes),
        }))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The outcome of a call as the pump sees it, also of the pty's.
pub(super) fn moved(result: Result<usize, Rustix>) -> Moved {
    match result {
        Ok(n) => Moved::Bytes(n),
        Err(Rustix::AGAIN) => Moved::Later,
        Err(errno) => Moved::Ended(Some(errno.into())),
    }
}

/// `None` where it can't be opened again: a terminal of another user, a FIFO whose reader has gone.
fn reopen(fd: BorrowedFd<'_>, way: Way) -> Option<OwnedFd> {
    let access = match way {
        Way::In => OFlags::RDONLY,
        Way::Out => OFlags::WRONLY,
    };
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty()).ok()
}

/// `/dev/ptmx`, a pty's master: opened again it would be another pty.
fn is_multiplexer(device: u64) -> bool {
    (major(device), minor(device)) == (5, 2)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use rustix::fs::fcntl_getfl;
    use rustix::pipe::pipe;

    use super::*;
    use crate::console::pump::tests::pty;

    fn manner(fd: impl AsFd, way: Way) -> Manner {
        let before = fcntl_getfl(&fd).unwrap();
        let channel = Channel::new(&fd, way).unwrap();
        assert_eq!(fcntl_getfl(&fd).unwrap(), before, "what is shared stays as it was");
        channel.manner
    }

    #[test]
    fn each_kind_in_its_manner() {
        let (reader, writer) = pipe().unwrap();
        let (master, slave) = pty();
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!((manner(&reader, Way::In), manner(&writer, Way::Out)), (Manner::Own, Manner::Own));
        assert_eq!((manner(&slave, Way::In), manner(&slave, Way::Out)), (Manner::Own, Manner::Own));
        assert_eq!(manner(&master, Way::In), Manner::Shared);
        assert_eq!(manner(&one, Way::In), Manner::Socket);
        assert_eq!(manner(std::fs::File::open("/dev/null").unwrap(), Way::In), Manner::Plain);
        assert_eq!(manner(tempfile::tempfile().unwrap(), Way::Out), Manner::Plain);
        drop(reader);
        assert_eq!(Channel::new(&writer, Way::Out).unwrap().write(b"x"), Moved::Ended(Some(Errno::EPIPE)));
    }

    #[test]
    fn nothing_waits() {
        let (reader, writer) = pipe().unwrap();
        let (one, _other) = UnixStream::pair().unwrap();
        let mut space = [0; 10];
        assert_eq!(Channel::new(&reader, Way::In).unwrap().read(&mut space), Moved::Later);
        assert_eq!(Channel::new(&one, Way::In).unwrap().read(&mut space), Moved::Later);
        for channel in [Channel::new(&writer, Way::Out).unwrap(), Channel::new(&one, Way::Out).unwrap()] {
            let block = [0; 65536];
            let full = (0..1000).map(|_| channel.write(&block)).find(|moved| !matches!(moved, Moved::Bytes(_)));
            assert_eq!(full, Some(Moved::Later));
        }
    }

    #[test]
    fn a_files_place_is_the_callers() {
        use std::io::{Read, Seek, SeekFrom, Write};
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abcdef").unwrap();
        file.seek(SeekFrom::Start(2)).unwrap();
        let mut space = [0; 2];
        assert_eq!(Channel::new(&file, Way::In).unwrap().read(&mut space), Moved::Bytes(2));
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!((&space, rest.as_str()), (b"cd", "ef"));
    }
}
