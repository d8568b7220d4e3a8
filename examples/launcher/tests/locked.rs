//! What container root can't undo, what it can where it has the host's ids, and what works all the same: tried from inside.

#[path = "support/mounts.rs"]
mod mounts;
mod probe;
mod support;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use mounts::{in_own_mounts, mount};
use nix::libc;
use support::{Machine, within};

/// What the rows of a verb said.
type Found = BTreeMap<String, String>;

/// A row's name, and what it has to say: one word, or several with bars between.
type Expected<'a> = &'a [(&'a str, &'a str)];

const NO_USERS: &str = "--private-users=no";

fn parse(text: &str) -> Found {
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, outcome)| (name.to_owned(), outcome.to_owned())).collect()
}

/// Runs the probe in a container; what it said.
fn probe(machine: &Machine, options: &[&str], verb: &str, given: &[String]) -> Found {
    let own = std::env::current_exe().unwrap();
    let program = format!("/run/{}", probe::NAME);
    let bind = format!("--bind-ro={}:{program}", own.display());
    let spawn = machine.spawn(["--quiet", &bind]).args(options).args([&program, verb]).args(given).limit(within(120));
    parse(&spawn.run().expect(0).text())
}

/// Fails with every row that said something else, and those that are missing or weren't asked for.
#[track_caller]
fn compare(found: &Found, expected: Expected) {
    let allowed: BTreeMap<&str, &str> = expected.iter().copied().collect();
    assert_eq!(allowed.len(), expected.len(), "a row is expected twice");
    let mut wrong = Vec::new();
    for (name, outcome) in found {
        match allowed.get(name.as_str()) {
            Some(words) if words.split('|').any(|word| word == outcome) => {}
            words => wrong.push(format!("{name}: {outcome}, expected {}", words.unwrap_or(&"nothing"))),
        }
    }
    wrong.extend(allowed.keys().filter(|name| !found.contains_key(**name)).map(|name| format!("{name}: said nothing")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `expected`, with some rows changed.
fn but<'a>(expected: Expected<'a>, changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let change = |name: &str| changes.iter().find(|(changed, _)| *changed == name);
    assert!(changes.iter().all(|(name, _)| expected.iter().any(|(row, _)| row == name)), "a change of a row that isn't there");
    expected.iter().map(|row| *change(row.0).unwrap_or(row)).collect()
}

/// A tree with device nodes planted in it: a loop device, and the kernel's log.
fn machine() -> Machine {
    let machine = Machine::of("busybox");
    let plant = |name: &str, kind, device| {
        let path = CString::new(machine.tree.join(name).into_os_string().into_encoded_bytes()).unwrap();
        // SAFETY: a path and two numbers.
        assert_eq!(unsafe { libc::mknod(path.as_ptr(), kind | 0o666, device) }, 0, "mknod {name}");
    };
    plant("planted-block", libc::S_IFBLK, libc::makedev(7, 0));
    plant("planted-char", libc::S_IFCHR, libc::makedev(1, 11));
    machine
}

// ------------------------------------------------------------------------------------------------------------------ what is locked

/// With a user namespace: every row is closed but the fresh sysfs, see [`plain_sysfs`].
const LOCKED: Expected = &[
    ("remount /proc/sys", "EPERM"),
    ("remount /sys", "EPERM"),
    ("remount /sys/kernel", "EPERM"),
    ("remount /proc", "EPERM"),
    ("remount a mask", "EPERM"),
    ("remount /", "EPERM"),
    ("mount_setattr /proc/sys", "EPERM"),
    ("umount /proc/sys", "EINVAL"),
    ("umount a mask", "EINVAL"),
    ("umount /proc", "EINVAL"),
    ("umount /sys", "EINVAL"),
    ("umount the boot id", "EINVAL"),
    ("move a mask", "EINVAL"),
    ("bind /proc without its masks", "EINVAL"),
    ("bind /sys without its masks", "EINVAL"),
    ("nested remount /proc/sys", "EPERM"),
    ("nested remount /sys", "EPERM"),
    ("nested umount /proc/sys", "EINVAL"),
    ("nested umount a mask", "EINVAL"),
    ("nested umount /proc", "EINVAL"),
    ("nested umount /sys", "EINVAL"),
    ("mount proc", "EPERM"),
    ("nested mount proc", "EPERM"),
    ("mount sysfs", "EPERM"),
    ("write to a fresh sysfs", "EPERM"),
    ("mkdir in a fresh sysfs", "EPERM"),
    ("write to sysctls after a remount", "EPERM"),
    ("read a mask after an umount", "EINVAL"),
    ("open a tree's device after a remount", "EPERM"),
];

/// Without a user namespace container root undoes all of it, from its own mount namespace. These rows are open, and README lists them;
/// what isn't here stays closed: what a further user namespace could do, and devices, which the device program refuses.
const OPEN_WITHOUT_USER_NAMESPACE: Expected = &[
    ("remount /proc/sys", "ok"),
    ("remount /sys", "ok"),
    ("remount /sys/kernel", "ok"),
    ("remount /proc", "ok"),
    ("remount a mask", "ok"),
    ("remount /", "ok"),
    ("mount_setattr /proc/sys", "ok"),
    ("umount /proc/sys", "ok"),
    ("umount a mask", "ok"),
    ("umount /proc", "ok"),
    ("umount /sys", "ok"),
    ("umount the boot id", "ok"),
    ("move a mask", "ok"),
    ("bind /proc without its masks", "ok"),
    ("bind /sys without its masks", "ok"),
    ("mount proc", "ok"),
    ("mount sysfs", "ok"),
    ("write to a fresh sysfs", "ok"),
    ("write to sysctls after a remount", "ok"),
    ("read a mask after an umount", "data"),
];

/// What a plain `unshare -Urmn` gets on this kernel where something of /sys is hidden: 6.1 and 6.12 let it have a fresh sysfs.
fn plain_sysfs() -> String {
    let output = Command::new(std::env::current_exe().unwrap()).arg0(probe::NAME).arg("plain-sysfs").output().unwrap();
    parse(&String::from_utf8_lossy(&output.stdout)).remove("mount sysfs").expect("the probe's answer")
}

#[test]
fn nothing_that_is_mounted_can_be_undone() {
    let found = probe(&machine(), &[], "locked", &[]);
    let walked_around = [("mount sysfs", "ok"), ("write to a fresh sysfs", "EACCES"), ("mkdir in a fresh sysfs", "EACCES|EPERM")];
    match plain_sysfs().as_str() {
        "ok" => compare(&found, &but(LOCKED, &walked_around)),
        "EPERM" => compare(&found, LOCKED),
        other => panic!("unshare -Urmn; mount -t sysfs: {other}"),
    }
}

#[test]
fn without_a_user_namespace_these_rows_are_open() {
    let found = probe(&machine(), &[NO_USERS], "opened", &[]);
    compare(&found, &but(LOCKED, OPEN_WITHOUT_USER_NAMESPACE));
}

// ---------------------------------------------------------------------------------------------------------------------- what works

const WORKS: Expected = &[
    ("mount cgroup2", "ok"),
    ("mount mqueue", "ok"),
    ("mount tmpfs", "ok"),
    ("mount devpts", "ok"),
    ("mount overlay", "ok"),
    ("bind a directory", "ok"),
    ("nested user namespace", "ok"),
    ("nested mount tmpfs", "ok"),
    ("nested namespaces of every kind", "ok"),
    ("mkdir in the own cgroup", "ok"),
    ("write to /dev/null", "ok"),
    ("read /dev/zero", "data"),
    ("read /dev/urandom", "data"),
    ("open /dev/full", "ok"),
    ("open a pty", "ok"),
    ("write to /tmp", "ok"),
    ("write to /run", "ok"),
    ("write to /dev/shm", "ok"),
    ("write to /", "ok"),
];

#[test]
fn what_a_distribution_needs_works() {
    load_modules();
    for options in [&[][..], &[NO_USERS]] {
        compare(&probe(&machine(), options, "works", &[]), WORKS);
    }
}

/// An unprivileged mount loads no module.
fn load_modules() {
    if !fs::read_to_string("/proc/filesystems").unwrap().contains("\toverlay\n") {
        let status = Command::new("modprobe").arg("overlay").status().expect("modprobe");
        assert!(status.success(), "this kernel has no overlay");
    }
}

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

// ------------------------------------------------------------------------------------------------------------ binds, read-only trees

/// A directory of the host's with a file, a device node and, in this thread's mount namespace, a mount below.
fn source(name: &str) -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix(name).tempdir_in("/var/tmp").unwrap();
    fs::write(dir.path().join("file"), "of the host\n").unwrap();
    fs::create_dir(dir.path().join("below")).unwrap();
    for path in [dir.path().to_owned(), dir.path().join("file"), dir.path().join("below")] {
        let mode = if path.is_dir() { 0o777 } else { 0o666 };
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let path = CString::new(dir.path().join("planted").into_os_string().into_encoded_bytes()).unwrap();
    // SAFETY: a path and two numbers.
    assert_eq!(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(1, 11)) }, 0);
    mount("tmpfs", &dir.path().join("below"), "tmpfs", 0, "size=64k,mode=777");
    dir
}

