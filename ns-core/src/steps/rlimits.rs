//! Resource limits.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

#[allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
mod resource;

pub use resource::{HostLimits, Resource};

use crate::error::Error;
use crate::raw::{Errno, syscall};
use crate::step::{Child, Fault, Step};
use linux_raw_sys::general::__NR_prlimit64;
use std::fmt;

/// One row: `struct rlimit64` of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    resource: Resource,
    limit: Limit,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
struct Limit {
    soft: u64,
    hard: u64,
}

/// A table of limits, each set by `prlimit64(0, resource, limit)`, `getrlimit(2)`, Linux 2.6.36.
///
/// A hard limit above the present one is `EPERM` without CAP_SYS_RESOURCE of the first user namespace: see
/// [`Rlimits::lowering_only`]. A failure names its row.
///
/// ```
/// use ns_core::steps::{Resource, Rlimits};
/// let limits = Rlimits::new().set(Resource::OpenFiles, 1024, 524288)?.set(Resource::Core, 0, Rlimits::INFINITY)?;
/// assert_eq!(limits.to_string(), "limits NOFILE 1024:524288, CORE 0:inf");
/// # Ok::<(), ns_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::disallowed_types, reason = "made in the parent; the child only reads it")]
pub struct Rlimits {
    rows: Vec<Row>,
    lowering_only: bool,
}

#[allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "runs in the parent")]
impl Rlimits {
    /// `RLIM64_INFINITY`: no limit.
    pub const INFINITY: u64 = u64::MAX;

    /// No limit is changed yet.
    pub fn new() -> Rlimits {
        Rlimits::default()
    }

    /// What the kernel gives to its first process, with the parts that differ from host to host read by [`HostLimits::read`].
    pub fn boot_defaults(host: HostLimits) -> Rlimits {
        const INF: u64 = Rlimits::INFINITY;
        const MIB: u64 = 1 << 20;
        let rows = [
            (Resource::Cpu, INF, INF),
            (Resource::FileSize, INF, INF),
            (Resource::Data, INF, INF),
            (Resource::Stack, 8 * MIB, INF),
            (Resource::Core, 0, INF),
            (Resource::ResidentSet, INF, INF),
            (Resource::Processes, host.processes.0, host.processes.1),
            (Resource::OpenFiles, host.max_open_files.min(1024), host.max_open_files.min(524288)),
            (Resource::LockedMemory, 8 * MIB, 8 * MIB),
            (Resource::AddressSpace, INF, INF),
            (Resource::Locks, INF, INF),
            (Resource::PendingSignals, host.pending_signals.0, host.pending_signals.1),
            (Resource::MessageQueues, 819200, 819200),
            (Resource::Nice, 0, 0),
            (Resource::RealtimePriority, 0, 0),
            (Resource::RealtimeTimeout, INF, INF),
        ];
        let row = |(resource, soft, hard)| Row { resource, limit: Limit { soft, hard } };
        Rlimits { rows: rows.into_iter().map(row).collect(), lowering_only: false }
    }

    /// Soft and hard limit of a resource, in its unit; a later row takes the place of an earlier one.
    pub fn set(mut self, resource: Resource, soft: u64, hard: u64) -> Result<Rlimits, Error> {
        if soft > hard {
            return Err(Error::refused(format!("the limit {resource}: soft {soft} is above hard {hard}")));
        }
        self.rows.retain(|row| row.resource != resource);
        self.rows.push(Row { resource, limit: Limit { soft, hard } });
        Ok(self)
    }

    /// The rows: resource, soft, hard.
    pub fn rows(&self) -> impl Iterator<Item = (Resource, u64, u64)> {
        self.rows.iter().map(|row| (row.resource, row.limit.soft, row.limit.hard))
    }

    /// The same as absolute values: of [`Rlimits::lowering_only`] what comes of it for a child of the calling process, by
    /// `prlimit64(0, resource, NULL, present)`.
    pub fn resolved(&self) -> Result<Rlimits, Error> {
        let resolve = |row: &Row| self.limit_of(row).map(|limit| Row { limit, ..*row }).map_err(|e| Error::call("prlimit64", e));
        Ok(Rlimits { rows: self.rows.iter().map(resolve).collect::<Result<_, _>>()?, lowering_only: false })
    }

    /// Never raises: a row above the present hard limit becomes that. For callers without CAP_SYS_RESOURCE; what a payload gets is then
    /// at most what its caller had.
    #[must_use]
    pub fn lowering_only(self) -> Rlimits {
        Rlimits { lowering_only: true, ..self }
    }
}

