//! The least that a container on a tree can cost: `floor TREE PROGRAM`, no library, no errors told but by number.
//!
//! Two clones, every namespace, an id-mapped tree with the same file systems on it as ns-spawn's, pivot_root, exec. Left out is all that makes
//! it safe or useful: masks, locks, cgroup, device program, capabilities, filter, keeper, limits, sessions. Needs Linux 6.18.
#![no_std]
#![no_main]

mod sys;

use core::ffi::CStr;
use sys::{call, text};

/// Where the payload's ids are on the host; free on the machine that measures, or it does not matter for a moment.
const MAP: &[u8] = b"0 655360000 65536";
const OWNER: &CStr = c"655360000";
const TTY: &CStr = c"655360005";

const CLOEXEC: usize = 0o2000000;
const EMPTY_PATH: usize = 0x1000;
const RECURSIVE: usize = 0x8000;
const AT_FDCWD: usize = -100isize as usize;
const NEWNS: usize = 0x0002_0000;
const NEWCGROUP: usize = 0x0200_0000;
const NEWUTS: usize = 0x0400_0000;
const NEWIPC: usize = 0x0800_0000;
const NEWUSER: usize = 0x1000_0000;
const NEWPID: usize = 0x2000_0000;
const NEWNET: usize = 0x4000_0000;
const PIDFD: usize = 0x1000;
const RDONLY: usize = 1;
const NOSUID: usize = 2;
const NODEV: usize = 4;
const NOEXEC: usize = 8;
const IDMAP: u64 = 0x0010_0000;
const MS_PRIVATE: usize = 1 << 18;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(254)
}

/// `stack` is as the kernel left it: argc, argv, a null, envp, a null.
#[unsafe(no_mangle)]
unsafe extern "C" fn floor(stack: *const usize) -> ! {
    // SAFETY: the kernel's layout at process entry.
    let (count, argv) = unsafe { (*stack, stack.add(1)) };
    if count < 3 {
        sys::fail("usage: floor TREE PROGRAM [ARGUMENT]...", 22);
    }
    // SAFETY: there are three arguments at least.
    let (tree, program) = unsafe { (*argv.add(1), argv.add(2)) };
    const CLONE: usize = 1;
    let tree = call("open_tree", sys::OPEN_TREE, [AT_FDCWD, tree, CLONE | CLOEXEC | RECURSIVE]);
    let ends = pair();
    if let Some(builder) = clone(NEWNS, None) {
        sys::exit(wait(builder));
    }
    let mut pidfd = 0;
    match clone(NEWUSER | NEWPID | NEWIPC | NEWUTS, Some(&mut pidfd)) {
        Some(payload) => {
            call("close", sys::CLOSE, [ends[1]]);
            build(tree, payload, pidfd as usize, ends[0]);
            sys::exit(wait(payload))
        }
        None => {
            call("close", sys::CLOSE, [ends[0]]);
            run(program, ends[1])
        }
    }
}

fn pair() -> [usize; 2] {
    const UNIX: usize = 1;
    const SEQPACKET: usize = 5;
    let mut ends = [0i32; 2];
    call("socketpair", sys::SOCKETPAIR, [UNIX, SEQPACKET | CLOEXEC, 0, &raw mut ends as usize]);
    ends.map(|end| end as usize)
}

/// `None` in the child.
fn clone(flags: usize, pidfd: Option<&mut i32>) -> Option<usize> {
    const SIGCHLD: u64 = 17;
    let mut args = [0u64; 8];
    args[0] = (flags | if pidfd.is_some() { PIDFD } else { 0 }) as u64;
    args[1] = pidfd.map_or(0, |pidfd| &raw mut *pidfd as u64);
    args[4] = SIGCHLD;
    match call("clone3", sys::CLONE3, [&raw const args as usize, size_of_val(&args)]) {
        0 => None,
        pid => Some(pid),
    }
}

fn wait(pid: usize) -> usize {
    let mut status = 0i32;
    call("wait4", sys::WAIT4, [pid, &raw mut status as usize, 0, 0]);
    (status >> 8 & 0xff) as usize
}

fn say(socket: usize) {
    call("write", sys::WRITE, [socket, c"+".as_ptr() as usize, 1]);
}

