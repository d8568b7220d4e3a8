//! The session keyring.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::raw::{Errno, join_session_keyring};
use crate::step::{Call, Child, Fault, Step};
use std::fmt;

/// A new, anonymous session keyring, `keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)`: the caller's keys stay with the caller.
///
/// `ENOSYS` is no failure: a kernel without keyrings has nothing to part with. `EDQUOT` is one: the user has too many keys
/// (`/proc/sys/kernel/keys/`), and the child would keep the caller's. `session-keyring(7)`, Linux 2.6.10.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keyring;

impl Keyring {
    /// Does it now.
    pub fn apply(&self) -> Result<(), Fault> {
        match join_session_keyring() {
            Err(Errno::ENOSYS) => Ok(()),
            answer => answer.call("keyctl"),
        }
    }
}

// SAFETY: one system call without pointers.
unsafe impl Step for Keyring {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }
}

impl fmt::Display for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a new session keyring")
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::indexing_slicing,
    reason = "tests run in the parent"
)]
mod tests {
    use super::*;
    use crate::steps::trial::Trial;

    /// `keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0)`, or the errno.
    fn session() -> String {
        // SAFETY: no pointer is passed.
        let answer = unsafe { crate::raw::syscall(linux_raw_sys::general::__NR_keyctl, [0, -3isize as usize, 0, 0, 0, 0]) };
        format!("{answer:?}")
    }

    #[test]
    fn the_keyring_is_another() {
        struct Tell(std::os::fd::OwnedFd);
        impl fmt::Display for Tell {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tell the keyring")
            }
        }
        // SAFETY: two system calls.
        unsafe impl Step for Tell {
            fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
                use std::os::fd::AsFd;
                // SAFETY: no pointer is passed.
                let id = unsafe { crate::raw::syscall(linux_raw_sys::general::__NR_keyctl, [0, -3isize as usize, 0, 0, 0, 0]) };
                let id = id.map_or(0, |id| id as u32);
                crate::raw::write(self.0.as_fd(), &id.to_ne_bytes()).map(drop).call("write")
            }
        }
        let (read, write) = rustix::pipe::pipe().unwrap();
        Trial::new().run(&[&Keyring, &Tell(write)]).unwrap();
        let mut bytes = [0; 4];
        rustix::io::read(&read, &mut bytes).unwrap();
        assert_ne!(format!("Ok({})", u32::from_ne_bytes(bytes)), session());
    }
}
