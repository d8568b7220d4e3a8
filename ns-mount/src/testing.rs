//! Tests in forked children.

use ns_core::raw::{self, CloneArgs};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};

/// In a child: where a panic is told. The parent has -1.
static REPORT: AtomicI32 = AtomicI32::new(-1);

/// Once in the parent: a child of a process with threads may find the hook's lock held for ever.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match REPORT.load(Ordering::Relaxed) {
            -1 => before(info),
            fd => {
                // SAFETY: the child's end of its own pipe, never closed.
                let _ = rustix::io::write(unsafe { BorrowedFd::borrow_raw(fd) }, info.to_string().as_bytes());
                // Nothing is dropped: a temporary directory removes all that is below it, and the child may have something mounted there.
                raw::exit_group(1);
            }
        }));
    });
}

/// Runs `test` in a forked child; fails with the child's message. A child that hangs is killed after 20 s.
pub fn in_child(test: impl FnOnce()) {
    report_panics();
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
        REPORT.store(writer.as_raw_fd(), Ordering::Relaxed);
        test();
        raw::exit_group(0);
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

/// A tree of a few directories, removed by whoever made it; not while anything is mounted in it.
pub struct Tree(tempfile::TempDir);

impl Drop for Tree {
    fn drop(&mut self) {
        let path = self.0.path().display().to_string();
        let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or(path.clone());
        self.0.disable_cleanup(mounts.contains(&path));
    }
}

impl Tree {
    /// On the file system of /var/tmp, which takes id maps.
    pub fn new() -> Tree {
        let tree = Tree(tempfile::Builder::new().prefix("ns-mount-test-").tempdir_in("/var/tmp").unwrap());
        std::fs::set_permissions(tree.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
        for dir in ["dev", "proc", "sys", "run", "tmp", "etc", "srv"] {
            std::fs::create_dir(tree.path(dir)).unwrap();
        }
        std::fs::write(tree.path("etc/name"), "tree").unwrap();
        tree
    }

    pub fn path(&self, below: &str) -> PathBuf {
        if below.is_empty() { self.0.path().to_owned() } else { self.0.path().join(below) }
    }

    pub fn detached(&self) -> OwnedFd {
        crate::detach(crate::open_tree(self.0.path()).unwrap().as_fd()).unwrap()
    }

    /// Attached on `/`, not id-mapped.
    pub fn attached(&self) -> OwnedFd {
        let tree = self.detached();
        crate::Root::new(ns_core::Slot::new("tree")).attach(tree.as_fd(), None).unwrap();
        tree
    }
}

/// A path for std, through a descriptor of the tree's root: links in it would lead out, so tests name none.
pub fn at(root: &OwnedFd, below: &str) -> PathBuf {
    Path::new(&format!("/proc/self/fd/{}", root.as_raw_fd())).join(below)
}

pub fn mode_and_owner(path: &Path) -> (u32, u32, u32) {
    let meta = std::fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (meta.mode() & 0o7777, meta.uid(), meta.gid())
}

/// The error number of what should fail.
pub fn errno<T: std::fmt::Debug>(answer: std::io::Result<T>) -> i32 {
    answer.expect_err("should have failed").raw_os_error().unwrap()
}

/// mount(2), as container root would call it.
pub fn mount(source: &str, target: &str, kind: &str, flags: u64) -> std::io::Result<()> {
    let text = |s: &str| CString::new(s).unwrap();
    let (source, target, kind) = (text(source), text(target), text(kind));
    // SAFETY: the strings live during the call.
    match unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, std::ptr::null()) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

pub fn umount(target: &str) -> std::io::Result<()> {
    let target = CString::new(target).unwrap();
    // SAFETY: the string lives during the call.
    if unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// A process that waits in user, process, ipc, cgroup, network and uts namespaces of its own.
pub struct Payload {
    pidfd: OwnedFd,
}

/// The first host id of a payload's map.
pub const SHIFT: u32 = 700_000;

impl Payload {
    pub const FLAGS: u32 = {
        use linux_raw_sys::general::{CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS};
        CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWCGROUP | CLONE_NEWNET | CLONE_NEWUTS
    };

    pub fn start() -> Payload {
        // SAFETY: the child makes system calls only, until it is killed.
        let child = unsafe { raw::clone3(CloneArgs { flags: u64::from(Payload::FLAGS), ..CloneArgs::default() }) }.unwrap();
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

    fn proc_path(&self, name: &str) -> String {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.pidfd.as_raw_fd())).unwrap();
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim();
        format!("/proc/{pid}/{name}")
    }

    pub fn user_ns(&self) -> OwnedFd {
        std::fs::File::open(self.proc_path("ns/user")).unwrap().into()
    }

    /// Runs `attack` as container root: in all its namespaces, and a mount namespace copied from the caller's.
    pub fn inside(&self, attack: impl FnOnce()) {
        in_child(|| {
            raw::setns(self.pidfd(), Payload::FLAGS).unwrap();
            in_child(|| {
                // SAFETY: a forked child; raw calls, since the ids of one thread are all there are.
                unsafe {
                    raw::syscall(linux_raw_sys::general::__NR_setgid, [0; 6]).unwrap();
                    raw::syscall(linux_raw_sys::general::__NR_setuid, [0; 6]).unwrap();
                    raw::unshare(linux_raw_sys::general::CLONE_NEWNS).unwrap();
                }
                attack();
            });
        });
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        raw::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL).unwrap();
        raw::waitid(self.pidfd.as_fd(), true).unwrap();
    }
}

/// Until somebody has made it.
pub fn wait_for(path: &Path) {
    let began = std::time::Instant::now();
    while !path.exists() {
        assert!(began.elapsed().as_secs() < 20, "{} did not come", path.display());
        std::thread::sleep(std::time::Duration::from_millis(1));
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