/// Waits until the other has said something.
fn hear(socket: usize) {
    let mut byte = 0u8;
    if call("read", sys::READ, [socket, &raw mut byte as usize, 1]) != 1 {
        sys::exit(1);
    }
}

/// With the caller's rights: everything that is mounted.
fn build(tree: usize, payload: usize, pidfd: usize, socket: usize) {
    write(payload, b"/uid_map", MAP);
    write(payload, b"/gid_map", MAP);
    call("mount", sys::MOUNT, [0, c"/".as_ptr() as usize, 0, 1 << 14 | MS_PRIVATE, 0]);
    let owner = open(payload, b"/ns/user", CLOEXEC);
    set(tree, RECURSIVE, [IDMAP | NODEV as u64, 0, MS_PRIVATE as u64, owner as u64]);
    attach(tree, AT_FDCWD, c"/");
    devices(tree);
    let tmpfs = |mode, flags| make(c"tmpfs", &[(c"mode", mode), (c"uid", OWNER), (c"gid", OWNER)], flags);
    let devpts = [(c"newinstance", c""), (c"ptmxmode", c"0666"), (c"mode", c"620"), (c"gid", TTY)];
    attach(make(c"devpts", &devpts, NOSUID | NOEXEC), tree, c"dev/pts");
    attach(tmpfs(c"1777", NOSUID | NODEV), tree, c"dev/shm");
    attach(tmpfs(c"1777", NOSUID | NODEV), tree, c"tmp");
    let run = tmpfs(c"755", NOSUID | NODEV);
    call("mkdirat", sys::MKDIRAT, [run, c"host".as_ptr() as usize, 0o755]);
    attach(run, tree, c"run");
    attach(tmpfs(c"755", NOSUID | NODEV), tree, c"run/host");
    hear(socket);
    call("setns", sys::SETNS, [pidfd, NEWIPC | NEWCGROUP]);
    attach(make(c"mqueue", &[], NOSUID | NODEV | NOEXEC), tree, c"dev/mqueue");
    attach(proc(pidfd), tree, c"proc");
    hear(socket);
    call("setns", sys::SETNS, [pidfd, NEWNET]);
    attach(make(c"sysfs", &[], RDONLY | NOSUID | NODEV | NOEXEC), tree, c"sys");
    attach(make(c"cgroup2", &[], NOSUID | NODEV | NOEXEC), tree, c"sys/fs/cgroup");
    call("fchdir", sys::FCHDIR, [tree]);
    call("pivot_root", sys::PIVOT_ROOT, [c".".as_ptr() as usize; 2]);
    call("umount2", sys::UMOUNT2, [c".".as_ptr() as usize, 2]);
    say(socket);
}

/// A file of the payload's below /proc.
fn open(payload: usize, name: &[u8], flags: usize) -> usize {
    let (digits, mut path) = (sys::decimal(payload), [0; 64]);
    let parts = b"/proc/".iter().chain(text(&digits).to_bytes()).chain(name);
    for (to, from) in path.iter_mut().zip(parts) {
        *to = *from;
    }
    call("openat", sys::OPENAT, [AT_FDCWD, path.as_ptr() as usize, flags])
}

fn write(payload: usize, name: &[u8], content: &[u8]) {
    let file = open(payload, name, CLOEXEC | 1);
    call("write", sys::WRITE, [file, content.as_ptr() as usize, content.len()]);
    call("close", sys::CLOSE, [file]);
}

fn set(mount: usize, flags: usize, attributes: [u64; 4]) {
    let pointer = &raw const attributes as usize;
    call("mount_setattr", sys::MOUNT_SETATTR, [mount, c"".as_ptr() as usize, EMPTY_PATH | flags, pointer, size_of_val(&attributes)]);
}

fn attach(mount: usize, directory: usize, path: &CStr) {
    const FROM_EMPTY: usize = 4;
    call("move_mount", sys::MOVE_MOUNT, [mount, c"".as_ptr() as usize, directory, path.as_ptr() as usize, FROM_EMPTY]);
}

/// A file system, detached.
fn make(kind: &CStr, options: &[(&CStr, &CStr)], attributes: usize) -> usize {
    let context = call("fsopen", sys::FSOPEN, [kind.as_ptr() as usize, 1]);
    for (key, value) in options {
        let (command, value) = if value.is_empty() { (0, 0) } else { (1, value.as_ptr() as usize) };
        call("fsconfig", sys::FSCONFIG, [context, command, key.as_ptr() as usize, value, 0]);
    }
    finish(context, attributes)
}

