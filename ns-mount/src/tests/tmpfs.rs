use crate::testing::{SHIFT, Tree, at, errno, in_child, mode_and_owner, own_mounts};
use crate::{Devpts, Error, ErrorKind, Tmpfs, dev, run, run_host, tmp};
use ns_core::{Errno, Step, raw};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

#[test]
fn entries_have_exactly_their_mode_owner_and_bytes() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let fd = tree.attached();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o777));
        let tmpfs = Tmpfs::at("/srv").unwrap().mode(0o711).owner(5, 6).size("64k").unwrap().inodes(100);
        let tmpfs = tmpfs.dir("d", 0o1777).unwrap().file("d/f", 0o640, *b"bytes").unwrap().fifo("p", 0o600).unwrap();
        let tmpfs = tmpfs.socket("s", 0o666).unwrap().char_device("c", 0o666, 1, 3).unwrap().block_device("b", 0o600, 7, 200).unwrap();
        let tmpfs = tmpfs.symlink("l", "/nowhere\u{e4}").unwrap().random_uuid("u", 0o444).unwrap().read_only();
        let mount = tmpfs.mount(fd.as_fd()).unwrap();
        assert_eq!(rustix::process::umask(rustix::fs::Mode::empty()).as_raw_mode(), 0o777);
        let at = |name: &str| at(&fd, "srv").join(name);
        let modes = [("", 0o711), ("d", 0o1777), ("d/f", 0o640), ("p", 0o600), ("s", 0o666), ("c", 0o666), ("b", 0o600), ("u", 0o444)];
        for (name, mode) in modes {
            assert_eq!(mode_and_owner(&at(name)), (mode, 5, 6), "{name}");
        }
        assert_eq!(std::fs::read(at("d/f")).unwrap(), b"bytes");
        assert_eq!(std::fs::read_link(at("l")).unwrap(), std::path::Path::new("/nowhere\u{e4}"));
        let kind = |name: &str| std::fs::symlink_metadata(at(name)).unwrap();
        assert!(kind("p").file_type().is_fifo() && kind("s").file_type().is_socket());
        assert_eq!((kind("c").rdev(), kind("b").rdev()), (libc::makedev(1, 3), libc::makedev(7, 200)));
        assert_eq!(errno(std::fs::write(at("new"), "")), libc::EROFS);
        mount.close();
    });
}

#[test]
fn the_kernels_own_words_are_in_the_fault() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let tmpfs = Tmpfs::at("/srv").unwrap().param("huge", "sometimes").unwrap();
        let fault = tmpfs.mount(tree.attached().as_fd()).unwrap_err();
        assert_eq!((fault.call, fault.errno), ("fsconfig", Errno::EINVAL));
        assert!(fault.text.to_string().starts_with("tmpfs: Bad value for 'huge'"), "{fault}");
        let words = Error::of(&tmpfs, fault).to_string();
        assert_eq!(words, "/srv: tmpfs huge=sometimes: fsconfig: Invalid argument; tmpfs: Bad value for 'huge'");
    });
}

#[test]
fn a_row_that_fails_is_named_unless_it_is_optional() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let fd = tree.attached();
        let tmpfs = Tmpfs::at("/srv").unwrap().dir("a", 0o755).unwrap().dir("no/such", 0o755).unwrap();
        let fault = tmpfs.mount(fd.as_fd()).unwrap_err();
        assert_eq!(fault.errno, Errno::ENOENT);
        assert_eq!(Step::row(&tmpfs, fault.row).unwrap().to_string(), "no/such/");
        tmpfs.optional().mount(fd.as_fd()).unwrap().close();
    });
}

#[test]
fn rows_and_values_that_can_not_be_are_refused() {
    let tmpfs = || Tmpfs::at("/x").unwrap();
    for path in ["/abs", "../out", "a/../b", "", "a\0"] {
        assert_eq!(tmpfs().dir(path, 0o755).unwrap_err().kind(), ErrorKind::Path, "{path:?}");
    }
    for size in ["", "k", "10 %", "1e3", "5mb", "-1"] {
        assert_eq!(tmpfs().size(size).unwrap_err().kind(), ErrorKind::Value, "{size:?}");
    }
    assert!(tmpfs().symlink("l", "a\0b").is_err() && Tmpfs::at("x").is_err());
}

