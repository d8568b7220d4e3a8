use crate::testing::{Payload, SHIFT, Tree, at, errno, in_child, mode_and_owner, mount, own_mounts};
use crate::{Bind, ErrorKind, detach, open_tree};
use ns_core::{Errno, Slot};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;

fn source() -> tempfile::TempDir {
    let source = tempfile::Builder::new().prefix("ns-mount-source-").tempdir_in("/var/tmp").unwrap();
    std::fs::create_dir(source.path().join("sub")).unwrap();
    std::fs::write(source.path().join("file"), "of the host").unwrap();
    source
}

#[test]
fn a_bind_makes_its_target_and_is_read_only_all_the_way_down() {
    let (tree, source) = (Tree::new(), source());
    in_child(|| {
        own_mounts();
        mount("x", source.path().join("sub").to_str().unwrap(), "tmpfs", 0).unwrap();
        let fd = tree.attached();
        Bind::new(source.path(), "/var/data").unwrap().read_only().bind(fd.as_fd(), None).unwrap();
        Bind::new(source.path().join("file"), "/var/file").unwrap().bind(fd.as_fd(), None).unwrap();
        assert_eq!(std::fs::read_to_string(at(&fd, "var/data/file")).unwrap(), "of the host");
        for path in ["var/data/x", "var/data/sub/x"] {
            assert_eq!(errno(std::fs::write(at(&fd, path), "")), libc::EROFS);
        }
        std::fs::write(at(&fd, "var/file"), "changed").unwrap();
        assert_eq!(std::fs::read_to_string(source.path().join("file")).unwrap(), "changed");
        Bind::new(source.path(), "/srv").unwrap().non_recursive().bind(fd.as_fd(), None).unwrap();
        assert_eq!(std::fs::read_dir(at(&fd, "srv/sub")).unwrap().count(), 0);
        std::fs::write(at(&fd, "srv/sub/beneath"), "").unwrap();
    });
    assert!(tree.path("var/data").is_dir() && tree.path("var/file").is_file());
    assert_eq!(std::fs::metadata(tree.path("var/file")).unwrap().len(), 0);
}

#[test]
fn links_in_the_tree_never_lead_out_of_it() {
    let (tree, source) = (Tree::new(), source());
    let outside = tempfile::tempdir().unwrap();
    let outside_path = outside.path().to_str().unwrap();
    std::fs::create_dir_all(tree.path(outside_path.trim_start_matches('/'))).unwrap();
    symlink(outside_path, tree.path("abs")).unwrap();
    symlink("../../../../../../etc", tree.path("up")).unwrap();
    symlink("/proc/self/cwd", tree.path("magic")).unwrap();
    symlink("/nowhere", tree.path("dangling")).unwrap();
    in_child(|| {
        own_mounts();
        let fd = tree.attached();
        let bind = |target: &str| Bind::new(source.path(), target).unwrap().bind(fd.as_fd(), None);
        bind("/abs/x").unwrap();
        bind("/up/x").unwrap();
        assert!(at(&fd, "etc/x/file").exists());
        assert!(at(&fd, outside_path.trim_start_matches('/')).join("x/file").exists());
        let fault = bind("/dangling").unwrap_err();
        assert_eq!(fault.errno, Errno::EEXIST);
        assert!(fault.to_string().contains("leads nowhere"), "{fault}");
        // There is no /proc in the tree yet, so the link leads nowhere; once there is, it is a magic one.
        assert!(bind("/magic/x").is_err());
        crate::Mount::new(crate::Filesystem::new("proc").unwrap(), "/proc").unwrap().mount(fd.as_fd()).unwrap().close();
        assert_eq!(bind("/magic/x").unwrap_err().errno, Errno::ELOOP);
        let fault = bind("/etc/name").unwrap_err();
        assert_eq!(fault.errno, Errno::ENOTDIR);
        assert!(fault.to_string().ends_with("the source is a directory, the target is not"), "{fault}");
        let fault = Bind::new("/etc/passwd", "/srv").unwrap().bind(fd.as_fd(), None).unwrap_err();
        assert_eq!(fault.errno, Errno::EISDIR);
    });
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!std::path::Path::new("/etc/x").exists());
}

#[test]
fn an_id_mapped_bind_belongs_to_the_containers_root() {
    let (tree, source) = (Tree::new(), source());
    in_child(|| {
        own_mounts();
        let payload = Payload::start();
        let fd = tree.attached();
        let user_ns = payload.user_ns();
        let bind = |source: &std::path::Path| Bind::new(source, "/srv").unwrap().id_mapped().bind(fd.as_fd(), Some(user_ns.as_fd()));
        bind(source.path()).unwrap();
        assert_eq!(mode_and_owner(&at(&fd, "srv/file")), (0o644, SHIFT, SHIFT));
        // What can't be mapped doesn't arrive unmapped.
        let fault = bind("/sys".as_ref()).unwrap_err();
        assert_eq!((fault.call, fault.errno), ("mount_setattr(IDMAP)", Errno::EINVAL));
        assert_eq!(mode_and_owner(&at(&fd, "srv/file")), (0o644, SHIFT, SHIFT));
    });
}

#[test]
fn devices_open_only_where_it_was_said() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let fd = tree.attached();
        crate::dev().mount(fd.as_fd()).unwrap().close();
        Bind::new("/dev/null", "/dev/closed").unwrap().bind(fd.as_fd(), None).unwrap();
        Bind::new("/dev/null", "/dev/open").unwrap().devices().bind(fd.as_fd(), None).unwrap();
        assert_eq!(errno(std::fs::write(at(&fd, "dev/closed"), "")), libc::EACCES);
        std::fs::write(at(&fd, "dev/open"), "").unwrap();
    });
}

#[test]
fn a_detached_source_is_attached() {
    let (tree, source) = (Tree::new(), source());
    in_child(|| {
        let detached = detach(open_tree(source.path()).unwrap().as_fd()).unwrap();
        own_mounts();
        let fd = tree.attached();
        let bind = Bind::from_slot(Slot::new("source"), "/srv").unwrap().read_only();
        assert_eq!(bind.bind(fd.as_fd(), None).unwrap_err().errno, Errno::EBADF);
        bind.attach(detached.as_fd(), fd.as_fd(), None).unwrap();
        assert_eq!(errno(std::fs::write(at(&fd, "srv/file"), "")), libc::EROFS);
        assert_eq!(bind.to_string(), "bind of <source> at /srv, ro nodev");
    });
}

#[test]
fn a_source_that_is_missing_is_a_fault_or_skipped() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let fd = tree.attached();
        let bind = Bind::new("/no/such/\x1b[0m", "/srv").unwrap().nosuid();
        assert_eq!(bind.to_string(), "bind of /no/such/\\u{1b}[0m at /srv, nosuid nodev");
        let fault = bind.bind(fd.as_fd(), None).unwrap_err();
        assert_eq!((fault.call, fault.errno), ("open_tree", Errno::ENOENT));
        bind.optional().bind(fd.as_fd(), None).unwrap();
    });
    for (source, target) in [("rel", "/x"), ("/a\0", "/x"), ("/a", "x"), ("/a", "/../x"), ("/a", "/")] {
        assert_eq!(Bind::new(source, target).unwrap_err().kind(), ErrorKind::Path);
    }
}
