//! System calls as the rows make them, and the loop that runs each row in a process of its own.

use std::ffi::{CString, c_long};
use std::fs::File;
use std::io::Write;

use nix::libc;
use ns_core::Errno;

use super::{Given, Outcome, Row};

/// A row that takes longer is ended by SIGALRM, and says so.
const SECONDS: u32 = 60;

/// Any system call.
pub fn call(number: c_long, args: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: whatever pointers are passed are of memory that outlives the call, or are wrong on purpose.
    unsafe { ns_core::raw::syscall(number as u32, args) }
}

/// One that succeeds if it isn't refused.
pub fn attempt(number: c_long, args: [usize; 6]) -> Outcome {
    call(number, args).map(|_| "ok".to_owned())
}

/// A word.
pub fn ok() -> Outcome {
    Ok("ok".to_owned())
}

fn c(text: &str) -> CString {
    CString::new(text).expect("no NUL in a path")
}

/// `mount(2)`
pub fn mount(source: &str, target: &str, kind: &str, flags: u64, data: &str) -> Result<(), Errno> {
    let (source, target, kind, data) = (c(source), c(target), c(kind), c(data));
    let args = [source.as_ptr() as usize, target.as_ptr() as usize, kind.as_ptr() as usize, flags as usize, data.as_ptr() as usize, 0];
    call(libc::SYS_mount, args).map(drop)
}

/// Takes every flag off a mount.
pub fn remount(target: &str) -> Outcome {
    mount("", target, "", libc::MS_REMOUNT | libc::MS_BIND, "")?;
    ok()
}

/// `umount2(MNT_DETACH)`
pub fn umount(target: &str) -> Outcome {
    let target = c(target);
    attempt(libc::SYS_umount2, [target.as_ptr() as usize, libc::MNT_DETACH as usize, 0, 0, 0, 0])
}

/// `open(2)`, without creating.
pub fn open(path: &str, flags: i32) -> Result<i32, Errno> {
    let path = c(path);
    let flags = flags | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    call(libc::SYS_openat, [libc::AT_FDCWD as usize, path.as_ptr() as usize, flags as usize, 0o600, 0, 0]).map(|fd| fd as i32)
}

/// Whether it can be opened for writing; nothing is written.
pub fn writable(path: &str) -> Outcome {
    open(path, libc::O_WRONLY)?;
    ok()
}

/// Makes a file.
pub fn create(path: &str) -> Outcome {
    open(path, libc::O_WRONLY | libc::O_CREAT)?;
    ok()
}

/// "empty" or "data".
pub fn reads(path: &str) -> Outcome {
    let fd = open(path, libc::O_RDONLY)?;
    let mut space = [0u8; 16];
    let count = call(libc::SYS_read, [fd as usize, space.as_mut_ptr() as usize, space.len(), 0, 0, 0])?;
    Ok(if count == 0 { "empty" } else { "data" }.to_owned())
}

/// `mkdir(2)`
pub fn mkdir(path: &str) -> Result<(), Errno> {
    let path = c(path);
    call(libc::SYS_mkdir, [path.as_ptr() as usize, 0o755, 0, 0, 0, 0]).map(drop)
}

/// A new directory in /tmp.
pub fn place(name: &str) -> Result<String, Errno> {
    let path = format!("/tmp/probe-{name}-{}", std::process::id());
    mkdir(&path)?;
    Ok(path)
}

/// `mknod(2)`
pub fn mknod(path: &str, mode: u32, major: u32, minor: u32) -> Outcome {
    let path = c(path);
    attempt(libc::SYS_mknod, [path.as_ptr() as usize, mode as usize, libc::makedev(major, minor) as usize, 0, 0, 0])
}

/// The text of a file.
pub fn text(path: &str) -> Outcome {
    let failed = |e: std::io::Error| Errno::new(e.raw_os_error().unwrap_or(libc::EIO));
    std::fs::read_to_string(path).map(|text| text.trim_end().to_owned()).map_err(failed)
}

/// `unshare -Urm`, and what `more` says: container root anew, in a user namespace below.
pub fn nested(more: i32) -> Result<(), Errno> {
    call(libc::SYS_unshare, [(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | more) as usize, 0, 0, 0, 0, 0])?;
    let write = |path: &str, text: &str| std::fs::write(path, text).map_err(|e| Errno::new(e.raw_os_error().unwrap_or(libc::EIO)));
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", "0 0 1")?;
    write("/proc/self/gid_map", "0 0 1")
}

/// Both ends.
pub fn pipe() -> Result<(File, File), Errno> {
    let (read, write) = rustix::pipe::pipe().map_err(|e| Errno::new(e.raw_os_error()))?;
    Ok((read.into(), write.into()))
}

/// In a child, which is the first of a new pid namespace if one was unshared.
pub fn in_child(run: impl FnOnce() -> Outcome) -> Outcome {
    let (read, write) = pipe()?;
    // SAFETY: we have one thread.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::EAGAIN),
        0 => {
            // SAFETY: the default action ends us when the row hangs.
            unsafe { libc::alarm(SECONDS) };
            let outcome = run();
            let _ = (&write).write_all(word(&outcome).as_bytes());
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
        child => {
            drop(write);
            let said = std::io::read_to_string(read).unwrap_or_default();
            let mut status = 0;
            // SAFETY: our child, our variable.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            if libc::WIFSIGNALED(status) { Ok(format!("killed by {}", libc::WTERMSIG(status))) } else { Ok(said) }
        }
    }
}

/// An errno's name, or the word.
pub fn word(outcome: &Outcome) -> String {
    match outcome {
        Ok(word) => word.clone(),
        Err(errno) => format!("{errno:?}"),
    }
}

/// Runs each row in a child.
pub fn show(rows: &[Row], given: &Given) -> i32 {
    print(rows, |row| in_child(|| row(given)))
}

/// The same, each in a copy of the mount namespace: what a row undoes is there for the next.
pub fn show_each_in_copy(rows: &[Row], given: &Given) -> i32 {
    print(rows, |row| {
        in_child(|| {
            call(libc::SYS_unshare, [libc::CLONE_NEWNS as usize, 0, 0, 0, 0, 0])?;
            mount("", "/", "", libc::MS_REC | libc::MS_PRIVATE, "")?;
            row(given)
        })
    })
}

fn print(rows: &[Row], run: impl Fn(fn(&Given) -> Outcome) -> Outcome) -> i32 {
    for (name, row) in rows {
        println!("{name}={}", word(&run(*row)).replace('\n', "|"));
    }
    0
}
