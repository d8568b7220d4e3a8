//! The launcher's error: one line for people, a kind and an errno for callers.

use std::fmt;

use ns_core::Errno;

/// What went wrong, in one line: `operation object: call: errno text; hint`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    errno: Option<Errno>,
    text: String,
    hint: Option<String>,
}

/// What callers branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The command line asks for something that can't be.
    Usage,
    /// The tree, or something in it, isn't what was needed.
    Tree,
    /// Somebody else holds the tree or the range.
    Busy,
    /// What is kept of a running machine can't be understood.
    Damaged,
    /// A call on the host failed.
    Host,
    /// What was killed does not end: a process is stuck in the kernel.
    Stuck,
}

impl Error {
    /// An error that is a sentence.
    pub fn new(kind: Kind, text: impl Into<String>) -> Error {
        Error(Box::new(Inner { kind, errno: None, text: text.into(), hint: None }))
    }

    /// An error of a call: `doing` is "operation object: call".
    pub fn call(kind: Kind, doing: impl fmt::Display, errno: impl Into<Errno>) -> Error {
        let errno = errno.into();
        Error(Box::new(Inner { kind, errno: Some(errno), text: format!("{doing}: {errno}"), hint: None }))
    }

    /// What a library says of the host is the line.
    pub(crate) fn host(e: impl fmt::Display) -> Error {
        Error::new(Kind::Host, e.to_string())
    }

    pub(crate) fn usage(text: impl Into<String>) -> Error {
        Error::new(Kind::Usage, text)
    }

    pub(crate) fn with_errno(mut self, errno: Errno) -> Error {
        self.0.errno = Some(errno);
        self
    }

    /// What to do about it, after a semicolon.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// What callers branch on.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The kernel's number, where a call failed.
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)?;
        match &self.0.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?}): {self}", self.0.kind, self.0.errno)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_operation_call_errno_hint() {
        let e = Error::call(Kind::Host, "lock /run/x: openat", Errno::EROFS).hint("make /run writable");
        assert_eq!(e.to_string(), "lock /run/x: openat: Read-only file system; make /run writable");
        assert_eq!((e.kind(), e.errno()), (Kind::Host, Some(Errno::EROFS)));
    }

    #[test]
    fn is_small_and_travels() {
        fn travels<T: Send + Sync + std::error::Error + 'static>() {}
        travels::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
