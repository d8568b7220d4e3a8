//! One TCP connection and its other half, with `splice(2)` between them: no octet is copied to this process.

use crate::poll::EventFlags;
use rustix::io::Errno;
use rustix::net::{Shutdown, connect, shutdown, sockopt};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// A pipe's size in bytes, where the kernel grants it.
const PIPE: usize = 256 << 10;
/// Pieces in one turn, so that a fast connection doesn't keep the others waiting.
const AT_ONCE: usize = 16;
/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(10);
/// A peer that has gone without a word is found out in ten minutes and some.
const KEEPALIVE: Duration = Duration::from_secs(600);

/// A pipe, empty while nobody has it.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    fn new() -> Result<Pipe, Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A smaller one is slower, nothing else.
        let _ = fcntl_setpipe_size(&write, PIPE);
        Ok(Pipe { read, write })
    }
}

/// What a relay does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It waits for its sockets.
    Waiting,
    /// It could go on at once.
    Unfinished,
    /// Both directions have ended.
    Done,
    /// It is broken: the peers are to learn so by a reset.
    Broken,
}

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Client = 0,
    Server = 1,
}

#[derive(Debug)]
struct Side {
    socket: OwnedFd,
    /// As far as is known: each is found out by a try, and told anew by the kernel.
    readable: bool,
    writable: bool,
}

#[derive(Debug, Default)]
struct Flow {
    pipe: Option<Pipe>,
    filled: usize,
    ended: bool,
    shut: bool,
}

/// The two connections.
#[derive(Debug)]
pub(super) struct Relay {
    client: Side,
    server: Side,
    up: Flow,
    down: Flow,
    /// Until when the connection to the server must be there; none when it is.
    pub deadline: Option<Instant>,
    /// Its port, and which of that one's addresses is to be tried next.
    pub port: usize,
    pub next: usize,
}

/// Starts to connect; refused at once: an error.
pub(super) fn dial(socket: &OwnedFd, to: SocketAddr) -> Result<(), Errno> {
    match connect(socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(()),
        Err(e) => Err(e),
    }
}

/// The next `close` resets the connection.
pub(super) fn reset_on_close(socket: &OwnedFd) {
    // Where that fails, the peer sees an orderly end.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

fn set_up(socket: &OwnedFd) {
    // Neither is needed for what is sent to arrive.
    let _ = sockopt::set_tcp_nodelay(socket, true);
    let _ = sockopt::set_socket_keepalive(socket, true).and_then(|()| sockopt::set_tcp_keepidle(socket, KEEPALIVE));
}

impl Side {
    fn new(socket: OwnedFd) -> Side {
        set_up(&socket);
        Side { socket, readable: false, writable: false }
    }
}

impl Relay {
    /// A client, and a socket that has been dialled.
    pub fn new(client: OwnedFd, server: OwnedFd, [port, next]: [usize; 2], now: Instant) -> Relay {
        let (up, down) = (Flow::default(), Flow::default());
        Relay { client: Side::new(client), server: Side::new(server), up, down, deadline: Some(now + PATIENCE), port, next }
    }

    pub fn sockets(&self) -> [(End, &OwnedFd); 2] {
        [(End::Client, &self.client.socket), (End::Server, &self.server.socket)]
    }

    /// Another server in place of one that refused.
    pub fn replace(&mut self, server: OwnedFd, next: usize, now: Instant) {
        (self.server, self.next, self.deadline) = (Side::new(server), next, Some(now + PATIENCE));
    }

    /// Notes what the kernel tells about one end.
    pub fn note(&mut self, end: End, flags: EventFlags) {
        let side = if end == End::Client { &mut self.client } else { &mut self.server };
        let over = EventFlags::ERR | EventFlags::HUP;
        side.readable |= flags.intersects(EventFlags::IN | EventFlags::RDHUP | over);
        side.writable |= flags.intersects(EventFlags::OUT | over);
    }

    /// Whether the connection to the server is there; an error if it won't be.
    pub fn is_connected(&mut self) -> Result<bool, Errno> {
        if self.deadline.is_some() && self.server.writable {
            sockopt::socket_error(&self.server.socket)??;
            self.deadline = None;
        }
        Ok(self.deadline.is_none())
    }

    /// Moves what can be moved.
    pub fn advance(&mut self, pipes: &mut Vec<Pipe>) -> Outcome {
        let flows = [(&mut self.up, true), (&mut self.down, false)];
        let mut unfinished = false;
        for (flow, up) in flows {
            let (from, to) = if up { (&mut self.client, &mut self.server) } else { (&mut self.server, &mut self.client) };
            match flow.pump(from, to, pipes) {
                Ok(more) => unfinished |= more,
                Err(_) => return Outcome::Broken,
            }
        }
        match (self.up.shut && self.down.shut, unfinished) {
            (true, _) => Outcome::Done,
            (false, true) => Outcome::Unfinished,
            (false, false) => Outcome::Waiting,
        }
    }

    /// The peers learn that it didn't end well.
    pub fn reset(self) {
        reset_on_close(&self.client.socket);
        reset_on_close(&self.server.socket);
    }
}

impl Flow {
    /// From one socket to the other; true if it stopped only to let others have their turn.
    fn pump(&mut self, from: &mut Side, to: &mut Side, pipes: &mut Vec<Pipe>) -> Result<bool, Errno> {
        for _ in 0..AT_ONCE {
            let moved = match self.filled {
                _ if self.shut => false,
                0 if self.ended => self.shut(to)?,
                0 => from.readable && self.fill(from, pipes)?,
                _ => to.writable && self.drain(to)?,
            };
            if !moved {
                self.give_back(pipes);
                return Ok(false);
            }
        }
        self.give_back(pipes);
        Ok(true)
    }

    fn fill(&mut self, from: &mut Side, pipes: &mut Vec<Pipe>) -> Result<bool, Errno> {
        let pipe = match self.pipe.take().or_else(|| pipes.pop()) {
            Some(pipe) => self.pipe.insert(pipe),
            None => self.pipe.insert(Pipe::new()?),
        };
        match splice(&from.socket, None, &pipe.write, None, PIPE, SpliceFlags::MOVE | SpliceFlags::NONBLOCK) {
            Ok(0) => self.ended = true,
            Ok(n) => self.filled = n,
            Err(Errno::AGAIN) => from.readable = false,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
        Ok(from.readable)
    }

    fn drain(&mut self, to: &mut Side) -> Result<bool, Errno> {
        let Some(pipe) = &self.pipe else { return Ok(false) };
        match splice(&pipe.read, None, &to.socket, None, self.filled, SpliceFlags::MOVE | SpliceFlags::NONBLOCK) {
            Ok(n) => self.filled = self.filled.saturating_sub(n),
            Err(Errno::AGAIN) => to.writable = false,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
        Ok(to.writable)
    }

    /// Passes on that nothing more will come: the other direction goes on.
    fn shut(&mut self, to: &Side) -> Result<bool, Errno> {
        self.shut = true;
        match shutdown(&to.socket, Shutdown::Write) {
            Ok(()) | Err(Errno::NOTCONN) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn give_back(&mut self, pipes: &mut Vec<Pipe>) {
        if self.filled == 0 {
            pipes.extend(self.pipe.take());
            // Some are kept for the next.
            pipes.truncate(AT_ONCE);
        }
    }
}
