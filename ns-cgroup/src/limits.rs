//! Limits, as values that can be printed before they are written.

use crate::cgroup::Cgroup;
use crate::controllers::Controllers;
use crate::enable::NOT_GIVEN;
use crate::errno::Errno;
use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// An amount, or `max`: no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Amount {
    /// At most so many.
    Of(u64),
    /// As many as there are.
    Max,
}

impl From<u64> for Amount {
    fn from(n: u64) -> Amount {
        Amount::Of(n)
    }
}

impl FromStr for Amount {
    type Err = Error;
    fn from_str(s: &str) -> Result<Amount> {
        match s {
            "max" => Ok(Amount::Max),
            _ => s.parse().map(Amount::Of).map_err(|_| invalid("amount", s, "neither a whole number nor \"max\"")),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Of(n) => n.fmt(f),
            Amount::Max => f.write_str("max"),
        }
    }
}

/// One limit: a file of a cgroup, and what is to be written to it. Reads `memory.max <- 536870912`.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Limit {
    file: &'static str,
    value: String,
    controller: Option<Controllers>,
}

impl Limit {
    /// `memory.max`, bytes: above it the kernel reclaims, then kills.
    pub fn memory_max(bytes: impl Into<Amount>) -> Limit {
        Limit::amount("memory.max", bytes.into(), Controllers::MEMORY)
    }

    /// `memory.high`, bytes: above it the processes are slowed down and memory is reclaimed.
    pub fn memory_high(bytes: impl Into<Amount>) -> Limit {
        Limit::amount("memory.high", bytes.into(), Controllers::MEMORY)
    }

    /// `memory.low`, bytes: memory below it is spared while others have some to give.
    pub fn memory_low(bytes: impl Into<Amount>) -> Limit {
        Limit::amount("memory.low", bytes.into(), Controllers::MEMORY)
    }

    /// `memory.swap.max`, bytes.
    pub fn memory_swap_max(bytes: impl Into<Amount>) -> Limit {
        Limit::amount("memory.swap.max", bytes.into(), Controllers::MEMORY)
    }

    /// `memory.oom.group`: when memory is short the kernel kills all processes of the cgroup, or one. Linux 4.19.
    pub fn memory_oom_group(whole: bool) -> Limit {
        Limit { file: "memory.oom.group", value: u8::from(whole).to_string(), controller: Some(Controllers::MEMORY) }
    }

    /// `pids.max`: processes and threads; above it fork and clone answer EAGAIN.
    pub fn pids_max(tasks: impl Into<Amount>) -> Limit {
        Limit::amount("pids.max", tasks.into(), Controllers::PIDS)
    }

    /// `cpu.weight`, 1 to 10,000, where 100 is what others have: the share when the CPUs are contended.
    pub fn cpu_weight(weight: u64) -> Result<Limit> {
        weight_in("cpu.weight", weight)?;
        Ok(Limit::amount("cpu.weight", Amount::Of(weight), Controllers::CPU))
    }

    /// `cpu.max`: at most `quota` µs of CPU time in each `period` µs: one and a half CPUs are 150,000 in 100,000. The kernel takes quotas
    /// from 1,000 µs and periods from 1,000 µs to 1 s.
    pub fn cpu_max(quota: impl Into<Amount>, period: u64) -> Result<Limit> {
        let quota = quota.into();
        let value = format!("{quota} {period}");
        if !(1_000..=1_000_000).contains(&period) {
            return Err(invalid("cpu.max", &value, "the period must be 1,000 to 1,000,000 µs"));
        }
        match quota {
            Amount::Of(q) if q < 1_000 => Err(invalid("cpu.max", &value, "the quota must be 1,000 µs or more")),
            _ => Ok(Limit { file: "cpu.max", value, controller: Some(Controllers::CPU) }),
        }
    }

    /// `io.weight`, 1 to 10,000, where 100 is what others have. The kernel has the file where it was built with a proportional policy.
    pub fn io_weight(weight: u64) -> Result<Limit> {
        weight_in("io.weight", weight)?;
        Ok(Limit { file: "io.weight", value: format!("default {weight}"), controller: Some(Controllers::IO) })
    }

