//! What the tests share: a cgroup of their own, and children that are started in a cgroup.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use ns_cgroup::{Cgroup, Controllers, Hierarchy, Name};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub const SOON: Duration = Duration::from_secs(20);

pub fn name(s: &str) -> Name {
    Name::new(s).expect("a valid name")
}

/// A cgroup below the root that is emptied and removed at the end, whatever the test does.
pub struct Scratch(Option<Cgroup>);

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let hierarchy = Hierarchy::find().expect("a cgroup2 file system");
        // Where the root has them, so that the tests that need controllers find them one level below as well.
        let _ = hierarchy.root().enable(Controllers::USUAL).expect("the root's files");
        let unique = format!("nskit-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Scratch(Some(Cgroup::create(hierarchy.root(), &name(&unique)).expect("root's rights")))
    }
}

impl Deref for Scratch {
    type Target = Cgroup;
    fn deref(&self) -> &Cgroup {
        self.0.as_ref().expect("not dropped yet")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(cgroup) = self.0.take() else { return };
        let ended = cgroup.kill().and_then(|()| cgroup.wait_empty(SOON)).and_then(|_| cgroup.remove());
        if !std::thread::panicking() {
            ended.expect("cleaned up");
        }
    }
}

/// A child, killed and reaped at the end.
pub struct Child {
    pub pid: u32,
    pub pidfd: OwnedFd,
}

/// Starts a child in a cgroup by `clone3(CLONE_INTO_CGROUP)`; what it does must be system calls only, since this process has threads.
pub fn start(cgroup: &Cgroup, work: impl FnOnce() -> u8) -> Child {
    try_start(cgroup, work).expect("clone3")
}

pub fn try_start(cgroup: &Cgroup, work: impl FnOnce() -> u8) -> std::io::Result<Child> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all fields are numbers, for which zero means "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = 0x2_0000_0000 | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = cgroup.as_fd().as_raw_fd() as u64;
    // SAFETY: without CLONE_VM the child has its own copy of this stack; it makes system calls and leaves by _exit.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) } {
        -1 => Err(std::io::Error::last_os_error()),
        // SAFETY: _exit ends the child without running what belongs to the parent.
        0 => unsafe { libc::_exit(i32::from(work())) },
        // SAFETY: the kernel stored a new descriptor.
        pid => Ok(Child { pid: pid as u32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// For children: until killed.
pub fn sleep_forever() -> u8 {
    loop {
        rustix::event::pause();
    }
}

/// For children: an errno as an exit status.
pub fn errno_of<T>(r: rustix::io::Result<T>) -> u8 {
    r.map_or_else(|e| e.raw_os_error() as u8, |_| 0)
}

impl Child {
    /// Waits; the exit status, or 128 and the signal.
    pub fn wait(self) -> i32 {
        self.reap()
    }

    fn reap(&self) -> i32 {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        let Ok(Some(status)) = status else { return -1 };
        status.exit_status().or_else(|| status.terminating_signal().map(|s| 128 + s)).unwrap_or(-1)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
        self.reap();
    }
}
