//! Linux mounts for containers, as steps that a builder makes with the caller's rights and that the container then can't undo.
//!
//! A container's file systems are put together by a process that stands outside it: a child of the caller's, with the caller's rights, in a
//! copy of the host's mount namespace. It takes a tree of files as a *detached* mount, makes it private, id-maps it, stacks it on `/`, and
//! mounts on it what the kernel provides (/dev, /proc, /sys, cgroup2 …), each in the namespaces of the container. Then it leaves the host by
//! `pivot_root(2)`. When the container's first process copies this mount namespace from inside its user namespace, everything in it arrives
//! locked, flags included: container root can neither unmount nor remount it. What a container mounts itself it can undo; so nothing that
//! protects is mounted there.
//!
//! Everything here is a value first. [`Root`], [`Tmpfs`], [`Bind`], [`Lock`] and the others are made and checked in the parent, print
//! themselves ("bind of /usr at /srv, ro nodev"), and are run in the child as steps of an `ns_core::Plan`, where they make system calls and
//! nothing else: no allocation, no locks, no thread-local storage, so that threads in the caller are no danger. Each is a plain method too,
//! which takes borrowed descriptors and returns a [`Fault`](ns_core::Fault): [`Tmpfs::mount`], [`Bind::bind`], [`Lock::apply`],
//! [`LeaveHost::leave`]. [`Error::of`] turns a fault into words.
//!
//! ```standalone_crate
//! use ns_core::Slot;
//! use ns_mount::*;
//! use std::os::fd::{AsFd, OwnedFd};
//! use std::path::Path;
//!
//! const TREE: Slot = Slot::new("tree");
//!
//! // In the parent: once resolved, a tree has no path any more.
//! fn take(tree: &Path) -> Result<OwnedFd, Error> {
//!     detach(open_tree(tree)?.as_fd())
//! }
//!
//! // In a process with a mount namespace of its own. In a plan, each of these is an `.outside(...)`.
//! fn enter(tree: OwnedFd, bind: &Bind) -> Result<(), ns_core::Fault> {
//!     let root = tree.as_fd();
//!     PrivateHost.apply()?;
//!     Root::new(TREE).nosuid().attach(root, None)?;
//!     for tmpfs in [dev(), tmp(), run(), run_host()] {
//!         tmpfs.mount(root)?.close();
//!     }
//!     Proc::of_payload().mount(root, own_pidfd().as_fd())?.close();
//!     Lock::default_proc(false).apply(root)?;
//!     bind.bind(root, None)?;
//!     LeaveHost.leave(root)
//! }
//!
//! # fn own_pidfd() -> OwnedFd {
//! #     use std::os::fd::FromRawFd;
//! #     unsafe { OwnedFd::from_raw_fd(libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) as i32) }
//! # }
//! # let made = tempfile::tempdir_in("/var/tmp").unwrap();
//! # let tree = made.path();
//! let bind = Bind::new("/usr", "/usr")?.read_only();
//! assert_eq!(bind.to_string(), "bind of /usr at /usr, ro nodev");
//! let tree = take(tree)?;
//! # std::thread::spawn(move || {
//! #     unsafe { ns_core::raw::unshare(libc::CLONE_NEWNS as u32) }.unwrap();
//! enter(tree, &bind).unwrap();
//! assert!(Path::new("/usr/bin").exists() && !Path::new("/etc").exists());
//! # }).join().unwrap();
//! # Ok::<(), Error>(())
//! ```
//!
//! # A recipe's order
//!
//! [`PrivateHost`] first. [`Root`] fills [`ROOT`], which everything after it needs: a plan that forgets it is refused when it is sealed. Then
//! [`dev`], [`dev_shm`], [`Devpts`], [`tmp`], [`run`], [`run_host`], [`Proc`]; binds and [`Lock::default_proc`]; [`JoinPayload::ipc_cgroup`]
//! and [`Mqueue`]; [`JoinPayload::network`], [`Sysfs`], [`Cgroup2`], [`Lock::default_sys`]; [`SealRunHost`], [`ReadOnlyRoot`],
//! [`LeaveHost`]. A mount comes before what is mounted on it: up to Linux 6.12 nothing can be attached inside a tree that is itself detached.
//!
//! # What it refuses to do
//!
//! - **Shared mounts.** Every clone of a tree or bind source is private, with all below it, before it is attached: there is no option. A
//!   shared one would carry the container's later mounts back to the host. Only [`LeaveHost`] shares, what is then the container's alone.
//! - **Paths by string.** A path in the tree is an [`InRoot`]: absolute, without `..`, resolved by the process that uses it, by `openat2(2)`
//!   from the tree's root and never out of it. In /dev, /proc, /sys, /run and /tmp no symbolic link is followed at all: a tree whose /dev is a
//!   link is refused, not obeyed.
//! - **Half a bind.** Flags and id map are set in one call on the detached clone. If the kernel refuses it, the bind fails; it doesn't come
//!   unmapped or writable.
//! - **Devices in the tree.** [`Root`] and [`Bind`] are `nodev`; [`Bind::devices`] is for single nodes.
//! - **Guessing by version.** A call is tried, and its errno judged; no kernel version is read.
//! - **Running as a thread.** The plain methods change what a process has once (working directory, umask, mount namespace). They are for a
//!   child, not for a thread beside others.
//!
//! It reads no image formats, makes no overlays, and has no opinion on which binds are sane: that is the caller's.
//!
//! # What the kernel must have
//!
//! | feature | first kernel | used for | fallback | what the fallback loses |
//! |---|---|---|---|---|
//! | `fsopen`, `fsconfig`, `fsmount`, `open_tree`, `move_mount` | 5.2 | every mount | none | |
//! | `openat2` | 5.6 | every path in the tree | none | |
//! | `setns` with a pidfd | 5.8 | [`JoinPayload`], [`Proc`]'s helper | none | |
//! | `STATX_MNT_ID` | 5.8 | [`LeaveHost`] verifies where it stands | the inode and device alone | a bind of the same directory would pass |
//! | `mount_setattr` | 5.12 | flags, propagation and id maps while detached | none | |
//! | id maps on ext4, xfs, vfat | 5.12 | [`Root::id_mapped`], [`Bind::id_mapped`] | [`id_mappable`] says what to choose | |
//! | … on btrfs; squashfs, erofs, f2fs; tmpfs | 5.15; 5.18 to 6.2; 6.3 | the same | the same | |
//! | `PIDFD_GET_PID_NAMESPACE`, and `pidns` of proc | 6.11, 6.18 | [`Proc`] | a helper that is born in the namespace | about 85 µs |
//! | mounting a fresh sysfs inside is refused | after 6.12 | nothing: see [`Sysfs`] | none | masks on /sys don't bind container root |
//! | `mknod` by the builder | with CAP_MKNOD | [`dev`] | the host's nodes are bound | one mount a node |

mod api;
mod bind;
mod error;
mod filesystem;
mod flags;
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
pub use filesystem::Filesystem;
pub use flags::MountFlags;
pub use idmap::id_mappable;
pub use lock::Lock;
pub use mount::{Cgroup2, Devpts, Mount, Mqueue, PTS};
pub use path::InRoot;
pub use pivot_root::LeaveHost;
pub use proc::{PROC, Proc};
pub use root::{PrivateHost, READ_ONLY, ROOT, ReadOnlyRoot, Root};
pub use setns::JoinPayload;
pub use sysfs::{SYS, Sysfs};
pub use tmpfs::Tmpfs;
pub use tree::{detach, open_tree};
