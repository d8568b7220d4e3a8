//! Who a process is and what it may do, `credentials(7)`, `capabilities(7)`: ids, five capability sets, securebits and no_new_privs,
//! computed as one value, put on by calls for the calling thread alone, and read back.
//!
//! ```
//! use ns_core::credentials::{Capability, CapSet, Credentials};
//! let root = Credentials::root_with(CapSet::OS - Capability::NetAdmin.into()).build()?;
//! let service = Credentials::user(33, 33, []).keeping(Capability::NetBindService.into()).no_new_privs().build()?;
//! assert_eq!(service.to_string(), "become uid 33, gid 33, no other groups; keep NET_BIND_SERVICE over exec, bound to it; no new privileges");
//! # Ok::<(), ns_core::Error>(())
//! ```
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

mod apply;
#[allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
mod build;
#[allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
mod capability;
#[cfg(feature = "caps")]
#[allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
mod convert;
mod ids;
#[allow(clippy::disallowed_macros, reason = "what the child uses of it is arithmetic")]
mod securebits;
#[allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "what the child uses of it is arithmetic")]
mod set;
mod sys;
#[cfg(test)]
mod tests;

pub use build::CredentialsBuilder;
pub use capability::Capability;
pub use ids::Ids;
pub use securebits::SecureBits;
pub use set::CapSet;

use std::fmt;

/// The five sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sets {
    bounding: CapSet,
    permitted: CapSet,
    effective: CapSet,
    inheritable: CapSet,
    ambient: CapSet,
}

impl Sets {
    fn within(self, set: CapSet) -> Sets {
        Sets {
            bounding: self.bounding & set,
            permitted: self.permitted & set,
            effective: self.effective & set,
            inheritable: self.inheritable & set,
            ambient: self.ambient & set,
        }
    }
}

/// All of a process's credentials, checked to fit together; made by [`Credentials::root_with`] or [`Credentials::user`].
///
/// In a plan they come after [`crate::Mark::IDS`] and [`crate::Mark::BUILT`], as [`Ids`] do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    ids: Option<Ids>,
    sets: Sets,
    securebits: SecureBits,
    no_new_privs: bool,
}

impl Credentials {
    /// What any exec may give at most.
    pub fn bounding(&self) -> CapSet {
        self.sets.bounding
    }

    /// How user 0 is special.
    pub fn secure_bits(&self) -> SecureBits {
        self.securebits
    }

    /// Whether no_new_privs is set: a filter can be installed without CAP_SYS_ADMIN then.
    pub fn has_no_new_privs(&self) -> bool {
        self.no_new_privs
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ids) = &self.ids {
            write!(f, "{ids}; ")?;
        }
        write!(f, "keep {}", self.sets)?;
        if !self.securebits.is_empty() {
            write!(f, "; securebits {:#x}", self.securebits.bits())?;
        }
        f.write_str(if self.no_new_privs { "; no new privileges" } else { "" })
    }
}

/// The usual three shapes in few words, any other set by set.
#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Sets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sets { bounding, permitted, effective, inheritable, ambient } = *self;
        let them = |f: &mut fmt::Formatter<'_>| f.write_str(if bounding.len() == 1 { ", bound to it" } else { ", bound to them" });
        if bounding.is_empty() {
            return f.write_str("no capabilities, bound to none");
        }
        if permitted != effective || inheritable != ambient || !(ambient.is_empty() || ambient == permitted) {
            return write!(
                f,
                "capabilities: effective {effective}, permitted {permitted}, inheritable {inheritable}, ambient {ambient}, bound to {bounding}"
            );
        }
        match permitted.is_empty() {
            true => f.write_str("no capabilities")?,
            false => write!(f, "{permitted}{}", if ambient.is_empty() { "" } else { " over exec" })?,
        }
        if permitted == bounding { them(f) } else { write!(f, ", bound to {bounding}") }
    }
}
