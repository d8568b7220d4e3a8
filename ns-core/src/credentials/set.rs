//! Sets of capabilities.

use super::{Capability, sys};
use crate::error::Error;
use crate::raw::Errno;
use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub, SubAssign};

/// A set of capabilities: bit `n` is capability `n`, also of numbers that [`Capability`] has no name for.
///
/// ```
/// use ns_core::credentials::{Capability, CapSet};
/// let set = CapSet::of(&[Capability::Chown, Capability::NetAdmin]) - CapSet::of(&[Capability::NetAdmin]);
/// assert_eq!(set.to_string(), "CHOWN");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CapSet(u64);

impl CapSet {
    /// No capability.
    pub const EMPTY: CapSet = CapSet(0);

    /// What a distribution needs to boot and to look after itself, over its own user namespace: 20.
    ///
    /// CAP_NET_ADMIN is among them, and belongs to a private network only: take it out otherwise.
    pub const OS: CapSet = {
        use Capability::*;
        CapSet::of(&[
            Chown,
            DacOverride,
            DacReadSearch,
            Fowner,
            Fsetid,
            Kill,
            Setgid,
            Setuid,
            Setpcap,
            Setfcap,
            NetBindService,
            NetRaw,
            NetAdmin,
            SysChroot,
            SysAdmin,
            SysBoot,
            SysNice,
            SysPtrace,
            SysResource,
            SysTtyConfig,
        ])
    };

    /// What systemd-nspawn retains by default: `0xfdecbfff`, 27. CAP_NET_ADMIN is among them, and belongs to a private network only.
    pub const NSPAWN: CapSet = {
        use Capability::*;
        CapSet::of(&[AuditControl, AuditWrite, IpcOwner, Lease, LinuxImmutable, Mknod, NetBroadcast]).union(CapSet::OS)
    };

    /// These.
    pub const fn of(capabilities: &[Capability]) -> CapSet {
        let mut bits = 0;
        let mut rest = capabilities;
        while let [first, after @ ..] = rest {
            bits |= 1 << first.number();
            rest = after;
        }
        CapSet(bits)
    }

    /// Every capability that has a name here.
    pub const fn all() -> CapSet {
        CapSet::of(Capability::ALL)
    }

    /// Every capability that the running kernel has: `prctl(PR_CAPBSET_READ)` answers `EINVAL` past the last.
    pub fn of_kernel() -> Result<CapSet, Error> {
        sys::last_capability().map(|last| CapSet(u64::MAX >> (63 - last))).map_err(cannot_read)
    }

    /// The bounding set of the calling thread, `PR_CAPBSET_READ(2const)`.
    pub fn own_bounding() -> Result<CapSet, Error> {
        sys::bounding().map(CapSet).map_err(cannot_read)
    }

    /// From bit numbers.
    pub const fn from_bits_retain(bits: u64) -> CapSet {
        CapSet(bits)
    }

    /// As bit numbers.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether none is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many are in it.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether this one is in it.
    pub const fn contains(self, capability: Capability) -> bool {
        self.has(capability.number() as u32)
    }

    /// Whether all of `other` are in it.
    pub const fn contains_all(self, other: CapSet) -> bool {
        other.0 & !self.0 == 0
    }

    /// With all of `other`.
    pub const fn union(self, other: CapSet) -> CapSet {
        CapSet(self.0 | other.0)
    }

    /// The named ones, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.iter().copied().filter(move |capability| self.contains(*capability))
    }

    pub(super) const fn has(self, number: u32) -> bool {
        number < 64 && self.0 >> number & 1 == 1
    }

    /// The lowest number in it.
    pub(super) const fn first(self) -> u32 {
        self.0.trailing_zeros()
    }
}

fn cannot_read(errno: Errno) -> Error {
    Error::call("reading the bounding set: prctl PR_CAPBSET_READ", errno)
}

impl BitOr for CapSet {
    type Output = CapSet;
    fn bitor(self, other: CapSet) -> CapSet {
        self.union(other)
    }
}

impl BitOrAssign for CapSet {
    fn bitor_assign(&mut self, other: CapSet) {
        self.0 |= other.0;
    }
}

impl BitAnd for CapSet {
    type Output = CapSet;
    fn bitand(self, other: CapSet) -> CapSet {
        CapSet(self.0 & other.0)
    }
}

impl Sub for CapSet {
    type Output = CapSet;
    fn sub(self, other: CapSet) -> CapSet {
        CapSet(self.0 & !other.0)
    }
}

impl SubAssign for CapSet {
    fn sub_assign(&mut self, other: CapSet) {
        self.0 &= !other.0;
    }
}

impl From<Capability> for CapSet {
    fn from(capability: Capability) -> CapSet {
        CapSet(1 << capability.number())
    }
}

impl FromIterator<Capability> for CapSet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> CapSet {
        capabilities.into_iter().fold(CapSet::EMPTY, |set, capability| set | capability.into())
    }
}

/// "CHOWN KILL", "none", "all 41"; a number for one without a name.
impl fmt::Display for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        if *self == CapSet::all() {
            return write!(f, "all {}", self.len());
        }
        let mut space = "";
        for number in (0..64).filter(|number| self.has(*number)) {
            match Capability::ALL.get(number as usize) {
                Some(capability) => write!(f, "{space}{}", capability.name())?,
                None => write!(f, "{space}{number}")?,
            }
            space = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_are_as_specified() {
        assert_eq!((CapSet::OS.len(), CapSet::NSPAWN.len()), (20, 27));
        assert_eq!(CapSet::NSPAWN.bits(), 0xfdec_bfff);
        assert_eq!((CapSet::NSPAWN - Capability::NetAdmin.into()).bits(), 0xfdec_afff);
        assert!(!CapSet::OS.contains(Capability::Mknod) && CapSet::NSPAWN.contains_all(CapSet::OS));
    }

    #[test]
    fn sets_are_printed_by_name() {
        assert_eq!(CapSet::EMPTY.to_string(), "none");
        assert_eq!(CapSet::all().to_string(), "all 41");
        assert_eq!(CapSet::from_bits_retain(1 << 62 | 1 << 5 | 1).to_string(), "CHOWN KILL 62");
        assert_eq!([Capability::Kill, Capability::Chown].into_iter().collect::<CapSet>().iter().count(), 2);
    }

    #[test]
    fn the_kernels_are_known() {
        let kernel = CapSet::of_kernel().unwrap();
        let last: u32 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
        assert_eq!(kernel.len(), last + 1);
        assert!(kernel.contains_all(CapSet::own_bounding().unwrap()));
    }
}
