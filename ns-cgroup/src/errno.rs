//! `errno` as a value.

use std::fmt;

/// An error number of the kernel, `errno(3)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident),* $(,)?) => {
        impl Errno {
            $(#[doc = concat!("`", stringify!($name), "`")]
              pub const $name: Errno = Errno(libc::$name);)*

            /// The number's symbol, `"EBUSY"`, for the numbers that cgroup files and bpf(2) answer with.
            pub const fn symbol(self) -> Option<&'static str> {
                $(if self.0 == Self::$name.0 { return Some(stringify!($name)); })*
                None
            }
        }
    };
}

errnos! {
    EPERM, ENOENT, ESRCH, EINTR, EIO, E2BIG, EBADF, EAGAIN, ENOMEM, EACCES, EFAULT, EBUSY, EEXIST, ENODEV, ENOTDIR, EISDIR, EINVAL, ENFILE,
    EMFILE, EFBIG, ENOSPC, EROFS, ERANGE, ENAMETOOLONG, ENOSYS, ENOTEMPTY, ELOOP, EXDEV, EOPNOTSUPP, ETIMEDOUT,
}

impl Errno {
    /// The error of this number.
    pub const fn new(number: i32) -> Errno {
        Errno(number)
    }

    /// The number.
    pub const fn raw_os_error(self) -> i32 {
        self.0
    }
}

/// The C library's sentence, without the number: "Device or resource busy".
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::io::Error::from_raw_os_error(self.0).to_string();
        f.write_str(text.split(" (os error").next().unwrap_or(&text))
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.symbol() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl std::error::Error for Errno {}

impl From<Errno> for std::io::Error {
    fn from(e: Errno) -> Self {
        std::io::Error::from_raw_os_error(e.0)
    }
}

// Hidden from the public surface: rustix may change its major version without this crate's changing.
pub(crate) fn errno(e: rustix::io::Errno) -> Errno {
    Errno(e.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_the_c_library_says_it() {
        assert_eq!(Errno::EBUSY.to_string(), "Device or resource busy");
        assert_eq!(format!("{:?} {:?}", Errno::EBUSY, Errno::new(4000)), "EBUSY errno 4000");
    }
}
