//! Calls that are refused, what a payload is, and what it finds of the host: tried from inside, with and without a user namespace.

mod probe;
mod support;

use std::ffi::CString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc;
use probe::asked::{Expected, NO_USERS, but, compare, machine, probe};

// ---------------------------------------------------------------------------------------------------------------- calls and the host

/// Things of the host's that a container could find; gone when dropped.
struct Host {
    child: std::process::Child,
    key: i32,
    queue: i32,
    mqueue: String,
    abstract_name: String,
    _listener: std::os::unix::net::UnixListener,
}

impl Host {
    fn new() -> Host {
        use std::os::linux::net::SocketAddrExt;
        static MADE: AtomicU32 = AtomicU32::new(0);
        // Pids are unique in a boot, numbers of hosts in a process.
        let mine = std::process::id() << 4 | MADE.fetch_add(1, Ordering::Relaxed);
        // A pid that no process inside has: those count from 1.
        let child = loop {
            let mut child = Command::new("sleep").arg("600").spawn().expect("sleep");
            if child.id() > 2000 {
                break child;
            }
            child.kill().unwrap();
            child.wait().unwrap();
        };
        let key = (0x4e00_0000 | mine & 0x00ff_ffff) as i32;
        // SAFETY: numbers.
        let queue = unsafe { libc::msgget(key, libc::IPC_CREAT | 0o666) };
        assert!(queue >= 0, "a message queue");
        let mqueue = format!("nskit-{mine}");
        let name = CString::new(format!("/{mqueue}")).unwrap();
        // SAFETY: a string that lives during the call.
        assert!(unsafe { libc::mq_open(name.as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o666, std::ptr::null_mut::<libc::mq_attr>()) } >= 0);
        let abstract_name = format!("nskit-test-{mine}");
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
        Host { child, key, queue, mqueue, abstract_name, _listener: listener }
    }

    fn given(&self) -> Vec<String> {
        let disk = ["vda", "sda", "nvme0n1", "loop0"].into_iter().find(|name| Path::new("/dev").join(name).exists()).unwrap_or("loop0");
        vec![
            format!("host-pid={}", self.child.id()),
            format!("queue={}", self.key),
            format!("mqueue={}", self.mqueue),
            format!("abstract={}", self.abstract_name),
            format!("disk={disk}"),
        ]
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // SAFETY: our queue.
        unsafe { libc::msgctl(self.queue, libc::IPC_RMID, std::ptr::null_mut()) };
        let name = CString::new(format!("/{}", self.mqueue)).unwrap();
        // SAFETY: a string that lives during the call.
        unsafe { libc::mq_unlink(name.as_ptr()) };
    }
}

