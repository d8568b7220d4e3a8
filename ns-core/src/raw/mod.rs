//! The calls that rustix lacks or allocates in, as inline system calls: every function here may run in a child between clone and exec.
//!
//! They retry nothing but `EINTR`, and return the kernel's number.

mod arch;
mod errno;
mod fd;
mod mount;
mod process;
mod signal;
mod thread;

pub use arch::syscall;
pub use errno::Errno;
pub use fd::{OnExec, close, close_range, dup_above, dup_to, read, write};
pub use mount::{MountAttr, mount_setattr};
pub use process::{CloneArgs, WaitId, clone3, execveat, exit_group, getpid, pidfd_send_signal, waitid};
pub use signal::{SigSet, reset_signal, reset_signals, sigprocmask};
pub use thread::{join_session_keyring, personality, sched_setaffinity, seccomp_set_filter, setns, unshare};
