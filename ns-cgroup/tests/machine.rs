//! Machines: their cgroups, boots, names, and places.

mod common;

use common::{SOON, Scratch, name, sleep_forever, start};
use ns_cgroup::{Cgroup, Controllers, DeviceRules, Errno, ErrorKind, Hierarchy, Joined, Limit, Limits, Machine};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;

const ROOT: u32 = 0x8_0000;

#[test]
fn a_payload_belongs_to_the_shifted_root() {
    let scratch = Scratch::new();
    let machine = Machine::create_below(&scratch, &name("box")).unwrap();
    let payload = machine.payload(ROOT, ROOT + 1).unwrap();
    assert!(payload.path().ends_with("nskit/box/payload"));
    let owner = |path: &std::path::Path| std::fs::metadata(path).map(|m| (m.uid(), m.gid())).unwrap();
    assert_eq!((owner(payload.path()), owner(machine.cgroup().path())), ((ROOT, ROOT + 1), (0, 0)));
    // What divides is the container's, what limits it is not.
    let delegate = std::fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
    for file in std::fs::read_dir(payload.path()).unwrap().map(|f| f.unwrap()) {
        let given = delegate.lines().any(|l| file.file_name() == *l);
        assert_eq!(owner(&file.path()), if given { (ROOT, ROOT + 1) } else { (0, 0) }, "{file:?}");
    }
    machine.remove().unwrap();
    assert_eq!(Cgroup::open(&scratch, &name("nskit")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_process_starts_in_the_payload() {
    let scratch = Scratch::new();
    let machine = Machine::create_below(&scratch, &name("box")).unwrap();
    let payload = machine.payload(ROOT, ROOT).unwrap();
    let child = start(&payload, sleep_forever);
    let of_child = std::fs::read_to_string(format!("/proc/{}/cgroup", child.pid)).unwrap();
    assert!(of_child.lines().any(|l| l.starts_with("0::/") && l.ends_with("/nskit/box/payload")), "{of_child}");
    assert!(machine.kill(SOON).unwrap());
    assert_eq!(child.wait(), 128 + libc::SIGKILL);
    machine.remove().unwrap();
}

#[test]
fn each_boot_gets_a_fresh_payload() {
    let scratch = Scratch::new();
    let machine = Machine::create_below(&scratch, &name("box")).unwrap();
    let first = machine.payload(ROOT, ROOT).unwrap();
    let scope = Cgroup::create(&first, &name("init.scope")).unwrap();
    Cgroup::create(&scope, &name("nested")).unwrap();
    let child = start(&scope, sleep_forever);
    let e = machine.payload(ROOT, ROOT).unwrap_err();
    assert_eq!((e.kind(), e.errno()), (ErrorKind::Busy, Some(Errno::EBUSY)));
    assert!(
        e.to_string().contains(&format!("nskit/box/payload: cgroup.events: Device or resource busy: processes {}; ", child.pid)),
        "{e}"
    );
    machine.cgroup().freeze(SOON).unwrap();
    drop(child);
    let second = machine.payload(ROOT, ROOT).unwrap();
    assert!(Cgroup::open(&second, &name("init.scope")).is_err() && !machine.cgroup().is_frozen().unwrap());
    assert_eq!(machine.current_payload().unwrap().path(), second.path());
    machine.remove().unwrap();
}

#[test]
fn a_name_is_held_by_one() {
    let scratch = Scratch::new();
    let machine = Machine::create_below(&scratch, &name("box")).unwrap();
    let e = Machine::create_below(&scratch, &name("box")).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy);
    assert!(e.to_string().ends_with("another process holds the machine of this name"), "{e}");
    Machine::create_below(&scratch, &name("other")).unwrap().remove().unwrap();
    machine.remove().unwrap();
}

#[test]
fn what_was_left_behind_is_used_again_when_it_is_empty() {
    let scratch = Scratch::new();
    let left = Machine::create_below(&scratch, &name("box")).unwrap();
    let payload = left.payload(ROOT, ROOT).unwrap();
    let child = start(&payload, sleep_forever);
    drop(left);
    let e = Machine::create_below(&scratch, &name("box")).unwrap_err();
    assert_eq!(e.errno(), Some(Errno::EBUSY));
    assert!(e.to_string().contains("nskit/box: cgroup.events: Device or resource busy: processes "), "{e}");
    drop(child);
    let machine = Machine::create_below(&scratch, &name("box")).unwrap();
    assert!(machine.current_payload().is_err());
    machine.remove().unwrap();
}

#[test]
fn joining_processes_have_cgroups_of_their_own() {
    let scratch = Scratch::new();
    let machine = Machine::create_below(&scratch, &name("box")).unwrap();
    let (a, b) = (machine.join().unwrap(), machine.join().unwrap());
    let ends = |joined: &Joined, name: &str| assert!(joined.cgroup().path().ends_with(format!("box/{name}")), "{joined:?}");
    ends(&a, "join-0");
    ends(&b, "join-1");
    assert!(a.remove().unwrap());
    let hierarchy = Hierarchy::find().unwrap();
    ends(&Joined::create(&hierarchy, machine.cgroup().path()).unwrap(), "join-0");
    // What was left empty is used again; where a service goes on it isn't, and neither is it removed.
    let a = machine.join().unwrap();
    ends(&a, "join-0");
    let service = start(a.cgroup(), sleep_forever);
    assert!(!a.remove().unwrap());
    let c = machine.join().unwrap();
    ends(&c, "join-2");
    drop((b, c));
    assert_eq!(Joined::collect(machine.cgroup()).unwrap(), 2);
    drop(service);
    let held = machine.join().unwrap();
    ends(&held, "join-0");
    assert_eq!(Joined::collect(machine.cgroup()).unwrap(), 0);
    let path = machine.cgroup().path().to_path_buf();
    machine.remove().unwrap();
    assert!(held.remove().unwrap_or(true), "a machine that has ended takes its cgroups along");
    assert_eq!(Joined::create(&hierarchy, &path).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(Joined::create(&hierarchy, "/etc".as_ref()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn many_start_and_end_at_once() {
    let scratch = Scratch::new();
    std::thread::scope(|s| {
        for thread in 0..8 {
            let scratch = &*scratch;
            s.spawn(move || {
                for turn in 0..25 {
                    let machine = Machine::create_below(scratch, &name(&format!("m-{thread}-{turn}"))).unwrap();
                    machine.payload(ROOT, ROOT).unwrap();
                    machine.remove().unwrap();
                }
            });
        }
    });
    assert_eq!(Cgroup::open(&scratch, &name("nskit")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn the_same_name_at_once_is_given_to_one_at_a_time() {
    let scratch = Scratch::new();
    let holders = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|s| {
        for _ in 0..4 {
            let (scratch, holders) = (&*scratch, &holders);
            s.spawn(move || {
                use std::sync::atomic::Ordering::SeqCst;
                for _ in 0..50 {
                    match Machine::create_below(scratch, &name("box")) {
                        Ok(machine) => {
                            assert_eq!(holders.fetch_add(1, SeqCst), 0);
                            machine.payload(ROOT, ROOT).unwrap();
                            holders.fetch_sub(1, SeqCst);
                            machine.remove().unwrap();
                        }
                        Err(e) => assert_eq!(e.kind(), ErrorKind::Busy, "{e}"),
                    }
                }
            });
        }
    });
}

#[test]
fn what_a_crash_left_is_listed_and_cleared() {
    let hierarchy = Hierarchy::find().unwrap();
    let of_crash = name(&format!("crash-{}", std::process::id()));
    assert!(!Machine::clear(&hierarchy, &of_crash, SOON).unwrap());
    let machine = Machine::create(&hierarchy, &of_crash).unwrap();
    assert!(Machine::list(&hierarchy).unwrap().contains(&of_crash));
    let child = start(&machine.payload(ROOT, ROOT).unwrap(), sleep_forever);
    // Held open it is a machine that runs.
    assert_eq!(Machine::clear(&hierarchy, &of_crash, SOON).unwrap_err().kind(), ErrorKind::Busy);
    drop(machine);
    assert!(Machine::clear(&hierarchy, &of_crash, SOON).unwrap());
    assert_eq!(child.wait(), 128 + libc::SIGKILL);
    assert!(!Machine::list(&hierarchy).unwrap().contains(&of_crash) && !Machine::clear(&hierarchy, &of_crash, SOON).unwrap());
}

#[test]
fn as_root_it_is_below_the_root() {
    let hierarchy = Hierarchy::find().unwrap();
    let unique = name(&format!("test-{}", std::process::id()));
    let machine = Machine::create(&hierarchy, &unique).unwrap();
    let expected = hierarchy.root().path().join("nskit").join(unique.as_str());
    assert_eq!(machine.cgroup().path(), expected);
    assert_eq!(Machine::open(&hierarchy, &unique).unwrap().path(), expected);
    machine.remove().unwrap();
    assert_eq!(Machine::open(&hierarchy, &unique).unwrap_err().kind(), ErrorKind::NotFound);
}

const AS_USER: &str = "NS_CGROUP_TEST_AS_USER";

/// The part of the next test that runs as an ordinary user.
#[test]
fn user_part() {
    let Ok(delegated) = std::env::var(AS_USER) else { return };
    let hierarchy = Hierarchy::find().unwrap();
    hierarchy.own().unwrap().vacate(&name("supervisor")).unwrap();
    let machine = Machine::create(&hierarchy, &name("box")).unwrap();
    assert!(machine.cgroup().path().ends_with(format!("{delegated}/nskit/box")), "{machine:?}");
    let payload = machine.payload(NOBODY, NOBODY).unwrap();
    let child = start(&payload, sleep_forever);
    assert!(machine.kill(SOON).unwrap());
    drop(child);
    machine.remove().unwrap();
}

const NOBODY: u32 = 65_534;

#[test]
fn as_a_user_it_is_below_what_was_delegated() {
    let scratch = Scratch::new();
    let delegated = scratch.path().file_name().unwrap().to_str().unwrap().to_owned();
    let files = ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];
    files.iter().for_each(|f| std::os::unix::fs::chown(scratch.path().join(f), Some(NOBODY), Some(NOBODY)).unwrap());
    let mut command = std::process::Command::new("/proc/self/exe");
    command.args(["--exact", "user_part", "--nocapture"]).env(AS_USER, delegated);
    let procs = std::fs::OpenOptions::new().write(true).open(scratch.path().join("cgroup.procs")).unwrap();
    // SAFETY: system calls only, on values made before.
    unsafe {
        command.pre_exec(move || {
            rustix::io::write(&procs, b"0")?;
            rustix::thread::set_thread_groups(&[])?;
            let (uid, gid) = (rustix::fs::Uid::from_raw(NOBODY), rustix::fs::Gid::from_raw(NOBODY));
            rustix::thread::set_thread_res_gid(gid, gid, gid)?;
            Ok(rustix::thread::set_thread_res_uid(uid, uid, uid)?)
        })
    };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

#[test]
fn without_delegation_a_user_is_told_what_to_do() {
    let thread = std::thread::spawn(|| {
        let uid = rustix::fs::Uid::from_raw(NOBODY);
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        Machine::create(&Hierarchy::find().unwrap(), &name("box")).unwrap_err()
    });
    let e = thread.join().unwrap();
    assert_eq!(e.kind(), ErrorKind::NotPermitted);
    assert!(e.to_string().ends_with("systemd-run --user --scope -p Delegate=yes COMMAND"), "{e}");
}

/// The example at the top of the crate's documentation, with a real process.
#[test]
fn a_machine_from_its_first_boot_to_its_end() {
    let machine = Machine::create(&Hierarchy::find().unwrap(), &name(&format!("whole-{}", std::process::id()))).unwrap();
    DeviceRules::container().compile().attach(machine.cgroup()).unwrap();
    let told = Limits::new().ask(Limit::descendants_max(100)).or_default(Limit::pids_max(16_384)).apply(machine.cgroup()).unwrap();
    assert_eq!(told.missing().is_empty(), machine.enabled().on().contains(Controllers::PIDS), "{told}");
    for _boot in 0..2 {
        let payload = machine.payload(ROOT, ROOT).unwrap();
        let child = start(&payload, sleep_forever);
        assert!(machine.kill(SOON).unwrap());
        drop(child);
    }
    machine.remove().unwrap();
}
