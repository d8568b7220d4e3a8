//! Control groups, version 2, for those who start containers: a cgroup for each machine, delegated to its root; limits; a device program;
//! freezing, killing, waiting, counting, removing.
//!
//! A cgroup is a directory, and this crate keeps it as one: a [`Cgroup`] is an open descriptor, every call goes through it, and no path
//! is put together and looked up again. The only thing that is global is where the file system is mounted: [`Hierarchy::find`] looks
//! it up, on hosts that mount version 2 alone ([`Kind::Pure`]) and on those where version 1 still has most controllers
//! ([`Kind::Hybrid`]).
//!
//! ```no_run
//! # use ns_cgroup::{DeviceRules, Hierarchy, Limit, Limits, Machine, Name};
//! # use std::time::Duration;
//! # fn start(into: std::os::fd::BorrowedFd<'_>) {}
//! # fn main() -> ns_cgroup::Result<()> {
//! # use std::os::fd::AsFd;
//! let machine = Machine::create(&Hierarchy::find()?, &Name::new("box")?)?;
//! DeviceRules::container().compile().attach(machine.cgroup())?;
//! let told = Limits::new().ask(Limit::memory_max(512 << 20)).or_default(Limit::pids_max(16_384)).apply(machine.cgroup())?;
//! if !told.missing().is_empty() {
//!     eprintln!("{told}");
//! }
//! let payload = machine.payload(524_288, 524_288)?; // for each boot, owned by the container's root
//! start(payload.as_fd()); // clone3(CLONE_INTO_CGROUP)
//! machine.kill(Duration::from_secs(10))?;
//! machine.remove()?;
//! # Ok(()) }
//! ```
//!
//! What is going to be done is a value before it is done, and the value that is printed is the one that is executed. Making, printing and
//! compiling need no rights:
//!
//! ```
//! use ns_cgroup::{DeviceAccess, DeviceRules, DeviceType, Limit, Limits};
//!
//! let limits = Limits::new().ask(Limit::memory_max(512 << 20)).ask(Limit::cpu_max(150_000, 100_000)?);
//! assert_eq!(limits.to_string(), "memory.max <- 536870912\ncpu.max <- 150000 100000\n");
//!
//! let devices = DeviceRules::container().allow("c 10:200 rw".parse()?);
//! assert!(devices.to_string().starts_with("c 1:3 rwm\nc 1:5 rwm\n"));
//! assert!(devices.compile().allows(DeviceType::Char, 10, 200, DeviceAccess::READ));
//! assert!(!devices.compile().allows(DeviceType::Block, 8, 0, DeviceAccess::READ));
//! # Ok::<(), ns_cgroup::Error>(())
//! ```
//!
//! # What can't be had is told
//!
//! Which controllers a cgroup can use isn't the caller's to decide: version 1 may have them, they may not have been delegated, the kernel
//! may lack them. So [`Cgroup::enable`] returns what is [on](Enabled::on) and what is [missing](Enabled::missing) and why; a limit that
//! somebody [asked for](Limits::ask) fails by the controller's name, before anything is written; one that is only a
//! [default](Limits::or_default) is told by [`Applied`], one line to print. Nothing is left out in silence.
//!
//! # Where
//!
//! With root's rights machines are in `nskit/` below the root, which systemd leaves alone. Others work below the cgroup that is delegated
//! to them: start the manager with `systemd-run --user --scope -p Delegate=yes`, and let it call
//! `hierarchy.own()?.vacate(&Name::new("supervisor")?)` first, since a cgroup passes controllers on only while it has no
//! processes of its own.
//!
//! # Kernels
//!
//! | what | Linux | used for | before it |
//! |---|---|---|---|
//! | `cgroup.freeze` | 5.2 | [`Cgroup::freeze`] | ENOENT |
//! | `CLONE_INTO_CGROUP` | 5.7 | starting a process in a cgroup, by the caller | [`Cgroup::enter`] after the start |
//! | `cgroup.kill` | 5.14 | [`Cgroup::kill`] | [`Cgroup::kill_one_by_one`]; misses processes that have no pid in the caller's namespace |
//! | `memory.peak` | 5.19 | [`Statistics::memory_peak`] | `None` |
//! | device programs | 4.15, 32-bit jumps 5.1 | [`DeviceProgram::attach`] | EINVAL: refuse to start |
//!
//! # What it refuses to do
//!
//! - It doesn't touch version 1: no limit is written there, and a container never sees it.
//! - It doesn't move the caller's processes unasked.
//! - It doesn't remove the root of the hierarchy, nor what is below it.
//! - It doesn't start processes and doesn't log. It is the parent's: nothing here may be called between clone and exec.
//! - It has no asynchronous face: [`EventsFd`] is a descriptor that any event loop can poll.
#![deny(unsafe_code)]

mod cgroup;
mod controllers;
mod device;
mod dir;
mod enable;
mod errno;
mod error;
mod events;
mod file;
mod freeze;
mod hierarchy;
mod join;
mod limits;
mod machine;
pub mod mountinfo;
mod name;
mod procs;
mod remove;
mod statistics;
mod sys;
mod tree;

pub use cgroup::Cgroup;
pub use controllers::Controllers;
pub use device::{DeviceAccess, DeviceProgram, DeviceRule, DeviceRules, DeviceType};
pub use enable::Enabled;
pub use errno::Errno;
pub use error::{Error, ErrorKind, Result};
pub use events::{Events, EventsFd};
pub use hierarchy::{Hierarchy, Kind};
pub use join::Joined;
pub use limits::{Amount, Applied, Limit, Limits};
pub use machine::Machine;
pub use name::Name;
pub use statistics::Statistics;
pub use tree::Tree;
