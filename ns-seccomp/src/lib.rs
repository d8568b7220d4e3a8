//! System call filters for containers: policies as values, compiled to programs that are small and install fast.
//!
//! A [`Policy`] says by name which calls are made and which are not: single ones, `@groups`, with conditions on arguments, for every
//! architecture whose calls the kernel accepts. It is data: it can be printed, compared, and asked about any call on paper. Compiled it is
//! a [`Program`], and [`Install`] is the step that a child takes shortly before exec (or any thread for itself).
//!
//! ```
//! use ns_core::Errno;
//! use ns_seccomp::{Action, Arch, Arg, Call, Install, Policy, Rule, syscall};
//!
//! # fn main() -> Result<(), ns_seccomp::Error> {
//! let policy = Policy::new("reader", Action::Errno(Errno::EPERM))
//!     .allow(&["@default", "@basic-io", "openat", "fstat", "newfstatat"])?
//!     .answer(Action::KillProcess, &["ptrace"])?
//!     .rule(Rule::new("prctl", Action::Allow).when(Arg::low(0).is(15)))?; // PR_SET_NAME
//! let program = policy.compile()?;
//!
//! let openat = syscall::number(Arch::native(), "openat").expect("every architecture has it");
//! assert_eq!(program.evaluate(&Call::new(Arch::native(), openat, [0; 6])), Action::Allow);
//! let step = Install::new(program); // for a plan, or: step.install()? for this thread
//! assert!(step.to_string().starts_with("install the \"reader\" system call filter, "));
//! # Ok(())
//! # }
//! ```
//!
//! # What decides
//!
//! Of the rules that cover a call and whose conditions hold, the strictest. A known call that none covers gets the policy's default. A
//! number that no call has gets `ENOSYS`, so that a C library made for a newer kernel falls back to what it did before; so do all of x32,
//! which is never allowed, and architectures that the policy isn't for. Where a policy allows a call on one architecture and the kernel
//! accepts another, the other is judged too, by its own numbers: `int 0x80` is no way around.
//!
//! [`profile::os`] is the policy for a whole distribution: it boots in it, and its package manager works in it.
//!
//! # Two compilers
//!
//! [`Policy::compile`] makes a binary search over ranges of numbers with the same answer: `os` for x86_64 and i386 is 253 instructions,
//! which `seccomp(2)` takes in 80 µs (108 and 40 for x86_64 alone). The kernel runs a program once for every number when it is installed, so a
//! linear one costs several times that at each start. `Policy::compile_with_libseccomp` (feature `libseccomp`, on by default) has the C
//! library make it. Tests evaluate the programs of both for every number and architecture, many arguments and many random policies, and
//! find the policy's own answer. [`Program::from_instructions`] takes the program of any other compiler.
//!
//! [`embed`] is for build scripts: a profile that is compiled when the launcher is built costs nothing when it starts, and neither the
//! launcher nor its build script need the C library for it.
//!
//! # What it doesn't do
//!
//! - Decide by what pointers point to. A filter sees numbers; memory could change after the look anyway. Where a call's meaning stands in
//!   memory (`clone3`, `socketcall`, `openat2`), it can only be allowed or refused whole.
//! - Set `no_new_privs`, or look whether it is set: the kernel says `EACCES`.
//! - Supervise ([`Action::Notify`] can be written, but there is no listener yet, and without one the kernel answers `ENOSYS`).
//! - Filter `uretprobe` and `uprobe` on x86_64: newer kernels don't ask filters about them, since only their own code may make them.
//! - Take filters off. Nobody can.
//! - Landlock, namespaces, capabilities: a filter is one wall of several.
//!
//! # In a child
//!
//! [`Install`]'s [`run`](ns_core::Step::run) and [`install`](Install::install) may run between clone and exec: one system call on memory
//! that is there. Everything else belongs in the parent.
//!
//! | feature | first kernel | used for | without it |
//! |---|---|---|---|
//! | `seccomp(2)` | 3.17 | everything | `ENOSYS`, `EINVAL`: nothing is installed |
//! | [`Action::KillProcess`], [`Action::Log`] | 4.14 | where a policy says so | a thread is killed instead |
//! | [`Flags::SPEC_ALLOW`] | 4.17 | speed before 5.16 | `EINVAL` |
//! | bitmap of constant allowances | 5.11 | calls allowed whatever their arguments cost nothing | every call runs the program |

mod action;
mod arch;
mod call;
mod compile;
mod condition;
pub mod embed;
mod error;
mod flags;
pub mod group;
mod install;
mod policy;
pub mod profile;
mod program;
pub mod syscall;

pub use action::Action;
pub use arch::Arch;
pub use call::Call;
pub use condition::{Arg, Condition};
pub use error::{Error, Kind as ErrorKind};
pub use flags::Flags;
pub use install::Install;
pub use policy::{Policy, Rule};
pub use program::Program;
