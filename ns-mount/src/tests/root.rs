use crate::testing::{Payload, SHIFT, Tree, at, errno, in_child, mode_and_owner, mount, own_mounts};
use crate::{LeaveHost, PrivateHost, ReadOnlyRoot, Root, Tmpfs, detach, open_tree};
use ns_core::{Errno, Slot, raw};
use std::os::fd::AsFd;

const TREE: Slot = Slot::new("tree");

#[test]
fn an_id_mapped_trees_files_belong_to_the_containers_root() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let payload = Payload::start();
        let fd = tree.detached();
        Root::new(TREE).id_mapped().nosuid().attach(fd.as_fd(), Some(payload.user_ns().as_fd())).unwrap();
        assert_eq!(mode_and_owner(&at(&fd, "etc/name")), (0o644, SHIFT, SHIFT));
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = table.lines().last().unwrap();
        assert!(line.contains("nosuid,nodev") && line.contains("idmapped"), "{line}");
        // The host's root is in no map, so it can't create here.
        assert_eq!(errno(std::fs::write(at(&fd, "new"), "")), libc::EOVERFLOW);
    });
}

#[test]
fn a_missing_mount_point_is_made_as_the_owner_even_in_a_read_only_directory() {
    use std::os::unix::fs::PermissionsExt;
    let tree = Tree::new();
    // Fedora's root directory.
    std::fs::set_permissions(tree.path(""), std::fs::Permissions::from_mode(0o555)).unwrap();
    in_child(|| {
        own_mounts();
        let payload = Payload::start();
        let fd = tree.detached();
        Root::new(TREE).id_mapped().attach(fd.as_fd(), Some(payload.user_ns().as_fd())).unwrap();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o777));
        let before = rustix::process::dumpable_behavior().unwrap();
        Tmpfs::at("/var/lib/x").unwrap().owner(SHIFT, SHIFT).mount(fd.as_fd()).unwrap().close();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), before);
        let fault = Tmpfs::at("/other").unwrap().mount(fd.as_fd()).unwrap_err();
        assert_eq!(fault.errno, Errno::EOVERFLOW);
        assert!(fault.to_string().contains("not in the id map"), "{fault}");
        std::fs::File::open("/proc/self/status").unwrap();
    });
    // On the disk they are root's, of the usual mode whatever the umask.
    for dir in ["var", "var/lib", "var/lib/x"] {
        assert_eq!(mode_and_owner(&tree.path(dir)), (0o755, 0, 0));
    }
}

#[test]
fn read_only_is_the_tree_with_its_own_mounts_and_nothing_else() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        mount("x", tree.path("srv").to_str().unwrap(), "tmpfs", 0).unwrap();
        let fd = tree.detached();
        Root::new(TREE).read_only().attach(fd.as_fd(), None).unwrap();
        // Mount points can still be made, but not in mounts of the tree.
        Tmpfs::at("/made").unwrap().mount(fd.as_fd()).unwrap().close();
        assert_eq!(errno(std::fs::write(at(&fd, "srv/x"), "")), libc::EROFS);
        ReadOnlyRoot.apply(fd.as_fd()).unwrap();
        assert_eq!(errno(std::fs::write(at(&fd, "x"), "")), libc::EROFS);
        std::fs::write(at(&fd, "made/x"), "").unwrap();
        let fault = Tmpfs::at("/late").unwrap().mount(fd.as_fd()).unwrap_err();
        assert!(fault.to_string().contains("the tree is read-only"), "{fault}");
    });
}

#[test]
fn a_tree_that_is_read_only_on_the_host_stays_so() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let path = tree.path("");
        let path = path.to_str().unwrap();
        mount(path, path, "", libc::MS_BIND).unwrap();
        mount("", path, "", libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY).unwrap();
        let fd = tree.detached();
        Root::new(TREE).read_only().attach(fd.as_fd(), None).unwrap();
        assert_eq!(errno(std::fs::write(at(&fd, "x"), "")), libc::EROFS);
    });
}

