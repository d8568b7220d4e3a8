//! Trees on mounts that forbid something, and trees whose path is odd: a start, or a line that names the option or the path.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::libc;
use nix::sys::signal::Signal;
use ns_core::raw::{MountAttr, mount_setattr};

use super::mounts::{in_own_mounts, mount, remember, unmount};
use super::outcome::{SAYS, harmless, one_line};
use super::support::{Ended, Machine, Spawn, Tree, within};

fn says(machine: &Machine) -> Spawn {
    machine.spawn(["-q", "/bin/busybox", "echo", SAYS])
}

#[track_caller]
fn starts(spawn: Spawn) {
    let ended = spawn.run().expect(0);
    assert_eq!((ended.text(), ended.stderr.as_str()), (format!("{SAYS}\n"), ""));
}

#[track_caller]
fn is_refused(ended: &Ended, words: &[&str]) {
    one_line(ended, &format!("{words:?}"));
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is not in {}", ended.stderr);
    }
}

/// A directory of the tree, or all of it, as a mount of its own with these flags.
fn with_flags(place: &Path, flags: u64, test: impl FnOnce()) {
    let path = place.to_str().unwrap();
    mount(path, place, "", libc::MS_BIND, "");
    mount("", place, "", libc::MS_BIND | libc::MS_REMOUNT | flags, "");
    test();
    unmount(place);
}

#[test]
fn a_tree_on_a_mount_without_execution_names_it() {
    in_own_mounts(|| {
        let machine = Machine::of("busybox");
        let (tree, bin) = (machine.tree.path().to_owned(), machine.tree.join("bin"));
        let starts = [vec!["/bin/busybox"], vec!["busybox"], vec!["--boot"], vec![]];
        for arguments in starts {
            for users in ["--private-users=pick", "--private-users=no"] {
                for (place, shown) in [(&tree, tree.display()), (&bin, bin.display())] {
                    with_flags(place, libc::MS_NOEXEC, || {
                        let ended = machine.spawn(["-q", users]).args(&arguments).run();
                        let line = ended.stderr.lines().last().unwrap_or_default().to_owned() + "\n";
                        let words = format!("the tree is on a file system mounted noexec at {shown}\n");
                        is_refused(&Ended { stderr: line, ..ended }, &["Permission denied", &words]);
                    });
                }
            }
        }
    });
}

#[test]
fn trees_on_mounts_without_devices_set_uid_bits_or_writing_start() {
    in_own_mounts(|| {
        let machine = Machine::of("busybox");
        let all = [libc::MS_NODEV, libc::MS_NOSUID, libc::MS_RDONLY, libc::MS_NODEV | libc::MS_NOSUID | libc::MS_RDONLY];
        for flags in all {
            with_flags(machine.tree.path(), flags, || {
                starts(says(&machine));
                starts(says(&machine).args_before(["--read-only"]));
            });
        }
        with_flags(&machine.tree.join("etc"), libc::MS_RDONLY, || starts(says(&machine)));
    });
}

#[test]
fn a_mount_point_that_a_read_only_tree_lacks_is_named_with_the_mount() {
    in_own_mounts(|| {
        let machine = Machine::of("busybox");
        let path = machine.tree.path().display().to_string();
        fs::remove_dir(machine.tree.join("run")).unwrap();
        with_flags(machine.tree.path(), libc::MS_RDONLY, || {
            is_refused(&says(&machine).run(), &["/run: ", "the mount point is missing", &format!("mounted ro at {path}\n")]);
        });
        starts(says(&machine).args_before(["--read-only"]));
        let source = Tree::empty();
        let bind = says(&machine).args_before([format!("--bind-ro={}:/no/such", source.path().display())]);
        with_flags(machine.tree.path(), libc::MS_RDONLY, || is_refused(&bind.run(), &["/no/such", "mounted ro at"]));
    });
}

