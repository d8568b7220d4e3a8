use std::fs::{create_dir, write};

use super::super::samples::record;
use super::super::{BootId, Mode, Owner, ProcessId, TreeLock};
use super::*;

fn name(name: &str) -> MachineName {
    MachineName::new(name).unwrap()
}

fn files(places: &Places) -> Vec<String> {
    let below = |path: &str| places.run.join(path).read_dir().into_iter().flatten().flatten().map(|file| file.path()).collect::<Vec<_>>();
    let systemd = |path: &str| places.systemd.join(path).read_dir().into_iter().flatten().flatten().map(|file| file.path());
    let all = below("machines").into_iter().chain(below("locks")).chain(systemd("nspawn/locks")).chain(systemd("nspawn-uid"));
    all.map(|path| path.display().to_string()).collect()
}

/// A name that no test has a cgroup of.
fn unique(suffix: &str) -> MachineName {
    name(&format!("gc-{}-{suffix}", std::process::id()))
}

#[test]
fn what_a_crash_left_is_removed_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::below(dir.path());
    create_dir(dir.path().join("tree")).unwrap();
    let tree = Tree::open(&dir.path().join("tree")).unwrap();
    let gone = unique("gone");
    let left = Record { root: tree.path().into(), tree: tree.id(), ..record(gone.as_str()) };
    RecordFile::new(&places, &gone).unwrap().write(&left).unwrap();
    write(places.records().unwrap().join(format!(".{gone}.json")), "{").unwrap();
    let locks = places.tree_locks().unwrap();
    write(locks.join(format!("name-{gone}")), format!("2147483647 {gone}\n")).unwrap();
    write(locks.join(format!("inode-{}", tree.id())), format!("2147483647 {gone}\n")).unwrap();
    write(places.systemd_tree_locks().unwrap().join(format!("inode-{}", tree.id())), "").unwrap();
    write(places.id_locks().unwrap().join(left.ids[0].outside.to_string()), "").unwrap();
    write(dir.path().join(".#tree.lck"), "").unwrap();
    let collected = collect(&places, &gone);
    assert!(collected.kept.is_empty(), "{:?}", collected.kept);
    assert_eq!(collected.removed.len(), 5, "{:?}", collected.removed);
    assert_eq!(files(&places), [locks.join(format!("inode-{}", tree.id())).display().to_string()]);
    tree_locks(&places, &locks, &mut Collected::default());
    assert_eq!(files(&places), [""; 0]);
    assert!(!dir.path().join(".#tree.lck").exists());
    assert!(collect(&places, &gone).removed.is_empty());
}

#[test]
fn nothing_of_one_that_runs_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::below(dir.path());
    create_dir(dir.path().join("tree")).unwrap();
    let tree = Tree::open(&dir.path().join("tree")).unwrap();
    let runs = unique("runs");
    let owner = Owner { machine: runs.clone(), pid: std::process::id() };
    let locks = (TreeLock::take(&places, &tree, &owner, Mode::Exclusive, |_| Ok(())).unwrap(), NameLock::take(&places, &owner).unwrap());
    // Whatever its record says.
    RecordFile::new(&places, &runs).unwrap().write(&record(runs.as_str())).unwrap();
    let before = files(&places);
    let collected = collect(&places, &runs);
    assert!(collected.kept.is_empty() && collected.removed.is_empty(), "{collected:?}");
    tree_locks(&places, &places.tree_locks().unwrap(), &mut Collected::default());
    assert_eq!(files(&places), before);
    drop(locks);
}

#[test]
fn one_whose_lock_file_was_removed_still_runs() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::below(dir.path());
    let runs = unique("bare");
    let record = Record { boot_id: BootId::current().unwrap(), supervisor: ProcessId::of_self().unwrap(), ..record(runs.as_str()) };
    RecordFile::new(&places, &runs).unwrap().write(&record).unwrap();
    let collected = collect(&places, &runs);
    assert_eq!((collected.removed.len(), collected.kept.len()), (0, 1), "{collected:?}");
    assert!(collected.all_free().unwrap_err().to_string().contains("runs, though nobody holds its name"));
    assert!(RecordFile::new(&places, &runs).unwrap().read().unwrap().is_some());
}

#[test]
fn damaged_records_that_nobody_holds_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::below(dir.path());
    let damaged = unique("damaged");
    write(places.records().unwrap().join(format!("{damaged}.json")), "nonsense").unwrap();
    let other = places.records().unwrap().join("not_ours.json");
    write(&other, "").unwrap();
    let collected = collect(&places, &damaged);
    assert_eq!(collected.removed, [format!("record of {damaged}")]);
    assert_eq!(files(&places), [other.display().to_string()]);
}

#[test]
fn notes_of_links_name_the_machine_and_where_its_state_is() {
    let places = Places { run: "/run/nskit".into(), systemd: "/x".into(), etc: "/x".into() };
    assert_eq!(note_of_link(&places, &name("box")).unwrap(), "nskit /run/nskit box");
    let long = Places { run: format!("/{}", "x".repeat(300)).into(), ..places };
    assert_eq!(note_of_link(&long, &name("box")), None);
}
