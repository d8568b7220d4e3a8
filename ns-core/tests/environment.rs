//! What a payload finds: signals, environment, descriptors, directory: nothing of the caller's but what is listed.

mod common;

use common::{Watchdog, shell};
use ns_core::{Exec, Exit, Fds, Plan, Slot};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::{Command, Stdio};

const OUT: Slot = Slot::new("output");
const A: Slot = Slot::new("a");
const B: Slot = Slot::new("b");

fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
}

/// What the payload writes to its descriptor 1.
fn output(plan: Plan, fds: Fds<'_>) -> String {
    let (output, end) = pipe();
    let mut running = plan.given(OUT).seal().unwrap().start(fds.give(OUT, end)).unwrap();
    let mut text = String::new();
    std::fs::File::from(output).read_to_string(&mut text).unwrap();
    assert_eq!(running.wait().unwrap(), Exit::Exited(0), "{text}");
    text
}

fn program(path: &str, arguments: &[&str]) -> Exec {
    Exec::new(path).unwrap().args(arguments).unwrap().pass(OUT, 1).unwrap()
}

/// Each plan once with a payload that is the caller's child, once kept.
fn both(exec: impl Fn() -> Exec, check: impl Fn(&str)) {
    let _watchdog = Watchdog::new("a payload", common::LONG);
    check(&output(Plan::new(exec()), Fds::new()));
    check(&output(Plan::new(exec()).kept(), Fds::new()));
}

#[test]
fn signals_are_as_a_new_program_expects_them() {
    // Rust ignores SIGPIPE; what else a caller has set does not reach the payload.
    // SAFETY: only this test's thread blocks a signal, and no handler is set.
    let blocked = ns_core::raw::sigprocmask(ns_core::raw::SigSet(1 << 9 | 1 << 33)).unwrap();
    ignore(10);
    ignore(34);
    both(
        || program("/bin/cat", &["/proc/self/status"]),
        |text| {
            let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("Sig") && !line.starts_with("SigQ")).collect();
            assert_eq!(lines.len(), 4, "{text}");
            for line in lines {
                assert!(line.ends_with("\t0000000000000000"), "{text}");
            }
        },
    );
    ns_core::raw::sigprocmask(blocked).unwrap();
}

/// `rt_sigaction(signal, SIG_IGN)`
fn ignore(signal: usize) {
    use linux_raw_sys::general::{__NR_rt_sigaction, kernel_sigaction};
    // SAFETY: all zero is a valid structure.
    let mut action: kernel_sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: SIG_IGN is 1.
    action.sa_handler_kernel = unsafe { std::mem::transmute::<usize, Option<unsafe extern "C" fn(i32)>>(1) };
    // SAFETY: the structure lives during the call.
    unsafe { ns_core::raw::syscall(__NR_rt_sigaction, [signal, &raw const action as usize, 0, 8, 0, 0]) }.unwrap();
}

#[test]
fn the_environment_is_what_was_set() {
    assert!(std::env::vars_os().next().is_some());
    both(|| program("/bin/cat", &["/proc/self/environ"]), |text| assert_eq!(text, ""));
    let set = || program("/bin/cat", &["/proc/self/environ"]).env("A", "1").unwrap().env("B", "x=y").unwrap().env("A", "").unwrap();
    both(set, |text| assert_eq!(text, "B=x=y\0A=\0"));
}

const LIST: &str = "for fd in /proc/self/fd/*; do t=$(readlink $fd) && echo ${fd##*/} $t; done; :";

fn list() -> Exec {
    // The shell's own loop and readlink have no descriptors beyond those given, but for the pipe that it reads.
    shell(LIST).env("PATH", "/usr/bin:/bin").unwrap().pass(OUT, 1).unwrap()
}

/// Numbers and targets, of a process that opens nothing itself.
fn parse(text: &str) -> Vec<(i32, String)> {
    let rows = text.lines().filter_map(|line| line.split_once(' ')).filter_map(|(n, t)| Some((n.parse().ok()?, t.to_owned())));
    let mut rows: Vec<(i32, String)> = rows.filter(|(_, target)| !target.contains("/fd")).collect();
    rows.sort();
    rows
}

#[test]
fn descriptors_are_those_that_were_passed() {
    // Left open on purpose, also over exec.
    let loose = std::fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&loose, rustix::io::FdFlags::empty()).unwrap();
    let high = rustix::io::fcntl_dupfd_cloexec(&loose, 700).unwrap();
    rustix::io::fcntl_setfd(&high, rustix::io::FdFlags::empty()).unwrap();
    both(list, |text| {
        let found = parse(text);
        let numbers: Vec<i32> = found.iter().map(|row| row.0).collect();
        assert_eq!(numbers, [0, 1, 2], "{text}");
        assert_eq!((found[0].1.as_str(), found[2].1.as_str()), ("/dev/null", "/dev/null"));
        assert!(found[1].1.starts_with("pipe:"), "{text}");
    });
}

