//! Calls that have to be refused or to reach nothing of the host's. None of them could do harm where a protection is missing: pointers and
//! descriptors are wrong, so that an unprotected kernel answers with another errno.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

use nix::libc;
use ns_core::Errno;

use super::mounts::{made_device, planted};
use super::sys::{attempt, call, create, mkdir, nested, ok, open, pipe, reads, text, writable};
use super::{Given, Outcome, Row};

const BAD: usize = 8;
const NO_FD: usize = 9999;

/// A call with nothing but wrong arguments.
fn refused(number: i64) -> Outcome {
    attempt(number, [NO_FD, BAD, BAD, BAD, BAD, BAD])
}

/// What a container may not do, or does to nobody but itself.
pub const ROWS: &[Row] = &[
    ("write a sysctl", |_| writable("/proc/sys/kernel/panic")),
    ("make a sysctl", |_| create("/proc/sys/kernel/x")),
    ("write the host name's sysctl", |_| writable("/proc/sys/kernel/hostname")),
    ("write core_pattern", |_| writable("/proc/sys/kernel/core_pattern")),
    ("write modprobe", |_| writable("/proc/sys/kernel/modprobe")),
    ("write /sys", |_| writable("/sys/class/net/lo/mtu")),
    ("mkdir /sys/x", |_| mkdir("/sys/x").and_then(|()| ok())),
    ("mkdir /sys/kernel/x", |_| mkdir("/sys/kernel/x").and_then(|()| ok())),
    ("write a sysctl of the own network", |_| writable("/proc/sys/net/ipv4/ip_forward")),
    ("read kcore", |_| reads("/proc/kcore")),
    ("read kallsyms", |_| reads("/proc/kallsyms")),
    ("read keys", |_| reads("/proc/keys")),
    ("read kmsg", |_| reads("/proc/kmsg")),
    ("read timer_list", |_| reads("/proc/timer_list")),
    ("read interrupts", |_| reads("/proc/interrupts")),
    ("write sysrq-trigger", |_| writable("/proc/sysrq-trigger")),
    ("mknod block", |_| made_device(libc::S_IFBLK, 7, 0)),
    ("mknod char", |_| made_device(libc::S_IFCHR, 1, 3)),
    ("nested mknod", |_| nested(0).and_then(|()| made_device(libc::S_IFCHR, 1, 3))),
    ("a block device of the tree", |_| planted("/planted-block")),
    ("a char device of the tree", |_| planted("/planted-char")),
    ("the host's disk in /dev", |given| open(&format!("/dev/{}", given.get("disk")?), libc::O_RDONLY).and_then(|_| ok())),
    ("init_module", |_| refused(libc::SYS_init_module)),
    ("finit_module", |_| refused(libc::SYS_finit_module)),
    ("delete_module", |_| refused(libc::SYS_delete_module)),
    ("kexec_load", |_| refused(libc::SYS_kexec_load)),
    ("kexec_file_load", |_| refused(libc::SYS_kexec_file_load)),
    ("swapon", |_| attempt(libc::SYS_swapon, [BAD, 0, 0, 0, 0, 0])),
    ("swapoff", |_| attempt(libc::SYS_swapoff, [BAD, 0, 0, 0, 0, 0])),
    ("quotactl", |_| refused(libc::SYS_quotactl)),
    ("perf_event_open", |_| attempt(libc::SYS_perf_event_open, [BAD, 0, 0, NO_FD, 0, 0])),
    ("fanotify_init", |_| attempt(libc::SYS_fanotify_init, [usize::MAX, 0, 0, 0, 0, 0])),
    ("open_by_handle_at", |_| refused(libc::SYS_open_by_handle_at)),
    ("bpf", |_| attempt(libc::SYS_bpf, [9999, BAD, 0, 0, 0, 0])),
    ("syslog", |_| attempt(libc::SYS_syslog, [3, BAD, 1, 0, 0, 0])),
    ("acct", |_| attempt(libc::SYS_acct, [BAD, 0, 0, 0, 0, 0])),
    ("add_key", |_| refused(libc::SYS_add_key)),
    ("request_key", |_| refused(libc::SYS_request_key)),
    ("keyctl", |_| attempt(libc::SYS_keyctl, [9999, 0, 0, 0, 0, 0])),
    ("iopl", |_| x86("iopl", 9999)),
    ("clock_settime", |_| attempt(libc::SYS_clock_settime, [libc::CLOCK_REALTIME as usize, BAD, 0, 0, 0, 0])),
    ("settimeofday", |_| attempt(libc::SYS_settimeofday, [BAD, 0, 0, 0, 0, 0])),
    ("adjtimex", |_| attempt(libc::SYS_adjtimex, [BAD, 0, 0, 0, 0, 0])),
    ("clock_adjtime", |_| attempt(libc::SYS_clock_adjtime, [libc::CLOCK_REALTIME as usize, BAD, 0, 0, 0, 0])),
    ("io_uring_setup", |_| attempt(libc::SYS_io_uring_setup, [1, BAD, 0, 0, 0, 0])),
    ("userfaultfd", |_| attempt(libc::SYS_userfaultfd, [usize::MAX, 0, 0, 0, 0, 0])),
    ("pidfd_getfd", |_| attempt(libc::SYS_pidfd_getfd, [NO_FD, 0, 0, 0, 0, 0])),
    ("process_vm_readv", |_| attempt(libc::SYS_process_vm_readv, [1, BAD, 1, BAD, 1, 0])),
    ("personality without random addresses", |_| attempt(libc::SYS_personality, [libc::ADDR_NO_RANDOMIZE as usize, 0, 0, 0, 0, 0])),
    ("personality", |_| attempt(libc::SYS_personality, [0, 0, 0, 0, 0, 0])),
    ("TIOCSTI", |_| attempt(libc::SYS_ioctl, [NO_FD, libc::TIOCSTI as usize, BAD, 0, 0, 0])),
    ("TIOCSTI with high bits", |_| attempt(libc::SYS_ioctl, [NO_FD, libc::TIOCSTI as usize | 1 << 32, BAD, 0, 0, 0])),
    ("TIOCLINUX", |_| attempt(libc::SYS_ioctl, [NO_FD, 0x541c, BAD, 0, 0, 0])),
    ("AF_VSOCK", |_| socket(libc::AF_VSOCK, 0)),
    ("AF_ALG", |_| socket(libc::AF_ALG, 0)),
    ("NETLINK_AUDIT", |_| socket(libc::AF_NETLINK, libc::NETLINK_AUDIT)),
    ("AF_INET6", |_| socket(libc::AF_INET6, 0)),
    ("AF_NETLINK", |_| socket(libc::AF_NETLINK, libc::NETLINK_ROUTE)),
    ("AF_PACKET", |_| socket(libc::AF_PACKET, 0)),
    ("x32", |_| x86("x32", 0x4000_0000 + libc::SYS_getppid)),
    ("an unknown number", |_| attempt(9999, [0; 6])),
    ("kill a host process", |given| attempt(libc::SYS_kill, [given.number("host-pid")?, 0, 0, 0, 0, 0])),
    ("ptrace a host process", |given| attempt(libc::SYS_ptrace, [libc::PTRACE_SEIZE as usize, given.number("host-pid")?, 0, 0, 0, 0])),
    ("pidfd_open of a host process", |given| attempt(libc::SYS_pidfd_open, [given.number("host-pid")?, 0, 0, 0, 0, 0])),
    ("the host's SysV queue", |given| attempt(libc::SYS_msgget, [given.number("queue")?, 0, 0, 0, 0, 0])),
    ("the host's POSIX queue", |given| reads(&format!("/dev/mqueue/{}", given.get("mqueue")?))),
    ("the host's abstract socket", |given| connect(given.get("abstract")?)),
    ("set the host name", |_| sethostname()),
    ("lo up", |_| link_flags("lo", libc::IFF_UP as i16)),
    ("raise NOFILE", |_| raise_open_files()),
    ("flags of a link that is missing", |_| link_flags("nskit-none", 0)),
    ("chmod a sysctl", |_| chmod("/proc/sys/kernel/panic")),
    ("chmod in /sys", |_| chmod("/sys/class/net/lo/mtu")),
    ("reboot from a nested user namespace", |_| nested(0).and_then(|()| attempt(libc::SYS_reboot, [0, 0, 0, 0, 0, 0]))),
    ("what is hidden in /sys", |_| shown(HIDDEN)),
    // The last: namespaces go away a while after their processes.
    ("user namespaces until refused", |_| nested_count()),
];

