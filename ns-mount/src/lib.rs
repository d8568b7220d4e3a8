//! ns-mount
mod api;
mod bind;
mod error;
mod filesystem;
mod idmap;
mod lock;
mod mount;
mod owner;
mod path;
mod pivot_root;
mod proc;
mod root;
mod setns;
mod shown;
mod sysfs;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tmpfs;
mod tree;

pub use api::{RUN_HOST, SealRunHost, dev, dev_shm, dev_without_console, run, run_host, tmp};
pub use bind::Bind;
pub use error::{Error, ErrorKind};
pub use filesystem::{Filesystem, MountFlags};
pub use idmap::id_mappable;
pub use lock::Lock;
pub use mount::{Cgroup2, Devpts, Mount, Mqueue, PTS};
pub use path::InRoot;
pub use pivot_root::LeaveHost;
pub use proc::Proc;
pub use root::{PrivateHost, READ_ONLY, ROOT, ReadOnlyRoot, Root};
pub use setns::JoinPayload;
pub use sysfs::Sysfs;
pub use tmpfs::Tmpfs;
pub use tree::{detach, open_tree};
