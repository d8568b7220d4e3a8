//! What container root can't undo, what it can where it has the host's ids, and what works all the same: tried from inside.

#[path = "support/mounts.rs"]
mod mounts;
mod probe;
mod support;

use std::ffi::CString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use mounts::{in_own_mounts, mount, unmount};
use nix::libc;
use probe::asked::{Expected, NO_USERS, but, compare, machine, parse, probe};
use support::within;

// ------------------------------------------------------------------------------------------------------------------ what is locked

/// With a user namespace: every row is closed but the fresh sysfs, see [`plain_sysfs`].
const LOCKED: Expected = &[
    ("remount /proc/sys", "EPERM"),
    ("remount /sys", "EPERM"),
    ("remount /sys/kernel", "EPERM"),
    ("remount /proc", "EPERM"),
    ("remount a mask", "EPERM"),
    ("remount /", "EPERM"),
    ("mount_setattr /proc/sys", "EPERM"),
    ("umount /proc/sys", "EINVAL"),
    ("umount a mask", "EINVAL"),
    ("umount /proc", "EINVAL"),
    ("umount /sys", "EINVAL"),
    ("umount the boot id", "EINVAL"),
    ("move a mask", "EINVAL"),
    ("bind /proc without its masks", "EINVAL"),
    ("bind /sys without its masks", "EINVAL"),
    ("nested remount /proc/sys", "EPERM"),
    ("nested remount /sys", "EPERM"),
    ("nested umount /proc/sys", "EINVAL"),
    ("nested umount a mask", "EINVAL"),
    ("nested umount /proc", "EINVAL"),
    ("nested umount /sys", "EINVAL"),
    ("mount proc", "EPERM"),
    ("nested mount proc", "EPERM"),
    ("mount sysfs", "EPERM"),
    ("write to a fresh sysfs", "EPERM"),
    ("mkdir in a fresh sysfs", "EPERM"),
    ("write to sysctls after a remount", "EPERM"),
    ("read a mask after an umount", "EINVAL"),
    ("open a tree's device after a remount", "EPERM"),
];

/// Without a user namespace container root undoes all of it, from its own mount namespace. These rows are open, and README lists them;
/// what isn't here stays closed: what a further user namespace could do, and devices, which the device program refuses.
const OPEN_WITHOUT_USER_NAMESPACE: Expected = &[
    ("remount /proc/sys", "ok"),
    ("remount /sys", "ok"),
    ("remount /sys/kernel", "ok"),
    ("remount /proc", "ok"),
    ("remount a mask", "ok"),
    ("remount /", "ok"),
    ("mount_setattr /proc/sys", "ok"),
    ("umount /proc/sys", "ok"),
    ("umount a mask", "ok"),
    ("umount /proc", "ok"),
    ("umount /sys", "ok"),
    ("umount the boot id", "ok"),
    ("move a mask", "ok"),
    ("bind /proc without its masks", "ok"),
    ("bind /sys without its masks", "ok"),
    ("mount proc", "ok"),
    ("mount sysfs", "ok"),
    ("write to a fresh sysfs", "ok"),
    ("write to sysctls after a remount", "ok"),
    ("read a mask after an umount", "data"),
];

/// What a plain `unshare -Urmn` gets on this kernel where something of /sys is hidden: 6.1 and 6.12 let it have a fresh sysfs.
fn plain_sysfs() -> String {
    let output = Command::new(std::env::current_exe().unwrap()).arg0(probe::NAME).arg("plain-sysfs").output().unwrap();
    parse(&String::from_utf8_lossy(&output.stdout)).remove("mount sysfs").expect("the probe's answer")
}

#[test]
fn nothing_that_is_mounted_can_be_undone() {
    let found = probe(&machine(), &[], "locked", &[]);
    let walked_around = [("mount sysfs", "ok"), ("write to a fresh sysfs", "EACCES"), ("mkdir in a fresh sysfs", "EACCES|EPERM")];
    match plain_sysfs().as_str() {
        "ok" => compare(&found, &but(LOCKED, &walked_around)),
        "EPERM" => compare(&found, LOCKED),
        other => panic!("unshare -Urmn; mount -t sysfs: {other}"),
    }
}

