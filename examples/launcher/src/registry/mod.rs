//! Running machines, and who holds which tree, name and range of user ids: found again after any crash.
//!
//! There is no daemon. Each machine is described by a [`Record`], a file that its launcher writes; what is true is decided by locks and by
//! processes that are known by more than a number ([`ProcessId`]).
//!
//! Locks are locks of open file descriptions (`F_OFD_SETLK`), which is what systemd-nspawn takes too: they last until the last copy of
//! the descriptor is closed, in whichever process, so the keeper that inherits one keeps it after the launcher was killed. A lock file
//! is removed by whoever holds its lock, and by nobody else; a file that a crash left behind is unlocked, and the next start takes it.

mod collect;
mod form;
mod ids;
mod lock;
mod machines;
mod name_lock;
mod owner;
mod places;
mod process;
mod record;
mod record_file;
#[cfg(test)]
mod samples;
mod tree_lock;
mod zone_lock;

pub use collect::{Collected, collect, collect_held, gc, note_of_link, see_to};
pub use ids::IdRange;
pub use lock::Mode;
pub use machines::{Machine, Machines};
pub use name_lock::NameLock;
pub use owner::Owner;
pub use places::Places;
pub use process::ProcessId;
pub use record::{BootId, IdRow, Links, NetworkKind, Protections, Record, ResourceLimit, Since, State};
pub use record_file::RecordFile;
pub use tree_lock::TreeLock;
pub use zone_lock::ZoneLock;
