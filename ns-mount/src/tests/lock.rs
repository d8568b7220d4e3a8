use crate::testing::{Tree, at, errno, in_child, own_mounts};
use crate::{Filesystem, Lock, Mount, MountFlags, SealRunHost, run, run_host};
use ns_core::{Errno, Step};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

fn with_proc(tree: &Tree) -> OwnedFd {
    let fd = tree.attached();
    let proc = Filesystem::new("proc").unwrap().mount_flags(MountFlags::INERT);
    Mount::new(proc, "/proc").unwrap().mount(fd.as_fd()).unwrap().close();
    run().mount(fd.as_fd()).unwrap().close();
    fd
}

#[test]
fn procs_table_hides_locks_and_replaces() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let fd = with_proc(&tree);
        let run_host = run_host().mount(fd.as_fd()).unwrap();
        Lock::default_proc(true).apply(fd.as_fd()).unwrap();
        let write = |path: &str| std::fs::OpenOptions::new().write(true).open(at(&fd, path));
        assert_eq!(errno(write("proc/sys/kernel/hostname")), libc::EROFS);
        write("proc/sys/net/ipv4/ip_forward").unwrap();
        // Every kernel has interrupts; the others are this one's choice.
        let hidden = ["sysrq-trigger", "kallsyms", "keys", "kcore", "timer_list", "mtrr", "sched_debug"];
        let there = hidden.into_iter().filter(|name| Path::new("/proc").join(name).exists());
        for hidden in ["interrupts"].into_iter().chain(there) {
            let meta = std::fs::metadata(at(&fd, "proc").join(hidden)).unwrap();
            assert_eq!((meta.len(), meta.mode() & 0o7777), (0, 0), "{hidden}");
        }
        let boot_id = std::fs::read_to_string(at(&fd, "proc/sys/kernel/random/boot_id")).unwrap();
        assert_ne!(boot_id, std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap());
        assert_eq!(boot_id.len(), 37);
        assert!(std::fs::metadata(at(&fd, "proc/kmsg")).unwrap().file_type().is_fifo());
        SealRunHost.apply(run_host.as_fd()).unwrap();
        assert_eq!(std::fs::read_to_string(at(&fd, "proc/sys/kernel/random/boot_id")).unwrap(), boot_id);
        // A guest's systemd mounts over it for its sandboxed units, which the kernel allows on no file that is unlinked.
        let boot_id = at(&fd, "proc/sys/kernel/random/boot_id");
        crate::testing::mount("/dev/null", boot_id.to_str().unwrap(), "", libc::MS_BIND).unwrap();
        assert_eq!(std::fs::read_dir(at(&fd, "run/host/inaccessible")).unwrap().count(), 6);
        assert_eq!(errno(std::fs::write(at(&fd, "run/host/x"), "")), libc::EROFS);
    });
}

#[test]
fn with_the_hosts_network_its_settings_are_read_only_too() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let fd = with_proc(&tree);
        run_host().mount(fd.as_fd()).unwrap().close();
        Lock::default_proc(false).apply(fd.as_fd()).unwrap();
        let write = std::fs::OpenOptions::new().write(true).open(at(&fd, "proc/sys/net/ipv4/ip_forward"));
        assert_eq!(errno(write), libc::EROFS);
    });
}

#[test]
fn rows_of_the_tree() {
    let tree = Tree::new();
    std::fs::write(tree.path("srv/inner"), "").unwrap();
    std::fs::create_dir(tree.path("srv/rw")).unwrap();
    in_child(|| {
        own_mounts();
        let fd = with_proc(&tree);
        run_host().mount(fd.as_fd()).unwrap().close();
        let lock = Lock::new().hidden("/srv/inner").unwrap().read_only("/srv").unwrap().writable("/srv/rw").unwrap();
        let lock = lock.hidden("/etc").unwrap().read_only("/no/such").unwrap().optional();
        lock.apply(fd.as_fd()).unwrap();
        // What was hidden before its directory became read-only still is.
        assert_eq!(std::fs::metadata(at(&fd, "srv/inner")).unwrap().mode() & 0o7777, 0);
        assert_eq!(errno(std::fs::write(at(&fd, "srv/x"), "")), libc::EROFS);
        std::fs::write(at(&fd, "srv/rw/x"), "").unwrap();
        assert_eq!(std::fs::read_dir(at(&fd, "etc")).unwrap().count(), 0);
        assert_eq!(errno(std::fs::write(at(&fd, "etc/x"), "")), libc::EROFS);
    });
}

