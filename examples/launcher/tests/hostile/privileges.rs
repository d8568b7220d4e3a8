//! Device nodes, set-uid programs and file capabilities that are in the tree before it is started.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};

use super::probe::{self, asked::parse};
use super::support::{Machine, in_rig, within};

/// A user in the tree who isn't root.
const USER: &str = "user:x:1000:1000::/:/bin/sh\n";

/// The tree with that user, and this program in directories of its own, with these modes.
fn machine(programs: &[(&str, u32)]) -> Machine {
    let machine = Machine::of("busybox");
    let passwd = machine.tree.read("etc/passwd");
    machine.tree.write("etc/passwd", &(passwd + USER));
    for (directory, mode) in programs {
        let place = machine.tree.join(directory);
        fs::create_dir(&place).unwrap();
        let program = place.join(probe::NAME);
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(*mode)).unwrap();
    }
    machine
}

/// What the program in this directory finds itself to be when the user runs it.
fn state(machine: &Machine, options: &[&str], directory: &str) -> BTreeMap<String, String> {
    let command = format!("/{directory}/{} state", probe::NAME);
    let ended = machine.spawn(["-q"]).args(options).args(["su", "user", "-c", &command]).limit(within(60)).run().expect(0);
    parse(&ended.text())
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Root of the container and nobody else: with its ids and its capabilities, in its user namespace.
#[test]
fn set_uid_programs_give_the_containers_root_and_no_more() {
    let machine = machine(&[("plain", 0o755), ("uid", 0o4755), ("gid", 0o2755)]);
    let ranges: &[&[&str]] = if in_rig() { &[&[]] } else { &[&[], &["--private-users=no"], &["--read-only"]] };
    for options in ranges {
        let [plain, uid, gid] = ["plain", "uid", "gid"].map(|directory| state(&machine, options, directory));
        assert_eq!((words(&plain["Uid"]), words(&plain["Gid"])), (vec!["1000"; 4], vec!["1000"; 4]), "{options:?}");
        assert_eq!((words(&uid["Uid"]), words(&uid["Gid"])), (vec!["1000", "0", "0", "0"], vec!["1000"; 4]), "{options:?}");
        assert_eq!((words(&gid["Uid"]), words(&gid["Gid"])), (vec!["1000"; 4], vec!["1000", "0", "0", "0"]), "{options:?}");
        for state in [&plain, &gid] {
            assert_eq!(state["CapEff"], "0000000000000000");
        }
        assert_eq!((&uid["CapEff"], &uid["CapBnd"]), (&plain["CapBnd"], &plain["CapBnd"]), "{options:?}");
        assert_eq!(uid["Seccomp"], "2");
        let own = fs::read_link("/proc/self/ns/user").unwrap().display().to_string();
        assert_eq!(uid["user namespace"] == own, options.contains(&"--private-users=no"), "{options:?}");
    }
}

/// `VFS_CAP_REVISION_2` or, with the id of a user namespace's root, `VFS_CAP_REVISION_3`: `struct vfs_cap_data`, little-endian.
fn capability(permitted: u64, effective: bool, root: Option<u32>) -> Vec<u8> {
    let revision = if root.is_some() { 0x0300_0000 } else { 0x0200_0000u32 };
    let mut words = vec![revision | u32::from(effective), permitted as u32, 0, (permitted >> 32) as u32, 0];
    words.extend(root);
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

const NET_RAW: u64 = 1 << 13;
const SYS_MODULE: u64 = 1 << 16;

/// They are the container root's to give, whose ids the tree is mapped to, and are worth something in its user namespace alone.
#[test]
fn file_capabilities_are_those_of_the_containers_user_namespace() {
    let machine = machine(&[("caps", 0o755)]);
    let program = machine.tree.join("caps").join(probe::NAME);
    let start = 0x3000_0000u32 + (std::process::id() % 0x80) * 0x2_0000;
    let users = format!("--private-users={start}");
    let net_raw = "0000000000002000";
    let nothing = "0000000000000000";
    for (value, effective, permitted) in [
        (capability(NET_RAW, true, None), net_raw, net_raw),
        (capability(NET_RAW, false, None), nothing, net_raw),
        (capability(NET_RAW, true, Some(0)), net_raw, net_raw),
        // Of another user namespace's root: of the container's as the host sees it, which the tree's map doesn't know, and of a user's.
        (capability(NET_RAW, true, Some(start)), nothing, nothing),
        (capability(NET_RAW, true, Some(1000)), nothing, nothing),
        // What no container may do, no file gives.
        (capability(NET_RAW | SYS_MODULE, false, None), nothing, net_raw),
    ] {
        setxattr(&program, "security.capability", &value, XattrFlags::empty()).unwrap();
        let found = state(&machine, &[&users], "caps");
        assert_eq!((found["CapEff"].as_str(), found["CapPrm"].as_str()), (effective, permitted), "{value:x?}");
        assert_eq!(words(&found["Uid"]), ["1000"; 4]);
    }
    // Effective and not to be had: the program isn't executed.
    setxattr(&program, "security.capability", &capability(SYS_MODULE, true, None), XattrFlags::empty()).unwrap();
    let command = format!("/caps/{} state", probe::NAME);
    let ended = machine.spawn(["-q", &users, "su", "user", "-c", &command]).run();
    assert!(ended.code != Some(0) && ended.stderr.contains("Operation not permitted"), "{}", ended.stderr);
}

/// As distributions give it to ping.
#[test]
fn a_user_pings_with_a_files_capability() {
    let machine = machine(&[]);
    let ping =
        |machine: &Machine| machine.spawn(["-q", "--private-network", "su", "user", "-c", "/caps/busybox ping -c 1 -W 5 127.0.0.1"]).run();
    fs::create_dir(machine.tree.join("caps")).unwrap();
    fs::copy(machine.tree.join("bin/busybox"), machine.tree.join("caps/busybox")).unwrap();
    let ended = ping(&machine);
    assert!(ended.code != Some(0) && ended.stderr.contains("permi"), "{}{}", ended.text(), ended.stderr);
    setxattr(machine.tree.join("caps/busybox"), "security.capability", &capability(NET_RAW, true, None), XattrFlags::CREATE).unwrap();
    let ended = ping(&machine).expect(0);
    assert!(ended.text().contains("1 packets received"), "{}", ended.text());
}

/// Harmless ones, which would open if they were device nodes to anybody; one of a disk that isn't there.
const NODES: [(&str, FileType, u32, u32); 6] = [
    ("etc/null", FileType::CharacterDevice, 1, 3),
    ("etc/zero", FileType::CharacterDevice, 1, 5),
    ("var/tty", FileType::CharacterDevice, 5, 0),
    ("usr/fuse", FileType::CharacterDevice, 10, 229),
    ("dev/planted", FileType::CharacterDevice, 1, 5),
    ("root/loop", FileType::BlockDevice, 7, 0),
];

#[test]
fn device_nodes_of_the_tree_open_for_nobody() {
    let machine = machine(&[]);
    for (place, kind, major, minor) in NODES {
        let path = CString::new(machine.tree.join(place).into_os_string().into_encoded_bytes()).unwrap();
        mknodat(CWD, &path, kind, Mode::from_raw_mode(0o666), makedev(major, minor)).unwrap();
        fs::set_permissions(machine.tree.join(place), fs::Permissions::from_mode(0o666)).unwrap();
    }
    let script = NODES.map(|(place, ..)| format!("(: </{place}) 2>&1; (: >>/{place}) 2>&1")).join("; ");
    for options in [&[][..], &["--private-users=no"], &["--read-only"]] {
        let ended = machine.spawn(["-q"]).args(options).args(["sh", "-c", &script]).run();
        let text = ended.text();
        // What the tree has in /dev is covered by the container's own.
        let opened = text.lines().filter(|line| !line.contains("ermission denied") && !line.contains("/dev/planted")).collect::<Vec<_>>();
        assert!(
            opened.is_empty() && text.matches("ermission denied").count() == 2 * (NODES.len() - 1),
            "{options:?}: {text}{}",
            ended.stderr
        );
    }
}
