//! The messages between caller, builder and payload: fixed size, over a SEQPACKET socket, a descriptor with those that carry one.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::raw::Errno;
use crate::step::{Call, ChildFd, Fault};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, send, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, RawFd};

/// What a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// With a descriptor: the payload's pidfd.
    Pid = 1,
    /// A mark (`number`) is reached.
    Mark,
    /// Waiting at pause `number`; or, to a child: go on from it.
    Pause,
    /// With a descriptor: the slot at `number` in the sender's table; or, to a child, for it.
    Slot,
    /// A step failed.
    Fault,
    /// About to exec.
    Ready,
    /// Left because another has gone: payload's `si_code` and `si_status`, if it was it.
    Left,
    /// The keeper's last word: the payload's `si_code` and `si_status`.
    Exit,
    /// To the payload: nothing holds it before exec.
    Go,
}

/// Bytes on the wire.
pub(crate) const SIZE: usize = 136;
const CALL: usize = 32;
/// The numbers before the words: what the keeper's stub sends ends here.
const HEAD: usize = 20;

/// A message, decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    pub kind: Kind,
    /// Position in a list, mark, pause or slot, by kind.
    pub number: u32,
    /// A fault's errno, or `si_code`.
    pub code: i32,
    /// `si_status`.
    pub status: i32,
    /// A fault's row.
    pub row: u32,
    pub call: [u8; CALL],
    pub text: super::step::Text,
}

impl Message {
    pub fn new(kind: Kind, number: u32) -> Message {
        Message { kind, number, code: 0, status: 0, row: 0, call: [0; CALL], text: super::step::Text::NONE }
    }

    pub fn ended(kind: Kind, code: i32, status: i32) -> Message {
        Message { code, status, ..Message::new(kind, 0) }
    }

    pub fn fault(position: u32, fault: &Fault) -> Message {
        let mut call = [0; CALL];
        for (to, from) in call.iter_mut().take(CALL - 1).zip(fault.call.as_bytes()) {
            *to = *from;
        }
        Message { code: fault.errno.raw_os_error(), row: fault.row, call, text: fault.text, ..Message::new(Kind::Fault, position) }
    }

    /// kind(1) text length(1) pad(2) number(4) code(4) status(4) row(4) call(32) text(79), zeros.
    pub fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let text = self.text.as_bytes();
        let head = [self.kind as u8, text.len() as u8, 0, 0];
        let parts: [&[u8]; 7] = [
            &head,
            &self.number.to_ne_bytes(),
            &self.code.to_ne_bytes(),
            &self.status.to_ne_bytes(),
            &self.row.to_ne_bytes(),
            &self.call,
            text,
        ];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// `None`: not of ours.
    pub fn decode(bytes: &[u8]) -> Option<Message> {
        let (head, rest) = bytes.get(..SIZE)?.split_first_chunk::<4>()?;
        let [kind, len, _, _] = *head;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let (code, rest) = rest.split_first_chunk::<4>()?;
        let (status, rest) = rest.split_first_chunk::<4>()?;
        let (row, rest) = rest.split_first_chunk::<4>()?;
        let (call, rest) = rest.split_first_chunk::<CALL>()?;
        Some(Message {
            kind: Kind::of(kind)?,
            number: u32::from_ne_bytes(*number),
            code: i32::from_ne_bytes(*code),
            status: i32::from_ne_bytes(*status),
            row: u32::from_ne_bytes(*row),
            call: *call,
            text: super::step::Text::new(rest.get(..usize::from(len))?),
        })
    }
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        use Kind::*;
        [Pid, Mark, Pause, Slot, Fault, Ready, Left, Exit, Go].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One end of a socket; whoever owns the descriptor closes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link(RawFd);

/// What [`Link::receive`] found.
#[derive(Debug)]
pub(crate) enum Received {
    Message(Message, Option<ChildFd>),
    /// The other end has gone.
    End,
}

impl Link {
    /// The descriptor must outlive the value.
    pub fn on(fd: RawFd) -> Link {
        Link(fd)
    }

    pub fn raw(self) -> RawFd {
        self.0
    }

    pub fn fd<'a>(self) -> BorrowedFd<'a> {
        // SAFETY: whoever made the link keeps the descriptor open for the link's use.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }

    pub fn send(self, message: &Message) -> Result<(), Fault> {
        loop {
            match send(self.fd(), &message.encode(), SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                answer => return answer.map(drop).call("send"),
            }
        }
    }

    pub fn send_with(self, message: &Message, fd: BorrowedFd<'_>) -> Result<(), Fault> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [fd];
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let bytes = message.encode();
        loop {
            match sendmsg(self.fd(), &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                answer => return answer.map(drop).call("sendmsg"),
            }
        }
    }

    pub fn send_fd(self, slot: u32, fd: BorrowedFd<'_>) -> Result<(), Fault> {
        self.send_with(&Message::new(Kind::Slot, slot), fd)
    }

    /// The next message. A message of another shape is `EPROTO`.
    pub fn receive(self, flags: RecvFlags) -> Result<Received, Errno> {
        let mut bytes = [0; SIZE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            match recvmsg(self.fd(), &mut [IoSliceMut::new(&mut bytes)], &mut control, flags | RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                // The other end went with messages of ours unread: said once, before what it sent itself can be read.
                Err(rustix::io::Errno::CONNRESET) => {}
                answer => break answer.map_err(|e| Errno::new(e.raw_os_error()))?,
            }
        };
        let mut fd = None;
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = part {
                for one in fds {
                    fd = Some(ChildFd::from(one));
                }
            }
        }
        match got.bytes {
            0 => Ok(Received::End),
            HEAD.. => match Message::decode(&bytes) {
                Some(message) => Ok(Received::Message(message, fd)),
                None => Err(Errno::EPROTO),
            },
            _ => Err(Errno::EPROTO),
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::indexing_slicing, reason = "tests run in the parent")]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_was_sent() {
        let fault = Fault::new("move_mount", Errno::ENOENT).at_row(7).saying(b"no words");
        let message = Message::decode(&Message::fault(3, &fault).encode()).unwrap();
        assert_eq!((message.kind, message.number, message.code, message.row), (Kind::Fault, 3, 2, 7));
        assert_eq!(&message.call[..11], b"move_mount\0");
        assert_eq!(message.text.to_string(), "no words");
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert!(Message::decode(&[0; SIZE]).is_none());
        assert!(Message::decode(&[1; 10]).is_none());
        let mut long = Message::new(Kind::Go, 0).encode();
        long[1] = 255;
        assert!(Message::decode(&long).is_none());
    }
}
