//! Tests in forked children.

use ns_core::raw::{self, CloneArgs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `test` in a forked child; fails with the child's message. A child that hangs is killed after 20 s.
pub fn in_child(test: impl FnOnce()) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    // SAFETY: glibc's fork leaves the child with a usable allocator.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        // SAFETY: plain calls.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::alarm(20);
        }
        let outcome = catch_unwind(AssertUnwindSafe(test));
        if let Err(panic) = &outcome {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
            let _ = rustix::io::write(&writer, text.unwrap_or_default().as_bytes());
        }
        raw::exit_group(i32::from(outcome.is_err()));
    }
    drop(writer);
    let mut message = String::new();
    std::io::Read::read_to_string(&mut std::fs::File::from(reader), &mut message).unwrap();
    let mut status = 0;
    // SAFETY: waits for the child just forked.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0, "in the child: {message}");
}

/// A private mount namespace for this process.
pub fn own_mounts() {
    // SAFETY: the process was just forked; its file system attributes are its own.
    unsafe { raw::unshare(linux_raw_sys::general::CLONE_NEWNS) }.expect("these tests need root");
    crate::PrivateHost.apply().unwrap();
}

/// A process that waits in user, process, ipc, cgroup, network and uts namespaces of its own.
pub struct Payload {
    pidfd: OwnedFd,
}

/// The first host id of a payload's map.
pub const SHIFT: u32 = 700_000;

impl Payload {
    pub fn start() -> Payload {
        use linux_raw_sys::general::{CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS};
        let flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWCGROUP | CLONE_NEWNET | CLONE_NEWUTS;
        // SAFETY: the child makes system calls only, until it is killed.
        let child = unsafe { raw::clone3(CloneArgs { flags: u64::from(flags), ..CloneArgs::default() }) }.unwrap();
        let Some(pidfd) = child else {
            loop {
                // SAFETY: plain calls.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    libc::pause();
                }
            }
        };
        // SAFETY: just made.
        let payload = Payload { pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } };
        for map in ["uid_map", "gid_map"] {
            std::fs::write(payload.proc_path(map), format!("0 {SHIFT} 65536")).unwrap();
        }
        payload
    }

    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub fn proc_path(&self, name: &str) -> String {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.pidfd.as_raw_fd())).unwrap();
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim();
        format!("/proc/{pid}/{name}")
    }

    pub fn user_ns(&self) -> OwnedFd {
        std::fs::File::open(self.proc_path("ns/user")).unwrap().into()
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        raw::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL).unwrap();
        raw::waitid(self.pidfd.as_fd(), true).unwrap();
    }
}

/// The process numbers that a proc shows.
pub fn pids(proc: BorrowedFd<'_>) -> Vec<u32> {
    let dir = std::fs::read_dir(format!("/proc/self/fd/{}", proc.as_raw_fd())).unwrap();
    dir.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).collect()
}

/// A child of this process is in this process's process namespace.
pub fn children_are_born_here() {
    let here = std::fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(std::fs::read_link("/proc/self/ns/pid_for_children").unwrap(), here);
}
