use crate::testing::{Tree, in_child, mount, own_mounts};
use crate::{ErrorKind, id_mappable, open_tree};
use std::os::fd::AsFd;

#[test]
fn a_tree_on_a_disk_can_be_id_mapped() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        id_mappable(open_tree(&tree.path("")).unwrap().as_fd()).unwrap();
    });
}

#[test]
fn what_stands_in_the_way_is_named_with_its_file_system_and_a_remedy() {
    let tree = Tree::new();
    in_child(|| {
        own_mounts();
        let inner = tree.path("srv");
        std::fs::create_dir(inner.join("a b")).unwrap();
        let inner = inner.join("a b");
        let check = || id_mappable(open_tree(&tree.path("")).unwrap().as_fd());
        mount("x", inner.to_str().unwrap(), "ramfs", 0).unwrap();
        let error = check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IdMap);
        let text = error.to_string();
        assert!(text.contains("/srv/a b can't be id-mapped: ramfs") && text.contains("ext4"), "{text}");
        crate::testing::umount(inner.to_str().unwrap()).unwrap();
        check().unwrap();
        let lower = tree.path("etc");
        let options = format!("lowerdir={},nfs_export=off", lower.display());
        let data = std::ffi::CString::new(options).unwrap();
        let target = std::ffi::CString::new(inner.to_str().unwrap()).unwrap();
        // SAFETY: the strings live during the call.
        let done = unsafe { libc::mount(c"x".as_ptr(), target.as_ptr(), c"overlay".as_ptr(), 0, data.as_ptr().cast()) };
        // One layer is no overlay for the kernel: two are.
        if done != 0 {
            let options = format!("lowerdir={}:{}", lower.display(), tree.path("tmp").display());
            let data = std::ffi::CString::new(options).unwrap();
            // SAFETY: the strings live during the call.
            let done = unsafe { libc::mount(c"x".as_ptr(), target.as_ptr(), c"overlay".as_ptr(), 0, data.as_ptr().cast()) };
            assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        }
        let text = check().unwrap_err().to_string();
        assert!(text.contains("overlay") && text.contains("layers"), "{text}");
    });
}
