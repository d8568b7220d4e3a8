//! The profile `os`: a distribution boots in it, and its package manager works in it.

use crate::policy::{Policy, Rule};
use crate::{Action, Arg};
use ns_core::Errno;

const EPERM: Action = Action::Errno(Errno::EPERM);
const ENOSYS: Action = Action::Errno(Errno::ENOSYS);
const EAFNOSUPPORT: Action = Action::Errno(Errno::EAFNOSUPPORT);

/// What systemd-nspawn allows as well.
const GROUPS: &[&str] = &[
    "@aio",
    "@basic-io",
    "@chown",
    "@default",
    "@file-system",
    "@io-event",
    "@ipc",
    "@mount",
    "@network-io",
    "@process",
    "@resources",
    "@setuid",
    "@signal",
    "@sync",
    "@timer",
];

/// Single calls; the last three belong to capabilities that a booted system keeps: SYS_PTRACE, SYS_BOOT, SYS_TTY_CONFIG.
const CALLS: &[&str] = &[
    "arm_fadvise64_64",
    "brk",
    "cachestat",
    "capget",
    "capset",
    "copy_file_range",
    "fadvise64",
    "fadvise64_64",
    "flock",
    "get_mempolicy",
    "getcpu",
    "getpriority",
    "getrandom",
    "ioctl",
    "ioprio_get",
    "madvise",
    "mincore",
    "mprotect",
    "mremap",
    "name_to_handle_at",
    "oldolduname",
    "olduname",
    "personality",
    "readahead",
    "readdir",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_rr_get_interval_time64",
    "sched_yield",
    "sendfile",
    "sendfile64",
    "setdomainname",
    "setfsgid",
    "setfsgid32",
    "setfsuid",
    "setfsuid32",
    "sethostname",
    "setpgid",
    "setsid",
    "splice",
    "sysinfo",
    "tee",
    "umask",
    "uname",
    "ptrace",
    "reboot",
    "vhangup",
];

/// Newer calls that only touch the caller's own memory or make it less able: refusing them would cost a payload its own sandboxing.
const NEWER: &[&str] = &["futex_wake", "futex_wait", "futex_requeue", "lsm_set_self_attr", "map_shadow_stack"];

/// The calls that `os` refuses although systemd-nspawn allows them, or may with more capabilities: ways into large or young parts of the
/// kernel, and into other processes' memory, that a boot does without.
pub const REFUSED: &[&str] = &[
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "userfaultfd",
    "kcmp",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    "move_pages",
    "migrate_pages",
    "mbind",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "vmsplice",
    "modify_ldt",
    "remap_file_pages",
    "memfd_secret",
    "ustat",
    "sysfs",
];

const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_NETLINK: u64 = 16;
const AF_PACKET: u64 = 17;
const NETLINK_AUDIT: u64 = 9;
/// `PER_LINUX`, `PER_LINUX32`, each with `UNAME26` too, and the question which it is.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The policy `os`, for all calls that this kernel accepts.
///
/// Known calls that are not allowed answer `EPERM`, numbers that no call has and all of x32 `ENOSYS`.
///
/// - `socket(2)`: families UNIX, INET, INET6, PACKET and NETLINK (without its AUDIT protocol), others `EAFNOSUPPORT`. On i386 it is the
///   same; `socketcall(2)`, whose family stands in memory that a filter can't see, is `ENOSYS`, and C libraries then take `socket`.
/// - `personality(2)`: 0, 8, 0x20000, 0x20008 and 0xffffffff: the execution domains that make no address predictable.
/// - `ioctl(2)`: neither TIOCSTI nor TIOCLINUX, which type into terminals.
pub fn os() -> Policy {
    build().unwrap_or_else(|error| unreachable!("a test builds it: {error}"))
}

