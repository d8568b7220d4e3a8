//! A terminal with the launcher in it, driven as a person would.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use super::spawn::{end, keeper, payload, tree_of, wait};
use super::{Process, within};

/// The launcher on a terminal of its own; killed when dropped.
pub struct Terminal {
    child: Child,
    /// Closed when it is hung up.
    master: Option<OwnedFd>,
    /// Kept open, so that its settings can be looked at when the launcher has gone.
    slave: OwnedFd,
    raw: Vec<u8>,
    /// As far in the plain text as was expected.
    seen: usize,
}

impl Terminal {
    /// Starts it as a session leader with the terminal as its standard descriptors.
    pub fn start(command: Command) -> Terminal {
        Terminal::start_with(command, |_| ())
    }

    /// As [`Terminal::start`], with other standard descriptors where `change` says so.
    pub fn start_with(mut command: Command, change: impl FnOnce(&mut Command)) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty's other end");
        resize(&slave, 24, 80);
        fcntl_setfl(&master, OFlags::NONBLOCK).unwrap();
        let end = || slave.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end());
        change(&mut command);
        let terminal = end();
        // SAFETY: two system calls on a descriptor that is open in the child.
        unsafe {
            command.pre_exec(move || {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(&terminal)?;
                Ok(())
            });
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("{:?}: {e}", command.get_program()));
        Terminal { child, master: Some(master), slave, raw: Vec::new(), seen: 0 }
    }

    /// The launcher.
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Builder and keeper.
    pub fn keeper(&self) -> Process {
        keeper(self.process())
    }

    /// The container's first process.
    pub fn payload(&self) -> Process {
        payload(self.process())
    }

    /// Types it.
    pub fn send(&mut self, text: &str) {
        let (mut bytes, began) = (text.as_bytes(), Instant::now());
        while !bytes.is_empty() {
            match rustix::io::write(self.master(), bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(rustix::io::Errno::AGAIN) if began.elapsed() < within(10) => self.read_for(Duration::from_millis(10)),
                Err(e) => panic!("{text:?} could not be typed: {e}; the terminal shows:\n{}", self.text()),
            }
        }
    }

    /// Waits until the terminal shows it, after what was expected before; what it showed up to its end.
    pub fn expect(&mut self, text: &str, limit: Duration) -> String {
        let began = Instant::now();
        loop {
            let shown = self.text();
            let rest = shown.get(self.seen..).unwrap_or_default();
            if let Some(at) = rest.find(text) {
                let end = at + text.len();
                self.seen += end;
                return rest[..end].to_owned();
            }
            if began.elapsed() > limit {
                let tree = tree_of(self.process(), 0);
                panic!("{text:?} did not come within {limit:?}; the terminal shows:\n{shown}\nrunning:\n{tree}");
            }
            if self.ended() && !self.read() {
                panic!("the launcher ended before {text:?} came; the terminal shows:\n{shown}");
            }
            self.read_for(Duration::from_millis(50));
        }
    }

    /// Takes what is there for so long.
    pub fn read_for(&mut self, time: Duration) {
        let mut fds = [PollFd::new(self.master(), PollFlags::IN)];
        let _ = poll(&mut fds, Some(&Timespec::try_from(time).unwrap()));
        self.read();
    }

    fn read(&mut self) -> bool {
        let mut space = [0; 65536];
        let mut any = false;
        while let Ok(n @ 1..) = rustix::io::read(self.master(), &mut space) {
            self.raw.extend_from_slice(&space[..n]);
            any = true;
        }
        any
    }

    fn master(&self) -> &OwnedFd {
        self.master.as_ref().expect("a terminal that was not hung up")
    }

    /// Takes the terminal away, as a window that is closed; the launcher's exit code.
    pub fn hang_up(&mut self, limit: Duration) -> Option<i32> {
        self.master = None;
        wait(&mut self.child, limit).expect("the launcher ends without its terminal").code()
    }

    fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Everything it ever showed, byte for byte.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Everything it ever showed, without escape sequences and carriage returns.
    pub fn text(&self) -> String {
        plain(&String::from_utf8_lossy(&self.raw))
    }

    /// Makes the window another size; the launcher is told as a terminal tells.
    pub fn resize(&self, rows: u16, columns: u16) {
        resize(&self.slave, rows, columns);
    }

    /// Its settings.
    pub fn settings(&self) -> Termios {
        tcgetattr(&self.slave).expect("a terminal's settings")
    }

    /// The end that the launcher has.
    pub fn slave(&self) -> &OwnedFd {
        &self.slave
    }

    /// Waits for the launcher's end; its exit code, none if a signal ended it. All that was shown is in [`Terminal::text`] then.
    pub fn finish(&mut self, limit: Duration) -> Option<i32> {
        let began = Instant::now();
        while !self.ended() {
            self.read_for(Duration::from_millis(20));
            if began.elapsed() > limit {
                let tree = tree_of(self.process(), 0);
                panic!("the launcher did not end within {limit:?}; the terminal shows:\n{}\nrunning:\n{tree}", self.text());
            }
        }
        self.read();
        self.child.wait().unwrap().code()
    }

    /// `SIGKILL` to the launcher.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn resize(terminal: impl AsFd, rows: u16, columns: u16) {
    tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).expect("TIOCSWINSZ");
}

/// Without escape sequences (CSI, OSC and those of two characters) and carriage returns.
pub fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' => {}
            '\x1b' => match rest.next() {
                Some('[') => while rest.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                Some(']') => while rest.next().is_some_and(|c| c != '\x07' && !(c == '\x1b' && rest.next_if_eq(&'\\').is_some())) {},
                Some('(' | ')' | '#') => drop(rest.next()),
                _ => {}
            },
            c => out.push(c),
        }
    }
    out
}

/// A file of the host as standard input or output of a launcher.
pub fn opened(path: &str) -> OwnedFd {
    open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap_or_else(|e| panic!("{path}: {e}"))
}
