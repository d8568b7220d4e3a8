//! Processes in new namespaces, started from any program, with threads or without: `clone3(2)`, `namespaces(7)`, pidfds, id maps,
//! credentials and capabilities, terminals; and what holds them together, the plan.
//!
//! After a raw clone the child has one thread and a copy of every lock that another thread held. Until its exec it may make system calls
//! on memory that its parent prepared, and nothing else: a `malloc` there, or glibc's `setresuid`, hangs sooner or later. So what a child
//! does is a list of values here. A [`Step`] is made and checked in the parent, prints itself, and is run in the child, where it allocates,
//! locks and frees nothing. A [`Plan`] has two lists of steps:
//!
//! - *outside*: run by a **builder** with the caller's rights, in a mount namespace of its own. What it mounts, the payload copies from
//!   inside its user namespace by the step [`Locked`]; it arrives locked, and no root in there can take it off.
//! - *inside*: run by the **payload** in its new namespaces, where it has no rights outside them; the last step is its exec.
//!
//! They run at the same time and meet at [`Mark`]s; descriptors have names, [`Slot`]s. [`Plan::seal`] runs both lists against each other on
//! paper: what would hang, or use a descriptor that isn't there, is refused with a sentence. The [`Sealed`] plan is pure data: it can be
//! printed, sent to another thread, and started as often as wanted. [`Sealed::start`] gives a [`Running`] payload, [`Sealed::hold`] one that
//! is [`Held`] before its exec, so that the caller can make links in its network namespace, say. A plan without outside steps has no
//! builder: one clone.
//!
//! ```
//! use ns_core::credentials::{CapSet, Credentials};
//! use ns_core::steps::Hostname;
//! use ns_core::{Exec, Exit, Fds, IdMap, Namespaces, Plan};
//!
//! let script = "test $$ = 1 && test $(id -u) = 0 && test $(hostname) = box && exit 42";
//! let plan = Plan::new(Exec::new("/bin/sh")?.args(["-c", script])?.env("PATH", "/usr/bin:/bin")?)
//!     .user(IdMap::range(0, 1_000_000, 65_536)?)
//!     .unshare(Namespaces::PID | Namespaces::UTS | Namespaces::NET)
//!     .inside(Hostname::new("box")?)
//!     .inside(Credentials::root_with(CapSet::EMPTY).build()?)
//!     .seal()?;
//! assert!(plan.to_string().contains("hostname box"));
//! assert_eq!(plan.start(Fds::new())?.wait()?, Exit::Exited(42));
//! # Ok::<(), ns_core::Error>(())
//! ```
//!
//! An error names the list, the step's number and words, the call and its errno, and what the kernel said:
//! `outside 7/19, bind of /usr, read-only, at "/no/such/dir": move_mount: No such file or directory`.
//!
//! # The builder as keeper
//!
//! [`Plan::kept`] lets the builder stay, as the init of a process namespace around the payload's. When the caller dies, however it dies, the
//! keeper ends the payload and only then lets go of what it [holds](Plan::holding): a lock on a tree is free when nobody uses the tree any
//! more. When the keeper dies the kernel ends the payload. The payload can neither see nor signal it. The keeper is a program of a few
//! kilobytes, without a C library, that the build script compiles and this crate embeds; so is the init of [`Exec::as_pid2`].
//!
//! # Entering a container that runs
//!
//! [`Plan::enter`] runs a program in a container whose processes may be hostile, its process 1 among them. They see a process from the
//! moment in which it is in their pid namespace, and as the root of the user namespace they may look into it unless its memory belongs to
//! the outer one. Hence the order: undumpable; all namespaces by one `setns(2)`; the inside steps, by which rights are given up; every
//! descriptor closed but the program's own; exec of a sealed stub that nobody may read (mode 0111, without anything of the caller's); only
//! then a child, in the pid namespace, which executes the program. What may be reached where the container has no user namespace and has
//! SYS_PTRACE is that stub, with the program's own arguments, environment and descriptors.
//!
//! A child in a pid namespace that nobody reaps keeps its init from ending. Whoever enters is therefore never waited for by its parent, but
//! by the kernel (SIGCHLD is ignored), and the status is told by a third process inside: see [`Entered`]. To enter by [`Plan::join`] is for
//! namespaces of one's own.
//!
//! # What may run in a child
//!
//! [`Step::run`] of every step; the plain methods that do a step's work at once (`apply`, `join`, `make`, `open`: each returns a [`Fault`]);
//! everything in [`raw`]; the methods of [`Child`], [`ChildFd`], [`Fault`] and [`Text`]. They make system calls on what they are given and
//! touch neither the allocator nor thread-local storage. Everything else (constructors, `Display`, [`Error`], [`PidFd`], [`Held`],
//! [`Running`]) is the parent's.
//!
//! Whoever writes a step implements [`Step`], which is `unsafe`: its contract is that of `pre_exec`. [`Stepped`] hands steps without marks
//! and slots to a [`std::process::Command`].
//!
//! # What it refuses to do
//!
//! - **Inherit.** A payload's environment is what [`Exec::env`] says. Its descriptors are those that are passed by name; all others are
//!   closed, and 0 to 2 are `/dev/null`. No signal disposition or mask of the caller's reaches it.
//! - **Guess.** No kernel version is read: a call is made, and its errno judged. What was asked for and can't be had is an error.
//! - **Rely on `PR_SET_PDEATHSIG`.** It follows a thread, and the payload can clear it. The keeper is what ends with the caller.
//! - **Use what it can't trust.** A `/proc` that is no procfs is refused; magic links of /proc are never followed.
//! - **Start with a broken plan.** Two lists that wait for each other, a slot that nothing fills, a builder's mounts that nobody copies:
//!   each is refused when the plan is sealed, before anything exists.
//! - **Know other crates' objects.** Mounts, links, cgroups and filters are steps and descriptors of somebody else.
//! - **Log, start threads, install handlers, keep state of its own.** What can be waited for is a descriptor ([`Held`], [`Running`] and
//!   [`PidFd`] are `AsFd`).
//!
//! # What the kernel must have
//!
//! | feature | first kernel | used for | fallback | what the fallback loses |
//! |---|---|---|---|---|
//! | `clone3` with a pidfd; `CLONE_CLEAR_SIGHAND` | 5.3; 5.5 | every start | none | |
//! | `waitid(P_PIDFD)`, `pidfd_send_signal` | 5.4, 5.1 | ends and signals | none | |
//! | `openat2` | 5.6 | every path of a step | none | |
//! | `CLONE_INTO_CGROUP` | 5.7 | [`Plan::into_cgroup`] | none: enter the cgroup after the start | |
//! | `setns` with a pidfd | 5.8 | [`Plan::join`] of several kinds at once, [`Plan::enter`] | descriptors of `/proc/PID/ns`, one a kind | several calls |
//! | `close_range` | 5.9 | closing what isn't passed | none | |
//! | `mount_setattr` | 5.12 | [`raw::mount_setattr`], for ns-mount | none | |
//! | `TIOCGPTPEER` | 4.13 | [`pty`] | none | |
//! | more than 5 ranges in an id map | 4.15 | [`IdMap`] | up to 5 | |
//! | `MFD_EXEC` | 6.3 | the stub's memfd | a memfd without it | nothing: older ones can always be executed |
//! | `PR_SET_MDWE` | 6.3 | [`steps::Prctl`], where asked for | none: `EINVAL` | |
//!
//! Made for 5.14 and newer, tested on 6.1, 6.12 and newer, on x86-64. Written for aarch64 too, not tested there.
//!
//! # Features
//!
//! - `spawn` (default): cloning and what belongs to it. Without it the crate is what other crates' steps need: [`Step`], [`Child`],
//!   [`Fault`], [`Errno`], [`Namespaces`] and the raw calls.
//! - `rustix_1`: `From<rustix::io::Errno>` for [`Errno`]. `caps`: `From` and `TryFrom` between [`credentials::CapSet`] and that crate's sets.

