//! Queries by TCP: one connection's, one after the other.

use super::judge::{Judge, Verdict, failure};
use super::message::{has_failed, is_answer, set_id};
use super::{LONGEST_QUERY, random_id};
use crate::poll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How long a client may be silent, or a server take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    pub client: IpAddr,
    input: Vec<u8>,
    output: Vec<u8>,
    server: Option<Server>,
    pub deadline: Instant,
}

/// A connection to a resolver, with a query's answer to come.
#[derive(Debug)]
struct Server {
    stream: TcpStream,
    /// Of those that are left, this is the next.
    next: usize,
    query: Vec<u8>,
    question: Vec<u8>,
    id: u16,
    output: Vec<u8>,
    input: Vec<u8>,
}

/// What a connection waits for.
#[derive(Debug)]
pub(super) struct Waits<'a> {
    pub client: EventFlags,
    pub server: Option<(BorrowedFd<'a>, EventFlags)>,
}

/// The connection is over: closed, broken, or its peer did what isn't allowed.
#[derive(Debug)]
pub(super) struct Over;

impl Connection {
    pub fn new(stream: TcpStream, client: IpAddr, now: Instant) -> Connection {
        Connection { stream, client, input: Vec::new(), output: Vec::new(), server: None, deadline: now + PATIENCE }
    }

    /// Does what can be done without waiting. True where another server's connection has taken the place of the one before.
    pub fn advance(&mut self, judge: &mut Judge, now: Instant) -> Result<bool, Over> {
        let mut another = false;
        loop {
            if !flush(&self.stream, &mut self.output)? {
                return Ok(another);
            }
            if self.server.is_some() {
                match self.ask(judge, now) {
                    None => return Ok(another),
                    Some(changed) => another |= changed,
                }
                continue;
            }
            match message_of(&mut self.input, LONGEST_QUERY)? {
                Some(message) => another |= self.take(message, judge, now)?,
                None if !fill(&self.stream, &mut self.input, 2 + LONGEST_QUERY)? => return Ok(another),
                None => {}
            }
        }
    }

    fn take(&mut self, message: Vec<u8>, judge: &mut Judge, now: Instant) -> Result<bool, Over> {
        self.deadline = now + PATIENCE;
        match judge.decide(&message) {
            Verdict::Ignored => Err(Over),
            Verdict::Answered(answer) => {
                self.output = framed(&answer);
                Ok(false)
            }
            Verdict::Forwarded(question) => {
                self.server = Server::connect(&judge.servers(now), 0, message.clone(), question);
                if self.server.is_none() {
                    self.output = failure(&message).map(|answer| framed(&answer)).ok_or(Over)?;
                }
                Ok(self.server.is_some())
            }
        }
    }

    /// `None` while the server's answer hasn't come; otherwise, whether another server is asked now.
    fn ask(&mut self, judge: &mut Judge, now: Instant) -> Option<bool> {
        let server = self.server.as_mut()?;
        let answer = match server.advance() {
            Ok(None) => return None,
            Ok(Some(answer)) => Some(answer),
            Err(Over) => None,
        };
        let server = self.server.take()?;
        let failed = answer.as_ref().is_none_or(|a| has_failed(a));
        if failed {
            let next = Server::connect(&judge.servers(now), server.next, server.query.clone(), server.question.clone());
            if next.is_some() {
                self.server = next;
                return Some(true);
            }
        }
        let answer = answer.or_else(|| failure(&server.query)).unwrap_or_default();
        self.output = framed(&answer);
        Some(false)
    }

    /// What it waits for now: to write before all else, then for a server, then for a query.
    pub fn waits(&self) -> Waits<'_> {
        let server = self.server.as_ref().map(|s| (s.stream.as_fd(), if s.output.is_empty() { EventFlags::IN } else { EventFlags::OUT }));
        let client = match (self.output.is_empty(), server.is_some()) {
            (false, _) => EventFlags::OUT,
            (true, true) => EventFlags::empty(),
            (true, false) => EventFlags::IN,
        };
        Waits { client, server }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Server {
    /// A connection to the first server from `next` on that isn't refused at once.
    fn connect(servers: &[SocketAddr], next: usize, query: Vec<u8>, question: Vec<u8>) -> Option<Server> {
        let id = random_id()?;
        let mut asked = query.clone();
        set_id(&mut asked, id);
        let open = |(n, server): (usize, &SocketAddr)| Some((n, start(*server)?));
        let (n, stream) = servers.iter().enumerate().skip(next).find_map(open)?;
        Some(Server { stream, next: n + 1, query, question, id, output: framed(&asked), input: Vec::new() })
    }

    /// The answer, with the client's number, when it is there.
    fn advance(&mut self) -> Result<Option<Vec<u8>>, Over> {
        while flush(&self.stream, &mut self.output)? {
            if let Some(mut answer) = message_of(&mut self.input, usize::from(u16::MAX))? {
                if !is_answer(&answer, self.id, &self.question) {
                    return Err(Over);
                }
                set_id(&mut answer, crate::frame::be16(&self.query, 0).unwrap_or(0));
                return Ok(Some(answer));
            }
            if !fill(&self.stream, &mut self.input, 2 + usize::from(u16::MAX))? {
                return Ok(None);
            }
        }
        Ok(None)
    }
}

/// A connection that is being made.
fn start(server: SocketAddr) -> Option<TcpStream> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP)).ok()?;
    match connect(&socket, &server) {
        Ok(()) | Err(Errno::INPROGRESS) => Some(socket.into()),
        Err(_) => None,
    }
}

/// A message with its length before it.
fn framed(message: &[u8]) -> Vec<u8> {
    let message = message.get(..message.len().min(usize::from(u16::MAX))).unwrap_or_default();
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// Takes the first whole message; one that is longer than it may be ends the connection.
fn message_of(input: &mut Vec<u8>, longest: usize) -> Result<Option<Vec<u8>>, Over> {
    let Some(len) = crate::frame::be16(input, 0).map(usize::from) else { return Ok(None) };
    if len > longest {
        return Err(Over);
    }
    if input.len() < 2 + len {
        return Ok(None);
    }
    let behind = input.split_off(2 + len);
    Ok(Some(std::mem::replace(input, behind).split_off(2)))
}

/// Writes what is left; true when nothing is.
fn flush(mut stream: &TcpStream, output: &mut Vec<u8>) -> Result<bool, Over> {
    while !output.is_empty() {
        match stream.write(output) {
            Ok(0) => return Err(Over),
            Ok(n) => drop(output.drain(..n)),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            // The connection isn't there yet.
            Err(e) if e.kind() == ErrorKind::NotConnected => return Ok(false),
            Err(_) => return Err(Over),
        }
    }
    Ok(true)
}

/// Reads some more, up to so many octets in all; false when nothing has come.
fn fill(mut stream: &TcpStream, input: &mut Vec<u8>, most: usize) -> Result<bool, Over> {
    let mut buffer = [0; 4096];
    let room = most.saturating_sub(input.len()).min(buffer.len());
    match stream.read(buffer.get_mut(..room).unwrap_or_default()) {
        Ok(0) => Err(Over),
        Ok(n) => {
            input.extend_from_slice(buffer.get(..n).unwrap_or_default());
            Ok(true)
        }
        Err(e) if e.kind() == ErrorKind::Interrupted => Ok(true),
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(_) => Err(Over),
    }
}
