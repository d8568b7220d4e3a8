//! The crate's error: what was done to what, the kernel's answer and words, what to do about it.

use std::borrow::Cow;
use std::fmt;
use std::io;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What failed: "make veth host0, peer ve-web: RTM_NEWLINK: Operation not supported: Unknown device type; ...".
///
/// The first part says the operation and its object, then the call or message, the kernel's error and its own words (its extended
/// acknowledgement) where it gave any, and a hint where the cause can be guessed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Inner>);

/// What a caller may branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `EPERM`, `EACCES`: no `CAP_NET_ADMIN` over the network namespace, or none to enter it.
    NotPermitted,
    /// A link of this name or index exists, and is alive.
    Exists,
    /// `ENODEV`, `ENOENT`, `ESRCH`: no such link, route, table or rule.
    NotFound,
    /// `EADDRINUSE`: another socket has the address and port.
    InUse,
    /// The link that was to be a bridge is something else.
    NotABridge,
    /// The kernel lacks the kind of link or the message.
    Unsupported,
    /// The name, address or other value can't be one.
    Invalid,
    /// The answer is none that the kernel gives, or there is none.
    Garbled,
    /// A list changed each time while it was read.
    Changing,
    /// Anything else: see [`Error::errno`].
    Other,
}

#[derive(Debug, thiserror::Error)]
#[error("{operation}: {cause}{}", Hint(hint))]
struct Inner {
    kind: Kind,
    operation: String,
    #[source]
    cause: Cause,
    hint: Option<Cow<'static, str>>,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{call}: {}{}", Words(*errno), Said(text))]
    Kernel { call: &'static str, errno: i32, text: String },
    #[error("{0}")]
    Refused(String),
}

struct Hint<'a>(&'a Option<Cow<'static, str>>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

/// The C library's sentence for a number, without the number.
struct Words(i32);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.0).to_string();
        f.write_str(text.split(" (os error").next().unwrap_or(&text))
    }
}

struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

impl Error {
    /// A failed call or message.
    pub(crate) fn kernel(operation: impl fmt::Display, call: &'static str, errno: i32, text: &str) -> Error {
        let kind = kind_of(errno);
        let hint = hint_of(kind, text).map(Cow::Borrowed);
        let cause = Cause::Kernel { call, errno, text: text.to_owned() };
        Error(Box::new(Inner { kind, operation: operation.to_string(), cause, hint }))
    }

    /// What this crate itself refuses.
    pub(crate) fn refused(kind: Kind, operation: impl fmt::Display, why: impl Into<String>) -> Error {
        Error(Box::new(Inner { kind, operation: operation.to_string(), cause: Cause::Refused(why.into()), hint: None }))
    }

    /// The same, of another kind, with other advice.
    pub(crate) fn because(mut self, kind: Kind, hint: impl Into<Cow<'static, str>>) -> Error {
        self.0.kind = kind;
        self.0.hint = Some(hint.into());
        self
    }

    /// What a caller may branch on.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The kernel's error number (`errno(3)`); none where this crate refused.
    pub fn errno(&self) -> Option<i32> {
        match self.0.cause {
            Cause::Kernel { errno, .. } => Some(errno),
            Cause::Refused(_) => None,
        }
    }

    /// The kernel's own words, from its extended acknowledgement; often none.
    pub fn kernel_text(&self) -> Option<&str> {
        match &self.0.cause {
            Cause::Kernel { text, .. } if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// What to do about it, where that can be guessed.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl From<Error> for io::Error {
    fn from(e: Error) -> io::Error {
        let kind = e.errno().map_or(io::ErrorKind::Other, |n| io::Error::from_raw_os_error(n).kind());
        io::Error::new(kind, e)
    }
}

fn kind_of(errno: i32) -> Kind {
    match errno {
        libc::EPERM | libc::EACCES => Kind::NotPermitted,
        libc::EEXIST => Kind::Exists,
        libc::ENODEV | libc::ENOENT | libc::ESRCH => Kind::NotFound,
        libc::EADDRINUSE => Kind::InUse,
        libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT => Kind::Unsupported,
        libc::EADDRNOTAVAIL | libc::EINVAL => Kind::Invalid,
        _ => Kind::Other,
    }
}

fn hint_of(kind: Kind, text: &str) -> Option<&'static str> {
    match kind {
        Kind::NotPermitted => Some("this needs CAP_NET_ADMIN in the user namespace that owns the network namespace"),
        Kind::Unsupported if text.contains("Unknown device type") => {
            Some("this kernel has no such links: their module is neither built in nor can it be loaded")
        }
        _ => None,
    }
}

/// Names the operation and the call of a failed system call.
pub(crate) trait Doing<T> {
    fn doing(self, operation: &str, call: &'static str) -> Result<T>;
}

impl<T> Doing<T> for rustix::io::Result<T> {
    fn doing(self, operation: &str, call: &'static str) -> Result<T> {
        self.map_err(|e| Error::kernel(operation, call, e.raw_os_error(), ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_operation_call_errno_words_hint() {
        let e = Error::kernel("make veth ve-x", "RTM_NEWLINK", libc::EOPNOTSUPP, "Unknown device type");
        assert_eq!(
            e.to_string(),
            "make veth ve-x: RTM_NEWLINK: Operation not supported: Unknown device type; \
             this kernel has no such links: their module is neither built in nor can it be loaded"
        );
        assert_eq!((e.kind(), e.errno(), e.kernel_text()), (Kind::Unsupported, Some(libc::EOPNOTSUPP), Some("Unknown device type")));
    }

    #[test]
    fn becomes_an_io_error_of_the_same_kind() {
        let e = io::Error::from(Error::kernel("x", "socket", libc::EPERM, ""));
        assert_eq!(e.kind(), io::ErrorKind::PermissionDenied);
        assert!(e.to_string().contains("CAP_NET_ADMIN"), "{e}");
    }

    #[test]
    fn one_word_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