/// A user namespace of its own, of a process that has gone.
fn user_namespace() -> OwnedFd {
    let mut child = Command::new("unshare").args(["--user", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    super::support::until("unshare has its user namespace", within(10), || fs::read_link(proc.join("ns/user")).is_ok_and(|ns| ns != own));
    for map in ["uid_map", "gid_map"] {
        fs::write(proc.join(map), "0 100000 65536").unwrap();
    }
    let namespace = fs::File::open(proc.join("ns/user")).unwrap();
    drop(child.stdin.take());
    child.wait().unwrap();
    namespace.into()
}

/// A mount is id-mapped once: the tree itself is to be chosen.
#[test]
fn a_tree_on_a_mount_that_is_id_mapped_already_is_told_so() {
    in_own_mounts(|| {
        let machine = Machine::of("busybox");
        let place = tempfile::Builder::new().prefix("nskit-place.").tempdir_in("/var/tmp").unwrap();
        let clone = ns_mount::detach(ns_mount::open_tree(machine.tree.path()).unwrap().as_fd()).unwrap();
        let namespace = user_namespace();
        mount_setattr(clone.as_fd(), MountAttr { user_ns: Some(namespace.as_fd()), ..MountAttr::default() }).unwrap();
        let flags = rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&clone, "", rustix::fs::CWD, place.path(), flags).unwrap();
        remember(place.path());
        let directory = format!("--directory={}", place.path().display());
        let machine_name = format!("--machine={}", machine.name());
        let spawn = |users| machine.plain_spawn([&directory, &machine_name, "-q", users, "/bin/busybox", "echo", SAYS]);
        let path = place.path().display().to_string();
        is_refused(&spawn("--private-users=pick").run(), &[&path, "is id-mapped already", "choose the tree itself"]);
        unmount(place.path());
    });
}

// ------------------------------------------------------------------------------------------------------------------ where state is kept

#[test]
fn a_run_that_is_full_or_missing_or_read_only_is_named_or_does_without() {
    in_own_mounts(|| {
        let machine = Machine::of("busybox");
        let place = tempfile::Builder::new().prefix("nskit-place.").tempdir_in("/var/tmp").unwrap();
        let path = place.path().to_str().unwrap();
        let spawn = |run: &str| {
            let name = format!("--machine={}", machine.name());
            let directory = format!("--directory={}", machine.tree.path().display());
            Spawn::new([&directory, &name, "-q", "/bin/busybox", "echo", SAYS]).env("NSKIT_RUN_DIR", run)
        };
        is_refused(&spawn(&format!("{path}/no/such")).run(), &[&format!("{path}/no/such"), "No such file or directory"]);
        for (flags, data, words) in [
            (libc::MS_RDONLY, "size=64k", "Read-only file system"),
            (0, "nr_inodes=1", "No space left on device"),
            (0, "nr_inodes=2", "No space left on device"),
            (0, "nr_inodes=3", "No space left on device"),
        ] {
            mount("tmpfs", place.path(), "tmpfs", flags, &format!("mode=755,{data}"));
            is_refused(&spawn(&format!("{path}/nskit")).run(), &[path, words]);
            unmount(place.path());
        }
        // No block is left for what a file holds.
        mount("tmpfs", place.path(), "tmpfs", 0, "mode=755,size=64k");
        fs::write(place.path().join("fill"), vec![b'x'; 60 << 10]).unwrap();
        while fs::write(place.path().join(format!("more{}", fs::read_dir(path).unwrap().count())), "x").is_ok() {}
        let ended = spawn(path).run();
        harmless(&ended, "full");
        if ended.code != Some(0) {
            is_refused(&ended, &[path, "No space left on device"]);
        }
        unmount(place.path());
    });
}

// ------------------------------------------------------------------------------------------------------------------------------- paths

/// By other names, too: see settings for those that are known before anything is looked at.
#[test]
fn the_hosts_root_is_refused_by_every_path() {
    let dir = tempfile::Builder::new().prefix("nskit-place.").tempdir_in("/var/tmp").unwrap();
    let link = dir.path().join("link");
    symlink("../../../../..", &link).unwrap();
    for path in ["/", "//", "/.", "/usr/..", "/proc/self/root", "/proc/thread-self/root", link.to_str().unwrap()] {
        let ended = Spawn::new(["-q", "--machine=root", "-D", path, "true"]).run();
        is_refused(&ended, &["root directory is not supported"]);
    }
}

/// Moved to a place of this name, and started there.
fn at(names: &[&std::ffi::OsStr], test: impl FnOnce(&Machine, &Path)) {
    let machine = Machine::of("busybox");
    let mut path = machine.tree.path().parent().unwrap().to_owned();
    path.extend(names);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::rename(machine.tree.path(), &path).unwrap();
    test(&machine, &path);
    fs::rename(&path, machine.tree.path()).unwrap();
}

#[test]
fn a_tree_may_have_any_path() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let strange = OsStr::from_bytes(b"a\n\x1b[2J\xff\xe2\x80\xae $(x);'\"\\ b");
    let long = "x".repeat(255);
    let many = vec![OsStr::new("d"); 64];
    let longest = vec![OsStr::new(&long); 15];
    for names in [vec![strange], many, longest] {
        at(&names, |machine, path| {
            let name = format!("--machine={}", machine.name());
            let spawn = |arguments: &[&str]| machine.plain_spawn(["-D"]).args([path.as_os_str()]).args([&name]).args(arguments);
            starts(spawn(&["-q", "/bin/busybox", "echo", SAYS]));
            let ended = spawn(&["/no/such"]).run();
            harmless(&ended, "with its path told");
            let last = ended.stderr.lines().last().unwrap();
            assert!(ended.code == Some(1) && last.starts_with("ns-spawn: ") && last.contains("/no/such"), "{}", ended.stderr);
        });
    }
    let beyond = format!("/{}", vec!["d".repeat(255); 16].join("/"));
    let ended = Spawn::new(["-q", "--machine=m", "-D", &beyond, "true"]).run();
    assert!(ended.stderr.ends_with("File name too long\n") && ended.stderr.lines().count() == 1, "{}", ended.stderr);
}