fn finish(context: usize, attributes: usize) -> usize {
    const CREATE: usize = 6;
    call("fsconfig", sys::FSCONFIG, [context, CREATE, 0, 0, 0]);
    let mount = call("fsmount", sys::FSMOUNT, [context, 1, attributes]);
    call("close", sys::CLOSE, [context]);
    mount
}

fn proc(pidfd: usize) -> usize {
    const GET_PID_NAMESPACE: usize = 0xff05;
    const SET_FD: usize = 5;
    let namespace = call("PIDFD_GET_PID_NAMESPACE", sys::IOCTL, [pidfd, GET_PID_NAMESPACE, 0]);
    let context = call("fsopen", sys::FSOPEN, [c"proc".as_ptr() as usize, 1]);
    call("fsconfig of proc's pidns", sys::FSCONFIG, [context, SET_FD, c"pidns".as_ptr() as usize, 0, namespace]);
    finish(context, NOSUID | NODEV | NOEXEC)
}

fn devices(tree: usize) {
    let dev = make(c"tmpfs", &[(c"mode", c"755"), (c"uid", OWNER), (c"gid", OWNER)], NOSUID | NOEXEC);
    for (name, number) in [(c"null", 0x103), (c"zero", 0x105), (c"full", 0x107), (c"random", 0x108), (c"urandom", 0x109), (c"tty", 0x500)] {
        call("mknodat", sys::MKNODAT, [dev, name.as_ptr() as usize, 0o020666, number]);
    }
    let links = [
        (c"ptmx", c"pts/ptmx"),
        (c"fd", c"/proc/self/fd"),
        (c"stdin", c"/proc/self/fd/0"),
        (c"stdout", c"/proc/self/fd/1"),
        (c"stderr", c"/proc/self/fd/2"),
        (c"core", c"/proc/kcore"),
    ];
    for (name, target) in links {
        call("symlinkat", sys::SYMLINKAT, [target.as_ptr() as usize, dev, name.as_ptr() as usize]);
    }
    for name in [c"pts", c"shm", c"mqueue"] {
        call("mkdirat", sys::MKDIRAT, [dev, name.as_ptr() as usize, 0o755]);
    }
    attach(dev, tree, c"dev");
}

/// Inside: the namespaces that take long, then the lock on what was built, and the program.
fn run(program: *const usize, socket: usize) -> ! {
    call("unshare cgroup", sys::UNSHARE, [NEWCGROUP]);
    say(socket);
    call("unshare net", sys::UNSHARE, [NEWNET]);
    say(socket);
    loopback();
    call("sethostname", sys::SETHOSTNAME, [c"floor".as_ptr() as usize, 5]);
    hear(socket);
    call("setgroups", sys::SETGROUPS, [0, 0]);
    call("setresgid", sys::SETRESGID, [0, 0, 0]);
    call("setresuid", sys::SETRESUID, [0, 0, 0]);
    call("unshare mount", sys::UNSHARE, [NEWNS]);
    call("chdir", sys::CHDIR, [c"/".as_ptr() as usize]);
    let environment = [c"PATH=/usr/bin".as_ptr() as usize, 0];
    // SAFETY: the first of the program's words, of which there is one.
    let path = unsafe { *program };
    call("execve", sys::EXECVE, [path, program as usize, &raw const environment as usize]);
    sys::exit(1)
}

/// `ioctl(SIOCSIFFLAGS)`
fn loopback() {
    const INET: usize = 2;
    const DATAGRAM: usize = 2;
    const SET_FLAGS: usize = 0x8914;
    const UP: u8 = 1;
    let socket = call("socket", sys::SOCKET, [INET, DATAGRAM | CLOEXEC, 0]);
    let mut request = [0u8; 40];
    for (to, from) in request.iter_mut().zip(*b"lo") {
        *to = from;
    }
    request[16] = UP;
    call("ioctl", sys::IOCTL, [socket, SET_FLAGS, &raw const request as usize]);
    call("close", sys::CLOSE, [socket]);
}
