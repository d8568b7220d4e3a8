//! A network namespace that plays the host's, so that the machine's own is left alone.

use ns_net::{Bridge, Change, IfName, Link, LinkRef, Socket};
use rustix::thread::UnshareFlags;

/// Runs it in a thread with a network namespace of its own, in which there is a bridge of this name, up.
pub fn in_own_network<T: Send>(bridge: &str, run: impl FnOnce() -> T + Send) -> T {
    let inside = || {
        // SAFETY: a network namespace is this thread's alone; no memory and no descriptor is shared by it.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace of the test's own");
        let mut socket = Socket::open().unwrap();
        let made = Bridge::new(IfName::new(bridge).unwrap()).apply(&mut socket).expect("a bridge");
        Change::of(made.index).up().apply(&mut socket).expect("the bridge is up");
        run()
    };
    match std::thread::scope(|scope| scope.spawn(inside).join()) {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The link of this name in this thread's network namespace.
pub fn link(name: &str) -> Option<Link> {
    let mut socket = Socket::open().unwrap();
    Link::get(&mut socket, LinkRef::from(IfName::new(name).unwrap())).ok()
}

/// The names of all links in this thread's network namespace.
pub fn links() -> Vec<String> {
    let mut socket = Socket::open().unwrap();
    Link::list(&mut socket).unwrap().into_iter().map(|link| link.name.to_string()).collect()
}