#[test]
fn a_hostile_tree_cant_redirect_our_file_systems() {
    for name in ["dev", "run", "tmp"] {
        let tree = Tree::new();
        std::fs::remove_dir(tree.path(name)).unwrap();
        std::os::unix::fs::symlink("/etc", tree.path(name)).unwrap();
        in_child(|| {
            own_mounts();
            let fd = tree.attached();
            let tmpfs = match name {
                "dev" => dev(),
                "run" => run(),
                _ => tmp(),
            };
            let fault = tmpfs.mount(fd.as_fd()).unwrap_err();
            assert_eq!((fault.call, fault.errno), ("openat2", Errno::ELOOP));
            assert!(fault.to_string().contains("symbolic link"), "{fault}");
            assert_eq!(std::fs::read_dir(at(&fd, "etc")).unwrap().count(), 1);
        });
    }
}

#[test]
fn dev_has_its_nodes_links_and_ptys() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let fd = tree.attached();
        dev().owner(SHIFT, SHIFT).mount(fd.as_fd()).unwrap().close();
        let pts = Devpts::at("/dev/pts").unwrap().gid(SHIFT + 5).mount(fd.as_fd()).unwrap();
        let at = |name: &str| at(&fd, "dev").join(name);
        std::fs::write(at("null"), "x").unwrap();
        assert_eq!(errno(std::fs::write(at("full"), "x")), libc::ENOSPC);
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            assert_eq!(mode_and_owner(&at(name)), (0o666, SHIFT, SHIFT));
        }
        assert_eq!(std::fs::read_link(at("console")).unwrap(), std::path::Path::new("pts/0"));
        let ptmx = std::fs::OpenOptions::new().read(true).write(true).open(format!("/proc/self/fd/{}/ptmx", pts.as_raw_fd())).unwrap();
        let (mode, _, gid) = mode_and_owner(&at("pts/0"));
        assert_eq!((mode, gid), (0o620, SHIFT + 5));
        assert_eq!(mode_and_owner(&at("pts/ptmx")).0, 0o666);
        drop(ptmx);
    });
}

/// As an ordinary user's builder: root in a user namespace may make no device node.
#[test]
fn where_no_node_can_be_made_the_hosts_is_bound() {
    let tree = Tree::new();
    in_child(|| {
        let flags = linux_raw_sys::general::CLONE_NEWUSER | linux_raw_sys::general::CLONE_NEWNS;
        // SAFETY: a forked child.
        unsafe { raw::unshare(flags) }.unwrap();
        std::fs::write("/proc/self/setgroups", "deny").unwrap();
        std::fs::write("/proc/self/uid_map", "0 0 1").unwrap();
        std::fs::write("/proc/self/gid_map", "0 0 1").unwrap();
        crate::PrivateHost.apply().unwrap();
        let fd = tree.attached();
        dev().mount(fd.as_fd()).unwrap().close();
        let at = |name: &str| at(&fd, "dev").join(name);
        std::fs::write(at("null"), "x").unwrap();
        assert_eq!(errno(std::fs::write(at("full"), "x")), libc::ENOSPC);
        assert_eq!(std::fs::metadata(at("zero")).unwrap().rdev(), libc::makedev(1, 5));
        // No node of 0:0 can be made, and none is bound: the rows are optional.
        run().mount(fd.as_fd()).unwrap().close();
        run_host().mount(fd.as_fd()).unwrap().close();
        let wrong = Tmpfs::at("/dev/shm").unwrap().char_device("null", 0o666, 1, 5).unwrap();
        let fault = wrong.mount(fd.as_fd()).unwrap_err();
        assert_eq!((fault.errno, fault.row), (Errno::ENOENT, 0));
    });
}