#[test]
fn without_a_user_namespace_these_rows_are_open() {
    let found = probe(&machine(), &[NO_USERS], "opened", &[]);
    compare(&found, &but(LOCKED, OPEN_WITHOUT_USER_NAMESPACE));
}

// ---------------------------------------------------------------------------------------------------------------------- what works

const WORKS: Expected = &[
    ("mount cgroup2", "ok"),
    ("mount mqueue", "ok"),
    ("mount tmpfs", "ok"),
    ("mount devpts", "ok"),
    ("mount overlay", "ok"),
    ("bind a directory", "ok"),
    ("nested user namespace", "ok"),
    ("nested mount tmpfs", "ok"),
    ("nested namespaces of every kind", "ok"),
    ("mkdir in the own cgroup", "ok"),
    ("write to /dev/null", "ok"),
    ("read /dev/zero", "data"),
    ("read /dev/urandom", "data"),
    ("open /dev/full", "ok"),
    ("open a pty", "ok"),
    ("write to /tmp", "ok"),
    ("write to /run", "ok"),
    ("write to /dev/shm", "ok"),
    ("write to /", "ok"),
];

#[test]
fn what_a_distribution_needs_works() {
    load_modules();
    for options in [&[][..], &[NO_USERS]] {
        compare(&probe(&machine(), options, "works", &[]), WORKS);
    }
}

/// An unprivileged mount loads no module.
fn load_modules() {
    if !fs::read_to_string("/proc/filesystems").unwrap().contains("\toverlay\n") {
        let status = Command::new("modprobe").arg("overlay").status().expect("modprobe");
        assert!(status.success(), "this kernel has no overlay");
    }
}

// ------------------------------------------------------------------------------------------------------------ binds, read-only trees

/// A directory that what is mounted in it is unmounted from before it is removed.
struct Source(tempfile::TempDir);

impl Source {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // A test that fails has unmounted it by then.
        if !std::thread::panicking() {
            unmount(&self.path().join("below"));
        }
    }
}

/// A directory of the host's with a file, a device node and, in this thread's mount namespace, a mount below.
fn source(name: &str) -> Source {
    let dir = tempfile::Builder::new().prefix(name).tempdir_in("/var/tmp").unwrap();
    fs::write(dir.path().join("file"), "of the host\n").unwrap();
    fs::create_dir(dir.path().join("below")).unwrap();
    for path in [dir.path().to_owned(), dir.path().join("file"), dir.path().join("below")] {
        let mode = if path.is_dir() { 0o777 } else { 0o666 };
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let path = CString::new(dir.path().join("planted").into_os_string().into_encoded_bytes()).unwrap();
    // SAFETY: a path and two numbers.
    assert_eq!(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(1, 11)) }, 0);
    mount("tmpfs", &dir.path().join("below"), "tmpfs", 0, "size=64k,mode=777");
    Source(dir)
}

const BINDS: Expected = &[
    ("read /ro", "of the host"),
    ("write /ro", "EROFS"),
    ("write a file of /ro", "EROFS"),
    ("write below /ro", "EROFS"),
    ("remount /ro", "EPERM"),
    ("remount below /ro", "EPERM"),
    ("mount_setattr /ro", "EPERM"),
    ("umount below /ro", "EINVAL"),
    ("bind /ro without what is below", "EINVAL"),
    ("nested remount /ro", "EPERM"),
    ("nested remount below /ro", "EPERM"),
    ("write /ro after remounts", "EROFS"),
    ("write /rw", "ok"),
    ("a device of /rw", "EACCES"),
    ("a device of /rw after a remount", "EPERM"),
    ("umount /ro", "EINVAL"),
];

/// Not the devices: the program refuses them.
const OPEN_BINDS: Expected = &[
    ("remount /ro", "ok"),
    ("remount below /ro", "ok"),
    ("mount_setattr /ro", "ok"),
    ("umount below /ro", "ok"),
    ("bind /ro without what is below", "ok"),
    ("write /ro after remounts", "ok"),
    ("umount /ro", "ok"),
];

