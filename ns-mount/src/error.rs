//! What went wrong, in words, outside the child.

use ns_core::{Errno, Fault, Step};
use std::fmt;

/// What a caller may branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A path that is not absolute where it must be, has a `..`, a NUL byte, or names nothing.
    Path,
    /// A value that the kernel could not be given: a size, a parameter, a file type.
    Value,
    /// A file system that takes no id map.
    IdMap,
    /// The kernel refused a call: see [`Error::errno`].
    Call,
}

/// "operation object: call: the kernel's answer; what to do".
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    what: String,
    call: Option<(&'static str, Errno)>,
    hint: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Error {
        Error(Box::new(Inner { kind, what: what.into(), call: None, hint: String::new() }))
    }

    pub(crate) fn call(what: impl Into<String>, call: &'static str, errno: impl Into<Errno>) -> Error {
        Error(Box::new(Inner { kind: ErrorKind::Call, what: what.into(), call: Some((call, errno.into())), hint: String::new() }))
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = hint.into();
        self
    }

    /// The words for a fault of `step`, whose plain method was called without a plan.
    pub fn of(step: &dyn Step, fault: Fault) -> Error {
        let row = step.row(fault.row).map(|row| format!(", {row}")).unwrap_or_default();
        let error = Error::call(format!("{step}{row}"), fault.call, fault.errno);
        error.hint(fault.text.to_string())
    }

    /// What kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the kernel answered, where it was asked.
    pub fn errno(&self) -> Option<Errno> {
        self.0.call.map(|(_, errno)| errno)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        if let Some((call, errno)) = self.0.call {
            write!(f, ": {call}: {errno}")?;
        }
        if self.0.hint.is_empty() { Ok(()) } else { write!(f, "; {}", self.0.hint) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}