fn build() -> Result<Policy, crate::Error> {
    let families = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET];
    let family = families.iter().fold(Rule::new("socket", EAFNOSUPPORT), |rule, known| rule.when(Arg::low(0).is_not(*known)));
    let audit = Rule::new("socket", EAFNOSUPPORT).when(Arg::low(0).is(AF_NETLINK)).when(Arg::low(2).is(NETLINK_AUDIT));
    let personality = PERSONALITIES.iter().fold(Rule::new("personality", EPERM), |rule, known| rule.when(Arg::low(0).is_not(*known)));
    Policy::new("os", EPERM)
        .unknown(ENOSYS)
        .allow(GROUPS)?
        .allow(CALLS)?
        .allow(NEWER)?
        .answer(EPERM, REFUSED)?
        .answer(ENOSYS, &["socketcall"])?
        .rule(family)?
        .rule(audit)?
        .rule(personality)?
        .rule(Rule::new("ioctl", EPERM).when(Arg::low(1).is(TIOCSTI)))?
        .rule(Rule::new("ioctl", EPERM).when(Arg::low(1).is(TIOCLINUX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, syscall};
    use std::collections::BTreeSet;

    /// What newer kernels have and this profile may allow beyond the reference (`*` at either end stands for anything).
    const BEYOND: &[&str] = &[
        "landlock*",
        "cachestat",
        "futex_*",
        "mseal",
        "statmount",
        "listmount",
        "lsm_*",
        "map_shadow_stack",
        "file_getattr",
        "file_setattr",
        "*xattrat",
        "open_tree_attr",
    ];

    fn reference() -> BTreeSet<&'static str> {
        include_str!("reference.txt").lines().filter(|line| !line.starts_with('#')).collect()
    }

    fn allowed() -> BTreeSet<&'static str> {
        let policy = os().for_arches(&Arch::ALL);
        Arch::ALL.into_iter().flat_map(|arch| policy.allowed(arch).collect::<Vec<_>>()).collect()
    }

    fn matches(pattern: &str, name: &str) -> bool {
        match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(end), _) => name.ends_with(end),
            (_, Some(start)) => name.starts_with(start),
            _ => name == pattern,
        }
    }

    #[test]
    fn is_the_reference_without_the_twenty_and_with_the_five() {
        let exists = |name: &&str| Arch::ALL.into_iter().any(|arch| syscall::number(arch, name).is_some());
        let refused: BTreeSet<&str> = REFUSED.iter().copied().collect();
        assert_eq!(refused.len(), 20);
        let mut expected: BTreeSet<&str> = reference().difference(&refused).copied().filter(exists).collect();
        expected.extend(NEWER);
        assert!(expected.remove("socketcall"));
        assert_eq!(allowed(), expected);
    }

    #[test]
    fn five_of_the_twenty_are_not_in_the_reference_anyway() {
        let reference = reference();
        let absent: Vec<&str> = REFUSED.iter().copied().filter(|name| !reference.contains(name)).collect();
        assert_eq!(absent, ["pidfd_getfd", "modify_ldt", "memfd_secret", "ustat", "sysfs"]);
    }

    #[test]
    fn is_no_laxer_than_the_reference_but_where_said() {
        let reference = reference();
        for name in allowed() {
            assert!(reference.contains(name) || BEYOND.iter().any(|pattern| matches(pattern, name)), "{name}");
        }
    }

    #[test]
    fn what_must_never_pass_does_not() {
        let never = "add_key keyctl request_key init_module finit_module delete_module kexec_load kexec_file_load swapon swapoff acct quotactl \
                     quotactl_fd clock_settime clock_settime64 clock_adjtime settimeofday stime adjtimex ioperm iopl bpf perf_event_open \
                     fanotify_init fanotify_mark syslog open_by_handle_at vm86 vm86old uselib lookup_dcookie mlock nfsservctl";
        let allowed = allowed();
        for name in never.split_whitespace().chain(REFUSED.iter().copied()) {
            assert!(!allowed.contains(name), "{name}");
        }
    }
}
