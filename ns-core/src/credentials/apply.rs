//! Credentials put on, in the one order that works, and read back.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use super::sys::{self, Caps};
use super::{CapSet, Capability, Credentials, Sets};
use crate::raw::Errno;
use crate::step::{Call, Child, Fault, Step, Wires};
use std::fmt;

impl Credentials {
    /// Does it now, for the calling thread.
    ///
    /// Capabilities that the thread doesn't have, or its bounding set lacks, are left out. Then, each only where there is something to
    /// change: bounding set (needs CAP_SETPCAP), securebits (the same), ids with `PR_SET_KEEPCAPS` around them, capset, ambient set,
    /// no_new_privs. Last, all of it is read back: what differs is `EPERM`, and the words say which.
    pub fn apply(&self) -> Result<(), Fault> {
        let present = CapSet::from_bits_retain(sys::bounding().call("prctl PR_CAPBSET_READ")?);
        let have = CapSet::from_bits_retain(sys::capget().call("capget")?.permitted);
        let target = self.target(present, have);
        drop_from_bounding(present - target.bounding)?;
        if sys::securebits().call("prctl PR_GET_SECUREBITS")? != self.securebits.bits() {
            sys::set_securebits(self.securebits.bits()).call("prctl PR_SET_SECUREBITS")?;
        }
        self.set_ids(&target)?;
        set_capabilities(&target)?;
        if self.no_new_privs {
            sys::set_no_new_privs().call("prctl PR_SET_NO_NEW_PRIVS")?;
        }
        self.verify(&target)
    }

    fn target(&self, present: CapSet, have: CapSet) -> Sets {
        Sets { bounding: self.sets.bounding & present, ..self.sets.within(present & have) }
    }

    /// A change from user 0 to another clears the permitted set, unless it is told to keep it.
    fn set_ids(&self, target: &Sets) -> Result<(), Fault> {
        let Some(ids) = &self.ids else { return Ok(()) };
        if ids.uid() == 0 || (target.permitted | target.inheritable).is_empty() {
            return ids.set();
        }
        sys::set_keep_caps(true).call("prctl PR_SET_KEEPCAPS")?;
        ids.set()?;
        sys::set_keep_caps(false).call("prctl PR_SET_KEEPCAPS")
    }

    fn verify(&self, target: &Sets) -> Result<(), Fault> {
        self.ids.as_ref().map_or(Ok(()), |ids| ids.verify())?;
        let caps = sys::capget().call("capget")?;
        same("capget", b"the permitted set differs from what was set", caps.permitted, target.permitted)?;
        same("capget", b"the effective set differs from what was set", caps.effective, target.effective)?;
        same("capget", b"the inheritable set differs from what was set", caps.inheritable, target.inheritable)?;
        let bounding = sys::bounding().call("prctl PR_CAPBSET_READ")?;
        same("prctl PR_CAPBSET_READ", b"the bounding set differs from what was set", bounding, target.bounding)?;
        let ambient = sys::ambient().call("prctl PR_CAP_AMBIENT")?;
        same("prctl PR_CAP_AMBIENT", b"the ambient set differs from what was set", ambient, target.ambient)?;
        if sys::securebits().call("prctl PR_GET_SECUREBITS")? != self.securebits.bits() {
            return Err(differs("prctl PR_GET_SECUREBITS", b"securebits differ from what was set"));
        }
        if self.no_new_privs && !sys::no_new_privs().call("prctl PR_GET_NO_NEW_PRIVS")? {
            return Err(differs("prctl PR_GET_NO_NEW_PRIVS", b"no_new_privs is not set"));
        }
        Ok(())
    }
}

fn drop_from_bounding(mut set: CapSet) -> Result<(), Fault> {
    while !set.is_empty() {
        let n = set.first();
        sys::drop_bounding(n).map_err(|errno| Fault::new("prctl PR_CAPBSET_DROP", errno).at_row(n))?;
        set -= CapSet::from_bits_retain(1 << n);
    }
    Ok(())
}

/// The ambient set is emptied first: what leaves the permitted set leaves it anyhow.
fn set_capabilities(target: &Sets) -> Result<(), Fault> {
    let caps = Caps { permitted: target.permitted.bits(), effective: target.effective.bits(), inheritable: target.inheritable.bits() };
    sys::clear_ambient().call("prctl PR_CAP_AMBIENT")?;
    sys::capset(&caps).call("capset")?;
    let mut ambient = target.ambient;
    while !ambient.is_empty() {
        let n = ambient.first();
        sys::raise_ambient(n).map_err(|errno| Fault::new("prctl PR_CAP_AMBIENT", errno).at_row(n))?;
        ambient -= CapSet::from_bits_retain(1 << n);
    }
    Ok(())
}

fn differs(call: &'static str, words: &[u8]) -> Fault {
    Fault::new(call, Errno::EPERM).saying(words)
}

/// The row of a difference is the first capability of it.
fn same(call: &'static str, words: &[u8], found: u64, target: CapSet) -> Result<(), Fault> {
    match found ^ target.bits() {
        0 => Ok(()),
        difference => Err(differs(call, words).at_row(difference.trailing_zeros())),
    }
}

// SAFETY: system calls on memory of `self` and of the stack.
unsafe impl Step for Credentials {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }

    fn wires(&self, wires: &mut Wires) {
        if let Some(ids) = &self.ids {
            ids.wires(wires);
        }
    }

    fn row(&self, row: u32) -> Option<&dyn fmt::Display> {
        Capability::ALL.get(row as usize).map(|capability| capability as &dyn fmt::Display)
    }
}
