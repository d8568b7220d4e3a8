//! Odd callers: few descriptors, few rights, strange signals and limits, a strange place. Each gets a start or a clear line, soon.

use std::ffi::CString;
use std::io::{Error, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::libc;

use crate::Counts;
use crate::probe::asked::{Found, machine, parse};
use crate::support::{launcher, within};
use crate::verdict::{asked, differences, is_refusal};

/// What is done between fork and exec: system calls alone.
type Odd = Box<dyn Fn() -> std::io::Result<()> + Send + Sync>;

/// What is done to the command line and the environment, before.
type Line = fn(&mut Command);

fn ok(answer: i64) -> std::io::Result<()> {
    if answer < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

fn limit(resource: u32, to: u64) -> Odd {
    let new = libc::rlimit { rlim_cur: to, rlim_max: to };
    // SAFETY: a structure that lives during the call.
    Box::new(move || ok(unsafe { libc::setrlimit(resource, &raw const new) }.into()))
}

fn closed(fds: &'static [i32]) -> Odd {
    Box::new(move || {
        // SAFETY: numbers.
        fds.iter().try_for_each(|fd| ok(unsafe { libc::close(*fd) }.into()))
    })
}

fn ignored(signal: i32) -> Odd {
    // SAFETY: no handler of ours.
    Box::new(move || ok(if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR { -1 } else { 0 }))
}

fn blocked() -> std::io::Result<()> {
    let all = [u64::MAX];
    // SAFETY: the set lives during the call, and has the kernel's size.
    ok(unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, all.as_ptr(), 0usize, 8usize) })
}

fn in_a_deleted_directory() -> std::io::Result<()> {
    let path = CString::new(format!("/tmp/nskit-deleted-{}", std::process::id())).unwrap();
    // SAFETY: strings that live during the calls.
    ok(unsafe { libc::mkdir(path.as_ptr(), 0o700) }.into())?;
    // SAFETY: the same.
    ok(unsafe { libc::chdir(path.as_ptr()) }.into())?;
    // SAFETY: the same.
    ok(unsafe { libc::rmdir(path.as_ptr()) }.into())
}

/// A mount namespace of its own in which something is mounted, or unmounted.
fn mounts(source: &'static str, target: &'static str, kind: &'static str, flags: u64, data: &'static str) -> Odd {
    let [source, target, kind, data] = [source, target, kind, data].map(|text| CString::new(text).unwrap());
    Box::new(move || {
        own_mounts()?;
        // SAFETY: strings that live during the call.
        ok(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) }.into())
    })
}

fn own_mounts() -> std::io::Result<()> {
    // SAFETY: a process of one thread.
    ok(unsafe { libc::unshare(libc::CLONE_NEWNS) }.into())?;
    let none = c"".as_ptr();
    // SAFETY: strings that live during the call.
    ok(unsafe { libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, std::ptr::null()) }.into())
}

/// Its own root, by another path: no user namespace can be made in a chroot.
fn in_a_chroot() -> std::io::Result<()> {
    own_mounts()?;
    let (root, place, none) = (c"/".as_ptr(), c"/mnt".as_ptr(), c"".as_ptr());
    // SAFETY: strings that live during the calls.
    ok(unsafe { libc::mount(root, place, none, libc::MS_BIND | libc::MS_REC, std::ptr::null()) }.into())?;
    // SAFETY: the same.
    ok(unsafe { libc::chroot(place) }.into())
}

/// Newer kernels than 5.17 give an empty word then.
fn without_arguments() -> std::io::Result<()> {
    let path = CString::new(launcher().into_os_string().into_encoded_bytes()).unwrap();
    let none: [*const libc::c_char; 1] = [std::ptr::null()];
    // SAFETY: a string and two empty arrays that live during the call.
    ok(unsafe { libc::execve(path.as_ptr(), none.as_ptr(), none.as_ptr()) }.into())
}

fn without(path: &'static str) -> Odd {
    let path = CString::new(path).unwrap();
    Box::new(move || {
        own_mounts()?;
        // SAFETY: a string that lives during the call.
        ok(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }.into())
    })
}