/// With the host's network: the capability isn't there, and the link isn't either.
pub const HOST_NETWORK: &[Row] = &[
    ("CapEff", |_| status("CapEff")),
    ("CapBnd", |_| status("CapBnd")),
    ("take a link down", |_| link_flags("nskit-none", 0)),
    ("write a sysctl of the host's network", |_| writable("/proc/sys/net/ipv4/ip_forward")),
    ("write /sys", |_| writable("/sys/class/net/lo/mtu")),
    ("mkdir /sys/x", |_| mkdir("/sys/x").and_then(|()| ok())),
    ("the host's abstract socket", |given| connect(given.get("abstract")?)),
    ("what is hidden in /sys", |_| shown(HIDDEN)),
];

/// A row of /proc/self/status.
pub fn status(row: &str) -> Outcome {
    let text = text("/proc/self/status")?;
    let found = text.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(':'));
    found.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" ")).ok_or(Errno::ENOENT)
}

#[cfg(target_arch = "x86_64")]
fn x86(name: &str, argument: i64) -> Outcome {
    match name {
        "iopl" => attempt(libc::SYS_iopl, [argument as usize, 0, 0, 0, 0, 0]),
        _ => attempt(argument, [0; 6]),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn x86(name: &str, _: i64) -> Outcome {
    if name == "iopl" { Err(Errno::EPERM) } else { Err(Errno::ENOSYS) }
}

fn socket(family: i32, protocol: i32) -> Outcome {
    let kind = if family == libc::AF_ALG { libc::SOCK_SEQPACKET } else { libc::SOCK_DGRAM };
    let kind = if family == libc::AF_NETLINK || family == libc::AF_PACKET { libc::SOCK_RAW } else { kind };
    attempt(libc::SYS_socket, [family as usize, kind as usize, protocol as usize, 0, 0, 0])
}

fn connect(name: &str) -> Outcome {
    let failed = |e: std::io::Error| Errno::new(e.raw_os_error().unwrap_or(libc::EIO));
    let mut stream = SocketAddr::from_abstract_name(name).and_then(|address| UnixStream::connect_addr(&address)).map_err(failed)?;
    stream.write_all(b"x").map_err(failed)?;
    ok()
}

const HIDDEN: &[&str] = &[
    "/sys/firmware",
    "/sys/kernel/security",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/kernel/config",
    "/sys/kernel/btf",
    "/sys/devices/virtual/powercap",
    "/proc/acpi",
    "/proc/asound",
    "/proc/scsi",
];

/// Those of the directories that have something in them.
fn shown(directories: &[&str]) -> Outcome {
    let has_entries = |path: &&&str| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    let shown: Vec<_> = directories.iter().filter(has_entries).copied().collect();
    if shown.is_empty() { Ok("nothing".to_owned()) } else { Ok(shown.join(" ")) }
}

/// On a read-only mount the first thing that is looked at.
fn chmod(path: &str) -> Outcome {
    let path = CString::new(path).expect("no NUL");
    attempt(libc::SYS_chmod, [path.as_ptr() as usize, 0o666, 0, 0, 0, 0])
}

fn sethostname() -> Outcome {
    attempt(libc::SYS_sethostname, [c"probed".as_ptr() as usize, 6, 0, 0, 0, 0])?;
    text("/proc/sys/kernel/hostname")
}

/// `SIOCSIFFLAGS`: the kernel looks for the right before it looks for the link.
fn link_flags(name: &str, flags: i16) -> Outcome {
    let fd = call(libc::SYS_socket, [libc::AF_INET as usize, libc::SOCK_DGRAM as usize, 0, 0, 0, 0])?;
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    attempt(libc::SYS_ioctl, [fd, libc::SIOCSIFFLAGS as usize, request.as_ptr() as usize, 0, 0, 0])
}

/// Siblings that each make a user namespace and keep it, until one can't.
fn nested_count() -> Outcome {
    let (read, write) = pipe()?;
    let (mut made, mut patience) = (0, 10);
    let mut children = Vec::new();
    let refused = loop {
        let outcome = in_namespace(&read, &write)?;
        children.push(outcome.0);
        match outcome.1 {
            None if made < 300 => made += 1,
            // What earlier rows made may still be on its way out.
            Some(_) if patience > 0 => {
                patience -= 1;
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
            errno => break errno,
        }
    };
    for child in children {
        // SAFETY: our children.
        unsafe { libc::kill(child, libc::SIGKILL) };
        // SAFETY: the same.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
    Ok(format!("{made} then {}", refused.map_or("no end".to_owned(), |errno| format!("{errno:?}"))))
}

fn in_namespace(mut read: &File, mut write: &File) -> Result<(i32, Option<Errno>), Errno> {
    // SAFETY: we have one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let outcome = call(libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0, 0, 0, 0]);
        let _ = write.write_all(&outcome.err().map_or(0, Errno::raw_os_error).to_ne_bytes());
        // SAFETY: waits to be killed.
        unsafe { libc::pause() };
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    let mut errno = [0; 4];
    read.read_exact(&mut errno).map_err(|_| Errno::EIO)?;
    let errno = i32::from_ne_bytes(errno);
    Ok((child, (errno != 0).then(|| Errno::new(errno))))
}

/// Above the hard limit.
fn raise_open_files() -> Outcome {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: our variable.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_max += 1;
    attempt(libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE as usize, &raw const limit as usize, 0, 0, 0])
}

/// Powers the container off: only after everything says that it is one, with ids of its own.
pub fn power_off(given: &Given) -> i32 {
    let own = std::fs::read_link("/proc/self/ns/pid").map(|path| path.display().to_string()).unwrap_or_default();
    let host = given.get("host-pid-namespace").unwrap_or_default();
    let map = text("/proc/self/uid_map").unwrap_or_default();
    let mut map = map.split_whitespace();
    let shifted = map.next() == Some("0") && map.next().is_some_and(|outside| outside != "0");
    let private = own.starts_with("pid:[") && host.starts_with("pid:[") && own != host;
    if std::process::id() != 1 || !private || !shifted {
        println!("not a container: pid {}, {own} on a host of {host}", std::process::id());
        return 3;
    }
    let path = CString::new("/dev/null").expect("no NUL");
    let magic = [libc::LINUX_REBOOT_MAGIC1 as usize, libc::LINUX_REBOOT_MAGIC2 as usize];
    let outcome =
        attempt(libc::SYS_reboot, [magic[0], magic[1], libc::LINUX_REBOOT_CMD_POWER_OFF as u32 as usize, path.as_ptr() as usize, 0, 0]);
    println!("reboot={outcome:?}");
    4
}

/// Says it to the launcher, as `sd_notify(3)` does, and stays.
pub fn tell(given: &Given) -> i32 {
    let told = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| {
        socket.send_to(given.get("text").unwrap_or_default().as_bytes(), std::env::var_os("NOTIFY_SOCKET").unwrap_or_default())
    });
    if told.is_ok() {
        std::thread::sleep(std::time::Duration::from_secs(1000));
    }
    1
}
