//! Network namespaces for tests: a host's and a container's, neither the machine's own; real clients; services that run.

use ns_net::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Runs `body` on a thread of its own in a new network namespace.
pub fn in_new_namespace<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    let enter = || {
        // SAFETY: CLONE_NEWNET concerns this thread alone, and no descriptor.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("these tests need root");
        body()
    };
    thread::scope(|scope| scope.spawn(enter).join().unwrap())
}

/// A network namespace, kept by the descriptor alone.
pub fn namespace() -> OwnedFd {
    in_new_namespace(|| std::fs::File::open("/proc/thread-self/ns/net").unwrap().into())
}

/// Runs `body` on a thread in this namespace.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn inside<T: Send>(namespace: &OwnedFd, body: impl FnOnce() -> T + Send) -> T {
    let enter = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        body()
    };
    thread::scope(|scope| scope.spawn(enter).join().unwrap())
}

/// Turns a service in its namespace, as a caller's loop would, until `body` is done.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn serving<S: AsFd, T: Send>(
    namespace: &OwnedFd,
    open: impl FnOnce() -> S + Send,
    turn: impl Fn(&mut S) -> Result<()> + Send + Sync,
    body: impl FnOnce() -> T + Send,
) -> T {
    let (opened, is_open) = std::sync::mpsc::channel();
    let over = AtomicBool::new(false);
    let serve = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let mut service = open();
        opened.send(()).unwrap();
        let patience = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        while !over.load(Ordering::Relaxed) {
            let mut fds = [PollFd::new(&service, PollFlags::IN)];
            if poll(&mut fds, Some(&patience)).unwrap() > 0 {
                turn(&mut service).unwrap();
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(serve);
        let _over = Ender(&over);
        is_open.recv().expect("the service didn't open");
        body()
    })
}

/// Ends the service though a test fails, which would wait for it otherwise.
struct Ender<'a>(&'a AtomicBool);

impl Drop for Ender<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Real clients: the host's busybox, or that of the trees.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn busybox(applet: &str) -> Command {
    let trees = std::env::var_os("NSKIT_TREES").map_or_else(|| PathBuf::from("/var/cache/nskit/trees"), PathBuf::from);
    let places = [PathBuf::from("/bin/busybox"), PathBuf::from("/usr/bin/busybox"), trees.join("busybox/bin/busybox")];
    let program = places.iter().find(|p| p.exists()).expect("these tests need a static busybox: .ci/install test");
    let mut command = Command::new(program);
    command.arg(applet);
    command
}