    /// `cpuset.cpus`: the CPUs to run on, `0-3,8`.
    pub fn cpuset_cpus(list: &str) -> Result<Limit> {
        if !is_list(list) {
            return Err(invalid("cpuset.cpus", list, "no list of CPUs like 0-3,8"));
        }
        Ok(Limit { file: "cpuset.cpus", value: list.to_owned(), controller: Some(Controllers::CPUSET) })
    }

    /// `cgroup.max.descendants`: how many cgroups there may be below. Needs no controller.
    pub fn descendants_max(cgroups: impl Into<Amount>) -> Limit {
        Limit { file: "cgroup.max.descendants", value: cgroups.into().to_string(), controller: None }
    }

    /// `cgroup.max.depth`: how deep they may be nested. Needs no controller.
    pub fn depth_max(levels: impl Into<Amount>) -> Limit {
        Limit { file: "cgroup.max.depth", value: levels.into().to_string(), controller: None }
    }

    fn amount(file: &'static str, amount: Amount, controller: Controllers) -> Limit {
        Limit { file, value: amount.to_string(), controller: Some(controller) }
    }

    /// The file's name.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// What is written to it.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The controller that must be enabled for the cgroup; `None` for the files that every cgroup has.
    pub fn controller(&self) -> Option<Controllers> {
        self.controller
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <- {}", self.file, self.value)
    }
}

fn invalid(what: &'static str, value: &str, why: &str) -> Error {
    Error::refused(ErrorKind::Invalid, what, Path::new(&value.escape_debug().to_string()), why)
}

fn weight_in(file: &'static str, weight: u64) -> Result<()> {
    let fits = (1..=10_000).contains(&weight);
    fits.then_some(()).ok_or_else(|| invalid(file, &weight.to_string(), "a weight is 1 to 10,000"))
}

fn is_list(list: &str) -> bool {
    let number = |s: &str| s.len() <= 5 && s.parse::<u32>().is_ok() && s.bytes().all(|b| b.is_ascii_digit());
    list.split(',').all(|range| match range.split_once('-') {
        Some((low, high)) => number(low) && number(high) && low.parse::<u32>().ok() <= high.parse().ok(),
        None => number(range),
    })
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    Asked,
    Default,
}

/// Limits in the order in which they are written. Its [`Display`](fmt::Display) is a row each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits(Vec<(Limit, Origin)>);

impl Limits {
    /// None.
    pub fn new() -> Limits {
        Limits::default()
    }

    /// Adds one that somebody asked for: where it can't be had, [`Limits::apply`] fails. Replaces an earlier one of the same file.
    pub fn ask(self, limit: Limit) -> Limits {
        self.add(limit, Origin::Asked)
    }

    /// Adds one that is only our default: where it can't be had, [`Applied`] tells. Doesn't replace what was asked for.
    pub fn or_default(self, limit: Limit) -> Limits {
        let asked = self.0.iter().any(|(l, origin)| l.file == limit.file && *origin == Origin::Asked);
        if asked { self } else { self.add(limit, Origin::Default) }
    }

    fn add(mut self, limit: Limit, origin: Origin) -> Limits {
        self.0.retain(|(l, _)| l.file != limit.file);
        self.0.push((limit, origin));
        self
    }

    /// The limits.
    pub fn iter(&self) -> impl Iterator<Item = &Limit> {
        self.0.iter().map(|(limit, _)| limit)
    }

    /// All controllers that they need.
    pub fn controllers(&self) -> Controllers {
        self.iter().filter_map(Limit::controller).collect()
    }

