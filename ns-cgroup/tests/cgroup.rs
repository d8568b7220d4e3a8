//! Cgroups: files, processes, events, freezing, killing, removal.

mod common;

use common::{SOON, Scratch, name, sleep_forever, start};
use ns_cgroup::{Cgroup, Controllers, Errno, ErrorKind};
use std::time::{Duration, Instant};

#[test]
fn files_answer_with_the_kernels_errno_and_a_hint() {
    let scratch = Scratch::new();
    let e = scratch.write("cgroup.freeze", "nonsense").unwrap_err();
    assert_eq!((e.kind(), e.errno()), (ErrorKind::Invalid, Some(Errno::EINVAL)));
    assert!(e.to_string().starts_with("write \"nonsense\" to cgroup.freeze of /sys/fs/cgroup"), "{e}");
    let e = scratch.read("memory.no_such").unwrap_err();
    assert_eq!(e.errno(), Some(Errno::ENOENT));
    assert!(e.hint().unwrap().starts_with("the controller memory isn't enabled"), "{e}");
    assert_eq!(scratch.read("../cgroup.procs").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(scratch.read_if_present("memory.no_such").unwrap(), None);
    assert_eq!(
        Cgroup::create(&scratch, &name("a")).and_then(|_| Cgroup::create(&scratch, &name("a"))).unwrap_err().errno(),
        Some(Errno::EEXIST)
    );
    assert_eq!(Cgroup::open(&scratch, &name("b")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn processes_are_listed_counted_and_killed() {
    let scratch = Scratch::new();
    let inner = Cgroup::create(&scratch, &name("inner")).unwrap();
    assert!(!scratch.populated().unwrap());
    let child = start(&inner, sleep_forever);
    assert!(scratch.populated().unwrap());
    assert_eq!(inner.procs().unwrap(), [child.pid]);
    assert_eq!((scratch.procs().unwrap(), scratch.procs_below().unwrap()), (vec![], vec![child.pid]));
    assert!(!scratch.wait_empty(Duration::from_millis(20)).unwrap());
    scratch.kill().unwrap();
    assert!(scratch.wait_empty(SOON).unwrap());
    assert_eq!(child.wait(), 128 + libc::SIGKILL);
}

/// Each process starts others, all the time.
fn multiply() -> u8 {
    for _ in 0..4 {
        // SAFETY: the child of a process with one thread.
        if unsafe { libc::fork() } < 0 {
            break;
        }
    }
    loop {
        // SAFETY: as above; the child leaves at once.
        match unsafe { libc::fork() } {
            // SAFETY: nothing is left to do.
            0 => unsafe { libc::_exit(0) },
            // SAFETY: any child, without its status.
            _ => unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) },
        };
    }
}

#[test]
fn those_that_fork_all_the_time_are_killed_by_both_ways() {
    for kill in [Cgroup::kill, Cgroup::kill_one_by_one] {
        let scratch = Scratch::new();
        let inner = Cgroup::create(&scratch, &name("inner")).unwrap();
        let child = start(&inner, multiply);
        std::thread::sleep(Duration::from_millis(30));
        kill(&scratch).unwrap();
        assert!(scratch.wait_empty(SOON).unwrap(), "{:?}", scratch.procs_below());
        assert_eq!(child.wait(), 128 + libc::SIGKILL);
        assert!(!scratch.is_frozen().unwrap());
    }
}

#[test]
fn a_frozen_cgroup_stands_still_and_can_be_killed() {
    let scratch = Scratch::new();
    let child = start(&scratch, sleep_forever);
    scratch.freeze(SOON).unwrap();
    assert!(scratch.is_frozen().unwrap() && scratch.events_fd().unwrap().read().unwrap().frozen);
    scratch.thaw().unwrap();
    assert!(scratch.events_fd().unwrap().wait(Some(SOON), |e| !e.frozen).unwrap());
    scratch.freeze(SOON).unwrap();
    scratch.kill().unwrap();
    assert_eq!(child.wait(), 128 + libc::SIGKILL);
    assert!(scratch.wait_empty(SOON).unwrap());
}

#[test]
fn a_wait_ends_when_the_last_process_does() {
    let scratch = Scratch::new();
    let inner = Cgroup::create(&scratch, &name("inner")).unwrap();
    let events = scratch.events_fd().unwrap();
    let child = start(&inner, sleep_forever);
    let waiter = std::thread::spawn(move || events.wait(Some(SOON), |e| !e.populated));
    std::thread::sleep(Duration::from_millis(50));
    assert!(!waiter.is_finished());
    let began = Instant::now();
    drop(child);
    assert!(waiter.join().unwrap().unwrap());
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_a_container_left_is_removed_however_deep() {
    let scratch = Scratch::new();
    let top = Cgroup::create(&scratch, &name("top")).unwrap();
    // Deeper than a process has descriptors, longer than a path may be, and wide.
    let mut here = top.try_clone().unwrap();
    for _ in 0..1_050 {
        here = Cgroup::create(&here, &name("deep")).unwrap();
    }
    for n in 0..100 {
        Cgroup::create(&top, &name(&format!("wide-{n}"))).unwrap();
    }
    assert_eq!(top.procs_below().unwrap(), []);
    top.remove().unwrap();
    assert_eq!(Cgroup::open(&scratch, &name("top")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn one_with_processes_is_not_removed() {
    let scratch = Scratch::new();
    let top = Cgroup::create(&scratch, &name("top")).unwrap();
    let inner = Cgroup::create(&top, &name("inner")).unwrap();
    let _child = start(&inner, sleep_forever);
    let e = top.remove().unwrap_err();
    assert_eq!((e.kind(), e.errno()), (ErrorKind::Busy, Some(Errno::EBUSY)));
    assert!(e.to_string().contains("top/inner: unlinkat: Device or resource busy; processes are still in it"), "{e}");
}

#[test]
fn a_removed_one_has_nobody_in_it() {
    let scratch = Scratch::new();
    let top = Cgroup::create(&scratch, &name("top")).unwrap();
    let (again, events) = (top.try_clone().unwrap(), top.events_fd().unwrap());
    top.remove().unwrap();
    assert!(!again.populated().unwrap() && again.wait_empty(SOON).unwrap() && !events.read().unwrap().populated);
    again.kill().unwrap();
    assert_eq!(again.procs_below().unwrap(), []);
    again.remove().unwrap();
}

#[test]
fn processes_make_room_so_that_controllers_can_be_passed_on() {
    let scratch = Scratch::new();
    let children = [start(&scratch, sleep_forever), start(&scratch, sleep_forever)];
    let below = scratch.vacate(&name("supervisor")).unwrap();
    let mut moved = below.procs().unwrap();
    moved.sort_unstable();
    let mut expected = children.each_ref().map(|c| c.pid);
    expected.sort_unstable();
    assert_eq!((moved, scratch.procs().unwrap()), (expected.to_vec(), vec![]));
}

#[test]
fn controllers_that_cant_be_had_are_told() {
    let scratch = Scratch::new();
    // Nothing was passed on to this one, whatever the host has.
    let inner = Cgroup::create(&scratch, &name("inner")).unwrap();
    let status = inner.enable(Controllers::MEMORY | Controllers::PIDS).unwrap();
    assert_eq!((status.on(), status.missing()), (Controllers::empty(), Controllers::MEMORY | Controllers::PIDS));
    assert!(status.to_string().starts_with("no controllers memory, pids: not available to this cgroup"), "{status}");
    assert_eq!(status.all().unwrap_err().kind(), ErrorKind::NoController);
    assert_eq!(inner.enable(Controllers::empty()).unwrap().to_string(), "");
}

#[test]
#[ignore = "needs a delegated pids/memory controller: run in the rig"]
fn controllers_are_refused_where_processes_are_in_the_way() {
    let scratch = Scratch::new();
    let child = start(&scratch, sleep_forever);
    // The kernel would take pids, and spoil the cgroups below.
    let status = scratch.enable(Controllers::MEMORY | Controllers::PIDS).unwrap();
    assert_eq!((status.missing(), scratch.enabled().unwrap()), (Controllers::MEMORY | Controllers::PIDS, Controllers::empty()));
    assert!(status.to_string().contains("Device or resource busy; processes are in this cgroup itself"), "{status}");
    drop(child);
    status.all().unwrap_err();
    scratch.enable(Controllers::MEMORY | Controllers::PIDS).unwrap().all().unwrap();
    assert_eq!(scratch.enabled().unwrap(), Controllers::MEMORY | Controllers::PIDS);
}

/// What a container has frozen beside the process's way stays as it is; a cgroup below that has this one's name leads nobody astray.
#[test]
fn one_process_is_thawed_on_its_way_down_and_no_other() {
    let scratch = Scratch::new();
    let same = scratch.path().file_name().unwrap().to_str().unwrap().to_owned();
    let middle = Cgroup::create(&scratch, &name(&same)).unwrap();
    let own = Cgroup::create(&middle, &name("own")).unwrap();
    let beside = Cgroup::create(&middle, &name("beside")).unwrap();
    let child = start(&own, sleep_forever);
    let other = start(&beside, sleep_forever);
    for cgroup in [&*scratch, &middle, &own, &beside] {
        cgroup.freeze(SOON).unwrap();
    }
    scratch.thaw_process(child.pid).unwrap();
    assert!(own.events_fd().unwrap().wait(Some(SOON), |e| !e.frozen).unwrap());
    let frozen = [&*scratch, &middle, &own, &beside].map(|cgroup| cgroup.is_frozen().unwrap());
    assert_eq!(frozen, [false, false, false, true]);
    scratch.thaw_process(other.pid).unwrap();
    assert!(!beside.is_frozen().unwrap());
    let e = scratch.thaw_process(std::process::id()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound, "{e}");
    assert!(scratch.thaw_process(u32::MAX).is_err());
}
