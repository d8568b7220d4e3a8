use crate::testing::{Payload, Tree, at, errno, in_child, own_mounts};
use crate::{Cgroup2, JoinPayload, Lock, Mqueue, Sysfs, dev, run, run_host};
use std::os::fd::AsFd;

fn names(dir: std::path::PathBuf) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_skeleton_shows_the_payloads_network_and_is_read_only() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let payload = Payload::start();
        let fd = tree.attached();
        dev().mount(fd.as_fd()).unwrap().close();
        run().mount(fd.as_fd()).unwrap().close();
        run_host().mount(fd.as_fd()).unwrap().close();
        JoinPayload::ipc_cgroup().join(payload.pidfd()).unwrap();
        Mqueue::at("/dev/mqueue").unwrap().mount(fd.as_fd()).unwrap().close();
        JoinPayload::network().join(payload.pidfd()).unwrap();
        let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
        Sysfs::skeleton().mount(fd.as_fd()).unwrap();
        let after = std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
        // The tmpfs and the sub-trees; not the sysfs that they came from.
        assert_eq!(after - before, 7);
        assert_eq!(names(at(&fd, "sys")), ["block", "bus", "class", "dev", "devices", "fs", "kernel"]);
        assert_eq!(names(at(&fd, "sys/class/net")), ["lo"]);
        Cgroup2::at("/sys/fs/cgroup").unwrap().mount(fd.as_fd()).unwrap().close();
        assert!(at(&fd, "sys/fs/cgroup/cgroup.procs").exists());
        for path in ["sys/x", "sys/fs/x", "sys/class/net/lo/mtu"] {
            assert_eq!(errno(std::fs::write(at(&fd, path), "1500")), libc::EROFS, "{path}");
        }
        Lock::default_sys().apply(fd.as_fd()).unwrap();
    });
}

#[test]
fn the_whole_of_it_is_read_only_too() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let fd = tree.attached();
        run().mount(fd.as_fd()).unwrap().close();
        run_host().mount(fd.as_fd()).unwrap().close();
        Sysfs::whole().mount(fd.as_fd()).unwrap();
        assert!(at(&fd, "sys/module").is_dir());
        assert_eq!(errno(std::fs::write(at(&fd, "sys/class/net/lo/mtu"), "1500")), libc::EROFS);
        Cgroup2::at("/sys/fs/cgroup").unwrap().mount(fd.as_fd()).unwrap().close();
        Lock::default_sys().apply(fd.as_fd()).unwrap();
        assert_eq!(Sysfs::whole().to_string(), "/sys: sysfs ro nosuid nodev noexec");
    });
}
