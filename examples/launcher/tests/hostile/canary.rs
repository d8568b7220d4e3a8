//! A directory of the host's that nothing may touch: files that would be believed if they were read, on a file system of their own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use tempfile::TempDir;

use super::mounts::{mount, unmount};
use super::watch::Watch;

/// What is at a path: everything but its content, then that.
type Snapshot = BTreeMap<PathBuf, String>;

/// In a mount namespace of the test's own; gone from it when it is dropped.
pub struct Canary {
    dir: TempDir,
    before: Snapshot,
    contents: Snapshot,
    watch: Watch,
}

/// What a tree's links could lead to: the places that a launcher reads or mounts on.
const DIRECTORIES: [&str; 16] = [
    "dev/pts",
    "dev/shm",
    "run/host",
    "proc",
    "sys/fs/cgroup",
    "etc",
    "tmp",
    "usr/lib",
    "usr/bin",
    "sbin",
    "bin",
    "root",
    "a/b",
    "var",
    "opt",
    "empty",
];

impl Canary {
    /// Makes it, and watches from then on.
    pub fn new() -> Canary {
        let dir = tempfile::Builder::new().prefix("nskit-canary.").tempdir_in("/var/tmp").unwrap();
        mount("tmpfs", dir.path(), "tmpfs", nix::libc::MS_STRICTATIME, "mode=755,size=4m");
        fill(dir.path());
        let contents = contents(dir.path());
        // Whatever reading it changed is changed by now.
        let before = contents.keys().map(|path| (path.clone(), metadata(path))).collect();
        let watch = Watch::on(dir.path());
        Canary { dir, before, contents, watch }
    }

    /// Where it is on the host.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Fails if anything happened to it.
    #[track_caller]
    pub fn untouched(&mut self, about: &str) {
        let events = self.watch.events();
        assert!(events.is_empty(), "{about}: the canary was touched:\n{}", events.join("\n"));
        for (path, before) in &self.before {
            assert_eq!(&metadata(path), before, "{about}: {}", path.display());
        }
    }

    /// The same, and every byte of it is read and compared.
    #[track_caller]
    pub fn unchanged(mut self, about: &str) {
        self.untouched(about);
        assert_eq!(contents(self.path()), self.contents, "{about}");
        assert!(!self.watch.events().is_empty(), "the watch is blind");
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // A test that fails has unmounted it by then.
        if !std::thread::panicking() {
            unmount(self.dir.path());
        }
    }
}

fn fill(base: &Path) {
    for directory in DIRECTORIES {
        fs::create_dir_all(base.join(directory)).unwrap();
    }
    let os_release = "ID=canary\nNAME=canary\nPRETTY_NAME=canary\n";
    let program = "#!/bin/sh\necho the canary runs\n";
    let files = [
        ("etc/os-release", os_release),
        ("usr/lib/os-release", os_release),
        ("etc/machine-id", "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0\n"),
        ("etc/passwd", "root:x:0:0::/canary:/canary/sh\n"),
        ("etc/group", "root:x:0:\n"),
        ("file", "secret\n"),
        ("sbin/init", program),
        ("bin/sh", program),
        ("bin/busybox", program),
        ("usr/lib/systemd", program),
    ];
    for (file, text) in files {
        fs::write(base.join(file), text).unwrap();
        fs::set_permissions(base.join(file), fs::Permissions::from_mode(0o755)).unwrap();
    }
    symlink("file", base.join("link")).unwrap();
    rustix::fs::setxattr(base.join("file"), "trusted.nskit", b"mine", XattrFlags::CREATE).unwrap();
    std::os::unix::fs::chown(base.join("file"), Some(12), Some(34)).unwrap();
}

fn contents(base: &Path) -> Snapshot {
    let mut found = Snapshot::from([(base.to_owned(), content(base))]);
    for entry in fs::read_dir(base).unwrap() {
        let path = entry.unwrap().path();
        match path.symlink_metadata().unwrap().is_dir() {
            true => found.extend(contents(&path)),
            false => drop(found.insert(path.clone(), content(&path))),
        }
    }
    found
}

/// Type, mode, owner, links, size, device, extended attribute, and all times: of the last read too.
fn metadata(path: &Path) -> String {
    let Ok(m) = path.symlink_metadata() else { return "gone".to_owned() };
    let mut value = [0; 16];
    let attribute = rustix::fs::lgetxattr(path, "trusted.nskit", &mut value[..]).map(|n| value[..n].to_vec());
    let times = [(m.atime(), m.atime_nsec()), (m.mtime(), m.mtime_nsec()), (m.ctime(), m.ctime_nsec())];
    format!("{:o} {}:{} {} {} {} {:?} {times:?}", m.mode(), m.uid(), m.gid(), m.nlink(), m.size(), m.rdev(), attribute.ok())
}

fn content(path: &Path) -> String {
    match path.symlink_metadata().unwrap().file_type() {
        kind if kind.is_file() => fs::read_to_string(path).unwrap(),
        kind if kind.is_symlink() => fs::read_link(path).unwrap().display().to_string(),
        _ => String::new(),
    }
}
