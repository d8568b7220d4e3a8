use crate::testing::{Payload, SHIFT, Tree, errno, in_child, mount, own_mounts, umount};
use crate::*;
use ns_core::Slot;
use std::os::fd::AsFd;

/// All steps in a recipe's order, by their plain methods; then what container root can undo.
fn boot(tree: &Tree, payload: &Payload, source: &std::path::Path) {
    let fd = tree.detached();
    let (root, user_ns) = (fd.as_fd(), payload.user_ns());
    Root::new(Slot::new("tree")).id_mapped().read_only().attach(root, Some(user_ns.as_fd())).unwrap();
    for tmpfs in [dev(), dev_shm(), tmp(), run()] {
        tmpfs.owner(SHIFT, SHIFT).mount(root).unwrap().close();
    }
    Devpts::at("/dev/pts").unwrap().gid(SHIFT + 5).mount(root).unwrap().close();
    let told = run_host().owner(SHIFT, SHIFT).file("container-manager", 0o444, *b"x\n").unwrap().mount(root).unwrap();
    Proc::of_payload().owner(SHIFT, SHIFT).mount(root, payload.pidfd()).unwrap().close();
    Lock::default_proc(true).apply(root).unwrap();
    Bind::new(source, "/srv/bound").unwrap().read_only().owner(SHIFT, SHIFT).bind(root, None).unwrap();
    JoinPayload::ipc_cgroup().join(payload.pidfd()).unwrap();
    Mqueue::at("/dev/mqueue").unwrap().owner(SHIFT, SHIFT).mount(root).unwrap().close();
    JoinPayload::network().join(payload.pidfd()).unwrap();
    Sysfs::skeleton().owner(SHIFT, SHIFT).mount(root).unwrap();
    Cgroup2::at("/sys/fs/cgroup").unwrap().mount(root).unwrap().close();
    Lock::default_sys().apply(root).unwrap();
    SealRunHost.apply(told.as_fd()).unwrap();
    ReadOnlyRoot.apply(root).unwrap();
    LeaveHost.leave(root).unwrap();
}

const RW: u64 = libc::MS_REMOUNT | libc::MS_BIND;

#[test]
fn container_root_undoes_nothing_of_it() {
    let (tree, source) = (Tree::new(), tempfile::tempdir_in("/var/tmp").unwrap());
    in_child(|| {
        own_mounts();
        let payload = Payload::start();
        boot(&tree, &payload, source.path());
        payload.inside(|| {
            for path in
                ["/proc/sys", "/sys", "/sys/class", "/srv/bound", "/run/host", "/", "/proc/interrupts", "/proc/sys/kernel/random/boot_id"]
            {
                assert_eq!(errno(mount("", path, "", RW)), libc::EPERM, "remount {path}");
            }
            // Locked together with what they cover.
            for path in ["/proc/sys", "/proc/interrupts", "/proc", "/sys", "/sys/class", "/dev", "/run/host", "/srv/bound"] {
                assert_eq!(errno(umount(path)), libc::EINVAL, "umount {path}");
            }
            assert_eq!(errno(mount("proc", "/tmp", "proc", 0)), libc::EPERM);
            // nodev of the tree can't be cleared.
            assert_eq!(errno(mount("", "/", "", RW | libc::MS_RDONLY)), libc::EPERM);
            assert_eq!(errno(std::fs::write("/proc/sys/kernel/core_pattern", "x")), libc::EROFS);
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            assert_eq!(std::fs::read_to_string("/proc/interrupts").unwrap(), "");
            assert_eq!(std::fs::read_link("/proc/1/ns/net").unwrap(), std::fs::read_link("/proc/self/ns/net").unwrap());
            // What a guest does itself still works.
            mount("x", "/tmp", "tmpfs", 0).unwrap();
            std::fs::create_dir("/tmp/mqueue").unwrap();
            mount("mqueue", "/tmp/mqueue", "mqueue", 0).unwrap();
            std::fs::write("/dev/null", "x").unwrap();
            std::fs::write("/run/x", "x").unwrap();
        });
    });
    assert_eq!(std::fs::read_dir(source.path()).unwrap().count(), 0);
}

#[test]
fn the_payloads_proc_shows_the_payload_alone() {
    let (tree, source) = (Tree::new(), tempfile::tempdir_in("/var/tmp").unwrap());
    in_child(|| {
        own_mounts();
        let payload = Payload::start();
        boot(&tree, &payload, source.path());
        let pids: Vec<u32> = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok()).collect();
        assert_eq!(pids, [1]);
    });
}
