//! What was killed and does not end: which processes wait where in the kernel.

use crate::escape::Escaped;
use crate::settings::MachineName;
use crate::stat::Stat;
use crate::{Error, Kind};
use std::fs;

/// So many are named.
const NAMED: usize = 5;
/// So many of a container's processes are looked at: one that is stuck is among the last that are left.
const LOOKED_AT: usize = 4096;
/// So much of the way to where a process waits is told.
const CALLERS: usize = 3;

const HINT: &str = "the tree stays locked until that ends: when what it waits for comes, or this host restarts";

/// Those of a killed container that are still there.
#[derive(Debug)]
pub(super) struct Left {
    /// Not to be interrupted: these do not end by themselves.
    stuck: Vec<(u32, Stat)>,
    /// On their way out.
    ending: usize,
}

impl Left {
    /// Looks at the machine's processes, at the first one where there is no cgroup to list them.
    pub fn of(mut pids: Vec<u32>, first: u32) -> Left {
        if !pids.contains(&first) {
            pids.push(first);
        }
        pids.truncate(LOOKED_AT);
        let found = pids.into_iter().filter_map(|pid| Some((pid, Stat::of(pid).ok().flatten()?)));
        // Whoever has ended, and is not waited for, waits for nobody; process 1 waits for those that are left.
        let (stuck, others): (Vec<_>, Vec<_>) = found.filter(|(_, stat)| stat.state != b'Z').partition(|(_, stat)| stat.state == b'D');
        let ending = others.iter().filter(|(pid, _)| *pid != first).count();
        Left { stuck, ending }
    }

    /// Whether waiting longer is of no use: something is stuck, and nothing else moves.
    pub fn is_stuck(&self) -> bool {
        !self.stuck.is_empty() && self.ending == 0
    }

    /// The line for people.
    pub fn error(&self, first: u32) -> Error {
        Error::new(Kind::Stuck, format!("The container was killed, but {}", self.who(first))).hint(HINT)
    }

    fn who(&self, first: u32) -> String {
        let named: Vec<String> = self.stuck.iter().take(NAMED).map(|(pid, stat)| describe(*pid, stat)).collect();
        let more = self.stuck.len().saturating_sub(NAMED);
        match (self.stuck.len(), more) {
            (0, _) => format!("its process 1 does not end: pid {first}, {}", place(first)),
            (1, _) => format!("1 process is stuck in the kernel: {}", named.join("")),
            (n, 0) => format!("{n} processes are stuck in the kernel: {}", named.join("; ")),
            (n, more) => format!("{n} processes are stuck in the kernel: {}; and {more} more", named.join("; ")),
        }
    }
}

/// What there is to say of a machine that was killed, of which these processes are still there; the first is told where none is stuck.
pub fn stuck(name: &MachineName, pids: Vec<u32>) -> Error {
    let first = pids.first().copied().unwrap_or(0);
    Error::new(Kind::Stuck, format!("Machine '{name}' was killed, but {}", Left::of(pids, first).who(first))).hint(HINT)
}

fn describe(pid: u32, stat: &Stat) -> String {
    format!("pid {pid} ({}), {}", Escaped::bytes(&stat.comm), place(pid))
}

/// The function of the kernel in which it waits, and those that called it, as far as we may know.
fn place(pid: u32) -> String {
    let stack = fs::read_to_string(format!("/proc/{pid}/stack")).unwrap_or_default();
    let mut calls = functions(&stack);
    let wchan = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    let at = Some(wchan.trim()).filter(|at| !matches!(*at, "" | "0")).or_else(|| calls.next());
    let Some(at) = at else { return "at a place that the kernel does not tell".to_owned() };
    let callers: Vec<&str> = calls.filter(|call| *call != at).take(CALLERS).collect();
    let called = if callers.is_empty() { String::new() } else { format!(", called by {}", callers.join(", ")) };
    Escaped::text(&format!("waiting in {at}{called}")).to_string()
}

/// The names in `/proc/PID/stack`: `[<0>] percpu_rwsem_wait+0x116/0x140`, the innermost first.
fn functions(stack: &str) -> impl Iterator<Item = &str> {
    stack.lines().filter_map(|line| line.split_once("] ")?.1.split('+').next()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_function_comes_first() {
        let stack = "[<0>] percpu_rwsem_wait+0x116/0x140\n[<0>] __percpu_down_read+0x54/0x80\nnonsense\n[<0>] +0x1\n[<0>] vfs_write";
        assert_eq!(functions(stack).collect::<Vec<_>>(), ["percpu_rwsem_wait", "__percpu_down_read", "vfs_write"]);
    }

    #[test]
    fn processes_are_named_up_to_a_bound() {
        let stat = Stat { comm: b"sh\x1b".to_vec(), state: b'D', start_time: 1 };
        let left = |n: u32| Left { stuck: (0..n).map(|n| (u32::MAX - n, stat.clone())).collect(), ending: 0 };
        let one = left(1).error(7).to_string();
        assert!(one.contains("1 process is stuck in the kernel: pid 4294967295 (sh\\x1b), at a place"), "{one}");
        let many = left(7).error(7).to_string();
        assert!(many.contains("7 processes are stuck") && many.matches("(sh").count() == 5 && many.contains("; and 2 more;"), "{many}");
        let none = Left { stuck: Vec::new(), ending: 3 };
        assert!(!none.is_stuck() && none.error(u32::MAX).to_string().contains("process 1 does not end: pid 4294967295"));
    }

    #[test]
    fn what_still_ends_is_waited_for() {
        let stat = Stat { comm: Vec::new(), state: b'D', start_time: 1 };
        assert!(Left { stuck: vec![(1, stat.clone())], ending: 0 }.is_stuck());
        assert!(!Left { stuck: vec![(1, stat)], ending: 1 }.is_stuck());
    }
}
