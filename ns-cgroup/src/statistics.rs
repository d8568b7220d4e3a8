//! What a cgroup uses.

use crate::cgroup::Cgroup;
use crate::error::Result;
use std::time::Duration;

/// What a cgroup and all below it use. `None` where the controller isn't enabled for it, or the kernel is older than the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// `memory.current`, bytes.
    pub memory: Option<u64>,
    /// `memory.peak`, bytes; Linux 5.19.
    pub memory_peak: Option<u64>,
    /// `pids.current`: processes and threads.
    pub pids: Option<u64>,
    /// `cpu.stat`, `usage_usec`: time on all CPUs together. Every cgroup counts it, also without the controller.
    pub cpu: Option<Duration>,
    /// `memory.events`, `oom_kill`: processes that the kernel killed because memory was short.
    pub oom_kills: Option<u64>,
}

impl Cgroup {
    /// Reads them all; not at one instant.
    pub fn statistics(&self) -> Result<Statistics> {
        Ok(Statistics {
            memory: self.number("memory.current")?,
            memory_peak: self.number("memory.peak")?,
            pids: self.number("pids.current")?,
            cpu: self.field("cpu.stat", "usage_usec")?.map(Duration::from_micros),
            oom_kills: self.oom_kills()?,
        })
    }

    /// How often the kernel killed a process in this cgroup or below it because memory was short: `oom_kill` of `memory.events`. It only
    /// grows, and counts those of cgroups that were removed: compare with the value before. `None` without the memory controller.
    pub fn oom_kills(&self) -> Result<Option<u64>> {
        self.field("memory.events", "oom_kill")
    }

    fn number(&self, file: &str) -> Result<Option<u64>> {
        Ok(self.read_if_present(file)?.and_then(|t| t.trim().parse().ok()))
    }

    fn field(&self, file: &str, key: &str) -> Result<Option<u64>> {
        Ok(self.read_if_present(file)?.and_then(|t| keyed(&t, key)))
    }
}

/// A flat keyed file: `KEY VALUE` a line.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_whole_word() {
        let text = "low 0\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(["oom", "oom_kill", "oom_", "max"].map(|k| keyed(text, k)), [Some(3), Some(2), None, None]);
    }
}
