//! From and to the `caps` crate's types.

use super::{CapSet, Capability};
use crate::error::Error;

/// Fails for a capability that this crate has no name for.
impl TryFrom<caps::Capability> for Capability {
    type Error = Error;

    fn try_from(theirs: caps::Capability) -> Result<Capability, Error> {
        theirs.to_string().parse()
    }
}

/// Fails for a capability that the other crate has no name for.
impl TryFrom<Capability> for caps::Capability {
    type Error = Error;

    fn try_from(ours: Capability) -> Result<caps::Capability, Error> {
        ours.to_string().parse().map_err(|_| Error::refused(format!("the caps crate doesn't know {ours}")))
    }
}

impl From<&caps::CapsHashSet> for CapSet {
    fn from(theirs: &caps::CapsHashSet) -> CapSet {
        CapSet::from_bits_retain(theirs.iter().fold(0, |bits, one| bits | one.bitmask()))
    }
}

/// Those that the other crate has names for.
impl From<CapSet> for caps::CapsHashSet {
    fn from(ours: CapSet) -> caps::CapsHashSet {
        ours.iter().filter_map(|one| one.try_into().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_come_back() {
        let theirs: caps::CapsHashSet = CapSet::OS.into();
        assert_eq!((theirs.len(), CapSet::from(&theirs)), (20, CapSet::OS));
        for ours in Capability::ALL {
            let theirs: caps::Capability = (*ours).try_into().unwrap();
            assert_eq!((theirs.index(), Capability::try_from(theirs).unwrap()), (ours.number(), *ours));
        }
    }

    #[test]
    fn both_read_the_same_bounding_set() {
        let theirs = caps::read(None, caps::CapSet::Bounding).unwrap();
        assert_eq!(CapSet::from(&theirs), CapSet::own_bounding().unwrap());
    }
}
