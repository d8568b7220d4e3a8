//! The payload's standard descriptors in pipe mode: ours, where they are what a stranger may have.

use crate::interrupted::again;
use crate::{Error, Kind};
use rustix::fs::{FileType, OFlags, Stat, fcntl_getfl, fstat, major, minor};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A pipe between the payload and our terminal, which is never a descriptor of the payload's.
#[derive(Debug)]
pub(crate) struct Relay {
    pub from: OwnedFd,
    pub to: OwnedFd,
}

/// What becomes the payload's 0, 1 and 2, and what is between.
pub(crate) struct Stdio {
    pub fds: Vec<OwnedFd>,
    pub relays: Vec<Relay>,
}

impl Stdio {
    /// Pipes, sockets, regular files and the harmless devices as they are; a terminal by a pipe, or as an empty input.
    ///
    /// # Errors
    /// One of them is something else: through a directory the payload would be out of its tree.
    pub fn new() -> Result<Stdio, Error> {
        let input = std::io::stdin();
        let first = if input.is_terminal() {
            std::fs::File::open("/dev/null").map_err(failed("standard input", "open /dev/null"))?.into()
        } else {
            checked(input.as_fd(), "standard input")?
        };
        let mut stdio = Stdio { fds: vec![first], relays: Vec::new() };
        stdio.output(std::io::stdout(), "standard output")?;
        stdio.output(std::io::stderr(), "standard error")?;
        Ok(stdio)
    }

    fn output(&mut self, fd: impl AsFd + IsTerminal, what: &str) -> Result<(), Error> {
        if !fd.is_terminal() {
            self.fds.push(checked(fd.as_fd(), what)?);
            return Ok(());
        }
        let (from, end) = again(|| pipe_with(PipeFlags::CLOEXEC)).map_err(failed(what, "pipe2"))?;
        self.relays.push(Relay { from, to: copy(fd.as_fd(), what)? });
        self.fds.push(end);
        Ok(())
    }
}

fn failed<E: Into<std::io::Error>>(what: &str, call: &str) -> impl FnOnce(E) -> Error {
    let doing = format!("pass the {what} to the container: {call}");
    |e| Error::call(Kind::Host, doing, ns_core::Errno::new(e.into().raw_os_error().unwrap_or_default()))
}

fn copy(fd: BorrowedFd<'_>, what: &str) -> Result<OwnedFd, Error> {
    again(|| fcntl_dupfd_cloexec(fd, 3)).map_err(failed(what, "fcntl"))
}

fn checked(fd: BorrowedFd<'_>, what: &str) -> Result<OwnedFd, Error> {
    let stat = again(|| fstat(fd)).map_err(failed(what, "fstat"))?;
    let path_only = again(|| fcntl_getfl(fd)).map_err(failed(what, "fcntl"))?.contains(OFlags::PATH);
    let kind = if path_only { Some("a descriptor of a path") } else { refused(&stat) };
    match kind {
        Some(kind) => Err(Error::new(Kind::Usage, format!("The {what} is {kind}, which is not passed to a container"))
            .hint("use a pipe, a file, a socket or /dev/null")),
        None => copy(fd, what),
    }
}

/// What would be more than a stream: `None` for a stream.
fn refused(stat: &Stat) -> Option<&'static str> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::Socket | FileType::RegularFile => None,
        // null, zero, full, random, urandom: the container has them too.
        FileType::CharacterDevice if major(stat.st_rdev) == 1 && [3, 5, 7, 8, 9].contains(&minor(stat.st_rdev)) => None,
        FileType::CharacterDevice | FileType::BlockDevice => Some("a device"),
        FileType::Directory => Some("a directory"),
        _ => Some("no stream"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, open};

    #[test]
    fn only_streams_are_passed() {
        let (reader, _writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        assert!(checked(reader.as_fd(), "standard input").is_ok());
        let refused = [
            ("/", OFlags::RDONLY, "a directory"),
            ("/dev/null", OFlags::PATH, "a descriptor of a path"),
            ("/dev/ptmx", OFlags::RDWR, "a device"),
        ];
        for (path, flags, kind) in refused {
            let fd = open(path, flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty()).unwrap();
            let error = checked(fd.as_fd(), "standard input").unwrap_err().to_string();
            assert!(error.starts_with(&format!("The standard input is {kind}, which")), "{error}");
        }
        for path in ["/dev/null", "/dev/zero", "/etc/passwd"] {
            assert!(checked(std::fs::File::open(path).unwrap().as_fd(), "standard input").is_ok(), "{path}");
        }
    }
}
