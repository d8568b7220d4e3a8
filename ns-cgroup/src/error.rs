//! What went wrong, and what to do about it.

use crate::errno::Errno;
use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// What kind of failure it was, for callers that branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No cgroup2 file system is mounted where this process can see it.
    NotMounted,
    /// The cgroup2 file system is mounted read-only.
    ReadOnly,
    /// A name or value that was refused before anything was done.
    Invalid,
    /// Processes, or another user of the same name, are in the way.
    Busy,
    /// The kernel refused for lack of rights.
    NotPermitted,
    /// A controller that was asked for can't be had in this cgroup.
    NoController,
    /// The cgroup or the file is not there.
    NotFound,
    /// The time allowed ran out.
    TimedOut,
    /// Any other answer of the kernel: see [`Error::errno`].
    Other,
}

/// The error of this crate. Reads `operation object: call: errno text: the kernel's words; hint`.
pub struct Error(Box<Parts>);

struct Parts {
    kind: ErrorKind,
    operation: Cow<'static, str>,
    object: String,
    call: &'static str,
    errno: Option<Errno>,
    said: String,
    hint: Cow<'static, str>,
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What kind of failure it was.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The kernel's error number; `None` where something was refused before the kernel was asked.
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno
    }

    /// What to do about it, where the cause can be guessed.
    pub fn hint(&self) -> Option<&str> {
        Some(&*self.0.hint).filter(|h| !h.is_empty())
    }

    /// The same call may succeed when it is made again a little later.
    pub fn can_retry(&self) -> bool {
        matches!(self.kind(), ErrorKind::Busy) || matches!(self.errno(), Some(Errno::EAGAIN | Errno::EINTR))
    }

    pub(crate) fn call(operation: impl Into<Cow<'static, str>>, object: &Path, call: &'static str, errno: Errno) -> Error {
        Error::new(kind_of(errno), operation, object, call).with(|p| p.errno = Some(errno))
    }

    pub(crate) fn refused(kind: ErrorKind, operation: impl Into<Cow<'static, str>>, object: &Path, said: impl Into<String>) -> Error {
        let said = said.into();
        Error::new(kind, operation, object, "").with(|p| p.said = said)
    }

    fn new(kind: ErrorKind, operation: impl Into<Cow<'static, str>>, object: &Path, call: &'static str) -> Error {
        let (operation, object) = (operation.into(), object.display().to_string());
        Error(Box::new(Parts { kind, operation, object, call, errno: None, said: String::new(), hint: Cow::Borrowed("") }))
    }

    fn with(mut self, change: impl FnOnce(&mut Parts)) -> Error {
        change(&mut self.0);
        self
    }

    pub(crate) fn hinted(self, hint: impl Into<Cow<'static, str>>) -> Error {
        let hint = hint.into();
        self.with(|p| p.hint = hint)
    }

    pub(crate) fn saying(self, said: impl Into<String>) -> Error {
        let said = said.into();
        self.with(|p| p.said = said)
    }

    pub(crate) fn of_kind(self, kind: ErrorKind) -> Error {
        self.with(|p| p.kind = kind)
    }

    /// The cgroup was removed while it was being worked on: ENOENT from its dead directory, ENODEV from its open files.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.errno(), Some(Errno::ENOENT | Errno::ENODEV))
    }

    /// The place is out of the caller's reach; another one may not be.
    pub(crate) fn is_no_right(&self) -> bool {
        matches!(self.kind(), ErrorKind::NotPermitted | ErrorKind::ReadOnly)
    }
}

fn kind_of(errno: Errno) -> ErrorKind {
    match errno {
        Errno::EROFS => ErrorKind::ReadOnly,
        Errno::EBUSY | Errno::ENOTEMPTY => ErrorKind::Busy,
        Errno::EPERM | Errno::EACCES => ErrorKind::NotPermitted,
        Errno::ENOENT | Errno::ENODEV => ErrorKind::NotFound,
        Errno::ETIMEDOUT => ErrorKind::TimedOut,
        Errno::EINVAL | Errno::ERANGE | Errno::ENAMETOOLONG => ErrorKind::Invalid,
        _ => ErrorKind::Other,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { operation, object, call, errno, said, hint, .. } = &*self.0;
        write!(f, "{operation}")?;
        if !object.is_empty() {
            write!(f, " {object}")?;
        }
        if let Some(errno) = errno {
            write!(f, ": {call}: {errno}")?;
        }
        if !said.is_empty() {
            write!(f, ": {said}")?;
        }
        if !hint.is_empty() {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.errno.as_ref().map(|e| e as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_one_sentence() {
        let e = Error::call("remove cgroup", Path::new("/c/x"), "rmdir", Errno::EBUSY).hinted("processes are still in it");
        assert_eq!(e.to_string(), "remove cgroup /c/x: rmdir: Device or resource busy; processes are still in it");
        assert_eq!((e.kind(), e.errno(), e.can_retry()), (ErrorKind::Busy, Some(Errno::EBUSY), true));
        let e = Error::refused(ErrorKind::Invalid, "name of a cgroup", Path::new("a/b"), "a slash");
        assert_eq!(e.to_string(), "name of a cgroup a/b: a slash");
    }
}
