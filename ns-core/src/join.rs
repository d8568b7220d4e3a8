//! A program in a container that is running: [`Entered`].

use crate::error::{Error, failed};
use crate::exit::Exit;
use crate::pidfd::PidFd;
use crate::plan::Sealed;
use crate::raw::{Errno, WaitId};
use crate::spawn::{Fds, Running};
use crate::step::Slot;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketFlags, SocketType, recvmsg, socketpair,
};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::time::Duration;

/// The other end of the socket that the program's end is told on.
pub(crate) const CALLER: Slot = Slot::new("caller of the joiner");

/// A program that was started in a running container, [`crate::Plan::enter`]. `AsFd`: readable when [`Entered::next_word`] has something.
///
/// Three processes: the *joiner*, a child of the caller's, which stays outside of the container's pid namespace and is not seen in there;
/// the *waiter*, its child inside; the program. The joiner ignores SIGCHLD, so that the kernel reaps the waiter: stopped, killed or
/// forgotten, no one of them keeps the container's init from ending.
///
/// Dropped, the line is lost: the program is sent SIGHUP and SIGCONT. So it is when the calling process ends, however it does. What
/// ignores that goes on in the container.
#[derive(Debug)]
pub struct Entered {
    joiner: Running,
    line: Option<OwnedFd>,
    program: Option<PidFd>,
    ended: Option<Word>,
}

/// What is heard of a program in a running container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Word {
    /// It runs: [`Entered::program`].
    Started,
    /// It could not be executed: of the path of this number, or of all. `ENOENT`: none is there.
    Failed(Errno, usize),
    /// It has ended.
    Ended(Exit),
    /// Nobody can tell any more: the container has ended, or somebody in it has killed the waiter.
    Lost,
}

impl Sealed {
    /// Starts a plan of [`crate::Plan::enter`]; returns once the joiner has given up its rights. The program is executed after that:
    /// [`Entered::next_word`] tells.
    pub fn enter(&self, fds: Fds<'_>) -> Result<Entered, Error> {
        self.enter_limited(fds, None)
    }

    /// The same, where the joiner gets that far within `limit`: one that was frozen on its way, with the cgroup that it is started in, is
    /// killed and reaped, which is an error.
    pub fn enter_within(&self, fds: Fds<'_>, limit: Duration) -> Result<Entered, Error> {
        self.enter_limited(fds, Some(limit))
    }

    fn enter_limited(&self, fds: Fds<'_>, limit: Option<Duration>) -> Result<Entered, Error> {
        if !self.0.exec.is_by_joiner() {
            return Err(Error::refused("enter: the plan is none of Plan::enter"));
        }
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(failed("socketpair"))?;
        let joiner = self.start_within(fds.give(CALLER, theirs), limit)?;
        Ok(Entered { joiner, line: Some(ours), program: None, ended: None })
    }
}

impl Entered {
    /// The joiner: outside of the container's pid namespace, in its other ones, and in the cgroup that the plan was started in.
    pub fn joiner(&self) -> Option<&PidFd> {
        self.joiner.payload()
    }

    /// The program, once it runs. The container has sent this descriptor, and container root may have had its hand in that where it has
    /// the host's SYS_PTRACE; it is a pidfd in any case, of a process that is no ancestor of the caller's.
    pub fn program(&self) -> Option<&PidFd> {
        self.program.as_ref()
    }

    /// The next word, if there is one; the last one again once it was said.
    pub fn next_word(&mut self) -> Result<Option<Word>, Error> {
        if self.ended.is_some() {
            return Ok(self.ended);
        }
        let Some(line) = &self.line else { return Ok(Some(Word::Lost)) };
        let (word, pidfd) = match hear(line.as_fd()) {
            Ok(heard) => heard,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(e) => return Err(Error::call("hear of a program in a container: recvmsg", e)),
        };
        if let Some(pidfd) = pidfd {
            self.program = Some(pidfd);
        }
        if word != Word::Started {
            self.ended = Some(word);
        }
        Ok(Some(word))
    }

