//! Steps for any plan, so that users do without unsafe: files, sockets, sessions, limits, `prctl(2)`.
//!
//! Each is a value that is checked when it is made. In a plan a step finds directories and descriptors by [`Slot`](crate::Slot); the
//! same thing is done alone by a plain method (`apply`, `make`, `open`), which may be called in a child between clone and exec.
//!
//! Paths: an absolute path is resolved in the child's own root, a relative one in its working directory. With `in_dir` a path, absolute
//! or not, is resolved below that directory, symbolic links included, and never leaves it (`RESOLVE_IN_ROOT`). Magic links of /proc are
//! refused everywhere (`ELOOP`). All by `openat2(2)`, Linux 5.6.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

mod affinity;
mod at;
mod dup;
mod hostname;
mod keyring;
mod mkdir;
mod nice;
mod oom;
mod open;
mod personality;
pub(crate) mod prctl;
mod reached;
mod rlimits;
mod session;
mod socket;
mod symlink;
#[cfg(test)]
#[allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::indexing_slicing,
    reason = "the allocator is the proof"
)]
pub(crate) mod trial;
mod umask;
mod write;

pub use affinity::CpuAffinity;
pub use dup::Dup;
pub use hostname::{Domainname, Hostname};
pub use keyring::Keyring;
pub use mkdir::Mkdir;
pub use nice::Nice;
pub use oom::OomScoreAdj;
pub use open::Open;
pub use personality::Personality;
pub use prctl::Prctl;
pub use reached::Reached;
pub use rlimits::{HostLimits, Resource, Rlimits};
pub use session::{ProcessGroup, Session};
pub use socket::{Socket, SocketType};
pub use symlink::Symlink;
pub use umask::Umask;
pub use write::Write;
