//! Runs steps in a real child of the tests' process, and looks at it from outside.
//!
//! The child runs under an allocator that ends it when it allocates or frees.

use crate::link::{Kind, Link, Message, Received};
use crate::raw::{self, Errno};
use crate::step::{Child, Fault, Slot, Step};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, socketpair};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Set in the child alone: its memory is a copy.
static IN_CHILD: AtomicBool = AtomicBool::new(false);
const ALLOCATED: i32 = 99;

struct Strict;

#[global_allocator]
static ALLOCATOR: Strict = Strict;

// SAFETY: the system's allocator, or the end of the process.
unsafe impl GlobalAlloc for Strict {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if IN_CHILD.load(Ordering::Relaxed) {
            raw::exit_group(ALLOCATED);
        }
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if IN_CHILD.load(Ordering::Relaxed) {
            raw::exit_group(ALLOCATED);
        }
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

/// A child to be: its slots, and namespaces of its own.
#[derive(Default)]
pub(crate) struct Trial {
    table: Vec<(Slot, RawFd)>,
    flags: u32,
    cwd: Option<std::fs::File>,
    before: Option<fn(i32)>,
}

/// A child that has done its steps and waits.
pub(crate) struct Seen {
    pub pid: i32,
    pub sent: Vec<(Slot, OwnedFd)>,
}

/// How a step failed, as the parent reads it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub call: String,
    pub errno: Errno,
    pub row: Option<String>,
    pub text: String,
}

impl Failure {
    /// For tests that only look at the errno.
    pub fn fault(&self) -> Fault {
        Fault::new("", self.errno)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.errno)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, ": {}", self.text) }
    }
}

impl Seen {
    /// A line of `/proc/PID/status`.
    pub fn status(&self, key: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let found = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':').map(|value| value.trim().to_owned()));
        found.unwrap_or_else(|| panic!("no {key} in\n{status}"))
    }
}

impl Trial {
    pub fn new() -> Trial {
        Trial::default()
    }

    /// A slot that is filled already; the caller keeps the descriptor open.
    pub fn lend(mut self, slot: Slot, fd: BorrowedFd<'_>) -> Trial {
        self.table.push((slot, fd.as_raw_fd()));
        self
    }

    /// A slot for a step to fill.
    pub fn slot(mut self, slot: Slot) -> Trial {
        self.table.push((slot, -1));
        self
    }

    /// `CLONE_NEW*`.
    pub fn unshared(self, flags: u32) -> Trial {
        Trial { flags: self.flags | flags, ..self }
    }

    pub fn cwd(self, dir: std::fs::File) -> Trial {
        Trial { cwd: Some(dir), ..self }
    }

    /// Called with the child's pid before it runs its steps.
    pub fn before(self, before: fn(i32)) -> Trial {
        Trial { before: Some(before), ..self }
    }

    pub fn run(self, steps: &[&dyn Step]) -> Result<(), Failure> {
        self.look(steps, drop)
    }

    /// Runs the steps, calls `look` while the child waits, ends it.
    pub fn look<R>(mut self, steps: &[&dyn Step], look: impl FnOnce(Seen) -> R) -> Result<R, Failure> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let args = raw::CloneArgs { flags: u64::from(self.flags), ..Default::default() };
        // SAFETY: the child runs steps and ends by exit_group.
        let pidfd = match unsafe { raw::clone3(args) }.unwrap() {
            None => self.in_child(steps, ours.as_raw_fd(), theirs.into_raw_fd()),
            // SAFETY: the kernel has just made it for us.
            Some(pidfd) => unsafe { OwnedFd::from_raw_fd(pidfd) },
        };
        drop(theirs);
        let pid = pid_of(&pidfd);
        if let Some(before) = self.before {
            before(pid);
        }
        let link = Link::on(ours.as_raw_fd());
        link.send(&Message::new(Kind::Go, 0)).unwrap();
        let mut sent = Vec::new();
        let outcome = loop {
            match link.receive(RecvFlags::empty()).unwrap() {
                Received::Message(message, Some(fd)) if message.kind == Kind::Slot => {
                    let slot = self.table[message.number as usize].0;
                    // SAFETY: just received, and nobody else's.
                    sent.push((slot, unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) }));
                }
                Received::Message(message, _) if message.kind == Kind::Fault => break Err(failure(steps, &message)),
                Received::Message(..) => break Ok(()),
                Received::End => panic!("the child left: {:?} ({ALLOCATED}: it allocated)", raw::waitid(pidfd.as_fd(), true)),
            }
        };
        let result = outcome.map(|()| look(Seen { pid, sent }));
        // Not by closing the socket: another test's child may hold a copy.
        link.send(&Message::new(Kind::Go, 0)).unwrap();
        let end = raw::waitid(pidfd.as_fd(), true).unwrap().unwrap();
        assert_eq!((end.code, end.status), (1, 0), "{ALLOCATED}: it allocated");
        result
    }

    fn in_child(&mut self, steps: &[&dyn Step], ours: RawFd, link: RawFd) -> ! {
        IN_CHILD.store(true, Ordering::Relaxed);
        raw::close(ours);
        let link = Link::on(link);
        let _ = link.receive(RecvFlags::empty());
        if let Some(dir) = &self.cwd {
            let _ = rustix::process::fchdir(dir);
        }
        // SAFETY: this is the child; the tests keep what they lend open.
        let mut child = unsafe { Child::new(&mut self.table, Some(link)) };
        let message = match steps.iter().enumerate().find_map(|(n, step)| step.run(&mut child).err().map(|fault| (n, fault))) {
            Some((n, fault)) => Message::fault(n as u32, &fault),
            None => Message::new(Kind::Ready, 0),
        };
        let _ = link.send(&message);
        let _ = link.receive(RecvFlags::empty());
        raw::exit_group(0)
    }
}

fn failure(steps: &[&dyn Step], message: &Message) -> Failure {
    Failure {
        call: String::from_utf8_lossy(&message.call).trim_end_matches('\0').to_owned(),
        errno: Errno::new(message.code),
        row: steps[message.number as usize].row(message.row).map(|row| row.to_string()),
        text: message.text.to_string(),
    }
}

fn pid_of(pidfd: &OwnedFd) -> i32 {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().parse().unwrap()
}

/// A directory that is removed when the test ends.
pub(crate) struct Scratch {
    path: std::path::PathBuf,
    fd: std::fs::File,
}

pub(crate) fn scratch() -> Scratch {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let path = std::env::temp_dir().join(format!("ns-core-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir(&path).unwrap();
    Scratch { fd: std::fs::File::open(&path).unwrap(), path }
}

impl Scratch {
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[test]
#[should_panic(expected = "it allocated")]
fn a_child_that_allocates_is_caught() {
    struct Bad;
    impl fmt::Display for Bad {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("allocate")
        }
    }
    // SAFETY: it isn't: that is the test. The allocator ends the child.
    unsafe impl Step for Bad {
        fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
            std::hint::black_box(Box::new(1));
            Ok(())
        }
    }
    let _ = Trial::new().run(&[&Bad]);
}