impl Rlimits {
    /// Does it now, for the calling process.
    pub fn apply(&self) -> Result<(), Fault> {
        for (n, row) in self.rows.iter().enumerate() {
            self.set_row(row).map_err(|errno| Fault::new("prlimit64", errno).at_row(n as u32))?;
        }
        Ok(())
    }

    fn set_row(&self, row: &Row) -> Result<(), Errno> {
        prlimit(row.resource, Some(&self.limit_of(row)?), None)
    }

    fn limit_of(&self, row: &Row) -> Result<Limit, Errno> {
        if !self.lowering_only {
            return Ok(row.limit);
        }
        let mut present = Limit::default();
        prlimit(row.resource, None, Some(&mut present))?;
        let hard = row.limit.hard.min(present.hard);
        Ok(Limit { soft: row.limit.soft.min(hard), hard })
    }
}

/// `prlimit64(0, resource, new, old)`.
fn prlimit(resource: Resource, new: Option<&Limit>, old: Option<&mut Limit>) -> Result<(), Errno> {
    let new = new.map_or(0, |limit| &raw const *limit as usize);
    let old = old.map_or(0, |limit| &raw mut *limit as usize);
    // SAFETY: both structures have the kernel's shape, or are null, and live during the call.
    unsafe { syscall(__NR_prlimit64, [0, resource as usize, new, old, 0, 0]) }.map(drop)
}

// SAFETY: system calls on memory of `self` and of the stack.
unsafe impl Step for Rlimits {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }

    fn row(&self, row: u32) -> Option<&dyn fmt::Display> {
        self.rows.get(row as usize).map(|row| row as &dyn fmt::Display)
    }
}

#[allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "runs in the parent")]
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: u64| if n == Rlimits::INFINITY { "inf".to_owned() } else { n.to_string() };
        write!(f, "{} {}:{}", self.resource, number(self.limit.soft), number(self.limit.hard))
    }
}

#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for Rlimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.lowering_only { "limits, at most what they are," } else { "limits" })?;
        self.rows.iter().enumerate().try_for_each(|(n, row)| write!(f, "{}{row}", if n == 0 { " " } else { ", " }))
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
    use crate::steps::trial::{Seen, Trial};

    fn limit(seen: &Seen, name: &str) -> String {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", seen.pid)).unwrap();
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let mut words = line[name.len()..].split_whitespace();
        format!("{}:{}", words.next().unwrap(), words.next().unwrap())
    }

    #[test]
    fn rows_are_seen_from_outside() {
        let limits = Rlimits::new().set(Resource::OpenFiles, 33, 44).unwrap().set(Resource::Core, 0, 4096).unwrap();
        let seen = Trial::new().look(&[&limits], |seen| (limit(&seen, "Max open files"), limit(&seen, "Max core file size")));
        assert_eq!(seen.unwrap(), ("33:44".into(), "0:4096".into()));
    }

    #[test]
    fn lowering_takes_the_lesser() {
        let low = Rlimits::new().set(Resource::OpenFiles, 33, 44).unwrap();
        let high = Rlimits::new().set(Resource::OpenFiles, 1024, Rlimits::INFINITY).unwrap();
        let fault = Trial::new().run(&[&low, &high]).unwrap_err();
        assert_eq!((fault.to_string().as_str(), fault.row.as_deref()), ("prlimit64: Operation not permitted", Some("NOFILE 1024:inf")));
        let lowered = Trial::new().look(&[&low, &high.lowering_only()], |seen| limit(&seen, "Max open files"));
        assert_eq!(lowered.unwrap(), "44:44");
    }

    #[test]
    fn what_comes_of_lowering_can_be_told_before() {
        let ask = |soft, hard| Rlimits::new().set(Resource::OpenFiles, soft, hard).unwrap().lowering_only().resolved().unwrap();
        let [(resource, _, present)] = ask(Rlimits::INFINITY, Rlimits::INFINITY).rows().collect::<Vec<_>>()[..] else { panic!("one row") };
        assert!(resource == Resource::OpenFiles && present < Rlimits::INFINITY);
        assert_eq!(ask(1, 2).rows().collect::<Vec<_>>(), [(Resource::OpenFiles, 1, 2)]);
        assert_eq!(ask(present + 1, present + 1).to_string(), format!("limits NOFILE {present}:{present}"));
    }

    #[test]
    fn the_boot_table_applies_downwards() {
        let table = Rlimits::boot_defaults(HostLimits::read().unwrap()).lowering_only();
        Trial::new().look(&[&table], |seen| assert_eq!(limit(&seen, "Max realtime priority"), "0:0")).unwrap();
        assert!(Rlimits::new().set(Resource::Core, 2, 1).is_err());
    }
}
