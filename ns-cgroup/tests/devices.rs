//! The device program, as the kernel runs it.

mod common;

use common::{Scratch, errno_of, name, start};
use ns_cgroup::{Cgroup, DeviceAccess, DeviceRule, DeviceRules, DeviceType, ErrorKind, Machine};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, makedev, mknodat, openat, unlinkat};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;

fn open_in(cgroup: &Cgroup, path: &CStr, flags: OFlags) -> i32 {
    start(cgroup, || errno_of(openat(CWD, path, flags | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty()))).wait()
}

/// Makes a node in /dev, which is nowhere mounted `nodev`, opens it for reading, and removes it; the first errno.
fn make_in(cgroup: &Cgroup, what: DeviceType, major: u32, minor: u32) -> (i32, i32) {
    let path = std::path::PathBuf::from(format!("/dev/ns-cgroup-node-{}-{major}-{minor}", std::process::id()));
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let kind = if what == DeviceType::Block { FileType::BlockDevice } else { FileType::CharacterDevice };
    let make = || errno_of(mknodat(CWD, &*path, kind, Mode::RUSR | Mode::WUSR, makedev(major, minor)));
    let inside = start(cgroup, make).wait();
    if inside != 0 {
        assert_eq!(make(), 0, "outside of the cgroup it must work");
    }
    let opened = open_in(cgroup, &path, OFlags::RDONLY);
    unlinkat(CWD, &*path, AtFlags::empty()).unwrap();
    (inside, opened)
}

#[test]
fn only_a_containers_devices_can_be_opened_or_made() {
    let scratch = Scratch::new();
    let machine = Machine::create_below(&scratch, &name("box")).unwrap();
    DeviceRules::container().compile().attach(machine.cgroup()).unwrap();
    assert_eq!(machine.cgroup().device_programs().unwrap(), 1);
    let (payload, joined) = (machine.payload(0, 0).unwrap(), machine.join().unwrap());
    for cgroup in [&payload, joined.cgroup()] {
        assert_eq!(open_in(cgroup, c"/dev/null", OFlags::RDWR), 0);
        assert_eq!(open_in(cgroup, c"/dev/urandom", OFlags::RDONLY), 0);
        assert_eq!(open_in(cgroup, c"/dev/kmsg", OFlags::RDONLY), libc::EPERM);
        assert_eq!(make_in(cgroup, DeviceType::Char, 1, 3), (0, 0));
        // The memory, the loop control, and a disk.
        assert_eq!(make_in(cgroup, DeviceType::Char, 1, 1), (libc::EPERM, libc::EPERM));
        assert_eq!(make_in(cgroup, DeviceType::Char, 10, 237), (libc::EPERM, libc::EPERM));
        assert_eq!(make_in(cgroup, DeviceType::Block, 7, 0), (libc::EPERM, libc::EPERM));
    }
    machine.remove().unwrap();
}

#[test]
fn it_stays_over_reboots() {
    let scratch = Scratch::new();
    let machine = Machine::create_below(&scratch, &name("box")).unwrap();
    DeviceRules::container().compile().attach(machine.cgroup()).unwrap();
    machine.payload(0, 0).unwrap();
    let payload = machine.payload(0, 0).unwrap();
    assert_eq!(open_in(&payload, c"/dev/kmsg", OFlags::RDONLY), libc::EPERM);
    machine.remove().unwrap();
}

#[test]
fn a_guests_own_program_only_takes_away() {
    let scratch = Scratch::new();
    DeviceRules::container().compile().attach(&scratch).unwrap();
    let unit = Cgroup::create(&scratch, &name("unit")).unwrap();
    let everything = DeviceRules::none().allow("a *:* rwm".parse().unwrap());
    everything.compile().attach(&unit).unwrap();
    assert_eq!(open_in(&unit, c"/dev/kmsg", OFlags::RDONLY), libc::EPERM);
    assert_eq!(open_in(&unit, c"/dev/null", OFlags::RDONLY), 0);
    DeviceRules::none().compile().attach(&unit).unwrap();
    assert_eq!((unit.device_programs().unwrap(), open_in(&unit, c"/dev/null", OFlags::RDONLY)), (2, libc::EPERM));
}

#[test]
fn access_is_judged_as_the_rules_say() {
    let scratch = Scratch::new();
    let rules = DeviceRules::none().allow(DeviceRule::char(1, Some(3)).with(DeviceAccess::READ)).allow(DeviceRule::char(1, Some(5)));
    rules.compile().attach(&scratch).unwrap();
    let open = |path, flags| open_in(&scratch, path, flags);
    assert_eq!([open(c"/dev/null", OFlags::RDONLY), open(c"/dev/null", OFlags::WRONLY)], [0, libc::EPERM]);
    assert_eq!([open(c"/dev/null", OFlags::RDWR), open(c"/dev/zero", OFlags::RDWR)], [libc::EPERM, 0]);
}

#[test]
fn without_rights_the_error_says_which() {
    let thread = std::thread::spawn(|| {
        // Of this thread only.
        let none = rustix::thread::CapabilitySet::empty();
        let sets = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
        rustix::thread::set_capabilities(None, sets).unwrap();
        DeviceRules::container().compile().load().unwrap_err()
    });
    let e = thread.join().unwrap();
    assert_eq!(e.kind(), ErrorKind::NotPermitted);
    assert_eq!(
        e.to_string(),
        "load the device program: bpf: Operation not permitted; it needs CAP_BPF and CAP_NET_ADMIN on the host, outside of any user namespace"
    );
}