#[test]
fn a_row_that_is_missing_is_named() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let fd = tree.attached();
        let lock = Lock::new().read_only("/srv").unwrap().hidden("/no/such").unwrap();
        let fault = lock.apply(fd.as_fd()).unwrap_err();
        assert_eq!((fault.errno, fault.row), (Errno::ENOENT, 1));
        assert_eq!(Step::row(&lock, fault.row).unwrap().to_string(), "hide /no/such");
        let fault = Lock::new().hidden("/srv").unwrap().apply(fd.as_fd()).unwrap_err();
        assert!(fault.to_string().contains("missing in /run/host"), "{fault}");
    });
}

#[test]
fn a_link_that_a_row_would_follow_is_refused() {
    let tree = Tree::new();
    std::fs::remove_dir(tree.path("proc")).unwrap();
    std::os::unix::fs::symlink("/etc", tree.path("proc")).unwrap();
    in_child(|| {
        own_mounts();
        let fault = Lock::default_proc(true).apply(tree.attached().as_fd()).unwrap_err();
        assert_eq!((fault.errno, fault.row), (Errno::ELOOP, 0));
    });
}

/// Whoever may write to the tree, as the root of the container that it lies in, renames the mount point, which takes the mount along.
#[test]
fn a_mount_that_was_moved_away_is_locked_where_it_is() {
    let tree = Tree::new();
    let (ready, moved) = (tree.path("ready"), tree.path("moved"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            crate::testing::wait_for(&ready);
            std::fs::rename(tree.path("proc"), tree.path("elsewhere")).unwrap();
            std::fs::create_dir_all(tree.path("proc/sys")).unwrap();
            std::fs::write(tree.path("proc/interrupts"), "a fake").unwrap();
            std::fs::write(&moved, "").unwrap();
        });
        in_child(|| {
            own_mounts();
            let fd = tree.attached();
            let proc = Filesystem::new("proc").unwrap().mount_flags(MountFlags::INERT);
            let proc = Mount::new(proc, "/proc").unwrap().mount(fd.as_fd()).unwrap();
            run().mount(fd.as_fd()).unwrap().close();
            let run_host = run_host().mount(fd.as_fd()).unwrap();
            std::fs::write(&ready, "").unwrap();
            crate::testing::wait_for(&moved);
            Lock::default_proc(true).apply_in(proc.as_fd(), run_host.as_fd()).unwrap();
            assert_eq!(std::fs::read_to_string(at(&fd, "proc/interrupts")).unwrap(), "a fake");
            assert_eq!(std::fs::read(at(&fd, "elsewhere/interrupts")).unwrap(), b"");
            let write = std::fs::OpenOptions::new().write(true).open(at(&fd, "elsewhere/sys/kernel/hostname"));
            assert_eq!(errno(write), libc::EROFS);
        });
    });
}

#[test]
fn the_default_tables_are_printed_row_by_row() {
    let proc = Lock::default_proc(true).to_string();
    for part in ["ro /proc/sys", "rw /proc/sys/net", "hide /proc/kcore", "/run/host/.boot-id over /proc/sys/kernel/random/boot_id"] {
        assert!(proc.contains(part), "{proc}");
    }
    assert!(!Lock::default_proc(false).to_string().contains("rw "));
    assert!(Lock::default_sys().to_string().contains("hide /sys/firmware"));
}
