//! Who is killed first when memory runs out.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::error::Error;
use crate::raw::Errno;
use crate::step::{Call, Child, ChildFd, Fault, Slot, Step, Wires};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::retry_on_intr;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

/// Writes `/proc/self/oom_score_adj`, `proc_pid_oom_score_adj(5)`; through the caller's /proc ([`Slot::PROC`]).
///
/// Lower than it is needs CAP_SYS_RESOURCE of the first user namespace, or `EACCES`. It comes before a change of ids, which gives the
/// file to root (`EACCES`).
#[derive(Clone, Copy, Debug)]
pub struct OomScoreAdj {
    score: i16,
    text: [u8; 5],
    len: usize,
}

#[allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "runs in the parent")]
impl OomScoreAdj {
    /// From -1000 (never) to 1000 (first).
    pub fn new(score: i16) -> Result<OomScoreAdj, Error> {
        if !(-1000..=1000).contains(&score) {
            return Err(Error::refused(format!("an OOM score adjustment of {score}: the kernel takes -1000 to 1000")));
        }
        let mut text = [0; 5];
        let digits = score.to_string();
        for (to, from) in text.iter_mut().zip(digits.bytes()) {
            *to = from;
        }
        Ok(OomScoreAdj { score, text, len: digits.len() })
    }
}

impl OomScoreAdj {
    /// Does it now; `proc` is the root of a proc mount that shows the calling process.
    pub fn apply(&self, proc: BorrowedFd<'_>) -> Result<(), Fault> {
        let file = retry_on_intr(|| openat(proc, c"self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty()));
        let file = file.map(ChildFd::from).call("openat")?;
        let answer = crate::raw::write(file.as_fd(), self.text.get(..self.len).unwrap_or_default());
        file.close();
        match answer.call("write")? {
            written if written == self.len => Ok(()),
            _ => Err(Fault::new("write", Errno::EIO)),
        }
    }
}

// SAFETY: system calls on memory of `self`.
unsafe impl Step for OomScoreAdj {
    fn run(&self, child: &mut Child<'_>) -> Result<(), Fault> {
        self.apply(child.fd(Slot::PROC)?)
    }

    fn wires(&self, wires: &mut Wires) {
        wires.uses(Slot::PROC);
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for OomScoreAdj {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OOM score adjustment {}", self.score)
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

    #[test]
    fn is_seen_from_outside() {
        let proc = std::fs::File::open("/proc").unwrap();
        let step = OomScoreAdj::new(1000).unwrap();
        let read = |seen: crate::steps::trial::Seen| std::fs::read_to_string(format!("/proc/{}/oom_score_adj", seen.pid)).unwrap();
        assert_eq!(Trial::new().lend(Slot::PROC, proc.as_fd()).look(&[&step], read).unwrap(), "1000\n");
        assert!(OomScoreAdj::new(1001).is_err() && OomScoreAdj::new(-1000).is_ok());
    }
}
