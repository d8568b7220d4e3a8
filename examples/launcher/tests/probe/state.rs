//! What the payload finds itself to be: nothing is tried.

use nix::libc;
use ns_core::Errno;

use super::calls::status;
use super::sys::{call, text};
use super::{Outcome, Row};

/// The table.
pub const ROWS: &[Row] = &[
    ("CapInh", |_| status("CapInh")),
    ("CapPrm", |_| status("CapPrm")),
    ("CapEff", |_| status("CapEff")),
    ("CapBnd", |_| status("CapBnd")),
    ("CapAmb", |_| status("CapAmb")),
    ("Seccomp", |_| status("Seccomp")),
    ("NoNewPrivs", |_| status("NoNewPrivs")),
    ("Uid", |_| status("Uid")),
    ("Gid", |_| status("Gid")),
    ("Groups", |_| status("Groups")),
    ("SigBlk", |_| of_init("SigBlk")),
    ("SigIgn", |_| of_init("SigIgn")),
    ("umask", |_| status("Umask")),
    ("cgroup", |_| text("/proc/self/cgroup")),
    ("hostname", |_| text("/proc/sys/kernel/hostname")),
    ("max_user_namespaces", |_| text("/proc/sys/user/max_user_namespaces")),
    ("max_net_namespaces", |_| text("/proc/sys/user/max_net_namespaces")),
    ("processes", |_| names("/proc", |name| name.parse::<u32>().is_ok())),
    ("commands", |_| commands()),
    ("links", |_| names("/sys/class/net", |_| true)),
    ("descriptors", |_| descriptors()),
    ("session", |_| numbers(libc::SYS_getsid)),
    ("group", |_| numbers(libc::SYS_getpgid)),
    ("pid namespace", |_| link("/proc/self/ns/pid")),
    ("ipc namespace", |_| link("/proc/self/ns/ipc")),
    ("net namespace", |_| link("/proc/self/ns/net")),
    ("user namespace", |_| link("/proc/self/ns/user")),
    ("limits", |_| limits()),
    ("loginuid", |_| text("/proc/self/loginuid")),
    ("oom_score_adj", |_| text("/proc/self/oom_score_adj")),
];

/// Soft and hard of every resource, by number.
fn limits() -> Outcome {
    let all: Result<Vec<_>, _> = (0..16).map(limit).collect();
    Ok(all?.join(" "))
}

fn limit(resource: usize) -> Outcome {
    let mut limit = [0u64; 2];
    call(libc::SYS_prlimit64, [0, resource, 0, limit.as_mut_ptr() as usize, 0, 0])?;
    let number = |n: u64| if n == u64::MAX { "inf".to_owned() } else { n.to_string() };
    Ok(format!("{}:{}", number(limit[0]), number(limit[1])))
}

fn of_init(row: &str) -> Outcome {
    let text = text("/proc/1/status")?;
    let found = text.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(':'));
    found.map(|value| value.trim().to_owned()).ok_or(Errno::ENOENT)
}

fn names(directory: &str, wanted: fn(&str) -> bool) -> Outcome {
    let entries = std::fs::read_dir(directory).map_err(|e| Errno::new(e.raw_os_error().unwrap_or(libc::EIO)))?;
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| wanted(name)).collect();
    names.sort_by_key(|name| (name.len(), name.clone()));
    Ok(names.join(" "))
}

/// Of the first process, but for the pipe to this row, which is its first.
fn descriptors() -> Outcome {
    let ours = link("/proc/self/fd/3")?;
    let all = names("/proc/1/fd", |_| true)?;
    let others = all.split(' ').filter(|number| link(&format!("/proc/1/fd/{number}")).is_ok_and(|found| found != ours));
    Ok(others.collect::<Vec<_>>().join(" "))
}

/// What runs, by program: ours alone.
fn commands() -> Outcome {
    let pids = names("/proc", |name| name.parse::<u32>().is_ok())?;
    let mut commands: Vec<String> = pids.split(' ').map(|pid| text(&format!("/proc/{pid}/comm"))).collect::<Result<_, _>>()?;
    commands.sort();
    commands.dedup();
    Ok(commands.join(" "))
}

fn link(path: &str) -> Outcome {
    std::fs::read_link(path).map(|path| path.display().to_string()).map_err(|e| Errno::new(e.raw_os_error().unwrap_or(libc::EIO)))
}

/// `getsid` and `getpgid` of the first process.
fn numbers(number: i64) -> Outcome {
    call(number, [1, 0, 0, 0, 0, 0]).map(|id| id.to_string())
}
