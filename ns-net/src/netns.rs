//! Entering a network namespace, without leaving one's own.

use crate::error::{Doing, Error, Kind, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::BorrowedFd;
use std::thread;

/// Runs `work` on a thread of its own in this network namespace (`setns(2)`, a descriptor of `/proc/PID/ns/net` or a pidfd, which needs
/// Linux 5.8), and returns when it has: 50 µs. A socket that `work` opens and returns stays in the namespace.
///
/// The namespace of the calling thread never changes, not even for a moment or when going back would fail. Needs `CAP_SYS_ADMIN` both here
/// and in the user namespace that owns the network namespace. `what` says the operation in an error; a panic of `work`'s goes on here.
///
/// ```no_run
/// # let netns = std::fs::File::open("/proc/self/ns/net").unwrap();
/// use std::os::fd::AsFd;
/// let socket = ns_net::in_namespace(netns.as_fd(), "open a packet socket", || {
///     std::net::UdpSocket::bind("0.0.0.0:67")
/// })?;
/// # Ok::<(), ns_net::Error>(())
/// ```
pub fn in_namespace<T: Send>(netns: BorrowedFd<'_>, what: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    let enter = || {
        move_into_link_name_space(netns, Some(LinkNameSpaceType::Network)).doing(what, "setns").map_err(advise)?;
        Ok(work())
    };
    thread::scope(|scope| {
        let spawned = thread::Builder::new().name("setns".into()).spawn_scoped(scope, enter);
        let thread = spawned.map_err(|e| Error::kernel(what, "clone", e.raw_os_error().unwrap_or(libc::EAGAIN), ""))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// `setns` wants other rights than netlink.
fn advise(e: Error) -> Error {
    match e.kind() {
        Kind::NotPermitted => e.because(Kind::NotPermitted, "this needs CAP_SYS_ADMIN here and over the network namespace"),
        Kind::Invalid => e.because(Kind::Invalid, "the descriptor is no network namespace"),
        _ => e,
    }
}
