//! Who holds which tree and which range of user ids, found again after any crash.
//!
//! Locks are locks of open file descriptions (`F_OFD_SETLK`), which is what systemd-nspawn takes too: they last until the last copy of
//! the descriptor is closed, in whichever process, so the keeper that inherits one keeps it after the launcher was killed. A lock file
//! is removed by whoever holds its lock, and by nobody else; a file that a crash left behind is unlocked, and the next start takes it.

mod ids;
mod lock;
mod places;
mod tree_lock;

pub use ids::IdRange;
pub use places::Places;
pub use tree_lock::{Owner, TreeLock};
