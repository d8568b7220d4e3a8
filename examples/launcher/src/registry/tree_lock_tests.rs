use std::fs::create_dir;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::settings::MachineName;

fn set_up() -> (TempDir, Places, Tree) {
    let dir = tempfile::tempdir().unwrap();
    create_dir(dir.path().join("tree")).unwrap();
    let places = Places::below(dir.path());
    let tree = Tree::open(&dir.path().join("tree")).unwrap();
    (dir, places, tree)
}

fn owner(name: &str) -> Owner {
    Owner { machine: MachineName::new(name).unwrap(), pid: std::process::id() }
}

fn take(places: &Places, tree: &Tree, name: &str) -> Result<TreeLock, Error> {
    TreeLock::take(places, tree, &owner(name), Mode::Exclusive, |_| Ok(()))
}

fn share(places: &Places, tree: &Tree, name: &str) -> Result<TreeLock, Error> {
    TreeLock::take(places, tree, &owner(name), Mode::Shared, |_| Ok(()))
}

/// Lock files, of all kinds.
fn files(dir: &TempDir, places: &Places) -> usize {
    let count = |path: &Path| path.read_dir().map_or(0, Iterator::count);
    let beside = dir.path().join(".#tree.lck").exists();
    count(&places.run.join("locks")) + count(&places.systemd.join("nspawn/locks")) + usize::from(beside)
}

#[test]
fn the_second_is_told_of_the_first_at_once_by_any_path() {
    let (dir, places, tree) = set_up();
    let lock = take(&places, &tree, "box").unwrap();
    symlink("tree", dir.path().join("other")).unwrap();
    let other = Tree::open(&dir.path().join("other")).unwrap();
    let started = Instant::now();
    let e = take(&places, &other, "late").unwrap_err();
    assert!(started.elapsed() < Duration::from_millis(100));
    let shown = dir.path().join("other");
    let pid = std::process::id();
    assert_eq!(e.to_string(), format!("Directory tree {} is currently busy: container box, pid {pid}.", shown.display()));
    assert_eq!((e.kind(), e.errno()), (Kind::Busy, Some(Errno::EBUSY)));
    assert_eq!(files(&dir, &places), 3);
    lock.release().unwrap();
    assert_eq!(files(&dir, &places), 0);
    drop(take(&places, &other, "late").unwrap());
    assert_eq!(files(&dir, &places), 0);
}

#[test]
fn readers_share_and_a_writer_waits_for_none() {
    let (dir, places, tree) = set_up();
    let readers = ["a", "b", "c"].map(|name| share(&places, &tree, name).unwrap());
    let e = take(&places, &tree, "late").unwrap_err().to_string();
    assert!(e.contains("container c, pid "), "{e}");
    let [a, b, c] = readers;
    a.release().unwrap();
    c.release().unwrap();
    assert_eq!(take(&places, &tree, "late").unwrap_err().kind(), Kind::Busy);
    assert_eq!(files(&dir, &places), 2);
    b.release().unwrap();
    assert_eq!(files(&dir, &places), 0);
    let writer = take(&places, &tree, "w").unwrap();
    let e = share(&places, &tree, "late").unwrap_err().to_string();
    assert!(e.contains("container w, pid "), "{e}");
    writer.release().unwrap();
}

/// Each looks for a moment whether he was the last: that keeps nobody out.
#[test]
fn readers_come_and_go_without_being_in_each_others_way() {
    let (dir, places, tree) = set_up();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| share(&places, &tree, "reader").unwrap().release().unwrap()));
        }
    });
    assert_eq!(files(&dir, &places), 0);
}

#[test]
fn systemd_nspawn_and_we_keep_each_other_out() {
    let (dir, places, tree) = set_up();
    let inode = places.systemd_tree_locks().unwrap().join(format!("inode-{}:{}", tree.id().dev, tree.id().ino));
    for theirs in [inode, dir.path().join(".#tree.lck")] {
        let Attempt::Held(lock) = LockFile::take(theirs.clone(), Mode::Shared).unwrap() else { panic!("held by nobody") };
        let e = take(&places, &tree, "box").unwrap_err().to_string();
        assert!(e.ends_with(" is currently busy.; systemd-nspawn holds it"), "{e}");
        drop(share(&places, &tree, "box").unwrap());
        drop(lock);
        let ours = take(&places, &tree, "box").unwrap();
        assert!(matches!(LockFile::take(theirs, Mode::Shared).unwrap(), Attempt::Busy(_)));
        assert_eq!(ours.fds().count(), 3);
    }
    assert_eq!(files(&dir, &places), 0);
}