#[cfg_attr(not(feature = "spawn"), allow(dead_code, reason = "without it only descriptors are sent"))]
pub(crate) mod link;
pub mod raw;
pub mod step;

pub use raw::Errno;
pub use step::{Call, Child, ChildFd, Fault, Mark, Slot, Step, Text, Wires};

pub use namespace::{Kind, Locked, Namespaces, NsFd, Setns, Unshare};

#[cfg(feature = "spawn")]
mod command;
#[cfg(feature = "spawn")]
pub mod credentials;
#[cfg(feature = "spawn")]
mod error;
#[cfg(feature = "spawn")]
mod exec;
#[cfg(feature = "spawn")]
mod exit;
#[cfg(all(feature = "spawn", feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "spawn")]
mod ids;
#[cfg(feature = "spawn")]
mod join;
mod namespace;
#[cfg(feature = "spawn")]
mod pidfd;
#[cfg(feature = "spawn")]
mod plan;
#[cfg(feature = "spawn")]
pub mod pty;
#[cfg(feature = "spawn")]
mod spawn;
#[cfg(feature = "spawn")]
pub mod steps;
#[cfg(feature = "spawn")]
mod stub;

#[cfg(feature = "spawn")]
pub use {
    command::Stepped,
    error::{Error, ErrorKind, Side},
    exec::Exec,
    exit::Exit,
    ids::{IdMap, IdRange},
    join::{Entered, Word},
    pidfd::PidFd,
    plan::{Plan, Sealed},
    spawn::{Event, Fds, Held, Running},
};