#[test]
fn a_tree_is_id_mapped_once() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let payload = Payload::start();
        let (fd, user_ns) = (tree.detached(), payload.user_ns());
        let root = Root::new(TREE).id_mapped();
        root.attach(fd.as_fd(), Some(user_ns.as_fd())).unwrap();
        let fault = root.attach(fd.as_fd(), Some(user_ns.as_fd())).unwrap_err();
        assert_eq!((fault.call, fault.errno), ("mount_setattr(IDMAP)", Errno::EPERM));
    });
}

/// On a host under systemd every mount is shared: a clone that stayed so would carry the container's mounts back.
#[test]
fn what_is_mounted_inside_never_shows_on_a_host_whose_mounts_are_shared() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let path = tree.path("");
        let path = path.to_str().unwrap();
        mount(path, path, "", libc::MS_BIND).unwrap();
        mount("x", tree.path("srv").to_str().unwrap(), "tmpfs", 0).unwrap();
        mount("", "/", "", libc::MS_SHARED | libc::MS_REC).unwrap();
        let before = std::fs::read("/proc/self/mountinfo").unwrap();
        let fd = detach(open_tree(path.as_ref()).unwrap().as_fd()).unwrap();
        in_child(|| {
            // SAFETY: a forked child.
            unsafe { raw::unshare(linux_raw_sys::general::CLONE_NEWNS) }.unwrap();
            PrivateHost.apply().unwrap();
            Root::new(TREE).attach(fd.as_fd(), None).unwrap();
            Tmpfs::at("/run").unwrap().mount(fd.as_fd()).unwrap().close();
            crate::Bind::new(tree.path("srv"), "/etc").unwrap().bind(fd.as_fd(), None).unwrap();
            LeaveHost.leave(fd.as_fd()).unwrap();
            mount("x", "/etc", "tmpfs", 0).unwrap();
            mount("x", "/srv", "tmpfs", 0).unwrap();
        });
        assert_eq!(std::fs::read("/proc/self/mountinfo").unwrap(), before);
    });
}

#[test]
fn leaving_leaves_nothing_of_the_host() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let fd = tree.attached();
        crate::Proc::of_payload();
        Tmpfs::at("/run").unwrap().mount(fd.as_fd()).unwrap().close();
        crate::Mount::new(crate::Filesystem::new("proc").unwrap(), "/proc").unwrap().mount(fd.as_fd()).unwrap().close();
        LeaveHost.leave(fd.as_fd()).unwrap();
        assert_eq!(std::env::current_dir().unwrap(), std::path::Path::new("/"));
        assert_eq!(std::fs::read_to_string("/etc/name").unwrap(), "tree");
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points: Vec<_> = table.lines().map(|line| line.split(' ').nth(4).unwrap()).collect();
        assert_eq!(points, ["/", "/run", "/proc"], "{table}");
        assert!(table.lines().all(|line| line.contains(" shared:")), "{table}");
    });
}

#[test]
fn leaving_before_the_hosts_root_is_private_is_refused_with_words() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        mount("", "/", "", libc::MS_SHARED | libc::MS_REC).unwrap();
        let fault = LeaveHost.leave(tree.attached().as_fd()).unwrap_err();
        assert_eq!((fault.call, fault.errno), ("pivot_root", Errno::EINVAL));
        assert!(fault.to_string().contains("shared"), "{fault}");
    });
}

#[test]
fn a_tree_that_is_none_is_named() {
    let error = open_tree("/etc/hostname\x1b".as_ref()).unwrap_err();
    assert_eq!(error.to_string(), "tree /etc/hostname\\u{1b}: open: No such file or directory");
    assert_eq!(open_tree("/etc/passwd".as_ref()).unwrap_err().errno(), Some(Errno::ENOTDIR));
}
