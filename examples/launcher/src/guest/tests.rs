use std::fs::{create_dir_all, set_permissions, write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, makedev, mknodat};
use tempfile::TempDir;

use super::*;
use crate::settings::{MachineName, Payload};

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A tree with this at `etc/os-release`.
fn with(make: impl FnOnce(&Path)) -> (TempDir, Tree) {
    let dir = directory();
    create_dir_all(dir.path().join("etc")).unwrap();
    make(&dir.path().join("etc/os-release"));
    let tree = Tree::open(dir.path()).unwrap();
    (dir, tree)
}

fn refused(tree: &Tree) -> String {
    let started = Instant::now();
    let e = tree.os_release().unwrap_err();
    assert!(started.elapsed() < Duration::from_millis(500), "{e}");
    assert_eq!(e.kind(), Kind::Tree);
    e.to_string()
}

#[test]
fn a_tree_is_a_directory_that_is_not_the_root() {
    let dir = directory();
    write(dir.path().join("file"), "").unwrap();
    symlink("/", dir.path().join("root")).unwrap();
    let failed = |name: &str| Tree::open(&dir.path().join(name)).map(|t| t.id()).unwrap_err();
    assert_eq!(failed("none").errno(), Some(Errno::ENOENT));
    assert_eq!(failed("file").errno(), Some(Errno::ENOTDIR));
    assert!(failed("file").to_string().ends_with("/file is not a directory"));
    assert!(failed("root").to_string().contains("root directory"));
    assert!(failed("root/proc/..").to_string().contains("root directory"));
    assert!(failed("a\x1b[2J\n").to_string().contains("a\\x1b[2J\\n"));
}

#[test]
fn files_are_found_in_the_tree_only() {
    let (dir, tree) = with(|path| symlink("/outside/os-release", path).unwrap());
    assert_eq!(tree.os_release().unwrap(), None);
    create_dir_all(dir.path().join("outside")).unwrap();
    write(dir.path().join("outside/os-release"), "ID=inside\n").unwrap();
    assert_eq!(tree.os_release().unwrap().unwrap().id.as_deref(), Some("inside"));
    let host = directory();
    write(host.path().join("os-release"), "ID=host\n").unwrap();
    let up = "../".repeat(40) + host.path().to_str().unwrap().trim_start_matches('/') + "/os-release";
    let (_dir, tree) = with(|path| symlink(&up, path).unwrap());
    assert_eq!(tree.os_release().unwrap(), None);
}

#[test]
fn the_second_place_counts_when_the_first_is_absent() {
    let (dir, tree) = with(|_| ());
    create_dir_all(dir.path().join("usr/lib")).unwrap();
    assert_eq!(tree.os_release().unwrap(), None);
    write(dir.path().join("usr/lib/os-release"), "ID=second").unwrap();
    assert_eq!(tree.os_release().unwrap().unwrap().id.as_deref(), Some("second"));
}

#[test]
fn hostile_files_are_refused_at_once() {
    let node = |kind, device| move |path: &Path| mknodat(CWD, path, kind, Mode::from_raw_mode(0o666), device).unwrap();
    let (_a, fifo) = with(node(FileType::Fifo, 0));
    let (_b, zero) = with(node(FileType::CharacterDevice, makedev(1, 5)));
    let (_c, disk) = with(node(FileType::BlockDevice, makedev(7, 0)));
    let (_d, socket) = with(|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()));
    let (_e, folder) = with(|path| create_dir_all(path).unwrap());
    for tree in [fifo, zero, disk, socket, folder] {
        assert!(refused(&tree).ends_with("/etc/os-release is not a regular file"));
    }
}

#[test]
fn links_that_never_end_are_refused() {
    let (_a, itself) = with(|path| symlink("os-release", path).unwrap());
    assert!(refused(&itself).ends_with("openat2: Too many levels of symbolic links"));
    let (dir, pair) = with(|path| symlink("../b/x", path).unwrap());
    symlink("etc", dir.path().join("b")).unwrap();
    symlink("../b/os-release", dir.path().join("etc/x")).unwrap();
    let text = refused(&pair);
    assert!(text.contains("symbolic links"), "{text}");
    let (_c, magic) = with(|path| symlink("/proc/self/fd/0", path).unwrap());
    assert_eq!(magic.os_release().unwrap(), None, "the tree has no /proc, and ours isn't reached");
}

#[test]
fn magic_links_of_a_proc_in_the_tree_lead_nowhere() {
    let proc = Tree::open("/proc".as_ref()).unwrap();
    let e = proc.read(c"self/fd/0").unwrap_err();
    assert_eq!(e.errno(), Some(Errno::ELOOP), "{e}");
    assert!(proc.read(c"self/status").unwrap().is_some());
}

