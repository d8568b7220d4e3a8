//! `prctl(2)`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::error::Error;
use crate::raw::{Errno, syscall};
use crate::step::{Call, Child, Fault, Step};
use linux_raw_sys::general::__NR_prctl;
use linux_raw_sys::prctl as sys;
use std::fmt;

/// `prctl(option, args)`.
///
/// # Safety
/// The arguments are what the option takes: where one is a pointer, it is valid for what the kernel does with it.
pub(crate) unsafe fn prctl(option: u32, args: [usize; 4]) -> Result<usize, Errno> {
    let [a, b, c, d] = args;
    // SAFETY: the caller answers for the arguments.
    unsafe { syscall(__NR_prctl, [option as usize, a, b, c, d, 0]) }
}

/// One attribute of the process, `prctl(2)`.
///
/// ```
/// use ns_core::steps::Prctl;
/// assert_eq!(Prctl::no_new_privs().to_string(), "no new privileges");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Prctl {
    option: u32,
    args: [usize; 4],
    what: &'static str,
    name: Option<[u8; 16]>,
}

impl Prctl {
    const fn new(option: u32, first: usize, what: &'static str) -> Prctl {
        Prctl { option, args: [first, 0, 0, 0], what, name: None }
    }

    /// `PR_SET_NO_NEW_PRIVS`: no exec grants anything, for good. Linux 3.5.
    pub const fn no_new_privs() -> Prctl {
        Prctl::new(sys::PR_SET_NO_NEW_PRIVS, 1, "no new privileges")
    }

    /// `PR_SET_DUMPABLE` 0: /proc/PID belongs to root, nobody may trace. Undone by exec of a readable file.
    pub const fn undumpable() -> Prctl {
        Prctl::new(sys::PR_SET_DUMPABLE, 0, "undumpable")
    }

    /// `PR_SET_DUMPABLE` 1, `PR_SET_DUMPABLE(2const)`.
    pub const fn dumpable() -> Prctl {
        Prctl::new(sys::PR_SET_DUMPABLE, 1, "dumpable")
    }

    /// `PR_SET_CHILD_SUBREAPER`: orphans below become its children. Linux 3.4.
    pub const fn child_subreaper() -> Prctl {
        Prctl::new(sys::PR_SET_CHILD_SUBREAPER, 1, "reaper of its descendants")
    }

    /// `PR_SET_KEEPCAPS`: a change of ids from root keeps the permitted set; until exec.
    pub const fn keep_capabilities() -> Prctl {
        Prctl::new(sys::PR_SET_KEEPCAPS, 1, "capabilities outlive a change of ids")
    }

    /// `PR_SET_PDEATHSIG`: a signal when the *thread* that cloned ends. The process can undo it, a change of ids does; where the
    /// payload isn't trusted, a plan's keeper is what ends it.
    pub const fn parent_death_signal(signal: u8) -> Prctl {
        Prctl::new(sys::PR_SET_PDEATHSIG, signal as usize, "a signal when the parent's thread ends")
    }

    /// `PR_SET_TIMERSLACK`, in nanoseconds. Linux 2.6.28.
    pub const fn timer_slack(nanoseconds: usize) -> Prctl {
        Prctl::new(sys::PR_SET_TIMERSLACK, nanoseconds, "timer slack")
    }

    /// `PR_SET_THP_DISABLE`: no transparent huge pages. Linux 3.15.
    pub const fn no_huge_pages() -> Prctl {
        Prctl::new(sys::PR_SET_THP_DISABLE, 1, "no transparent huge pages")
    }

    /// `PR_SET_MDWE` with `PR_MDWE_REFUSE_EXEC_GAIN`: memory that is writable never becomes executable. Linux 6.3, before `EINVAL`.
    pub const fn deny_write_execute() -> Prctl {
        Prctl::new(sys::PR_SET_MDWE, sys::PR_MDWE_REFUSE_EXEC_GAIN as usize, "no memory both written and executed")
    }

    /// `PR_SET_NAME`: what `ps` shows until exec; at most 15 bytes.
    pub fn name(name: &str) -> Result<Prctl, Error> {
        let mut bytes = [0; 16];
        if name.is_empty() || name.len() > 15 || name.contains('\0') {
            return Err(Error::refused("a process's name has 1 to 15 bytes, and no zero byte"));
        }
        for (to, from) in bytes.iter_mut().zip(name.as_bytes()) {
            *to = *from;
        }
        Ok(Prctl { name: Some(bytes), ..Prctl::new(sys::PR_SET_NAME, 0, "process name") })
    }

    /// Any other option; `what` is what a plan prints.
    ///
    /// # Safety
    /// The arguments are what the option takes; where one is a pointer, it is valid in the child, for as long as the kernel uses it.
    pub const unsafe fn raw(option: u32, args: [usize; 4], what: &'static str) -> Prctl {
        Prctl { option, args, what, name: None }
    }

    /// Does it now.
    pub fn apply(&self) -> Result<(), Fault> {
        let [first, b, c, d] = self.args;
        let first = self.name.as_ref().map_or(first, |name| name.as_ptr() as usize);
        // SAFETY: the checked options take numbers, `PR_SET_NAME` 16 bytes of `self`; who made a raw one answers for it.
        unsafe { prctl(self.option, [first, b, c, d]) }.map(drop).call("prctl")
    }
}

// SAFETY: one system call on memory of `self`.
unsafe impl Step for Prctl {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }
}

#[allow(clippy::disallowed_types, clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Prctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        match self.name {
            Some(name) => write!(f, " {}", String::from_utf8_lossy(&name).trim_end_matches('\0').escape_debug()),
            None if matches!(self.option, sys::PR_SET_PDEATHSIG | sys::PR_SET_TIMERSLACK) => write!(f, ": {}", self.args[0]),
            None => Ok(()),
        }
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
    fn attributes_are_seen_from_outside() {
        let name = Prctl::name("a name").unwrap();
        // SAFETY: the option takes numbers.
        let raw = unsafe { Prctl::raw(sys::PR_SET_TIMERSLACK, [777, 0, 0, 0], "slack") };
        let steps: [&dyn Step; 5] = [&name, &Prctl::no_new_privs(), &Prctl::no_huge_pages(), &Prctl::child_subreaper(), &raw];
        Trial::new()
            .look(&steps, |seen| {
                assert_eq!(
                    (seen.status("Name"), seen.status("NoNewPrivs"), seen.status("THP_enabled")),
                    ("a name".into(), "1".into(), "0".into())
                );
                assert_eq!(std::fs::read_to_string(format!("/proc/{}/timerslack_ns", seen.pid)).unwrap(), "777\n");
            })
            .unwrap();
    }

    #[test]
    fn an_undumpable_child_is_roots() {
        Trial::new().run(&[&Prctl::undumpable(), &Prctl::dumpable(), &Prctl::parent_death_signal(9), &Prctl::timer_slack(1)]).unwrap();
        assert!(Prctl::name("sixteen bytes ...").is_err());
        assert_eq!(Prctl::name("ns-keep").unwrap().to_string(), "process name ns-keep");
        assert_eq!(Prctl::parent_death_signal(9).to_string(), "a signal when the parent's thread ends: 9");
        // SAFETY: no option has this number.
        let none = unsafe { Prctl::raw(0x7fff_0000, [0; 4], "nothing") };
        assert_eq!(Trial::new().run(&[&none]).unwrap_err().to_string(), "prctl: Invalid argument");
    }
}