/// Whatever the namespaces are. A hidden file is empty; one that this kernel hasn't is missing.
const CALLS: Expected = &[
    // Opening asks for the file's mode first, and the host's root owns these: EACCES with other ids, EROFS with the host's.
    ("write a sysctl", "EACCES"),
    ("make a sysctl", "ENOENT"),
    ("write the host name's sysctl", "EACCES"),
    ("write core_pattern", "EACCES"),
    ("write modprobe", "EACCES"),
    ("write /sys", "EACCES|EROFS"),
    ("chmod a sysctl", "EROFS"),
    ("chmod in /sys", "EROFS"),
    ("mkdir /sys/x", "EROFS"),
    ("mkdir /sys/kernel/x", "EROFS"),
    ("write a sysctl of the own network", "ok"),
    ("read kcore", "empty"),
    ("read kallsyms", "empty"),
    ("read keys", "empty"),
    ("read kmsg", "empty"),
    ("read timer_list", "empty"),
    ("read interrupts", "empty"),
    ("write sysrq-trigger", "EROFS"),
    ("mknod block", "EPERM"),
    ("mknod char", "EPERM"),
    ("nested mknod", "EPERM"),
    ("a block device of the tree", "EACCES"),
    ("a char device of the tree", "EACCES"),
    ("the host's disk in /dev", "ENOENT"),
    ("init_module", "EPERM"),
    ("finit_module", "EPERM"),
    ("delete_module", "EPERM"),
    ("kexec_load", "EPERM"),
    ("kexec_file_load", "EPERM"),
    ("swapon", "EPERM"),
    ("swapoff", "EPERM"),
    ("quotactl", "EPERM"),
    ("perf_event_open", "EPERM"),
    ("fanotify_init", "EPERM"),
    ("open_by_handle_at", "EPERM"),
    ("bpf", "EPERM"),
    ("syslog", "EPERM"),
    ("acct", "EPERM"),
    ("add_key", "EPERM"),
    ("request_key", "EPERM"),
    ("keyctl", "EPERM"),
    ("iopl", "EPERM"),
    ("clock_settime", "EPERM"),
    ("settimeofday", "EPERM"),
    ("adjtimex", "EPERM"),
    ("clock_adjtime", "EPERM"),
    ("io_uring_setup", "EPERM"),
    ("userfaultfd", "EPERM"),
    ("pidfd_getfd", "EPERM"),
    ("process_vm_readv", "EPERM"),
    ("personality without random addresses", "EPERM"),
    ("personality", "ok"),
    ("TIOCSTI", "EPERM"),
    ("TIOCSTI with high bits", "EPERM"),
    ("TIOCLINUX", "EPERM"),
    ("AF_VSOCK", "EAFNOSUPPORT"),
    ("AF_ALG", "EAFNOSUPPORT"),
    ("NETLINK_AUDIT", "EAFNOSUPPORT"),
    ("AF_INET6", "ok"),
    ("AF_NETLINK", "ok"),
    ("AF_PACKET", "ok"),
    ("x32", "ENOSYS"),
    ("an unknown number", "ENOSYS"),
    ("kill a host process", "ESRCH"),
    ("ptrace a host process", "ESRCH"),
    ("pidfd_open of a host process", "ESRCH"),
    ("the host's SysV queue", "ENOENT"),
    ("the host's POSIX queue", "ENOENT"),
    ("the host's abstract socket", "ECONNREFUSED"),
    ("set the host name", "probed"),
    ("lo up", "ok"),
    ("what is hidden in /sys", "nothing"),
    ("user namespaces until refused", "256 then ENOSPC"),
    ("raise NOFILE", "EPERM"),
    ("flags of a link that is missing", "ENODEV"),
    ("reboot from a nested user namespace", "EPERM"),
];

/// Where the kernel wasn't built with it there is nothing to hide; a socket family that isn't there can't be allowed.
fn of_this_kernel() -> Vec<(&'static str, &'static str)> {
    let hidden = ["kcore", "kallsyms", "keys", "kmsg", "timer_list", "interrupts"];
    let rows = CALLS.iter().filter(|(name, _)| name.strip_prefix("read ").is_some_and(|file| hidden.contains(&file)));
    let missing = rows.filter(|(name, _)| !Path::new("/proc").join(name.trim_start_matches("read ")).exists());
    let mut changes: Vec<_> = missing.map(|(name, _)| (*name, "ENOENT")).collect();
    if !Path::new("/proc/net/if_inet6").exists() {
        changes.push(("AF_INET6", "EAFNOSUPPORT"));
    }
    if !Path::new("/proc/net/packet").exists() {
        changes.push(("AF_PACKET", "EAFNOSUPPORT"));
    }
    for (name, path) in [("write sysrq-trigger", "/proc/sysrq-trigger"), ("write modprobe", "/proc/sys/kernel/modprobe")] {
        if !Path::new(path).exists() {
            changes.push((name, "ENOENT"));
        }
    }
    but(CALLS, &changes)
}

#[test]
fn refused_calls_are_refused_and_the_host_is_not_seen() {
    let host = Host::new();
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    compare(&probe(&machine(), &[], "calls", &host.given()), &of_this_kernel());
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), hostname);
}

