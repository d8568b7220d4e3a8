//! What is mounted, and what container root can do to it.

use std::ffi::CString;

use nix::libc;
use ns_core::Errno;

use super::sys::{attempt, call, create, in_child, mkdir, mknod, mount, nested, ok, open, place, reads, remount, text, umount, writable};
use super::{Given, Outcome, Row};

/// Has to be refused in a user namespace.
pub const LOCKED: &[Row] = &[
    ("remount /proc/sys", |_| remount("/proc/sys")),
    ("remount /sys", |_| remount("/sys")),
    ("remount /sys/kernel", |_| remount("/sys/kernel")),
    ("remount /proc", |_| remount("/proc")),
    ("remount a mask", |_| remount("/proc/kallsyms")),
    ("remount /", |_| remount("/")),
    ("mount_setattr /proc/sys", |_| writable_by_setattr("/proc/sys")),
    ("umount /proc/sys", |_| umount("/proc/sys")),
    ("umount a mask", |_| umount("/proc/kallsyms")),
    ("umount /proc", |_| umount("/proc")),
    ("umount /sys", |_| umount("/sys")),
    ("umount the boot id", |_| umount("/proc/sys/kernel/random/boot_id")),
    ("move a mask", |_| moved("/proc/kallsyms")),
    ("bind /proc without its masks", |_| bound_alone("/proc")),
    ("bind /sys without its masks", |_| bound_alone("/sys")),
    ("nested remount /proc/sys", |_| nested(0).and_then(|()| remount("/proc/sys"))),
    ("nested remount /sys", |_| nested(0).and_then(|()| remount("/sys"))),
    ("nested umount /proc/sys", |_| nested(0).and_then(|()| umount("/proc/sys"))),
    ("nested umount a mask", |_| nested(0).and_then(|()| umount("/proc/kallsyms"))),
    ("nested umount /proc", |_| nested(0).and_then(|()| umount("/proc"))),
    ("nested umount /sys", |_| nested(0).and_then(|()| umount("/sys"))),
    ("mount proc", |_| mounted("proc", "proc", "")),
    ("nested mount proc", |_| nested(libc::CLONE_NEWPID).and_then(|()| in_child(|| mounted("proc", "nested", "")))),
    ("mount sysfs", |_| mounted("sysfs", "sysfs", "")),
    ("write to a fresh sysfs", |_| in_fresh_sysfs(writable, "kernel/mm/transparent_hugepage/enabled", "power/state")),
    ("mkdir in a fresh sysfs", |_| in_fresh_sysfs(|path| mkdir(path).and_then(|()| ok()), "x", "x")),
    ("write to sysctls after a remount", |_| remount("/proc/sys").and_then(|_| writable("/proc/sys/kernel/panic"))),
    ("read a mask after an umount", |_| umount("/proc/kallsyms").and_then(|_| reads("/proc/kallsyms"))),
    ("open a tree's device after a remount", |_| remount("/").and_then(|_| writable("/planted-block"))),
];

/// Has to work whatever is locked.
pub const WORKS: &[Row] = &[
    ("mount cgroup2", |_| mounted("cgroup2", "cgroup2", "")),
    ("mount mqueue", |_| mounted("mqueue", "mqueue", "")),
    ("mount tmpfs", |_| mounted("tmpfs", "tmpfs", "size=1m")),
    ("mount devpts", |_| mounted("devpts", "devpts", "newinstance")),
    ("mount overlay", |_| overlay()),
    ("bind a directory", |_| bound_alone("/tmp")),
    ("nested user namespace", |_| nested(0).and_then(|()| ok())),
    ("nested mount tmpfs", |_| nested(0).and_then(|()| mounted("tmpfs", "nested-tmpfs", "size=1m"))),
    ("nested namespaces of every kind", |_| {
        let more = libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNET | libc::CLONE_NEWCGROUP;
        nested(more).and_then(|()| ok())
    }),
    ("mkdir in the own cgroup", |_| own_cgroup()),
    ("write to /dev/null", |_| writable("/dev/null")),
    ("read /dev/zero", |_| reads("/dev/zero")),
    ("read /dev/urandom", |_| reads("/dev/urandom")),
    ("open /dev/full", |_| writable("/dev/full")),
    ("open a pty", |_| open("/dev/ptmx", libc::O_RDWR).and_then(|_| ok())),
    ("write to /tmp", |_| create("/tmp/probe")),
    ("write to /run", |_| create("/run/probe")),
    ("write to /dev/shm", |_| create("/dev/shm/probe")),
    ("write to /", |_| create("/probe-was-here")),
];

/// Binds at /ro (with a mount below it), /rw.
pub const BINDS: &[Row] = &[
    ("read /ro", |_| text("/ro/file")),
    ("write /ro", |_| create("/ro/made")),
    ("write a file of /ro", |_| writable("/ro/file")),
    ("write below /ro", |_| create("/ro/below/made")),
    ("remount /ro", |_| remount("/ro")),
    ("remount below /ro", |_| remount("/ro/below")),
    ("mount_setattr /ro", |_| writable_by_setattr("/ro")),
    ("umount below /ro", |_| umount("/ro/below")),
    ("bind /ro without what is below", |_| bound_alone("/ro")),
    ("nested remount /ro", |_| nested(0).and_then(|()| remount("/ro"))),
    ("nested remount below /ro", |_| nested(0).and_then(|()| remount("/ro/below"))),
    ("write /ro after remounts", |_| {
        let _ = (remount("/ro"), remount("/ro/below"));
        create("/ro/made").and_then(|_| create("/ro/below/made"))
    }),
    ("write /rw", |_| create("/rw/made")),
    ("a device of /rw", |_| writable("/rw/planted")),
    ("a device of /rw after a remount", |_| remount("/rw").and_then(|_| writable("/rw/planted"))),
    ("umount /ro", |_| umount("/ro")),
];

