//! The step that installs a program.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::{Flags, Program};
use ns_core::{Call, Child, Fault, Step, raw};

/// Installs a filter for the calling thread and all that it starts; nothing ever takes it off.
///
/// The last step before exec, or nearly: whatever comes after must pass the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    program: Program,
    flags: Flags,
}

impl Install {
    /// Installs this program.
    pub fn new(program: Program) -> Install {
        Install { program, flags: Flags::empty() }
    }

    /// With these flags.
    #[must_use]
    pub fn flags(self, flags: Flags) -> Install {
        Install { flags, ..self }
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// `seccomp(SECCOMP_SET_MODE_FILTER, flags, program)`: for the calling thread, at once. Linux 3.17. May run in a child.
    ///
    /// `EACCES`: the thread has neither `no_new_privs` nor `CAP_SYS_ADMIN` in its user namespace. `EINVAL`: the kernel refuses the program
    /// or a flag. `ENOMEM`: the filters of the thread would have more than 32768 instructions together. [`seccomp(2)`].
    ///
    /// [`seccomp(2)`]: https://man7.org/linux/man-pages/man2/seccomp.2.html
    pub fn install(&self) -> Result<(), Fault> {
        raw::seccomp_set_filter(self.flags.bits(), self.program.instructions()).map(drop).call("seccomp")
    }
}

// SAFETY: one system call on the program's memory, which the parent made.
unsafe impl Step for Install {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.install()
    }
}

/// `install the "os" system call filter, 107 instructions`
#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl std::fmt::Display for Install {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "install the {}", self.program)
    }
}
