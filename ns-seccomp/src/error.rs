//! What goes wrong in the parent, before a filter is installed.

use ns_core::Errno;
use std::fmt;

/// A policy that can't be built or compiled, a program that the kernel would refuse. Installing fails with [`ns_core::Fault`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(Box<Inner>);

/// What to branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// No system call and no group of this name, on any architecture known here.
    UnknownName,
    /// A condition that can't be meant: argument 6, or a value outside its mask.
    BadCondition,
    /// Bytes that are no program which the kernel's checker accepts.
    BadProgram,
    /// More than 4096 instructions.
    TooLong,
    /// libseccomp refused, or can't express it.
    Libseccomp,
    /// The build script's output could not be written.
    Io,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    operation: String,
    cause: String,
    errno: Option<Errno>,
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.cause)
    }
}

impl Error {
    pub(crate) fn new(kind: Kind, operation: impl fmt::Display, cause: impl fmt::Display) -> Error {
        Error(Box::new(Inner { kind, operation: operation.to_string(), cause: cause.to_string(), errno: None }))
    }

    pub(crate) fn io(operation: impl fmt::Display, error: &std::io::Error) -> Error {
        let errno = error.raw_os_error().map(Errno::new);
        let cause = errno.map_or_else(|| error.to_string(), |errno| errno.to_string());
        Error(Box::new(Inner { kind: Kind::Io, operation: operation.to_string(), cause, errno }))
    }

    /// What to branch on.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The system's error number, where one was at fault.
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno
    }
}