#[test]
fn nothing_is_made_in_a_directory_that_others_may_write_to() {
    let (dir, places, tree) = set_up();
    for mode in [0o777, 0o1777, 0o775] {
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(mode)).unwrap();
        // The two that are ours are not made below such a directory either; only what is beside the tree counts here.
        assert!(beside(&tree, Mode::Exclusive).unwrap().is_none());
    }
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    rustix::fs::chown(dir.path(), Some(rustix::fs::Uid::from_raw(12_345)), None).unwrap();
    assert!(beside(&tree, Mode::Exclusive).unwrap().is_none());
    rustix::fs::chown(dir.path(), Some(rustix::fs::Uid::ROOT), None).unwrap();
    symlink("/etc/passwd", dir.path().join(".#tree.lck")).unwrap();
    let e = take(&places, &tree, "box").unwrap_err();
    assert_eq!(e.errno(), Some(Errno::ELOOP));
}

#[test]
fn a_keeper_holds_it_after_us() {
    let (dir, places, tree) = set_up();
    let lock = take(&places, &tree, "box").unwrap();
    let keeper: Vec<_> = lock.fds().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    assert_eq!(lock.release().unwrap_err().kind(), Kind::Busy);
    let e = take(&places, &tree, "late").unwrap_err().to_string();
    assert!(e.contains("container box, pid "), "{e}");
    drop(keeper);
    take(&places, &tree, "late").unwrap().release().unwrap();
    assert_eq!(files(&dir, &places), 0);
}

#[test]
fn who_was_killed_is_known_to_the_next_until_somebody_has_seen_to_it() {
    let (dir, places, tree) = set_up();
    let path = places.tree_locks().unwrap().join(format!("inode-{}", tree.id()));
    let left = "2147483647 dead\n2147483646 reader shared\n";
    let dead = [Owner { machine: MachineName::new("dead").unwrap(), pid: i32::MAX as u32 }];
    for mode in [Mode::Shared, Mode::Exclusive] {
        std::fs::write(&path, left).unwrap();
        for _ in 0..2 {
            let stuck = TreeLock::take(&places, &tree, &owner("box"), mode, |found| {
                assert_eq!(found, dead);
                // Meanwhile nobody else gets it, to share it or alone, nor touches the tree's directory.
                assert!(share(&places, &tree, "late").is_err() && take(&places, &tree, "late").is_err());
                assert!(!dir.path().join(".#tree.lck").exists());
                Err(Error::new(Kind::Busy, "stuck"))
            });
            assert_eq!(stuck.unwrap_err().to_string(), "stuck");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), left);
        }
        let ours = TreeLock::take(&places, &tree, &owner("box"), mode, |found| {
            assert_eq!(found, dead);
            Ok(())
        });
        let ours = ours.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), owner("box").line(mode));
        assert_eq!(share(&places, &tree, "late").is_ok(), mode == Mode::Shared);
        assert!(take(&places, &tree, "late").is_err());
        ours.release().unwrap();
        assert_eq!(files(&dir, &places), 0);
    }
}

#[test]
fn what_is_abandoned_names_us_to_the_next() {
    let (_dir, places, tree) = set_up();
    take(&places, &tree, "box").unwrap().abandon();
    let mut found = Vec::new();
    let note = |left: &[Owner]| {
        found = left.to_vec();
        Ok(())
    };
    TreeLock::take(&places, &tree, &owner("late"), Mode::Exclusive, note).unwrap().release().unwrap();
    assert_eq!(found, [owner("box")]);
}

#[test]
fn a_run_that_cannot_be_written_names_the_path() {
    let (_dir, _, tree) = set_up();
    let e = take(&Places::below("/proc".as_ref()), &tree, "box").unwrap_err().to_string();
    assert!(e.starts_with("make directory /proc/nskit for locks: mkdir: "), "{e}");
}
