//! ns-mount, with the plan of ns-core: a root of its own, most of it read-only, that root inside can't undo. As root.

use ns_core::{Exec, Exit, Fds, IdMap, Locked, Namespaces, Plan, Sealed, Slot};
use ns_mount::{Bind, LeaveHost, Lock, PrivateHost, Proc, Root, detach, dev, open_tree, run_host, tmp};
use std::error::Error;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;

const TREE: Slot = Slot::new("tree");
const ROOT_ID: u32 = 1_000_000;

const SCRIPT: &str = r#"
refused() { if "$@" 2>/dev/null; then echo "not refused: $*"; exit 1; fi; }
touch /tmp/x && test $(stat -c %u /etc) = 0 || exit 1
refused touch /usr/x
refused mount -o remount,bind,rw /usr
refused umount /proc/sys
refused mount -t proc proc /tmp
exit 42"#;

fn plan() -> Result<Sealed, Box<dyn Error>> {
    let exec = Exec::new("/bin/sh")?.args(["-c", SCRIPT])?.env("PATH", "/usr/sbin:/usr/bin")?.inherit_stdio();
    Ok(Plan::new(exec)
        .given(TREE)
        .user(IdMap::range(0, ROOT_ID, 65_536)?)
        .unshare(Namespaces::all())
        // The builder's list: with the caller's rights, in a copy of the host's mount namespace.
        .outside(PrivateHost)
        .outside(Root::new(TREE).id_mapped())
        .outside(dev().owner(ROOT_ID, ROOT_ID))
        .outside(tmp().owner(ROOT_ID, ROOT_ID))
        .outside(ns_mount::run().owner(ROOT_ID, ROOT_ID))
        .outside(run_host().owner(ROOT_ID, ROOT_ID))
        .outside(Bind::new("/usr", "/usr")?.read_only().owner(ROOT_ID, ROOT_ID))
        .outside(Proc::of_payload().owner(ROOT_ID, ROOT_ID))
        .outside(Lock::default_proc(true))
        .outside(LeaveHost)
        // The payload's list: it copies those mounts from inside its user namespace, which locks them.
        .inside(Locked)
        .seal()?)
}

/// Nothing but what programs of the host's /usr need.
fn make_tree(tree: &Path) -> std::io::Result<()> {
    std::fs::create_dir(tree.join("etc"))?;
    ["bin", "lib", "lib64", "sbin"].into_iter().try_for_each(|dir| symlink(format!("usr/{dir}"), tree.join(dir)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    make_tree(directory.path())?;
    let sealed = plan()?;
    print!("{sealed}");
    // Once resolved, the tree has no path any more. It is id-mapped once: given, not lent.
    let tree = detach(open_tree(directory.path())?.as_fd())?;
    assert_eq!(sealed.start(Fds::new().give(TREE, tree))?.wait()?, Exit::Exited(42));
    Ok(())
}

#[test]
fn runs() {
    main().unwrap();
}