/// Without a user namespace nothing limits how many are made, and SYS_RESOURCE, where this machine's bounding set has it, is the host's.
const OPEN_CALLS: Expected = &[("user namespaces until refused", "300 then no end"), ("raise NOFILE", "ok|EPERM")];

/// The same with the host's ids: the filter, the other capabilities and the device program don't rest on the user namespace. What may not be
/// opened for its mode in the default is the host root's own file here, and only on a read-only mount.
#[test]
fn without_a_user_namespace_the_same_calls_are_refused() {
    let host = Host::new();
    let found = probe(&machine(), &[NO_USERS], "calls", &host.given());
    let own = |(name, outcome)| (name, if outcome == "EACCES" && str::starts_with(name, "write") { "EROFS" } else { outcome });
    let rows: Vec<_> = of_this_kernel().into_iter().map(own).collect();
    let mut rows = but(&rows, OPEN_CALLS);
    let has_resource = kept(false) & 1 << 24 != 0;
    rows.iter_mut().filter(|(name, _)| *name == "raise NOFILE").for_each(|row| row.1 = if has_resource { "ok" } else { "EPERM" });
    compare(&found, &rows);
}

#[test]
fn with_the_hosts_network_its_links_are_not_ours_to_change() {
    const NET_ADMIN: u64 = 1 << 12;
    let host = Host::new();
    for (users, own_users) in [("--private-users=pick", true), (NO_USERS, false)] {
        let mut found = probe(&machine(), &["--network=host", users], "host-network", &host.given());
        for set in ["CapEff", "CapBnd"] {
            let caps = u64::from_str_radix(&found.remove(set).unwrap(), 16).unwrap();
            assert_eq!(caps, kept(own_users) & !NET_ADMIN, "{set}");
        }
        compare(
            &found,
            &[
                ("take a link down", "EPERM"),
                ("write a sysctl of the host's network", "EACCES|EROFS"),
                ("write /sys", "EACCES|EROFS"),
                ("mkdir /sys/x", "EROFS"),
                // What the warning is about.
                ("the host's abstract socket", "ok"),
                ("what is hidden in /sys", "nothing"),
            ],
        );
    }
}

#[test]
fn a_power_off_ends_the_container_alone() {
    let machine = machine();
    let program = format!("/run/{}", probe::NAME);
    let bind = format!("--bind-ro={}:{program}", std::env::current_exe().unwrap().display());
    let namespace = format!("host-pid-namespace={}", fs::read_link("/proc/self/ns/pid").unwrap().display());
    let ended = machine.spawn([&bind, &program, "reboot", &namespace]).run().expect(0);
    ended.said(&format!("Container {} has been shut down.", machine.name()));
}

// ------------------------------------------------------------------------------------------------------------------------ the state

/// The profile's 20, by number. A new user namespace has them all; without one there are those of this machine's own bounding set.
fn kept(own_users: bool) -> u64 {
    const NUMBERS: [u32; 20] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13, 18, 19, 21, 22, 23, 24, 26, 31];
    let all = NUMBERS.iter().fold(0, |set, number| set | 1 << number);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let own = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap().trim();
    if own_users { all } else { all & u64::from_str_radix(own, 16).unwrap() }
}

