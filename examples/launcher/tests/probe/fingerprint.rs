//! All protections that a payload can see of itself, without trying anything: what has to be the same however a start went.

use nix::libc;
use ns_core::Errno;

use super::calls::status;
use super::mounts::{made_device, planted};
use super::sys::{call, reads, text, writable};
use super::{Given, Outcome, Row, state};

/// What needs no process of its own, and is the payload's, not the probe's.
const OF_STATE: &[&str] = &["descriptors", "processes", "commands", "pid namespace", "ipc namespace", "net namespace", "user namespace"];

/// The table of what isn't in [`state::ROWS`].
const ROWS: &[Row] = &[
    ("mounts", |_| mounts()),
    ("namespaces", namespaces),
    ("boot id", |given| same(&text("/proc/sys/kernel/random/boot_id")?, given.get("boot-id")?)),
    ("uid_map", |_| text("/proc/self/uid_map")),
    ("gid_map", |_| text("/proc/self/gid_map")),
    ("setgroups", |_| text("/proc/self/setgroups")),
    ("personality", |_| call(libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]).map(|found| found.to_string())),
    ("securebits", |_| prctl(libc::PR_GET_SECUREBITS)),
    ("dumpable", |_| prctl(libc::PR_GET_DUMPABLE)),
    ("filters", |_| status("Seccomp_filters")),
    ("keyctl", |_| call(libc::SYS_keyctl, [0, -3i32 as usize, 0, 0, 0, 0]).map(|_| "ok".to_owned())),
    ("a block device of the tree", |_| planted("/planted-block")),
    ("a char device of the tree", |_| planted("/planted-char")),
    ("mknod", |_| made_device(libc::S_IFCHR, 1, 3)),
    ("devices", |_| listed("/dev")),
    ("of the host", |_| listed("/run/host")),
    ("write a sysctl", |_| writable("/proc/sys/kernel/panic")),
    // EACCES too, where the namespace was made before its ids were mapped: the file is then the host's root's.
    ("write /sys", |_| Ok(if writable("/sys/class/net/lo/mtu").is_ok() { "ok" } else { "refused" }.to_owned())),
    ("read kcore", |_| reads("/proc/kcore")),
    ("read keys", |_| reads("/proc/keys")),
    ("lo", |_| text("/sys/class/net/lo/flags")),
    ("limits of namespaces", |_| limits()),
    ("delegation", |_| owners("/sys/fs/cgroup")),
    ("descriptors", |_| descriptors()),
    ("environment", |_| environment()),
];

/// Prints it.
pub fn show(given: &Given) -> i32 {
    let of_state = state::ROWS.iter().filter(|row| !OF_STATE.contains(&row.0));
    for (name, row) in of_state.chain(ROWS) {
        println!("{name}={}", super::sys::word(&row(given)).replace('\n', "|"));
    }
    0
}

fn failed(e: std::io::Error) -> Errno {
    Errno::new(e.raw_os_error().unwrap_or(libc::EIO))
}

fn prctl(operation: i32) -> Outcome {
    call(libc::SYS_prctl, [operation as usize, 0, 0, 0, 0, 0]).map(|found| found.to_string())
}

fn same(found: &str, host: &str) -> Outcome {
    Ok(if found == host { "the host's" } else { "own" }.to_owned())
}

/// Without numbers that are others at each start: ids of mounts and peer groups, device numbers of file systems without a device.
fn mounts() -> Outcome {
    let table = text("/proc/self/mountinfo")?;
    let row = |line: &str| {
        let words: Vec<&str> = line.split(' ').skip(3).collect();
        words.into_iter().map(|word| word.split_once(':').map_or(word, |(tag, _)| tag)).collect::<Vec<_>>().join(" ")
    };
    let mut rows: Vec<String> = table.lines().map(row).collect();
    rows.sort();
    Ok(rows.join("|"))
}

fn namespaces(given: &Given) -> Outcome {
    let kinds = ["user", "mnt", "pid", "ipc", "uts", "net", "cgroup", "time"];
    let row = |kind: &&str| {
        let found = std::fs::read_link(format!("/proc/self/ns/{kind}")).map_err(failed)?;
        Ok(format!("{kind} {}", same(&found.display().to_string(), given.get(kind)?)?))
    };
    Ok(kinds.iter().map(row).collect::<Result<Vec<_>, Errno>>()?.join(", "))
}

/// Names, kinds, modes, owners and device numbers in a directory.
fn listed(directory: &str) -> Outcome {
    use std::os::unix::fs::MetadataExt;
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let found = entry.metadata().map_err(failed)?;
        rows.push(format!("{:?} {:o} {}:{} {:x}", entry.file_name(), found.mode(), found.uid(), found.gid(), found.rdev()));
    }
    rows.sort();
    Ok(rows.join("|"))
}

/// Who owns what is delegated, and what isn't.
fn owners(directory: &str) -> Outcome {
    use std::os::unix::fs::MetadataExt;
    let owner =
        |name: &&str| std::fs::metadata(format!("{directory}/{name}")).map(|found| format!("{name} {}", found.uid())).map_err(failed);
    Ok(["", "cgroup.procs", "cgroup.subtree_control", "cgroup.max.depth"].iter().map(owner).collect::<Result<Vec<_>, _>>()?.join(", "))
}

fn limits() -> Outcome {
    let kinds = ["user", "cgroup", "ipc", "mnt", "net", "pid", "time", "uts"];
    Ok(kinds.iter().map(|kind| text(&format!("/proc/sys/user/max_{kind}_namespaces"))).collect::<Result<Vec<_>, _>>()?.join(" "))
}

/// What is open besides the directory that is being read.
fn descriptors() -> Outcome {
    let entries = std::fs::read_dir("/proc/self/fd").map_err(failed)?.flatten();
    let mut open: Vec<String> = entries
        .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| !to.starts_with("/proc")))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    open.sort();
    Ok(open.join(" "))
}

fn environment() -> Outcome {
    let mut names: Vec<String> = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names.join(" "))
}
