//! A container's process 1 that looks into whatever appears beside it: this test's own program, bound into the container and called
//! [`NAME`] there. It counts what it got to, and says it at the end of its standard input.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::raw::{c_char, c_int};

use ns_core::raw::syscall;
use rustix::fs::{Mode, OFlags, open};

/// What it is called inside: our program under this name is the attacker, not a test.
pub const NAME: &str = "nskit-attacker";

/// Numbers of x86-64 and arm64.
#[cfg(target_arch = "x86_64")]
mod number {
    pub const PTRACE: u32 = 101;
    pub const PROCESS_VM_READV: u32 = 310;
    pub const KILL: u32 = 62;
    pub const WAIT4: u32 = 61;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub const PTRACE: u32 = 117;
    pub const PROCESS_VM_READV: u32 = 270;
    pub const KILL: u32 = 129;
    pub const WAIT4: u32 = 260;
}
const PIDFD_OPEN: u32 = 434;
const PIDFD_GETFD: u32 = 438;

/// Before `main`, which is the test harness's.
#[used]
// SAFETY: the C library calls what stands there with these three arguments.
#[unsafe(link_section = ".init_array")]
static ENTRY: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = entry;

extern "C" fn entry(count: c_int, words: *const *const c_char, _: *const *const c_char) {
    // SAFETY: argv of the C library: so many strings.
    let word = |n: c_int| unsafe { std::ffi::CStr::from_ptr(*words.offset(n as isize)) }.to_string_lossy().into_owned();
    if count > 1 && word(0).ends_with(NAME) {
        attack(&word(1));
        std::process::exit(0);
    }
}

/// What was got to: of processes that still were the joiner's own, and of those that ran the program by then.
#[derive(Default)]
struct Found {
    /// How often the joiner's own were tried, in every way.
    tried: u32,
    early: BTreeMap<&'static str, u32>,
    late: u32,
    secrets: u32,
    /// Of the joiner's own what is none of the container's, and not the stub.
    strange: BTreeSet<String>,
}

/// Until the standard input ends; `secret` is what the joiner's caller has in its memory.
fn attack(secret: &str) {
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = done.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    println!("attacking");
    let mut found = Found::default();
    while !done.load(std::sync::atomic::Ordering::SeqCst) {
        // New processes have the next numbers: those are asked for before any list could name them.
        let last = last_pid().unwrap_or(3);
        let pids = last.saturating_sub(6).max(2)..=last + 4;
        let there = pids.filter(|pid| call(number::KILL, [*pid as usize, 0, 0, 0, 0, 0]).is_some());
        // Not our own thread.
        there.filter(|pid| name(*pid) != NAME).for_each(|pid| found.attack(pid, secret.as_bytes()));
    }
    let early: Vec<String> = found.early.iter().map(|(what, count)| format!("{what}={count}")).collect();
    println!("tried={}\nlate={}\nsecrets={}\nearly={}", found.tried, found.late, found.secrets, early.join(" "));
    println!("strange={}", found.strange.into_iter().collect::<Vec<_>>().join(" "));
}

/// Of our pid namespace.
fn last_pid() -> Option<u32> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().last()?.parse().ok()
}

fn call(number: u32, args: [usize; 6]) -> Option<usize> {
    // SAFETY: pointers among the arguments are of memory that outlives the call.
    unsafe { syscall(number, args) }.ok()
}

impl Found {
    fn attack(&mut self, pid: u32, secret: &[u8]) {
        let strange = if is_joiner(pid) { strange(pid) } else { Vec::new() };
        let got: Vec<&'static str> = WAYS.iter().filter(|(_, way)| way(pid, secret, &mut self.secrets)).map(|(name, _)| *name).collect();
        // What ran its own program while we looked was reached as any process of the container's may be.
        if is_joiner(pid) {
            self.tried += 1;
            got.into_iter().for_each(|name| *self.early.entry(name).or_default() += 1);
            self.strange.extend(strange);
        } else {
            self.late += u32::from(!got.is_empty());
        }
    }
}

/// What it stands in and holds, but the container's own, the stub, pipes and sockets.
fn strange(pid: u32) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let file = |path: &str| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let ours = file("/");
    let places = ["cwd", "root"].into_iter().filter(|name| file(&format!("/proc/{pid}/{name}")).is_some_and(|at| Some(at) != ours));
    let mut found: Vec<String> = places.map(str::to_owned).collect();
    let link = |path: String| std::fs::read_link(path).ok().map(|path| path.display().to_string());
    found.extend(link(format!("/proc/{pid}/exe")).filter(|exe| !exe.starts_with("/memfd:ns-stub")));
    let held = (0..64).filter_map(|n| link(format!("/proc/{pid}/fd/{n}")));
    let known = ["pipe:", "socket:", "anon_inode:[pidfd]", "/dev/null"];
    found.extend(held.filter(|held| !known.iter().any(|known| held.starts_with(known))));
    found
}

