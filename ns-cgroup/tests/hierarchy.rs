//! Finding the cgroup2 file system.

mod common;

use common::{Scratch, name};
use ns_cgroup::{Cgroup, ErrorKind, Hierarchy, Kind};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount_bind, mount_change, mount_remount, unmount};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::path::Path;

/// Runs something in a thread with a mount namespace of its own.
fn with_own_mounts<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        // SAFETY: no descriptor table is unshared, which is what makes unshare unsafe.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.expect("root's rights");
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("a private /");
        work()
    });
    thread.join().expect("the thread's own assertions")
}

#[test]
fn is_found_where_the_mount_table_says() {
    let found = Hierarchy::find().unwrap();
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let (pure, hybrid) = (Path::new("/sys/fs/cgroup"), Path::new("/sys/fs/cgroup/unified"));
    assert!([pure, hybrid].contains(&found.root().path()), "{found:?}");
    assert_eq!(found.kind() == Kind::Hybrid, table.contains(" - cgroup cgroup "));
    assert!(found.root().read("cgroup.controllers").unwrap().contains(found.controllers().unwrap().words().next().map_or("", |(_, w)| w)));
    let again = Hierarchy::at(found.root().path()).unwrap();
    assert_eq!((again.kind(), again.root().path()), (found.kind(), found.root().path()));
}

#[test]
fn another_directory_is_no_hierarchy() {
    let e = Hierarchy::at("/proc").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotMounted);
    assert_eq!(e.to_string(), "open the cgroup2 file system at /proc: no cgroup2 file system is there");
    assert_eq!(Hierarchy::at("/no/such").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn the_own_cgroup_is_the_one_that_proc_names() {
    let own = Hierarchy::find().unwrap().own().unwrap();
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("0::")).unwrap();
    assert!(own.path().ends_with(line.trim_start_matches('/')) || line == "/", "{own:?} {line}");
    assert!(own.procs().unwrap().contains(&std::process::id()));
}

#[test]
fn read_only_says_how_to_remount() {
    let e = with_own_mounts(|| {
        let at = Hierarchy::find().unwrap().root().path().to_path_buf();
        mount_bind(&at, &at).unwrap();
        mount_remount(&at, MountFlags::BIND | MountFlags::RDONLY, c"").unwrap();
        (Hierarchy::find().unwrap_err(), at)
    });
    assert_eq!(e.0.kind(), ErrorKind::ReadOnly);
    assert!(e.0.to_string().ends_with(&format!("; mount -o remount,rw {}", e.1.display())), "{}", e.0);
}

#[test]
fn none_says_how_to_mount() {
    let e = with_own_mounts(|| {
        while let Ok(found) = Hierarchy::find() {
            unmount(found.root().path(), UnmountFlags::DETACH).unwrap();
        }
        Hierarchy::find().unwrap_err()
    });
    assert_eq!(e.kind(), ErrorKind::NotMounted);
    assert!(e.hint().unwrap().contains("mount -t cgroup2 cgroup2 /sys/fs/cgroup"), "{e}");
}

#[test]
fn a_place_with_strange_characters_is_found() {
    with_own_mounts(|| {
        let at = std::env::temp_dir().join(format!("ns cgroup\\\t#\n{}", std::process::id()));
        std::fs::create_dir(&at).unwrap();
        mount_bind(Hierarchy::find().unwrap().root().path(), &at).unwrap();
        while let Some(usual) = Hierarchy::find().ok().filter(|h| h.root().path() != at) {
            unmount(usual.root().path(), UnmountFlags::DETACH).unwrap();
        }
        let found = Hierarchy::find().map(|h| h.root().path().to_path_buf());
        unmount(&at, UnmountFlags::DETACH).unwrap();
        std::fs::remove_dir(&at).unwrap();
        assert_eq!(found.unwrap(), at);
    });
}

#[test]
fn the_root_is_not_removed_nor_what_is_below_it() {
    let scratch = common::Scratch::new();
    let inner = Cgroup::create(&scratch, &common::name("inner")).unwrap();
    let part = scratch.path().to_path_buf();
    let e = with_own_mounts(move || {
        // A part of the hierarchy, bound elsewhere, so that nobody else's cgroups are at stake.
        let at = std::env::temp_dir().join(format!("ns-cgroup-part-{}", std::process::id()));
        std::fs::create_dir(&at).unwrap();
        mount_bind(&part, &at).unwrap();
        let e = Hierarchy::at(&at).unwrap().root().try_clone().unwrap().remove().unwrap_err();
        unmount(&at, UnmountFlags::DETACH).unwrap();
        std::fs::remove_dir(&at).unwrap();
        e
    });
    assert_eq!((e.kind(), e.hint()), (ErrorKind::Busy, Some("it is the root of the hierarchy")));
    assert!(inner.read("cgroup.events").is_ok());
}

#[test]
fn a_cgroup_is_found_by_its_path() {
    let scratch = Scratch::new();
    let hierarchy = Hierarchy::find().unwrap();
    let below = Cgroup::create(&scratch, &name("a")).unwrap();
    assert_eq!(hierarchy.cgroup(below.path()).unwrap().path(), below.path());
    for path in [below.path().join(".."), below.path().join("none"), "/".into(), "/proc".into(), "a".into(), "".into()] {
        assert_eq!(hierarchy.cgroup(&path).unwrap_err().kind(), ErrorKind::NotFound, "{}", path.display());
    }
}
