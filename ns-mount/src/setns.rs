//! `setns(2)`: the builder enters the payload's namespaces whose file systems it mounts.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use linux_raw_sys::general::{CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET};
use ns_core::{Call, Child, Fault, Mark, Slot, Step, Wires, raw};
use std::fmt;
use std::os::fd::BorrowedFd;

/// `setns(payload's pidfd, flags)`: what is mounted next shows the payload's message queues, cgroups or network. Linux 5.8.
#[derive(Clone, Copy, Debug)]
pub struct JoinPayload {
    flags: u32,
    after: Mark,
    words: &'static str,
    last: bool,
}

impl JoinPayload {
    /// The ipc and cgroup namespaces, once the payload has them.
    pub const fn ipc_cgroup() -> JoinPayload {
        JoinPayload { flags: CLONE_NEWIPC | CLONE_NEWCGROUP, after: Mark::CGROUP, words: "ipc and cgroup namespaces", last: false }
    }

    /// The network namespace, once the payload has it. It is the last to be made, so what needs no network is mounted before.
    pub const fn network() -> JoinPayload {
        JoinPayload { flags: CLONE_NEWNET, after: Mark::NETWORK, words: "network namespace", last: false }
    }

    /// The builder needs no more of the payload's: it reaches [`Mark::JOINED`], and the payload may change its ids.
    #[must_use]
    pub const fn last(self) -> JoinPayload {
        JoinPayload { last: true, ..self }
    }

    /// Joins. `ESRCH`: the process has gone; `EPERM`: it has changed its ids, and the caller is no privileged user.
    pub fn join(&self, payload: BorrowedFd<'_>) -> Result<(), Fault> {
        raw::setns(payload, self.flags).call("setns")
    }
}

// SAFETY: a system call on a slot.
unsafe impl Step for JoinPayload {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        self.join(child.fd(Slot::PAYLOAD)?)
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(Slot::PAYLOAD).after(self.after);
        if self.last {
            wires.reaches(Mark::JOINED);
        }
    }
}

impl fmt::Display for JoinPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(format_args!("join the payload's {}", self.words))
    }
}