/// By its name, which everybody may read; asked after the attack, so that an exec in between counts for the program.
fn is_joiner(pid: u32) -> bool {
    name(pid) == "(ns-join)"
}

fn name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

type Way = fn(u32, &[u8], &mut u32) -> bool;

const WAYS: &[(&str, Way)] = &[
    ("mem", mem),
    ("exe", |pid, _, _| opens(pid, "exe")),
    ("cwd", |pid, _, _| opens(pid, "cwd/")),
    ("root", |pid, _, _| opens(pid, "root/")),
    ("fd", fds),
    ("environ", |pid, secret, secrets| reads(pid, "environ", secret, secrets)),
    ("maps", |pid, secret, secrets| reads(pid, "maps", secret, secrets)),
    ("auxv", |pid, secret, secrets| reads(pid, "auxv", secret, secrets)),
    ("ns", |pid, _, _| opens(pid, "ns/mnt") || opens(pid, "ns/user")),
    ("io", |pid, secret, secrets| reads(pid, "io", secret, secrets)),
    ("ptrace", ptrace),
    ("process_vm_readv", readv),
    ("pidfd_getfd", getfd),
];

fn opened(pid: u32, file: &str, flags: OFlags) -> Option<std::fs::File> {
    let path = format!("/proc/{pid}/{file}");
    open(path, flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty()).ok().map(Into::into)
}

fn opens(pid: u32, file: &str) -> bool {
    opened(pid, file, OFlags::RDONLY).is_some()
}

fn holds(bytes: &[u8], secret: &[u8]) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret)
}

fn reads(pid: u32, file: &str, secret: &[u8], secrets: &mut u32) -> bool {
    let mut bytes = Vec::new();
    let read = opened(pid, file, OFlags::RDONLY).is_some_and(|file| file.take(1 << 16).read_to_end(&mut bytes).is_ok());
    *secrets += u32::from(holds(&bytes, secret));
    read && !bytes.is_empty()
}

/// All of its memory, as far as its map is known; the stub's place where it isn't.
fn mem(pid: u32, secret: &[u8], secrets: &mut u32) -> bool {
    use std::os::unix::fs::FileExt;
    let Some(file) = opened(pid, "mem", OFlags::RDWR) else { return false };
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let ranges = maps.lines().filter_map(|line| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
    });
    for (from, to) in ranges.filter(|(from, _)| *from < 1 << 47) {
        let mut bytes = vec![0; (to - from).min(1 << 20) as usize];
        if file.read_at(&mut bytes, from).is_ok() {
            *secrets += u32::from(holds(&bytes, secret));
        }
    }
    let mut byte = [0];
    file.read_at(&mut byte, 0x40_0000).is_ok_and(|n| n == 1) || file.read_at(&mut byte, 0x20_0000).is_ok_and(|n| n == 1)
}

fn fds(pid: u32, _: &[u8], _: &mut u32) -> bool {
    (0..64).any(|n| opens(pid, &format!("fd/{n}")) || opens(pid, &format!("fdinfo/{n}")))
}

/// Lets go of it again, which takes that it stops: a program that is traced has ended for nobody but us.
fn ptrace(pid: u32, _: &[u8], _: &mut u32) -> bool {
    const SEIZE: usize = 0x4206;
    const INTERRUPT: usize = 0x4207;
    const DETACH: usize = 17;
    const WALL: usize = 0x4000_0000;
    let seized = call(number::PTRACE, [SEIZE, pid as usize, 0, 0, 0, 0]).is_some();
    if seized {
        call(number::PTRACE, [INTERRUPT, pid as usize, 0, 0, 0, 0]);
        call(number::WAIT4, [pid as usize, 0, WALL, 0, 0, 0]);
        call(number::PTRACE, [DETACH, pid as usize, 0, 0, 0, 0]);
    }
    seized
}

fn readv(pid: u32, _: &[u8], _: &mut u32) -> bool {
    let mut byte = [0u8; 8];
    let ours = [byte.as_mut_ptr() as usize, byte.len()];
    let theirs = [0x40_0000, byte.len()];
    let vectors = [pid as usize, ours.as_ptr() as usize, 1, theirs.as_ptr() as usize, 1, 0];
    call(number::PROCESS_VM_READV, vectors).is_some()
}

fn getfd(pid: u32, _: &[u8], _: &mut u32) -> bool {
    let Some(pidfd) = call(PIDFD_OPEN, [pid as usize, 0, 0, 0, 0, 0]) else { return false };
    let got = (0..16).any(|n| call(PIDFD_GETFD, [pidfd, n, 0, 0, 0, 0]).is_some());
    // SAFETY: just opened.
    unsafe { rustix::io::close(pidfd as i32) };
    got
}
