//! Names of descriptors and of points in time, before they exist.

use std::fmt;

/// A descriptor's name, before it exists: a constant of any crate.
///
/// ```
/// use ns_core::Slot;
/// pub const TREE: Slot = Slot::new("tree");
/// pub const BIND: Slot = Slot::new("bind source");
/// assert_ne!(BIND.nth(1), BIND.nth(2));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    what: &'static str,
    n: u16,
}

impl Slot {
    /// The payload's pidfd; given to the outside list.
    pub const PAYLOAD: Slot = Slot::new("the payload's pidfd");
    /// The payload's user namespace; given to the outside list of a plan that maps ids.
    pub const USER_NS: Slot = Slot::new("the payload's user namespace");
    /// A proc of the caller's pid namespace; given to both lists.
    pub const PROC: Slot = Slot::new("the caller's /proc");

    /// A slot of this name.
    pub const fn new(what: &'static str) -> Slot {
        Slot { what, n: 0 }
    }

    /// The `n`th of several of this name.
    pub const fn nth(self, n: u16) -> Slot {
        Slot { what: self.what, n }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        if self.n > 0 { write!(f, " {}", self.n) } else { Ok(()) }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({self})")
    }
}

/// A point that one list reaches and the other waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mark(pub &'static str);

impl Mark {
    /// The id maps are written; said by the outside list.
    pub const IDS: Mark = Mark("ids mapped");
    /// The payload has its cgroup namespace; said by the inside list.
    pub const CGROUP: Mark = Mark("cgroup namespace made");
    /// The payload has its network namespace; said by the inside list.
    pub const NETWORK: Mark = Mark("network namespace made");
    /// The builder has joined what it needs of the payload's namespaces, and looks into it no more; said by the outside list.
    pub const JOINED: Mark = Mark("payload's namespaces joined");
    /// The outside list is done: what it mounted may be copied, and is then locked.
    pub const BUILT: Mark = Mark("built");
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
