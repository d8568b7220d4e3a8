//! All steps in one plan: started for real, with a program inside that looks around; no step allocates or frees in the child.

use ns_core::credentials::{CapSet, Credentials};
use ns_core::raw;
use ns_core::{Exec, Exit, Fds, IdMap, Locked, Namespaces, Plan, Sealed, Slot};
use ns_mount::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

/// Ends a process that is not the tests' own: a child between clone and exec.
struct Strict;

static PARENT: AtomicI32 = AtomicI32::new(0);

fn check() {
    let parent = PARENT.load(Ordering::Relaxed);
    if parent != 0 && raw::getpid() != parent {
        raw::exit_group(99);
    }
}

// SAFETY: the system's allocator, or the end of the process.
unsafe impl GlobalAlloc for Strict {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        check();
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Strict = Strict;

const TREE: Slot = Slot::new("tree");
const EXTRA: Slot = Slot::new("extra");
const SHIFT: u32 = 800_000;

/// A tree with nothing but what its programs need from the host's /usr, which is bound.
fn tree() -> tempfile::TempDir {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let tree = tempfile::Builder::new().prefix("ns-mount-plan-").tempdir_in("/var/tmp").unwrap();
    std::fs::set_permissions(tree.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for dir in ["bin", "lib", "lib64", "sbin"] {
        symlink(format!("usr/{dir}"), tree.path().join(dir)).unwrap();
    }
    std::fs::create_dir(tree.path().join("etc")).unwrap();
    tree
}

fn plan(script: &str, source: &Path) -> Result<Sealed, Box<dyn std::error::Error>> {
    let root = |tmpfs: Tmpfs| tmpfs.owner(SHIFT, SHIFT);
    let told = root(run_host()).file("os-release", 0o444, *b"ID=test\n")?.file("container-manager", 0o444, *b"nskit\n")?;
    let plan = Plan::new(Exec::new("/bin/sh")?.args(["-c", script])?.env("PATH", "/usr/bin:/usr/sbin")?.inherit_stdio());
    let plan = plan.given(TREE).given(EXTRA).user(IdMap::range(0, SHIFT, 65_536)?).unshare(Namespaces::all()).kept();
    let plan = plan
        .outside(PrivateHost)
        .outside(Root::new(TREE).id_mapped().read_only())
        .outside(root(dev()))
        .outside(root(dev_shm()))
        .outside(Devpts::at("/dev/pts")?.gid(SHIFT + 5))
        .outside(root(tmp()))
        .outside(root(run()))
        .outside(told)
        .outside(Proc::of_payload().owner(SHIFT, SHIFT))
        .outside(Bind::new("/usr", "/usr")?.read_only().owner(SHIFT, SHIFT))
        .outside(Bind::new(source, "/srv/mine")?.id_mapped().owner(SHIFT, SHIFT))
        .outside(Bind::from_slot(EXTRA, "/srv/extra")?.read_only().nosuid().owner(SHIFT, SHIFT))
        .outside(Lock::default_proc(true))
        .outside(JoinPayload::ipc_cgroup())
        .outside(Mqueue::at("/dev/mqueue")?)
        .outside(JoinPayload::network())
        .outside(Sysfs::skeleton().owner(SHIFT, SHIFT))
        .outside(Cgroup2::at("/sys/fs/cgroup")?)
        .outside(Lock::default_sys())
        .outside(SealRunHost)
        .outside(ReadOnlyRoot)
        .outside(LeaveHost);
    Ok(plan.inside(Locked).inside(Credentials::root_with(CapSet::OS).build()?).seal()?)
}

fn detached(path: &Path) -> OwnedFd {
    detach(open_tree(path).unwrap().as_fd()).unwrap()
}

/// One line a check, so that the failing one is in the output.
const LOOK_AROUND: &str = r#"
check() { "$@" || { echo "failed: $*"; exit 1; }; }
refused() { if "$@" 2>/dev/null; then echo "not refused: $*"; exit 1; fi; }
check test $$ = 1
check test "$(stat -c %u /etc)" = 0
check test "$(stat -c %u /srv/mine/file)" = 0
check touch /srv/mine/new /run/x /tmp/x /dev/shm/x
check test -c /dev/null -a -c /dev/pts/ptmx
check test -s /proc/sys/kernel/random/boot_id
check test -p /proc/kmsg
check test "$(ls /sys/class/net)" = lo
check test -e /sys/fs/cgroup/cgroup.procs
check test "$(cat /run/host/container-manager)" = nskit
check test "$(ls -a /run/host | wc -l)" = 7
check test -d /dev/mqueue
for path in /x /usr/x /srv/extra/x /run/host/x /sys/x /proc/sys/kernel/core_pattern; do
    refused sh -c "echo x > $path"
done
for path in /proc/sys /sys /usr /srv/extra / /run/host; do
    refused mount -o remount,bind,rw $path
    refused umount $path
done
refused mount -t proc proc /tmp
check mount -t tmpfs tmpfs /tmp
exit 42
"#;

#[test]
fn everything_at_once_twice() {
    PARENT.store(raw::getpid(), Ordering::Relaxed);
    let (tree, source) = (tree(), tempfile::tempdir_in("/var/tmp").unwrap());
    std::fs::write(source.path().join("file"), "").unwrap();
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let sealed = plan(LOOK_AROUND, source.path()).unwrap();
    // A second time on the same tree, as a reboot: the mount points are there by now.
    for _ in 0..2 {
        let fds = Fds::new().give(TREE, detached(tree.path())).give(EXTRA, detached(source.path()));
        let exit = sealed.start(fds).unwrap_or_else(|e| panic!("{e}\n{sealed}")).wait().unwrap();
        assert_eq!(exit, Exit::Exited(42), "{sealed}");
    }
    let name = tree.path().file_name().unwrap().to_str().unwrap();
    assert!(source.path().join("new").exists());
    let now = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!now.contains(name) && now.lines().count() <= table.lines().count(), "{now}");
}

#[test]
fn a_fault_names_step_row_call_and_the_kernels_words() {
    let tree = tree();
    let start = |step: Tmpfs| {
        let plan = Plan::new(Exec::new("/bin/true").unwrap()).given(TREE).unshare(Namespaces::PID | Namespaces::MOUNT);
        let sealed = plan.outside(PrivateHost).outside(Root::new(TREE)).outside(step).outside(LeaveHost).inside(Locked).seal().unwrap();
        sealed.start(Fds::new().give(TREE, detached(tree.path()))).unwrap_err().to_string()
    };
    let text = start(Tmpfs::at("/etc").unwrap().param("nr_inodes", "many").unwrap());
    assert!(text.contains("/etc: tmpfs nr_inodes=many") && text.contains("fsconfig: Invalid argument: tmpfs: Bad value for"), "{text}");
    let text = start(Tmpfs::at("/etc").unwrap().dir("a", 0o755).unwrap().dir("b/c", 0o755).unwrap());
    assert!(text.contains("b/c/") && text.contains("mkdirat: No such file or directory"), "{text}");
}

#[test]
fn what_a_recipe_forgets_is_refused_on_paper() {
    let plan = || Plan::new(Exec::new("/bin/true").unwrap()).given(TREE).unshare(Namespaces::PID | Namespaces::MOUNT);
    let text = plan().outside(dev()).seal().unwrap_err().to_string();
    assert!(text.contains("the tree's root"), "{text}");
    let text = plan().outside(Root::new(TREE)).outside(ReadOnlyRoot).seal().unwrap_err().to_string();
    assert!(text.contains("the root of a read-only tree"), "{text}");
    let text = plan().outside(Root::new(TREE)).outside(JoinPayload::network()).seal().unwrap_err().to_string();
    assert!(text.contains("network"), "{text}");
}