const BINDS: Expected = &[
    ("read /ro", "of the host"),
    ("write /ro", "EROFS"),
    ("write a file of /ro", "EROFS"),
    ("write below /ro", "EROFS"),
    ("remount /ro", "EPERM"),
    ("remount below /ro", "EPERM"),
    ("mount_setattr /ro", "EPERM"),
    ("umount below /ro", "EINVAL"),
    ("bind /ro without what is below", "EINVAL"),
    ("nested remount /ro", "EPERM"),
    ("nested remount below /ro", "EPERM"),
    ("write /ro after remounts", "EROFS"),
    ("write /rw", "ok"),
    ("a device of /rw", "EACCES"),
    ("a device of /rw after a remount", "EPERM"),
    ("umount /ro", "EINVAL"),
];

/// Not the devices: the program refuses them.
const OPEN_BINDS: Expected = &[
    ("remount /ro", "ok"),
    ("remount below /ro", "ok"),
    ("mount_setattr /ro", "ok"),
    ("umount below /ro", "ok"),
    ("bind /ro without what is below", "ok"),
    ("write /ro after remounts", "ok"),
    ("umount /ro", "ok"),
];

fn binds(users: &[&str], expected: Expected) {
    in_own_mounts(|| {
        let machine = machine();
        let (ro, rw) = (source("nskit-ro."), source("nskit-rw."));
        let options = [format!("--bind-ro={}:/ro", ro.path().display()), format!("--bind={}:/rw", rw.path().display())];
        let options: Vec<&str> = users.iter().copied().chain(options.iter().map(String::as_str)).collect();
        let verb = if users.is_empty() { "binds" } else { "binds-opened" };
        compare(&probe(&machine, &options, verb, &[]), expected);
        assert_eq!(fs::read_to_string(ro.path().join("file")).unwrap(), "of the host\n");
        assert!(rw.path().join("made").exists() && (ro.path().join("made").exists() != users.is_empty()));
    });
}