/// Container root of the outer one may do what it likes to the inner one's tree, and each has ids of its own.
#[test]
fn a_tree_may_be_in_another_machines() {
    let outer = Machine::of("busybox");
    let inner = Machine::on(Tree::copy_in(&outer.tree.join("var"), "busybox"));
    let mut running = outer.spawn(["-q", "sh", "-c", "echo ready; exec sleep 1000"]).start();
    running.expect("ready\n", within(20));
    starts(says(&inner));
    running.process().signal(Signal::SIGTERM);
    running.finish(within(20)).expect(1);
}

#[test]
fn a_tree_that_goes_while_it_runs_takes_nothing_along() {
    let machine = Machine::of("busybox");
    // Reading fails at its end, so that the shell's status is 1.
    let spawn = machine.spawn(["-q", "sh", "-c", "echo ready; while [ -e /usr ]; do sleep 0.01; done; echo gone; read x"]);
    let mut running = spawn.input("").start();
    running.expect("ready\n", within(20));
    fs::remove_dir_all(machine.tree.path()).unwrap();
    let ended = running.finish(within(20));
    harmless(&ended, "its tree has gone");
    assert_eq!((ended.code, ended.text().as_str()), (Some(1), "ready\ngone\n"), "{}", ended.stderr);
    fs::create_dir(machine.tree.path()).unwrap();
}

/// Of this file's own support: a test that fails while something is bound below its temporary directory takes nothing of it along.
#[test]
fn a_test_that_fails_removes_nothing_of_what_it_has_bound() {
    let kept = tempfile::Builder::new().prefix("nskit-kept.").tempdir_in("/var/tmp").unwrap();
    fs::create_dir(kept.path().join("below")).unwrap();
    fs::write(kept.path().join("below/file"), "kept").unwrap();
    let failed = std::panic::catch_unwind(|| {
        in_own_mounts(|| {
            let dir = tempfile::Builder::new().prefix("nskit-place.").tempdir_in("/var/tmp").unwrap();
            let place = dir.path().join("place");
            fs::create_dir(&place).unwrap();
            mount(kept.path().to_str().unwrap(), &place, "", libc::MS_BIND, "");
            assert!(!place.join("below/file").exists(), "as it has to be for this test");
        });
    });
    assert!(failed.is_err());
    assert_eq!(fs::read_to_string(kept.path().join("below/file")).unwrap(), "kept");
}