fn binds(users: &[&str], expected: Expected) {
    in_own_mounts(|| {
        let machine = machine();
        let (ro, rw) = (source("nskit-ro."), source("nskit-rw."));
        let options = [format!("--bind-ro={}:/ro", ro.path().display()), format!("--bind={}:/rw", rw.path().display())];
        let options: Vec<&str> = users.iter().copied().chain(options.iter().map(String::as_str)).collect();
        let verb = if users.is_empty() { "binds" } else { "binds-opened" };
        compare(&probe(&machine, &options, verb, &[]), expected);
        assert_eq!(fs::read_to_string(ro.path().join("file")).unwrap(), "of the host\n");
        assert!(rw.path().join("made").exists() && (ro.path().join("made").exists() != users.is_empty()));
    });
}

#[test]
fn what_is_bound_read_only_stays_so() {
    binds(&[], BINDS);
}

#[test]
fn without_a_user_namespace_a_bind_can_be_made_writable() {
    binds(&[NO_USERS], &but(BINDS, OPEN_BINDS));
}

#[test]
fn a_read_only_tree_stays_so() {
    let rows = [
        ("write to /", "EROFS"),
        ("write to /etc", "EROFS"),
        ("remount /", "EPERM"),
        ("nested remount /", "EPERM"),
        ("mount_setattr /", "EPERM"),
        ("write to / after a remount", "EPERM"),
        ("write to /tmp", "ok"),
        ("write to /run", "ok"),
        ("write to /dev/shm", "ok"),
        ("write to /var/tmp", "EROFS"),
    ];
    let machine = machine();
    machine.tree.write("/var/tmp/file", "");
    compare(&probe(&machine, &["--read-only"], "read-only", &[]), &rows);
    assert!(!machine.tree.join("probe-was-here").exists());
}

// ------------------------------------------------------------------------------------------------------- mounts never reach the host

/// The host is one with systemd: `/` is shared, so are the tree's mount and the bind's source.
fn mounts_stay_inside(users: &[&str]) {
    in_own_mounts(|| {
        mount("", Path::new("/"), "", libc::MS_REC | libc::MS_SHARED, "");
        let machine = machine();
        let shared = tempfile::Builder::new().prefix("nskit-shared.").tempdir_in("/var/tmp").unwrap();
        for path in [machine.tree.path(), shared.path()] {
            mount(&path.display().to_string(), path, "", libc::MS_BIND, "");
            mount("", path, "", libc::MS_SHARED, "");
        }
        fs::create_dir(shared.path().join("place")).unwrap();
        let table = || fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let before = table();
        let program = format!("/run/{}", probe::NAME);
        let own = std::env::current_exe().unwrap();
        let control = tempfile::Builder::new().prefix("nskit-control.").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(control.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let binds = [
            format!("--bind-ro={}:{program}", own.display()),
            format!("--bind={}:/shared", shared.path().display()),
            format!("--bind-ro={}:/control", control.path().display()),
        ];
        let places = "places=/etc,/tmp/x,/run/y,/shared/place,/shared,/root,/dev/shm/z,/sys/fs/cgroup,/proc/sys,/";
        let mut started = machine.spawn(["-q"]).args(&binds).args(users).args([&program, "mount-everywhere", places]).start();
        started.expect("mounted=", within(60));
        let during = table();
        let said = String::from_utf8_lossy(&started.stdout()).into_owned();
        fs::write(control.path().join("go"), "").unwrap();
        started.finish(within(60)).expect(0);
        assert!(said.contains("mounted=10"), "{said}");
        assert!(!during.contains("nskit-probe-leak"), "{during}");
        assert_eq!((during, table()), (before.clone(), before));
        unmount(machine.tree.path());
        unmount(shared.path());
    });
}

#[test]
fn a_mount_made_inside_never_appears_on_the_host() {
    mounts_stay_inside(&[]);
}

#[test]
fn nor_does_it_without_a_user_namespace() {
    mounts_stay_inside(&[NO_USERS]);
}
