//! What is in a cgroup, as a value; signals to all of it.

mod common;

use common::{SOON, Scratch, name, sleep_forever, start};
use ns_cgroup::{Cgroup, Errno, Tree};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

#[test]
fn processes_and_cgroups_with_whatever_names() {
    let scratch = Scratch::new();
    let scope = Cgroup::create(&scratch, &name("init.scope")).unwrap();
    let odd = OsString::from_vec(b"a\x1b[2J\xff".to_vec());
    std::fs::create_dir(scratch.path().join(&odd)).unwrap();
    let children = [start(&scope, sleep_forever), start(&scope, sleep_forever)];
    let mut pids: Vec<u32> = children.iter().map(|child| child.pid).collect();
    pids.sort_unstable();

    let tree = scratch.tree(100, 10).unwrap();
    let scope = Tree { name: "init.scope".into(), processes: pids.clone(), ..Tree::default() };
    let empty = Tree { name: odd, ..Tree::default() };
    assert_eq!(tree, Tree { children: vec![empty.clone(), scope], ..Tree::default() });
    assert!(empty.is_empty() && !tree.is_empty());

    assert!(scratch.tree(100, 0).unwrap().cut);
    let few = scratch.tree(3, 10).unwrap();
    assert_eq!((few.children[1].processes.as_slice(), few.children[1].cut), (&pids[..1], true));
    let none = scratch.tree(1, 10).unwrap();
    assert!(none.cut && none.children.len() <= 1, "{none:?}");
    drop(children);
}

#[test]
fn a_signal_reaches_all() {
    let scratch = Scratch::new();
    let below = Cgroup::create(&scratch, &name("below")).unwrap();
    let children = [start(&below, sleep_forever), start(&scratch, sleep_forever)];
    assert_eq!(scratch.signal(libc::SIGRTMIN() + 3).unwrap(), 2);
    assert!(scratch.wait_empty(SOON).unwrap());
    for child in children {
        assert_eq!(child.wait(), 128 + libc::SIGRTMIN() + 3);
    }
    assert_eq!(scratch.signal(9).unwrap(), 0);
    for none in [0, -1, 65] {
        assert_eq!(scratch.signal(none).unwrap_err().errno(), Some(Errno::EINVAL));
    }
}
