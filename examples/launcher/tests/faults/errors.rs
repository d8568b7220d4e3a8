//! Each system call of a start made to fail once.

use std::collections::BTreeSet;

use nix::libc;

use crate::Counts;
use crate::probe::asked::machine;
use crate::trace::{Act, Call, Role, run};
use crate::verdict::{Base, ERRNOS, Verdict, asked, judge, limit};

/// These can't fail, or there is nothing that could be done about it: the memory of the process, and leaving.
const INFALLIBLE: &[&str] = &[
    "close",
    "exit_group",
    "getpid",
    "gettid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "umask",
    "brk",
    "mmap",
    "munmap",
    "mprotect",
    "madvise",
    "rt_sigreturn",
    "sched_yield",
    "execve",
];

/// Every call of a start; of these, the ones that `chosen` picks.
pub fn fail_calls(options: &[&str], chosen: impl Fn(&Call, usize, i32) -> bool) -> Counts {
    let machine = machine();
    let spawn = asked(&machine, options);
    let base = Base::of(&spawn);
    let (mut counts, mut failures) = (Counts::new(), Vec::new());
    let points: BTreeSet<Call> = base.of_start().filter(|call| !INFALLIBLE.contains(&call.name())).copied().collect();
    for (number, call) in points.iter().enumerate() {
        for errno in ERRNOS {
            if !chosen(call, number, errno) {
                continue;
            }
            let outcome = run(spawn.command(), Some((*call, Act::Fail(errno))), limit());
            let name = crate::verdict::name(errno);
            let verdict = judge(&base, &outcome, Some(errno)).and_then(|verdict| match verdict {
                Verdict::Same | Verdict::Missed => Ok(verdict),
                _ if errno == libc::EINTR => Err(format!("EINTR is an error: {:?}", outcome.stderr)),
                verdict => Ok(verdict),
            });
            match verdict {
                Ok(verdict) => counts.add(&name, verdict.words()),
                Err(why) => failures.push(format!("{call}, {name}: {why}")),
            }
            if let Err(left) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.check())) {
                failures.push(format!("{call}, {name}: {}", left.downcast_ref::<String>().map_or("?", String::as_str)));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {counts:?}:\n{}", failures.len(), failures.join("\n"));
    counts
}

/// The first of each name, with one errno each.
pub fn some(call: &Call, number: usize, errno: i32) -> bool {
    let turn = ERRNOS.iter().position(|one| *one == errno).unwrap_or_default();
    call.nth == 0 && call.role != Role::Helper && number % ERRNOS.len() == turn
}
