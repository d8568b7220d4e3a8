//! Calls that a signal interrupted are made again, whoever wraps them: any call that takes a path can be interrupted on a file system of
//! others, and none of ours waits for a signal.

use std::io;

/// An error that may say so.
pub(crate) trait Interrupted {
    /// `EINTR`
    fn is_interrupted(&self) -> bool;
}

impl Interrupted for io::Error {
    fn is_interrupted(&self) -> bool {
        self.kind() == io::ErrorKind::Interrupted
    }
}

impl Interrupted for rustix::io::Errno {
    fn is_interrupted(&self) -> bool {
        *self == rustix::io::Errno::INTR
    }
}

impl Interrupted for nix::errno::Errno {
    fn is_interrupted(&self) -> bool {
        *self == nix::errno::Errno::EINTR
    }
}

/// Until it isn't interrupted.
pub(crate) fn again<T, E: Interrupted>(mut call: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    loop {
        match call() {
            Err(e) if e.is_interrupted() => {}
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn only_what_was_interrupted_is_made_again() {
        let mut answers = vec![Ok(7), Err(Errno::INTR), Err(Errno::INTR)];
        assert_eq!(again(|| answers.pop().unwrap()), Ok(7));
        assert_eq!(again(|| Err::<(), _>(Errno::AGAIN)), Err(Errno::AGAIN));
    }
}