/// The payload's own list, by a program that opens one directory.
fn passed(exec: Exec, fds: Fds<'_>) -> Vec<(i32, String)> {
    parse(&output(Plan::new(exec).given(A).given(B), fds))
}

fn file(path: &str) -> OwnedFd {
    std::fs::File::open(path).unwrap().into()
}

/// `dup3(fd, number)`: a descriptor of exactly this number. Only for processes that a test has to itself.
fn at(fd: OwnedFd, number: RawFd) -> OwnedFd {
    if fd.as_raw_fd() == number {
        return fd;
    }
    ns_core::raw::dup_to(fd.as_raw_fd(), number, ns_core::raw::OnExec::Close).unwrap();
    // SAFETY: just made.
    unsafe { OwnedFd::from_raw_fd(number) }
}

#[test]
fn numbers_may_collide() {
    alone_in_a_process("numbers_may_collide", || {
        let null = || file("/etc/passwd");
        let zero = || file("/dev/zero");
        for (a, b, to_a, to_b) in
            [(103, 104, 104, 103), (103, 104, 103, 104), (100, 110, 110, 120), (110, 100, 110, 100), (7, 8, 8, 7), (9, 5, 5, 6)]
        {
            let exec = list().pass(A, to_a).unwrap().pass(B, to_b).unwrap();
            // Over whatever was there: this process does nothing else.
            let (a, b) = (at(null(), a), at(zero(), b));
            let found = passed(exec, Fds::new().lend(A, a.as_fd()).lend(B, b.as_fd()));
            let rest: Vec<(i32, &str)> = found.iter().skip(3).map(|row| (row.0, row.1.as_str())).collect();
            let mut wanted = [(i32::from(to_a), "/etc/passwd"), (i32::from(to_b), "/dev/zero")];
            wanted.sort_unstable();
            assert_eq!(rest, wanted);
        }
    });
}

#[test]
fn one_descriptor_at_several_numbers() {
    let exec = list().pass(A, 0).unwrap().pass(A, 2).unwrap().pass(A, 40).unwrap().pass(B, 3).unwrap();
    let found = passed(exec, Fds::new().give(A, file("/etc/passwd")).give(B, file("/dev/zero")));
    let found: Vec<(i32, &str)> = found.iter().filter(|row| row.0 != 1).map(|row| (row.0, row.1.as_str())).collect();
    assert_eq!(found, [(0, "/etc/passwd"), (2, "/etc/passwd"), (3, "/dev/zero"), (40, "/etc/passwd")]);
}

/// The caller has no descriptors 0 to 2, and what it opens gets these numbers.
#[test]
fn a_caller_without_stdio() {
    alone_in_a_process("a_caller_without_stdio", || {
        // Where failures are told: kept high.
        // SAFETY: this process has its stderr to itself.
        let error = rustix::io::fcntl_dupfd_cloexec(unsafe { std::os::fd::BorrowedFd::borrow_raw(2) }, 50).unwrap();
        for kept in [false, true] {
            for lent in [false, true] {
                (0..3).for_each(ns_core::raw::close);
                let (a, b) = (file("/etc/passwd"), file("/dev/zero"));
                let numbers = (a.as_raw_fd(), b.as_raw_fd());
                let (output, end) = pipe();
                let plan = Plan::new(list().pass(A, 4).unwrap().pass(B, 0).unwrap()).given(A).given(B).given(OUT);
                let sealed = if kept { plan.kept() } else { plan }.seal().unwrap();
                let fds = Fds::new().give(OUT, end);
                let fds = if lent {
                    fds.lend(A, a.as_fd()).lend(B, b.as_fd())
                } else {
                    fds.give(A, a.try_clone().unwrap()).give(B, b.try_clone().unwrap())
                };
                let running = sealed.start(fds);
                let mut text = String::new();
                std::fs::File::from(output).read_to_string(&mut text).unwrap();
                let exit = running.and_then(|mut running| running.wait());
                drop((a, b, sealed));
                for n in 0..3 {
                    ns_core::raw::dup_to(error.as_raw_fd(), n, ns_core::raw::OnExec::Keep).unwrap();
                }
                assert_eq!(numbers, (0, 1), "the test is about these");
                assert_eq!(exit.unwrap(), Exit::Exited(0));
                let found = parse(&text);
                let found: Vec<(i32, &str)> = found.iter().filter(|row| row.0 != 1).map(|row| (row.0, row.1.as_str())).collect();
                assert_eq!(found, [(0, "/dev/zero"), (2, "/dev/null"), (4, "/etc/passwd")], "kept: {kept}, lent: {lent}: {text}");
            }
        }
        (0..3).for_each(ns_core::raw::close);
        let inherited = Plan::new(Exec::new("/bin/true").unwrap().inherit_stdio()).seal().unwrap().start(Fds::new());
        for n in 0..3 {
            ns_core::raw::dup_to(error.as_raw_fd(), n, ns_core::raw::OnExec::Keep).unwrap();
        }
        assert_eq!(inherited.unwrap_err().errno(), Some(ns_core::Errno::EBADF));
    });
}

