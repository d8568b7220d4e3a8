//! The CPUs that a process may run on.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::error::Error;
use crate::raw::sched_setaffinity;
use crate::step::{Call, Child, Fault, Step};
use std::fmt;

/// `sched_setaffinity(2)` of the child: `EINVAL` where no CPU of the set is there and in its cpuset.
///
/// ```
/// use ns_core::steps::CpuAffinity;
/// assert_eq!(CpuAffinity::new([0, 1, 2, 5, 64])?.to_string(), "CPUs 0-2,5,64");
/// # Ok::<(), ns_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[allow(clippy::disallowed_types, reason = "made in the parent; the child only reads it")]
pub struct CpuAffinity(Box<[u64]>);

/// The most CPUs that Linux can be built for.
const MAX_CPUS: u32 = 8192;

#[allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::indexing_slicing,
    reason = "runs in the parent"
)]
impl CpuAffinity {
    /// These CPUs, one at least.
    pub fn new(cpus: impl IntoIterator<Item = u32>) -> Result<CpuAffinity, Error> {
        let mut mask = Vec::new();
        for cpu in cpus {
            if cpu >= MAX_CPUS {
                return Err(Error::refused(format!("CPU {cpu}: Linux has at most {MAX_CPUS}")));
            }
            let word = (cpu / 64) as usize;
            mask.resize(mask.len().max(word + 1), 0u64);
            mask[word] |= 1 << (cpu % 64);
        }
        if mask.is_empty() { Err(Error::refused("an affinity without a CPU")) } else { Ok(CpuAffinity(mask.into_boxed_slice())) }
    }
}

impl CpuAffinity {
    /// Does it now, for the calling thread.
    pub fn apply(&self) -> Result<(), Fault> {
        sched_setaffinity(&self.0).call("sched_setaffinity")
    }

    fn contains(&self, cpu: u32) -> bool {
        self.0.get((cpu / 64) as usize).is_some_and(|word| word >> (cpu % 64) & 1 == 1)
    }
}

// SAFETY: one system call on memory of `self`.
unsafe impl Step for CpuAffinity {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        self.apply()
    }
}

/// As `taskset(1)` lists them.
#[allow(clippy::disallowed_macros, reason = "runs in the parent")]
impl fmt::Display for CpuAffinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CPUs ")?;
        let (mut cpu, mut comma) = (0, "");
        while cpu < MAX_CPUS {
            let run = (cpu..MAX_CPUS).take_while(|cpu| self.contains(*cpu)).count() as u32;
            match run {
                0 => {}
                1 => write!(f, "{comma}{cpu}")?,
                _ => write!(f, "{comma}{cpu}-{}", cpu + run - 1)?,
            }
            comma = if run > 0 { "," } else { comma };
            cpu += run + 1;
        }
        Ok(())
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
        let one = CpuAffinity::new([0]).unwrap();
        assert_eq!(Trial::new().look(&[&one], |seen| seen.status("Cpus_allowed_list")).unwrap(), "0");
        let none = CpuAffinity::new([8191]).unwrap();
        assert_eq!(Trial::new().run(&[&none]).unwrap_err().to_string(), "sched_setaffinity: Invalid argument");
        assert!(CpuAffinity::new([]).is_err() && CpuAffinity::new([8192]).is_err());
    }
}