#[test]
fn what_is_bound_read_only_stays_so() {
    binds(&[], BINDS);
}

#[test]
fn without_a_user_namespace_a_bind_can_be_made_writable() {
    binds(&[NO_USERS], &but(BINDS, OPEN_BINDS));
}

#[test]
fn a_read_only_tree_stays_so() {
    let rows = [
        ("write to /", "EROFS"),
        ("write to /etc", "EROFS"),
        ("remount /", "EPERM"),
        ("nested remount /", "EPERM"),
        ("mount_setattr /", "EPERM"),
        ("write to / after a remount", "EPERM"),
        ("write to /tmp", "ok"),
        ("write to /run", "ok"),
        ("write to /dev/shm", "ok"),
        ("write to /var/tmp", "EROFS"),
    ];
    let machine = machine();
    machine.tree.write("/var/tmp/file", "");
    compare(&probe(&machine, &["--read-only"], "read-only", &[]), &rows);
    assert!(!machine.tree.join("probe-was-here").exists());
}

// ------------------------------------------------------------------------------------------------------- mounts never reach the host

/// The host is one with systemd: `/` is shared, so are the tree's mount and the bind's source.
fn mounts_stay_inside(users: &[&str]) {
    in_own_mounts(|| {
        mount("", Path::new("/"), "", libc::MS_REC | libc::MS_SHARED, "");
        let machine = machine();
        let shared = tempfile::Builder::new().prefix("nskit-shared.").tempdir_in("/var/tmp").unwrap();
        for path in [machine.tree.path(), shared.path()] {
            mount(&path.display().to_string(), path, "", libc::MS_BIND, "");
            mount("", path, "", libc::MS_SHARED, "");
        }
        fs::create_dir(shared.path().join("place")).unwrap();
        let table = || fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let before = table();
        let program = format!("/run/{}", probe::NAME);
        let own = std::env::current_exe().unwrap();
        let control = tempfile::Builder::new().prefix("nskit-control.").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(control.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let binds = [
            format!("--bind-ro={}:{program}", own.display()),
            format!("--bind={}:/shared", shared.path().display()),
            format!("--bind-ro={}:/control", control.path().display()),
        ];
        let places = "places=/etc,/tmp/x,/run/y,/shared/place,/shared,/root,/dev/shm/z,/sys/fs/cgroup,/proc/sys,/";
        let mut started = machine.spawn(["-q"]).args(&binds).args(users).args([&program, "mount-everywhere", places]).start();
        started.expect("mounted=", within(60));
        let during = table();
        let said = String::from_utf8_lossy(&started.stdout()).into_owned();
        fs::write(control.path().join("go"), "").unwrap();
        started.finish(within(60)).expect(0);
        assert!(said.contains("mounted=10"), "{said}");
        assert!(!during.contains("nskit-probe-leak"), "{during}");
        assert_eq!((during, table()), (before.clone(), before));
    });
}

#[test]
fn a_mount_made_inside_never_appears_on_the_host() {
    mounts_stay_inside(&[]);
}

#[test]
fn nor_does_it_without_a_user_namespace() {
    mounts_stay_inside(&[NO_USERS]);
}