    /// Waits for the program's end. [`Word::Failed`] is an error; `None` is [`Word::Lost`].
    pub fn wait(&mut self) -> Result<Option<Exit>, Error> {
        loop {
            match self.next_word()? {
                Some(Word::Ended(exit)) => return Ok(Some(exit)),
                Some(Word::Lost) => return Ok(None),
                Some(Word::Failed(errno, _)) => return Err(Error::call("exec in the container", errno)),
                Some(Word::Started) => {}
                None => {
                    let mut fds = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
                    match poll(&mut fds, None) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(e) => return Err(failed("poll")(e)),
                    }
                }
            }
        }
    }

    /// After the last word: waits for the joiner, at most so long, and reaps it. False where it is stopped, or not done.
    pub fn close(mut self, limit: Duration) -> bool {
        // The line is lost now, if it wasn't.
        self.line = None;
        let gone = self.joiner.payload().is_none_or(|joiner| joiner.ended_within(limit));
        // Its own status says nothing.
        gone && self.joiner.try_wait().is_ok_and(|end| end.is_some())
    }
}

impl AsFd for Entered {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_ref().map_or(self.joiner.as_fd(), AsFd::as_fd)
    }
}

/// One message: a number for what it is, and two that say more; with the first a pidfd. Of another shape, it is nobody's word.
fn hear(line: BorrowedFd<'_>) -> Result<(Word, Option<PidFd>), Errno> {
    let mut bytes = [0; 12];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        match recvmsg(line, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok((Word::Lost, None)),
            answer => break answer.map_err(|e| Errno::new(e.raw_os_error()))?,
        }
    };
    let sent = control.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let whole = got.bytes == bytes.len() && !got.flags.contains(ReturnFlags::TRUNC);
    let word = if whole { read(&bytes) } else { Word::Lost };
    Ok((word, sent.filter(|_| word == Word::Started).and_then(pidfd)))
}

pub(crate) fn read(bytes: &[u8; 12]) -> Word {
    let number = |n: usize| i32::from_ne_bytes([bytes[n], bytes[n + 1], bytes[n + 2], bytes[n + 3]]);
    match (number(0), number(4), number(8)) {
        (1, ..) => Word::Started,
        (2, errno @ 1..=4095, path) => Word::Failed(Errno::new(errno), usize::try_from(path).unwrap_or(0)),
        (3, 1, status @ 0..=255) => Word::Ended(Exit::new(WaitId { code: 1, status }, false)),
        (3, 2, signal @ 1..=64) => Word::Ended(Exit::new(WaitId { code: 2, status: signal }, false)),
        _ => Word::Lost,
    }
}

/// Only what is one: other descriptors of the container's are dropped.
fn pidfd(fd: OwnedFd) -> Option<PidFd> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    // Levels of pid namespaces, ours first: a process of a container has a number below.
    let levels = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let below = levels.split_whitespace().count() > 1;
    // SAFETY: a pidfd, and ours.
    below.then(|| unsafe { PidFd::from_raw(fd.into_raw_fd()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_another_shape_are_lost() {
        let bytes = |words: [i32; 3]| -> [u8; 12] {
            let mut bytes = [0; 12];
            bytes.iter_mut().zip(words.into_iter().flat_map(i32::to_ne_bytes)).for_each(|(to, from)| *to = from);
            bytes
        };
        let said = |words| read(&bytes(words));
        assert_eq!(said([1, 0, 0]), Word::Started);
        assert_eq!(said([2, 2, 1]), Word::Failed(Errno::ENOENT, 1));
        assert_eq!(said([3, 1, 7]), Word::Ended(Exit::Exited(7)));
        assert_eq!(said([3, 2, 9]), Word::Ended(Exit::Signalled(9)));
        for odd in [[0, 0, 0], [2, 0, 0], [2, -1, 0], [2, 5000, 0], [3, 0, 0], [3, 1, 256], [3, 2, 65], [3, 2, 0], [4, 0, 0], [-1, 1, 1]] {
            assert_eq!(said(odd), Word::Lost, "{odd:?}");
        }
    }

    #[test]
    fn what_is_no_pidfd_of_a_container_is_dropped() {
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        assert!(pidfd(file).is_none());
        assert!(pidfd(PidFd::of_self().unwrap().into()).is_none());
    }
}