/// Of a tree that is read-only.
pub const READ_ONLY: &[Row] = &[
    ("write to /", |_| create("/probe-was-here")),
    ("write to /etc", |_| create("/etc/probe-was-here")),
    ("remount /", |_| remount("/")),
    ("nested remount /", |_| nested(0).and_then(|()| remount("/"))),
    ("mount_setattr /", |_| writable_by_setattr("/")),
    ("write to / after a remount", |_| remount("/").and_then(|_| create("/probe-was-here"))),
    ("write to /tmp", |_| create("/tmp/probe")),
    ("write to /run", |_| create("/run/probe")),
    ("write to /dev/shm", |_| create("/dev/shm/probe")),
    ("write to /var/tmp", |_| create("/var/tmp/probe")),
];

/// On the host: whether this kernel lets `unshare -Urmn` mount a sysfs that shows what is hidden in the one that is there.
pub const PLAIN_SYSFS: &[Row] = &[("mount sysfs", |_| {
    mount("tmpfs", "/tmp", "tmpfs", 0, "size=1m")?;
    mount("tmpfs", "/sys/kernel", "tmpfs", 0, "size=1m")?;
    nested(libc::CLONE_NEWNET)?;
    mounted("sysfs", "sysfs", "")
})];

/// Files of container root's and of another user's in the tree, to be looked at from outside, and what the ids inside are.
pub const WRITE: &[Row] = &[
    ("write", |_| create("/made-inside")),
    ("give away", |_| create("/given-away").and_then(|_| chown("/given-away", 33))),
    ("uid_map", |_| text("/proc/self/uid_map").map(words)),
    ("gid_map", |_| text("/proc/self/gid_map").map(words)),
    ("owner of the tree", |_| std::fs::metadata("/etc").map(owner).map_err(failed)),
];

fn words(text: String) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn failed(e: std::io::Error) -> Errno {
    Errno::new(e.raw_os_error().unwrap_or(libc::EIO))
}

fn chown(path: &str, id: u32) -> Outcome {
    std::os::unix::fs::chown(path, Some(id), Some(id)).map_err(failed)?;
    ok()
}

fn owner(metadata: std::fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{}:{}", metadata.uid(), metadata.gid())
}

fn writable_by_setattr(path: &str) -> Outcome {
    /// `struct mount_attr`
    #[repr(C)]
    struct Attr([u64; 4]);
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let path = CString::new(path).expect("no NUL");
    let attr = Attr([0, MOUNT_ATTR_RDONLY, 0, 0]);
    let args = [libc::AT_FDCWD as usize, path.as_ptr() as usize, 0, &raw const attr as usize, size_of::<Attr>(), 0];
    attempt(libc::SYS_mount_setattr, args)
}

fn mounted(kind: &str, name: &str, data: &str) -> Outcome {
    mount(kind, &place(name)?, kind, 0, data)?;
    ok()
}

fn moved(mask: &str) -> Outcome {
    let to = format!("/tmp/probe-moved-{}", std::process::id());
    create(&to)?;
    mount(mask, &to, "", libc::MS_MOVE, "")?;
    ok()
}

fn bound_alone(path: &str) -> Outcome {
    mount(path, &place("bound")?, "", libc::MS_BIND, "")?;
    ok()
}

fn overlay() -> Outcome {
    let base = place("overlay")?;
    mount("tmpfs", &base, "tmpfs", 0, "size=1m")?;
    for name in ["lower", "upper", "work", "merged"] {
        mkdir(&format!("{base}/{name}"))?;
    }
    let data = format!("lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work");
    mount("overlay", &format!("{base}/merged"), "overlay", 0, &data)?;
    create(&format!("{base}/merged/file"))
}

/// A fresh one, where the kernel allows it; `path` or the other, whichever this machine has.
fn in_fresh_sysfs(attempt: fn(&str) -> Outcome, path: &str, other: &str) -> Outcome {
    let base = place("fresh")?;
    mount("sysfs", &base, "sysfs", 0, "")?;
    match attempt(&format!("{base}/{path}")) {
        Err(Errno::ENOENT) => attempt(&format!("{base}/{other}")),
        outcome => outcome,
    }
}

fn own_cgroup() -> Outcome {
    mkdir("/sys/fs/cgroup/probe")?;
    std::fs::remove_dir("/sys/fs/cgroup/probe").map_err(failed)?;
    ok()
}

/// Mounts in every place that could be shared with the host, says where it could, and stays until /control/go is there.
pub fn mount_everywhere_and_wait(given: &Given) -> i32 {
    let mut made = 0;
    for place in given.get("places").unwrap_or_default().split(',') {
        let outcome = match mkdir(place) {
            Ok(()) | Err(Errno::EEXIST) => mount("nskit-probe-leak", place, "tmpfs", 0, "size=4k"),
            Err(errno) => Err(errno),
        };
        made += i32::from(outcome.is_ok());
        println!("{place}={outcome:?}");
    }
    println!("mounted={made}");
    // The launcher's time limit ends us otherwise.
    while !std::path::Path::new("/control/go").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    0
}

/// Used by the rows of calls, too.
pub fn planted(path: &str) -> Outcome {
    writable(path)
}

/// `mknod` of a block device, and opening it if that worked.
pub fn made_device(kind: u32, major: u32, minor: u32) -> Outcome {
    let path = format!("/tmp/probe-device-{}", std::process::id());
    mknod(&path, kind | 0o600, major, minor)?;
    call(libc::SYS_unlink, [CString::new(path).expect("no NUL").as_ptr() as usize, 0, 0, 0, 0, 0])?;
    ok()
}
