//! What can go wrong, in the caller's words.

use crate::raw::Errno;
use std::fmt;

/// An error of this crate: operation, object, errno, hint.
#[derive(Debug)]
pub struct Error(Box<Inner>);

/// What kind of failure it is, to branch on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value or a plan that can't work; nothing was done.
    Refused,
    /// A step failed in a child; everything that was started has ended.
    Step,
    /// A child died without a word; everything that was started has ended.
    Died,
    /// A call of the caller's own failed.
    Call,
}

/// Which of a plan's two lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The builder's.
    Outside,
    /// The payload's.
    Inside,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Outside => "outside",
            Side::Inside => "inside",
        })
    }
}

/// A place in a plan, as printed: "outside 7/19, bind of /usr".
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub side: Side,
    pub number: usize,
    pub of: usize,
    pub what: String,
    pub row: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}, {}", self.side, self.number, self.of, self.what)?;
        self.row.as_ref().map_or(Ok(()), |row| write!(f, ", {row}"))
    }
}

#[derive(Debug)]
enum Inner {
    Refused(String),
    Step { place: Place, call: String, errno: Errno, text: String, hint: Option<&'static str> },
    Died { place: Place, how: String },
    Call { what: String, errno: Errno, hint: Option<&'static str> },
}

impl Error {
    pub(crate) fn refused(why: impl Into<String>) -> Error {
        Error(Box::new(Inner::Refused(why.into())))
    }

    pub(crate) fn call(what: impl Into<String>, errno: Errno) -> Error {
        let what = what.into();
        let hint = hint(&what, errno);
        Error(Box::new(Inner::Call { what, errno, hint }))
    }

    pub(crate) fn step(place: Place, call: String, errno: Errno, text: String) -> Error {
        let hint = hint(&call, errno);
        Error(Box::new(Inner::Step { place, call, errno, text, hint }))
    }

    pub(crate) fn died(place: Place, how: impl Into<String>) -> Error {
        Error(Box::new(Inner::Died { place, how: how.into() }))
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match *self.0 {
            Inner::Refused(_) => ErrorKind::Refused,
            Inner::Step { .. } => ErrorKind::Step,
            Inner::Died { .. } => ErrorKind::Died,
            Inner::Call { .. } => ErrorKind::Call,
        }
    }

    /// The kernel's answer, where it was one.
    pub fn errno(&self) -> Option<Errno> {
        match *self.0 {
            Inner::Step { errno, .. } | Inner::Call { errno, .. } => Some(errno),
            _ => None,
        }
    }

    /// The number of [`Error::errno`].
    pub fn raw_os_error(&self) -> Option<i32> {
        self.errno().map(Errno::raw_os_error)
    }

    /// The call that failed in a child, by its C name.
    pub fn failed_call(&self) -> Option<&str> {
        match &*self.0 {
            Inner::Step { call, .. } => Some(call),
            _ => None,
        }
    }

    /// Which list, and the number in it as a plan prints it, of a step that failed or a child that died.
    pub fn place(&self) -> Option<(Side, usize)> {
        match &*self.0 {
            Inner::Step { place, .. } | Inner::Died { place, .. } => Some((place.side, place.number)),
            _ => None,
        }
    }
}

/// For `map_err` on rustix's results: names what the caller was doing.
pub(crate) fn failed(what: &str) -> impl FnOnce(rustix::io::Errno) -> Error + '_ {
    move |e| Error::call(what, Errno::new(e.raw_os_error()))
}

/// What to do, where the cause can be guessed.
fn hint(call: &str, errno: Errno) -> Option<&'static str> {
    match (call, errno) {
        ("clone3", Errno::ENOSPC) => Some("too many namespaces: see /proc/sys/user/max_*_namespaces, or 32 nested pid namespaces"),
        ("clone3", Errno::EPERM) => Some("this needs root, or CAP_SYS_ADMIN and user namespaces"),
        ("clone3", Errno::EAGAIN) => Some("no more processes: see ulimit -u and pids.max of the cgroup"),
        ("clone3", Errno::EBUSY) => Some("the cgroup has controllers enabled for children: processes belong into its leaves"),
        ("clone3", Errno::ENODEV) => Some("the cgroup was removed"),
        ("memfd_create" | "execveat", Errno::EACCES) => Some("executable memfds may be switched off: sysctl vm.memfd_noexec"),
        _ => None,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match &*self.0 {
            Inner::Refused(why) => return f.write_str(why),
            Inner::Died { place, how } => return write!(f, "{place}: {how}"),
            Inner::Step { place, call, errno, text, hint } => {
                write!(f, "{place}: {call}: {errno}")?;
                if !text.is_empty() {
                    write!(f, ": {text}")?;
                }
                hint
            }
            Inner::Call { what, errno, hint } => {
                write!(f, "{what}: {errno}")?;
                hint
            }
        };
        hint.map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for Error {}