fn without_capability(number: i32) -> Odd {
    // SAFETY: numbers. Root's exec gives what the bounding set has.
    Box::new(move || ok(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) }.into()))
}

fn one(change: fn() -> i64) -> Odd {
    Box::new(move || ok(change()))
}

/// Kind, name, and what is done. `some`: one or two of each kind.
fn all(some: bool) -> Vec<(&'static str, String, Odd)> {
    let mut all: Vec<(&'static str, String, Odd)> = Vec::new();
    let mut add = |kind, name: &str, odd: Odd| all.push((kind, name.to_owned(), odd));
    for count in (3..=40).filter(|count| !some || count % 9 == 3) {
        add("RLIMIT_NOFILE 3 to 40", &count.to_string(), limit(libc::RLIMIT_NOFILE, count));
    }
    let capabilities = (0..=40).filter(|number| !some || [0, 7, 12, 21, 24].contains(number));
    for number in capabilities {
        add("a capability less", &number.to_string(), without_capability(number));
    }
    let limits = [
        ("FSIZE 0", limit(libc::RLIMIT_FSIZE, 0)),
        ("STACK 128 KiB", limit(libc::RLIMIT_STACK, 128 << 10)),
        ("DATA 1 MiB", limit(libc::RLIMIT_DATA, 1 << 20)),
        ("AS 64 MiB", limit(libc::RLIMIT_AS, 64 << 20)),
        ("AS 4 MiB", limit(libc::RLIMIT_AS, 4 << 20)),
        ("CORE 0", limit(libc::RLIMIT_CORE, 0)),
        ("NPROC 1", limit(libc::RLIMIT_NPROC, 1)),
        ("MEMLOCK 0", limit(libc::RLIMIT_MEMLOCK, 0)),
        ("SIGPENDING 0", limit(libc::RLIMIT_SIGPENDING, 0)),
        ("MSGQUEUE 0", limit(libc::RLIMIT_MSGQUEUE, 0)),
        ("LOCKS 0", limit(libc::RLIMIT_LOCKS, 0)),
    ];
    limits.into_iter().for_each(|(name, odd)| add("other limits", name, odd));
    add("signals", "SIGCHLD ignored", ignored(libc::SIGCHLD));
    add("signals", "SIGPIPE ignored", ignored(libc::SIGPIPE));
    add("signals", "all blocked", Box::new(blocked));
    // SAFETY: numbers.
    add("process", "umask 0777", one(|| unsafe { libc::umask(0o777) }.into()));
    add("process", "cwd deleted", Box::new(in_a_deleted_directory));
    // SAFETY: numbers.
    add("process", "nice 19", one(|| unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) }.into()));
    // SAFETY: numbers.
    add("process", "undumpable, no new privileges", one(|| unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into()));
    add("process", "argc 0", Box::new(without_arguments));
    add("process", "chroot", Box::new(in_a_chroot));
    add("descriptors closed", "0", closed(&[0]));
    add("descriptors closed", "1", closed(&[1]));
    add("descriptors closed", "2", closed(&[2]));
    add("descriptors closed", "all", closed(&[0, 1, 2]));
    add("its place", "/proc not mounted", without("/proc"));
    add("its place", "/proc with hidepid=2", mounts("proc", "/proc", "proc", 0, "hidepid=2"));
    add("its place", "a tmpfs on /proc", mounts("tmpfs", "/proc", "tmpfs", 0, ""));
    add("its place", "/sys not mounted", without("/sys"));
    add("its place", "a tmpfs on /sys/fs/cgroup", mounts("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, ""));
    add("its place", "/run read-only", mounts("tmpfs", "/run", "tmpfs", libc::MS_RDONLY, ""));
    add("its place", "/dev empty", mounts("tmpfs", "/dev", "tmpfs", 0, ""));
    all
}

/// Of the environment.
const LINES: [(&str, Line); 3] = [
    ("empty", |command| {
        command.env_remove("TERM");
    }),
    ("of a megabyte", |command| {
        command.envs((0..12).map(|n| (format!("HUGE{n}"), "x".repeat(100_000))));
    }),
    ("with variables that change how programs run", |command| {
        command.env("LD_PRELOAD", "/none").env("MALLOC_ARENA_MAX", "1").env("RUST_BACKTRACE", "full").env("PATH", "").env("HOME", "");
    }),
];

/// The kinds, in order.
pub fn kinds() -> Vec<String> {
    let mut kinds: Vec<String> = all(true).into_iter().map(|(kind, ..)| kind.to_owned()).chain(["environment".to_owned()]).collect();
    kinds.dedup();
    kinds
}

/// Rows that a caller's own limits and rights may lower, or that tell of the caller's descriptors.
const CALLERS: [&str; 8] = ["limits", "oom_score_adj", "NoNewPrivs", "devices", "mounts", "delegation", "descriptors", "SigIgn"];

/// Starts by each.
pub fn odd_callers(some: bool) -> Counts {
    let machine = machine();
    let spawn = asked(&machine, &[]);
    let usual = parse(&output(spawn.command(), None).map(|ended| ended.stdout).unwrap());
    assert!(usual.len() > 30, "{usual:?}");
    let (mut counts, mut failures) = (Counts::new(), Vec::new());
    let lines = LINES.into_iter().map(|(name, change)| {
        let mut command = spawn.command();
        if name == "empty" {
            let run: Vec<_> = command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
            command.env_clear();
            command.envs(run.into_iter().filter_map(|(name, value)| Some((name, value?))));
        }
        change(&mut command);
        ("environment", name.to_owned(), command, None)
    });
    let odd = all(some).into_iter().map(|(kind, name, odd)| (kind, name, spawn.command(), Some(odd)));
    for (kind, name, command, odd) in odd.chain(lines) {
        match output(command, odd).and_then(|ended| judge(&usual, &name, &ended)) {
            Ok(outcome) => counts.add(kind, outcome),
            Err(why) => failures.push(format!("{kind}, {name}: {why}")),
        }
        if let Err(left) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.check())) {
            failures.push(format!("{kind}, {name}: {}", left.downcast_ref::<String>().map_or("?", String::as_str)));
        }
    }
    assert!(failures.is_empty(), "{} of {counts:?}:\n{}", failures.len(), failures.join("\n"));
    counts
}

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn output(mut command: Command, odd: Option<Odd>) -> Result<Ended, String> {
    // Pipes, which no limit of a file's size stops.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(odd) = odd {
        // SAFETY: system calls on memory that was made before, but for a path's; one thread.
        unsafe { command.pre_exec(odd) };
    }
    let mut child = command.spawn().map_err(|e| format!("not started at all: {e}"))?;
    let reading = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let (out, err) = (reading(Box::new(child.stdout.take().unwrap())), reading(Box::new(child.stderr.take().unwrap())));
    let began = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if began.elapsed() > within(10) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err("it did not end".to_owned());
            }
            None => std::thread::sleep(std::time::Duration::from_millis(2)),
        }
    };
    Ok(Ended { code: status.code(), stdout: out.join().unwrap(), stderr: err.join().unwrap() })
}

fn judge(usual: &Found, name: &str, ended: &Ended) -> Result<&'static str, String> {
    let found = parse(&ended.stdout);
    let silent = ended.stdout.is_empty() && ["1", "all"].contains(&name);
    let less: Vec<String> =
        differences(usual, &found).into_iter().filter(|row| !CALLERS.iter().any(|caller| row.starts_with(&format!("{caller}:")))).collect();
    match ended.code {
        Some(0) if silent => Ok("started, with no output to be read"),
        Some(0) if less.is_empty() => Ok("started, protections unchanged"),
        Some(0) => Err(format!("it started other than ever: {less:?}; it said {:?}", ended.stderr)),
        Some(1) if ended.stderr.is_empty() && ["2", "all"].contains(&name) => Ok("refused, with nowhere to say it"),
        Some(1) if is_refusal(&ended.stderr) => Ok("refused in one clear line"),
        // The kernel or the runtime can't even begin: no line of ours.
        None if ended.stdout.is_empty() && name.starts_with("AS 4") => Ok("not begun: no memory for the program"),
        code => Err(format!("code {code:?}, it said {:?}", ended.stderr)),
    }
}
