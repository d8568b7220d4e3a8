//! What the kernel does with compiled programs: in children, that the filter stays in.
#![cfg(target_arch = "x86_64")]

use ns_core::{Errno, raw};
use ns_seccomp::{Action, Arch, Arg, Install, Policy, Program, Rule, profile, syscall};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// Memory that a child writes and the parent reads.
struct Shared(NonNull<[i64; 64]>);

impl Shared {
    const UNSET: i64 = i64::MIN;

    fn new() -> Shared {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, nobody else's memory.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<[i64; 64]>(), protection, flags, -1, 0) };
        assert_ne!(memory, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        let shared = Shared(NonNull::new(memory.cast()).expect("mmap never answers null here"));
        (0..64).for_each(|at| shared.put(at, Shared::UNSET));
        shared
    }

    fn put(&self, at: usize, value: i64) {
        // SAFETY: inside the array (64 is checked), which lives as long as self; one side writes while the other waits.
        unsafe { self.0.cast::<i64>().add(at % 64).write_volatile(value) }
    }

    fn get(&self, at: usize) -> i64 {
        // SAFETY: as in `put`.
        unsafe { self.0.cast::<i64>().add(at % 64).read_volatile() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<[i64; 64]>()) };
    }
}

/// Runs `body` in a child, which only makes raw calls, and returns how it ended: `(CLD_*, status)`.
fn in_child(body: impl Fn()) -> (i32, i32) {
    // SAFETY: the child makes system calls on memory that is there and leaves by exit_group.
    match unsafe { raw::clone3(raw::CloneArgs::default()) }.expect("clone3") {
        None => {
            body();
            raw::exit_group(0)
        }
        Some(pidfd) => {
            // SAFETY: clone3 has just made it, for us.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let end = raw::waitid(pidfd.as_fd(), true).expect("waitid").expect("waited for");
            (end.code, end.status)
        }
    }
}

fn number_of(answer: Result<usize, Errno>) -> i64 {
    match answer {
        Ok(value) => value as i64,
        Err(errno) => -i64::from(errno.raw_os_error()),
    }
}

/// # Safety
/// The arguments are harmless: no valid pointers to what isn't the call's.
unsafe fn call(number: u32, args: [usize; 6]) -> i64 {
    // SAFETY: the caller answers for it.
    number_of(unsafe { raw::syscall(number, args) })
}

