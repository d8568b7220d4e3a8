//! User, group and supplementary groups.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use super::sys;
use crate::error::Error;
use crate::raw::Errno;
use crate::step::{Call, Child, Fault, Mark, Step, Wires};
use std::fmt;

/// More than any real user has; they are read back into a buffer on the child's stack.
const MAX_GROUPS: usize = 1024;

/// `setgroups(2)`, `setresgid(2)`, `setresuid(2)` of the calling thread, then read back.
///
/// In a plan it comes after [`Mark::IDS`], and after [`Mark::BUILT`] unless another point is named ([`Ids::after`]): a change of ids makes
/// the payload undumpable, and a builder without CAP_SYS_PTRACE can't join its namespaces any more. It also clears the parent's death signal.
///
/// `EINVAL`: an id that the user namespace doesn't map. `EPERM` of setgroups: it is denied in the user namespace, see
/// [`Ids::without_groups`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::disallowed_types, reason = "made in the parent; the child only reads it")]
pub struct Ids {
    uid: u32,
    gid: u32,
    groups: Option<Vec<u32>>,
    after: Mark,
}

#[allow(clippy::disallowed_types, clippy::disallowed_macros, clippy::disallowed_methods, reason = "runs in the parent")]
impl Ids {
    /// User, group, and exactly these other groups, at most 1024; sorted and without repetition, as the kernel keeps them.
    pub fn new(uid: u32, gid: u32, groups: impl Into<Vec<u32>>) -> Result<Ids, Error> {
        let mut groups = groups.into();
        groups.sort_unstable();
        groups.dedup();
        if groups.len() > MAX_GROUPS {
            return Err(Error::refused(format!("{} supplementary groups: at most {MAX_GROUPS}", groups.len())));
        }
        // -1 means "leave it" to setresuid(2).
        if uid == u32::MAX || gid == u32::MAX || groups.last() == Some(&u32::MAX) {
            return Err(Error::refused(format!("{} is not an id", u32::MAX)));
        }
        Ok(Ids { uid, gid, groups: Some(groups), after: Mark::BUILT })
    }

    /// Leaves the supplementary groups as they are: in a user namespace of a single id, where setgroups is denied.
    #[must_use]
    pub fn without_groups(self) -> Ids {
        Ids { groups: None, ..self }
    }

    /// In a plan it comes after this mark, [`Mark::JOINED`] say, instead of [`Mark::BUILT`].
    #[must_use]
    pub fn after(self, mark: Mark) -> Ids {
        Ids { after: mark, ..self }
    }
}

impl Ids {
    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// Does it now, for the calling thread.
    pub fn apply(&self) -> Result<(), Fault> {
        self.set()?;
        self.verify()
    }

    pub(super) fn set(&self) -> Result<(), Fault> {
        if let Some(groups) = &self.groups {
            sys::setgroups(groups).call("setgroups")?;
        }
        sys::setresgid(self.gid).call("setresgid")?;
        sys::setresuid(self.uid).call("setresuid")
    }

    pub(super) fn verify(&self) -> Result<(), Fault> {
        let differs = |call, words: &[u8]| Err(Fault::new(call, Errno::EPERM).saying(words));
        if sys::getresuid().call("getresuid")? != [self.uid; 3] {
            return differs("getresuid", b"the user differs from what was set");
        }
        if sys::getresgid().call("getresgid")? != [self.gid; 3] {
            return differs("getresgid", b"the group differs from what was set");
        }
        let Some(groups) = &self.groups else { return Ok(()) };
        // One more than may be: a longer list fits no better than it may.
        let mut found = [0; MAX_GROUPS + 1];
        let n = sys::getgroups(&mut found).call("getgroups")?;
        match found.get(..n) == Some(groups.as_slice()) {
            true => Ok(()),
            false => differs("getgroups", b"the supplementary groups differ from what was set"),
        }
    }
}

// SAFETY: system calls on memory of `self` and of the stack.
unsafe impl Step for Ids {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }

    fn wires(&self, wires: &mut Wires) {
        wires.after(Mark::IDS).after(self.after);
    }
}

/// "become uid 1000, gid 1000, groups 4 27".
#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "become uid {}, gid {}, ", self.uid, self.gid)?;
        match self.groups.as_deref() {
            None => f.write_str("groups as they are"),
            Some([]) => f.write_str("no other groups"),
            Some(groups) => {
                f.write_str("groups")?;
                groups.iter().try_for_each(|group| write!(f, " {group}"))
            }
        }
    }
}