#[test]
fn long_files_are_refused() {
    let sparse = |size: u64| move |path: &Path| File::create(path).unwrap().set_len(size).unwrap();
    let (_a, huge) = with(sparse(4 << 30));
    assert!(refused(&huge).contains("longer than 65536 bytes"));
    let (_b, over) = with(sparse(MAX + 1));
    assert!(refused(&over).contains("longer than 65536 bytes"));
    let (_c, full) = with(sparse(MAX));
    assert_eq!(full.os_release().unwrap(), Some(OsRelease::default()));
}

#[test]
fn a_file_that_has_no_size_is_read_to_the_bound() {
    let proc = Tree::open("/proc".as_ref()).unwrap();
    let kallsyms = proc.read(c"kallsyms").unwrap_err();
    assert!(kallsyms.to_string().contains("longer than"), "{kallsyms}");
}

#[test]
fn ids_and_users_of_a_tree() {
    let (dir, tree) = with(|_| ());
    assert_eq!((tree.machine_id().unwrap(), tree.root_user().unwrap()), (None, RootUser::default()));
    write(dir.path().join("etc/machine-id"), "uninitialized\n").unwrap();
    assert_eq!(tree.machine_id().unwrap(), None);
    write(dir.path().join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    assert!(tree.machine_id().unwrap().is_some());
    write(dir.path().join("etc/passwd"), "root:x:0:0::/r:/bin/zsh\n").unwrap();
    assert_eq!(tree.root_user().unwrap().home, Path::new("/r"));
}

#[test]
fn inits_are_programs_that_are_there() {
    let (dir, tree) = with(|_| ());
    let file = |path: &str, mode| {
        let path = dir.path().join(path);
        create_dir_all(path.parent().unwrap()).unwrap();
        write(&path, "").unwrap();
        set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    };
    assert!(tree.inits().unwrap_err().to_string().contains("no init: none of /usr/lib/systemd/systemd, "));
    file("lib/systemd/systemd", 0o644);
    assert!(tree.inits().is_err());
    create_dir_all(dir.path().join("sbin")).unwrap();
    symlink("/lib/systemd/systemd", dir.path().join("sbin/init")).unwrap();
    file("lib/systemd/systemd", 0o755);
    assert_eq!(tree.inits().unwrap(), [c"/lib/systemd/systemd".to_owned(), c"/sbin/init".to_owned()]);
    create_dir_all(dir.path().join("usr/lib/systemd/systemd")).unwrap();
    assert_eq!(tree.inits().unwrap().len(), 2, "a directory is no program");
}

#[test]
fn what_is_no_system_is_refused_and_the_inner_one_named() {
    let (dir, tree) = with(|_| ());
    let refused = |payload: Payload| tree.check_always(&payload).unwrap_err().to_string();
    let shown = dir.path().display();
    assert_eq!(
        refused(Payload::Boot(vec![])),
        format!("Directory {shown} doesn't look like it has an OS tree: the os-release file is missing")
    );
    assert!(refused(Payload::Shell).ends_with("the /usr directory is missing"));
    create_dir_all(dir.path().join("root.x86_64/usr/lib")).unwrap();
    assert!(!refused(Payload::Shell).contains("root.x86_64"));
    write(dir.path().join("root.x86_64/usr/lib/os-release"), "ID=arch").unwrap();
    assert!(refused(Payload::Boot(vec![])).ends_with(&format!("; {shown}/root.x86_64 does, use that")));
    assert!(refused(Payload::Command(vec!["ls".into()])).contains("root.x86_64"));
    let inner = Tree::open(&dir.path().join("root.x86_64")).unwrap();
    inner.check_always(&Payload::Boot(vec![])).unwrap();
    inner.check_always(&Payload::Shell).unwrap();
}

#[test]
fn machines_are_found_by_name_in_the_first_directory_that_has_them() {
    let (a, b) = (directory(), directory());
    let name = MachineName::new("box").unwrap();
    let find = || Tree::of_machine(&name, [a.path(), b.path()]);
    assert_eq!(find().unwrap_err().to_string(), "No image for machine 'box'.");
    write(a.path().join("box"), "").unwrap();
    assert!(find().is_err());
    create_dir_all(b.path().join("box")).unwrap();
    assert_eq!(find().unwrap().path(), b.path().join("box"));
}

#[test]
fn a_tree_that_changes_all_the_time_gives_a_file_or_an_error() {
    let (dir, tree) = with(|path| write(path, "ID=a").unwrap());
    let (etc, other) = (dir.path().join("etc"), dir.path().join("other"));
    create_dir_all(&other).unwrap();
    symlink("/etc/os-release", other.join("os-release")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..5_000 {
                rustix::fs::renameat_with(CWD, &etc, CWD, &other, rustix::fs::RenameFlags::EXCHANGE).unwrap();
            }
        });
        for _ in 0..1000 {
            match tree.os_release() {
                Ok(release) => assert!(release.is_none_or(|r| r.id.as_deref() == Some("a"))),
                Err(e) => assert!(matches!(e.errno(), Some(Errno::ELOOP | Errno::EAGAIN)), "{e}"),
            }
        }
    });
}