/// The same by i386's door.
///
/// # Safety
/// As `call`.
unsafe fn call_i386(number: u32, args: [u32; 3]) -> i64 {
    let answer: i32;
    // SAFETY: rbx, which Rust keeps for itself, is put back; the kernel keeps all others but rax, and r8 to r11 on old kernels.
    unsafe {
        std::arch::asm!("xchg {first:r}, rbx", "int 0x80", "xchg {first:r}, rbx", first = inout(reg) u64::from(args[0]) => _,
            inlateout("eax") number as i32 => answer, in("ecx") args[1], in("edx") args[2],
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _);
    }
    i64::from(answer)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Expect {
    /// This error, from the filter.
    Fails(Errno),
    /// Whatever the kernel answers without a filter.
    Same,
}
use Expect::{Fails, Same};

const X32: u32 = 0x4000_0000;
const NEVER: usize = 1;
const MINUS: usize = usize::MAX;
const HIGH: usize = 1 << 32;

/// Arguments are chosen so that the call does nothing where it isn't refused: null or bad pointers, descriptor -1, no such flags.
const NATIVE: &[(&str, [usize; 6], Expect)] = &[
    ("getpid", [0; 6], Same),
    ("add_key", [NEVER, NEVER, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("request_key", [NEVER, NEVER, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("keyctl", [MINUS, 0, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("io_uring_setup", [1, NEVER, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("io_uring_enter", [MINUS, 0, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("userfaultfd", [MINUS, 0, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("kcmp", [MINUS, MINUS, 99, 0, 0, 0], Fails(Errno::EPERM)),
    ("process_vm_readv", [MINUS, 0, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("pidfd_getfd", [MINUS, 0, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("mbind", [0, 0, 99, 0, 0, 0], Fails(Errno::EPERM)),
    ("vmsplice", [MINUS, 0, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("modify_ldt", [99, 0, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("memfd_secret", [MINUS, 0, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("ustat", [0, NEVER, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("clock_settime", [0, NEVER, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("settimeofday", [NEVER, NEVER, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("init_module", [NEVER, 0, NEVER, 0, 0, 0], Fails(Errno::EPERM)),
    ("kexec_load", [0, 99, NEVER, MINUS, 0, 0], Fails(Errno::EPERM)),
    ("swapon", [NEVER, 0, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("acct", [NEVER, 0, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("quotactl", [MINUS, NEVER, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("bpf", [999, NEVER, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("perf_event_open", [NEVER, 0, 0, MINUS, 0, 0], Fails(Errno::EPERM)),
    ("fanotify_init", [MINUS, MINUS, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("syslog", [10, 0, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("open_by_handle_at", [MINUS, NEVER, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("iopl", [0, 0, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("socket", [1, 99, 0, 0, 0, 0], Same),
    ("socket", [2, 99, 0, 0, 0, 0], Same),
    ("socket", [10, 99, 0, 0, 0, 0], Same),
    ("socket", [17, 99, 0, 0, 0, 0], Same),
    ("socket", [16, 99, 0, 0, 0, 0], Same),
    ("socket", [16, 3, 9, 0, 0, 0], Fails(Errno::EAFNOSUPPORT)),
    ("socket", [16 | HIGH, 3, 9 | HIGH, 0, 0, 0], Fails(Errno::EAFNOSUPPORT)),
    ("socket", [38, 5, 0, 0, 0, 0], Fails(Errno::EAFNOSUPPORT)),
    ("socket", [40, 1, 0, 0, 0, 0], Fails(Errno::EAFNOSUPPORT)),
    ("socket", [40 | HIGH, 1, 0, 0, 0, 0], Fails(Errno::EAFNOSUPPORT)),
    ("socket", [1 | HIGH, 99, 0, 0, 0, 0], Same),
    // First, since without a filter the next ones change what it answers.
    ("personality", [0xffff_ffff, 0, 0, 0, 0, 0], Same),
    ("personality", [0, 0, 0, 0, 0, 0], Same),
    ("personality", [0x4_0000, 0, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("personality", [0x40_0000, 0, 0, 0, 0, 0], Fails(Errno::EPERM)),
    ("ioctl", [MINUS, 0x5412, NEVER, 0, 0, 0], Fails(Errno::EPERM)),
    ("ioctl", [MINUS, 0x5412 | HIGH, NEVER, 0, 0, 0], Fails(Errno::EPERM)),
    ("ioctl", [MINUS, 0x541c, NEVER, 0, 0, 0], Fails(Errno::EPERM)),
    ("ioctl", [MINUS, 0x5401, NEVER, 0, 0, 0], Same),
    ("mount", [NEVER, NEVER, NEVER, 0, 0, 0], Same),
    ("unshare", [0, 0, 0, 0, 0, 0], Same),
    ("landlock_create_ruleset", [0, 0, 1, 0, 0, 0], Same),
    ("cachestat", [MINUS, NEVER, NEVER, 0, 0, 0], Same),
    ("mseal", [0, 0, 0, 0, 0, 0], Same),
    ("statmount", [NEVER, NEVER, 0, 0, 0, 0], Same),
    ("lsm_set_self_attr", [NEVER, NEVER, NEVER, 0, 0, 0], Same),
    ("futex_wake", [NEVER, 0, 0, 0, 0, 0], Same),
    ("ptrace", [MINUS, MINUS, 0, 0, 0, 0], Same),
];

/// Numbers without a name, and x32's. (335 and 336, uretprobe and uprobe, never reach a filter: only the kernel's own code may make them.)
const UNKNOWN: [u32; 6] = [9999, 337, 512, X32, X32 | 39, X32 | 520];

fn run_native(shared: &Shared, rows: &[(u32, [usize; 6])]) {
    for (at, (number, args)) in rows.iter().enumerate() {
        // SAFETY: the table's arguments are harmless.
        shared.put(at, unsafe { call(*number, *args) });
    }
}

#[test]
fn the_profile_os_answers_for_real() {
    let install = Install::new(profile::os().compile().unwrap());
    let rows: Vec<(u32, [usize; 6])> = NATIVE.iter().map(|row| (syscall::number(Arch::X86_64, row.0).unwrap(), row.1)).collect();
    let (free, filtered) = (Shared::new(), Shared::new());
    assert_eq!(in_child(|| run_native(&free, &rows)), (1, 0));
    let end = in_child(|| match install.install() {
        Ok(()) => run_native(&filtered, &rows),
        Err(_) => raw::exit_group(3),
    });
    assert_eq!(end, (1, 0), "3: the program was not installed");
    for (at, (name, args, expect)) in NATIVE.iter().enumerate() {
        let expected = match expect {
            Fails(errno) => -i64::from(errno.raw_os_error()),
            Same if *name == "getpid" => continue,
            Same => free.get(at),
        };
        assert_eq!(filtered.get(at), expected, "{name}({args:x?}), {expect:?}, without a filter {}", free.get(at));
    }
    assert!(filtered.get(0) > 0, "getpid: {}", filtered.get(0));
}

#[test]
fn unknown_numbers_and_x32_do_not_exist() {
    let install = Install::new(profile::os().compile().unwrap());
    let rows = UNKNOWN.map(|number| (number, [0; 6]));
    let shared = Shared::new();
    let end = in_child(|| match install.install() {
        Ok(()) => run_native(&shared, &rows),
        Err(_) => raw::exit_group(3),
    });
    assert_eq!(end, (1, 0));
    for (at, number) in UNKNOWN.iter().enumerate() {
        assert_eq!(shared.get(at), -i64::from(Errno::ENOSYS.raw_os_error()), "{number:#x}");
    }
}

const I386: &[(&str, [u32; 3], Expect)] = &[
    ("getpid", [0; 3], Same),
    ("add_key", [1, 1, 0], Fails(Errno::EPERM)),
    ("socketcall", [1, 1, 0], Fails(Errno::ENOSYS)),
    ("socket", [1, 99, 0], Same),
    ("socket", [40, 1, 0], Fails(Errno::EAFNOSUPPORT)),
    ("socket", [16, 3, 9], Fails(Errno::EAFNOSUPPORT)),
    ("personality", [0x4_0000, 0, 0], Fails(Errno::EPERM)),
    ("ioctl", [u32::MAX, 0x5412, 1], Fails(Errno::EPERM)),
    ("modify_ldt", [99, 0, 0], Fails(Errno::EPERM)),
    ("vm86", [99, 0, 0], Fails(Errno::EPERM)),
    ("stime", [1, 0, 0], Fails(Errno::EPERM)),
    ("clock_settime64", [0, 1, 0], Fails(Errno::EPERM)),
    ("io_uring_setup", [1, 1, 0], Fails(Errno::EPERM)),
];

#[test]
fn the_profile_os_answers_at_i386s_door() {
    let install = Install::new(profile::os().compile().unwrap());
    let rows: Vec<(u32, [u32; 3])> = I386.iter().map(|row| (syscall::number(Arch::X86, row.0).unwrap(), row.1)).collect();
    let (free, filtered) = (Shared::new(), Shared::new());
    let run = |shared: &Shared| {
        for (at, (number, args)) in rows.iter().enumerate() {
            // SAFETY: the table's arguments are harmless.
            shared.put(at, unsafe { call_i386(*number, *args) });
        }
    };
    assert_eq!(in_child(|| run(&free)), (1, 0), "this kernel takes no i386 calls: nothing to be tested");
    let end = in_child(|| match install.install() {
        Ok(()) => run(&filtered),
        Err(_) => raw::exit_group(3),
    });
    assert_eq!(end, (1, 0));
    for (at, (name, args, expect)) in I386.iter().enumerate().skip(1) {
        let expected = if let Fails(errno) = expect { -i64::from(errno.raw_os_error()) } else { free.get(at) };
        assert_eq!(filtered.get(at), expected, "{name}({args:x?})");
    }
    assert!(filtered.get(0) > 0);
}

#[cfg(feature = "libseccomp")]
#[test]
fn both_compilers_programs_are_installed_one_over_the_other() {
    let policy = profile::os();
    let installs =
        [Install::new(policy.compile_with_libseccomp().unwrap()), Install::new(policy.compile().unwrap()).flags(ns_seccomp::Flags::LOG)];
    let end = in_child(|| {
        if installs.iter().any(|install| install.install().is_err()) {
            raw::exit_group(3);
        }
        // SAFETY: 9999 is no call.
        if unsafe { call(9999, [0; 6]) } != -38 {
            raw::exit_group(4);
        }
    });
    assert_eq!(end, (1, 0));
}

#[test]
fn killing_ends_the_process_with_sigsys() {
    let rule = Rule::new("personality", Action::KillProcess).when(Arg::low(0).is(8));
    let install = Install::new(Policy::new("t", Action::Allow).rule(rule).unwrap().compile().unwrap());
    let end = in_child(|| {
        if install.install().is_err() || raw::personality(u32::MAX).is_err() {
            raw::exit_group(3);
        }
        let _ = raw::personality(8);
    });
    assert!(matches!(end, (2 | 3, libc::SIGSYS)), "{end:?}");
}

#[test]
fn without_rights_it_takes_no_new_privs() {
    let install = Install::new(profile::os().compile().unwrap());
    let number = |name| syscall::number(Arch::X86_64, name).unwrap();
    let (setresuid, prctl) = (number("setresuid"), number("prctl"));
    let shared = Shared::new();
    let end = in_child(|| {
        // SAFETY: the child's own ids, by the raw call.
        unsafe { call(setresuid, [65534, 65534, 65534, 0, 0, 0]) };
        let tell =
            |at, answer: Result<(), ns_core::Fault>| shared.put(at, answer.map_or_else(|fault| fault.errno.raw_os_error().into(), |()| 0));
        tell(0, install.install());
        // SAFETY: PR_SET_NO_NEW_PRIVS takes no pointer.
        unsafe { call(prctl, [38, 1, 0, 0, 0, 0]) };
        tell(1, install.install());
    });
    assert_eq!((end, shared.get(0), shared.get(1)), ((1, 0), Errno::EACCES.raw_os_error().into(), 0));
}

/// The checker refuses exactly what the kernel refuses, of the instructions that it knows.
#[test]
fn the_kernel_refuses_the_same_programs() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    const CODES: [u8; 14] = [0x20, 0x20, 0x00, 0x05, 0x15, 0x25, 0x35, 0x45, 0x54, 0x34, 0x64, 0x84, 0x06, 0x16];
    let mut taken = 0;
    for _ in 0..400 {
        let length = 1 + random(6);
        let mut code: Vec<[u8; 8]> = (0..length)
            .map(|_| {
                [
                    CODES[random(14) as usize],
                    0,
                    random(4) as u8,
                    random(4) as u8,
                    [0, 4, 16, 31, 32, 60, 64, 2][random(8) as usize],
                    0,
                    0,
                    0,
                ]
            })
            .collect();
        if random(8) > 0 {
            code.push([0x06, 0, 0, 0, 0, 0, 0xff, 0x7f]);
        }
        let ours = Program::from_instructions("random", &code).is_ok();
        let shared = Shared::new();
        // What is installed may forbid to leave: the end says nothing.
        in_child(|| shared.put(0, number_of(raw::seccomp_set_filter(0, &code))));
        assert!(shared.get(0) == 0 || shared.get(0) == -22, "{}", shared.get(0));
        assert_eq!(ours, shared.get(0) == 0, "{code:?}");
        taken += u32::from(ours);
    }
    assert!((100..350).contains(&taken), "{taken} of 400 were programs");
}

#[test]
fn it_says_what_it_does() {
    let install = Install::new(Program::from_static("os", &[[6, 0, 0, 0, 0, 0, 0xff, 0x7f]]));
    assert_eq!(install.to_string(), "install the \"os\" system call filter, 1 instructions");
}