const INNER: &str = "NSKIT_TEST_ALONE";

/// Runs the test of this name again in a process that it has to itself, `work` there.
fn alone_in_a_process(name: &str, work: impl FnOnce()) {
    if std::env::var_os(INNER).is_some() {
        return work();
    }
    let _watchdog = Watchdog::new("a test in a process of its own", common::LONG);
    let mut inner = Command::new(std::env::current_exe().unwrap());
    inner.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(INNER, "1").stdin(Stdio::null());
    let output = inner.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn stdio_is_the_callers_where_asked() {
    let mut inner = Command::new(std::env::current_exe().unwrap());
    if std::env::var_os(INNER).is_some() {
        let plan = Plan::new(shell("read line; echo got $line; echo to 2 >&2").inherit_stdio()).kept().seal().unwrap();
        assert_eq!(plan.start(Fds::new()).unwrap().wait().unwrap(), Exit::Exited(0));
        return;
    }
    inner.args(["stdio_is_the_callers_where_asked", "--exact", "--nocapture"]).env(INNER, "1");
    let mut inner = inner.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut inner.stdin.take().unwrap(), b"word\n").unwrap();
    let output = inner.wait_with_output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("got word\n") && error.contains("to 2\n"), "{out}{error}");
}

#[test]
fn a_directory_and_a_name() {
    both(|| program("/bin/sh", &["-c", "pwd; echo $0"]).directory("/usr").unwrap(), |text| assert_eq!(text, "/usr\n/bin/sh\n"));
    both(|| program("/bin/cat", &["/proc/self/cmdline"]).arg0("-cat").unwrap(), |text| assert_eq!(text, "-cat\0/proc/self/cmdline\0"));
    let error = Plan::new(Exec::new("/bin/true").unwrap().directory("/no/such").unwrap()).seal().unwrap().start(Fds::new()).unwrap_err();
    assert_eq!(error.to_string(), "inside 1/1, exec /bin/true, in /no/such: chdir: No such file or directory");
}

#[test]
fn a_file_that_is_open() {
    for kept in [false, true] {
        let exec = Exec::file(A, "printer").unwrap().arg("/proc/self/cmdline").unwrap().pass(OUT, 1).unwrap();
        let plan = Plan::new(exec).given(A);
        let plan = if kept { plan.kept() } else { plan };
        let text = output(plan, Fds::new().give(A, file("/bin/cat")));
        assert_eq!(text, "printer\0/proc/self/cmdline\0");
    }
    let plan = Plan::new(Exec::file(A, "nothing").unwrap()).given(A).seal().unwrap();
    let error = plan.start(Fds::new().give(A, file("/etc/passwd"))).unwrap_err();
    assert_eq!(error.to_string(), "inside 1/1, exec <a>: execve: Permission denied");
}

#[test]
fn what_can_not_be_executed() {
    let fails = |exec: Exec| Plan::new(exec).seal().unwrap().start(Fds::new()).unwrap_err().to_string();
    let new = |path: &str| Exec::new(path).unwrap();
    assert_eq!(fails(new("/etc/passwd")), "inside 1/1, exec /etc/passwd: execve: Permission denied");
    assert_eq!(fails(new("/proc/self/exe")), "inside 1/1, exec /proc/self/exe: execve: Too many levels of symbolic links");
    assert_eq!(fails(new("/etc")), "inside 1/1, exec /etc: execve: Permission denied");
    let two = new("/no/such").or("/etc/passwd").unwrap().or("/bin/true").unwrap();
    assert_eq!(fails(two), "inside 1/1, exec /no/such, else /etc/passwd, else /bin/true, /etc/passwd: execve: Permission denied");
    let path = std::env::temp_dir().join(format!("ns-core-bad-{}", std::process::id()));
    std::fs::write(&path, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let name = path.to_str().unwrap().to_owned();
    let told = fails(new(&name).or("/bin/true").unwrap());
    std::fs::remove_file(&path).unwrap();
    assert!(told.ends_with(&format!("{name}: execve (interpreter): No such file or directory: /no/such/interpreter")), "{told}");
}
