//! Network namespaces for tests: a host's and a container's, neither the machine's own.

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::os::fd::{AsFd, OwnedFd};
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