/// posture 5.7, lowered to what this process has.
fn limits() -> String {
    const INF: u64 = u64::MAX;
    let of_init = |name: &str| -> (u64, u64) {
        let text = fs::read_to_string("/proc/1/limits").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let mut numbers = line.split_whitespace().map(|word| word.parse().unwrap_or(INF));
        (numbers.next().unwrap(), numbers.next().unwrap())
    };
    let nr_open: u64 = fs::read_to_string("/proc/sys/fs/nr_open").unwrap().trim().parse().unwrap();
    let (processes, signals) = (of_init("Max processes"), of_init("Max pending signals"));
    let table = [
        (INF, INF),
        (INF, INF),
        (INF, INF),
        (8 << 20, INF),
        (0, INF),
        (INF, INF),
        processes,
        (1024.min(nr_open), 524_288.min(nr_open)),
        (8 << 20, 8 << 20),
        (INF, INF),
        (INF, INF),
        signals,
        (819_200, 819_200),
        (0, 0),
        (0, 0),
        (INF, INF),
    ];
    let number = |n: u64| if n == INF { "inf".to_owned() } else { n.to_string() };
    let row = |(resource, (soft, hard)): (u32, (u64, u64))| {
        let mut own = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: our variable.
        unsafe { libc::getrlimit(resource, &raw mut own) };
        let hard = hard.min(own.rlim_max);
        format!("{}:{}", number(soft.min(hard)), number(hard))
    };
    (0..).zip(table).map(row).collect::<Vec<_>>().join(" ")
}

fn namespace(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string()
}

#[test]
fn a_payload_is_what_the_profile_says() {
    for (options, own_users) in [(&[][..], true), (&[NO_USERS][..], false)] {
        let machine = machine();
        let mut found = probe(&machine, options, "state", &[]);
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(found.remove(set), Some(format!("{:016x}", kept(own_users))), "{set}");
        }
        for kind in ["pid", "ipc", "net", "user"] {
            let inside = found.remove(&format!("{kind} namespace")).unwrap();
            assert!(inside.starts_with(&format!("{kind}:[")), "{inside}");
            assert_eq!(inside != namespace(kind), own_users || kind != "user", "{kind} namespace");
        }
        // On a hybrid host the hierarchies of v1 are named as well.
        let cgroup = found.remove("cgroup").unwrap();
        assert!(cgroup.split('|').any(|line| line == "0::/"), "{cgroup}");
        let users = found.remove("max_user_namespaces").unwrap();
        let networks = found.remove("max_net_namespaces").unwrap();
        if own_users {
            assert_eq!((users.as_str(), networks.as_str()), ("256", "1024"));
        }
        let limits = limits();
        let adjusted = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
        let rows = [
            ("CapInh", "0000000000000000"),
            ("CapAmb", "0000000000000000"),
            ("Seccomp", "2"),
            ("NoNewPrivs", "0"),
            ("Uid", "0 0 0 0"),
            ("Gid", "0 0 0 0"),
            ("Groups", ""),
            ("SigBlk", "0000000000000000"),
            ("SigIgn", "0000000000000000"),
            ("umask", "0022"),
            ("hostname", machine.name()),
            ("commands", probe::NAME),
            ("links", "lo"),
            ("descriptors", "0 1 2"),
            ("session", "1"),
            ("group", "1"),
            ("limits", &limits),
            ("oom_score_adj", adjusted.trim()),
        ];
        let login = found.remove("loginuid").unwrap();
        assert!(["4294967295", "ENOENT"].contains(&login.as_str()), "{login}");
        let processes = found.remove("processes").unwrap();
        assert!(processes.starts_with("1 ") && processes.split(' ').count() == 2, "{processes}");
        compare(&found, &rows);
    }
}

/// A container that somebody starts from a login is no part of it to the audit. Seen from the host: inside, ids of the host have no number.
#[test]
fn the_audits_login_is_not_inherited() {
    let login = Path::new("/proc/self/loginuid");
    if !login.exists() {
        // A kernel without audit: there is nothing to inherit.
        return;
    }
    let machine = machine();
    let mut command = machine.spawn(["-q", NO_USERS, "cat", "/proc/self/loginuid"]).command();
    // SAFETY: after fork, three system calls.
    unsafe { command.pre_exec(|| fs::write("/proc/self/loginuid", "1000")) };
    assert_eq!(String::from_utf8_lossy(&command.output().unwrap().stdout), "4294967295");
}