    /// Writes them to a cgroup's files.
    ///
    /// A limit that was asked for and whose controller the cgroup lacks is an error that names the controller (NoController), before
    /// anything is written; one that the kernel refuses is its errno. A default that can't be had is told by the status.
    pub fn apply(&self, cgroup: &Cgroup) -> Result<Applied> {
        let available = cgroup.controllers()?;
        let lacks = |l: &Limit| l.controller.is_some_and(|c| !available.contains(c));
        if let Some((limit, _)) = self.0.iter().find(|(l, origin)| *origin == Origin::Asked && lacks(l)) {
            return Err(no_controller(limit, cgroup));
        }
        let mut missing = Vec::new();
        for (limit, origin) in &self.0 {
            let done = if lacks(limit) { Err(no_controller(limit, cgroup)) } else { set(limit, cgroup) };
            match done {
                Ok(()) => {}
                Err(e) if *origin == Origin::Default && is_lack(&e) => missing.push(limit.clone()),
                Err(e) => return Err(e),
            }
        }
        Ok(Applied { missing })
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|limit| writeln!(f, "{limit}"))
    }
}

/// What came of [`Limits::apply`]: empty, or the defaults that couldn't be had. Its [`Display`](fmt::Display) is one line for people.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "tells which default limits couldn't be had"]
pub struct Applied {
    missing: Vec<Limit>,
}

impl Applied {
    /// The defaults that are not in force.
    pub fn missing(&self) -> &[Limit] {
        &self.missing
    }
}

/// `not limited here: pids.max (16384): not available to this cgroup: …`; nothing where all are in force.
impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "not limited here: ";
        for limit in &self.missing {
            write!(f, "{separator}{} ({})", limit.file, limit.value)?;
            separator = ", ";
        }
        if self.missing.is_empty() { Ok(()) } else { write!(f, ": {NOT_GIVEN}") }
    }
}

fn set(limit: &Limit, cgroup: &Cgroup) -> Result<()> {
    cgroup.write(limit.file, &limit.value)
}

fn no_controller(limit: &Limit, cgroup: &Cgroup) -> Error {
    let controller = limit.controller.unwrap_or_default();
    Error::refused(ErrorKind::NoController, format!("limit {limit} of"), cgroup.path(), format!("no controller {controller}"))
        .hinted(NOT_GIVEN)
}

/// The file isn't there, as in kernels without swap or without a proportional I/O policy.
fn is_lack(e: &Error) -> bool {
    e.kind() == ErrorKind::NoController || e.errno() == Some(Errno::ENOENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_as_what_is_written() {
        let limits = Limits::new()
            .ask(Limit::memory_max(512 << 20))
            .or_default(Limit::pids_max(16_384))
            .ask(Limit::cpu_max(Amount::Max, 100_000).unwrap())
            .ask(Limit::io_weight(50).unwrap())
            .ask(Limit::memory_oom_group(true));
        let rows = "memory.max <- 536870912\npids.max <- 16384\ncpu.max <- max 100000\nio.weight <- default 50\nmemory.oom.group <- 1\n";
        assert_eq!(limits.to_string(), rows);
        assert_eq!(limits.controllers().to_string(), "cpu, io, memory, pids");
    }

    #[test]
    fn the_last_one_asked_for_stands_and_defaults_give_way() {
        let asked = Limits::new().or_default(Limit::pids_max(1)).ask(Limit::pids_max(2)).or_default(Limit::pids_max(3));
        assert_eq!(asked.to_string(), "pids.max <- 2\n");
        assert_eq!(asked.ask(Limit::pids_max(Amount::Max)).to_string(), "pids.max <- max\n");
    }

    #[test]
    fn nonsense_is_refused_when_it_is_said() {
        for bad in
            [Limit::cpu_weight(0), Limit::cpu_weight(10_001), Limit::io_weight(0), Limit::cpu_max(999, 1_000), Limit::cpu_max(1_000, 999)]
        {
            assert_eq!(bad.unwrap_err().kind(), ErrorKind::Invalid);
        }
        for bad in ["", "-", "1-", "3-1", "a", "1,,2", "+1", "1 2", "0-3\n", "123456"] {
            assert!(Limit::cpuset_cpus(bad).is_err(), "{bad:?}");
        }
        assert!(["0", "0-3,8", "7-7"].iter().all(|good| Limit::cpuset_cpus(good).is_ok()));
        assert!("12".parse::<Amount>().is_ok() && "max".parse::<Amount>().is_ok());
        assert!(["", "-1", "1k", "MAX"].iter().all(|bad| bad.parse::<Amount>().is_err()));
    }
}
