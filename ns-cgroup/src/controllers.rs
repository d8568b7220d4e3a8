//! Controllers, the parts of the kernel that a cgroup can limit.

use bitflags::bitflags;
use std::fmt;

bitflags! {
    /// A set of controllers, cgroups(7) and the kernel's `admin-guide/cgroup-v2`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
    pub struct Controllers: u32 {
        /// `cpu`: `cpu.weight`, `cpu.max`.
        const CPU = 1;
        /// `cpuset`: `cpuset.cpus`, `cpuset.mems`.
        const CPUSET = 1 << 1;
        /// `io`: `io.weight`, `io.max`.
        const IO = 1 << 2;
        /// `memory`: `memory.max`, `memory.high`, `memory.events`.
        const MEMORY = 1 << 3;
        /// `pids`: `pids.max`.
        const PIDS = 1 << 4;
        /// `hugetlb`.
        const HUGETLB = 1 << 5;
        /// `rdma`.
        const RDMA = 1 << 6;
        /// `misc`, Linux 5.13.
        const MISC = 1 << 7;
        /// `dmem`, Linux 6.14.
        const DMEM = 1 << 8;
    }
}

/// The kernel's words, in the order in which messages list them.
const WORDS: [(Controllers, &str); 9] = [
    (Controllers::CPU, "cpu"),
    (Controllers::CPUSET, "cpuset"),
    (Controllers::IO, "io"),
    (Controllers::MEMORY, "memory"),
    (Controllers::PIDS, "pids"),
    (Controllers::HUGETLB, "hugetlb"),
    (Controllers::RDMA, "rdma"),
    (Controllers::MISC, "misc"),
    (Controllers::DMEM, "dmem"),
];

impl Controllers {
    /// What an operating system in a container makes use of: cpu, cpuset, io, memory, pids.
    pub const USUAL: Controllers =
        Controllers::CPU.union(Controllers::CPUSET).union(Controllers::IO).union(Controllers::MEMORY).union(Controllers::PIDS);

    /// Reads `cgroup.controllers` or `cgroup.subtree_control`. Words that this version of the crate doesn't know are left out: it could
    /// neither set their limits nor pass them on knowingly.
    pub fn parse(words: &str) -> Controllers {
        words.split_whitespace().map(Controllers::of_word).collect()
    }

    fn of_word(word: &str) -> Controllers {
        WORDS.iter().find(|(_, w)| *w == word).map_or(Controllers::empty(), |(c, _)| *c)
    }

    /// The controllers one by one, each with the kernel's word.
    pub fn words(self) -> impl Iterator<Item = (Controllers, &'static str)> {
        WORDS.iter().copied().filter(move |(c, _)| self.contains(*c))
    }
}

/// `cpu, memory, pids`
impl fmt::Display for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        self.words().try_for_each(|(_, word)| {
            let comma = if std::mem::take(&mut first) { "" } else { ", " };
            write!(f, "{comma}{word}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_kernels_words() {
        let some = Controllers::parse("cpuset cpu io memory perf_event\n");
        assert_eq!(some.to_string(), "cpu, cpuset, io, memory");
        assert_eq!(Controllers::parse(""), Controllers::empty());
        assert_eq!(WORDS.iter().map(|(c, _)| *c).collect::<Controllers>(), Controllers::all());
    }
}
