//! The descriptors that the launcher and the plan know by name.

use ns_core::Slot;

/// The tree, detached; used up by a start.
pub const TREE: Slot = Slot::new("tree");
/// The tree's lock; the keeper holds it too.
pub const LOCK: Slot = Slot::new("lock of the tree");
/// The payload's cgroup.
pub const CGROUP: Slot = Slot::new("payload's cgroup");
/// The console's master, sent by the builder.
pub const PTY: Slot = Slot::new("console");
/// The readiness socket, sent by the builder.
pub const NOTIFY: Slot = Slot::new("notify socket");
/// The console's other end, in the payload.
pub(super) const TTY: Slot = Slot::new("terminal");
/// Standard input, output and error of a payload without a console.
pub const STDIO: [Slot; 3] = [Slot::new("standard input"), Slot::new("standard output"), Slot::new("standard error")];
