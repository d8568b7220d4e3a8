//! Limits and statistics. What needs controllers that a hybrid host keeps in version 1 is run in the rig.

mod common;

use common::{SOON, Scratch, name, sleep_forever, start, try_start};
use ns_cgroup::{Cgroup, Controllers, Errno, ErrorKind, Limit, Limits, Machine};
use std::time::Duration;

const MIB: u64 = 1 << 20;

#[test]
fn a_limit_that_was_asked_for_needs_its_controller() {
    let scratch = Scratch::new();
    // Nothing was passed on to this one, whatever the host has.
    let inner = Cgroup::create(&scratch, &name("inner")).unwrap();
    let limits = Limits::new().ask(Limit::descendants_max(7)).ask(Limit::memory_max(64 * MIB));
    let e = limits.apply(&inner).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NoController);
    assert!(e.to_string().starts_with("limit memory.max <- 67108864 of /sys/fs/cgroup"), "{e}");
    assert!(e.to_string().contains("inner: no controller memory; not available to this cgroup"), "{e}");
    // Nothing was written before.
    assert_eq!(inner.read("cgroup.max.descendants").unwrap(), "max\n");
}

#[test]
fn a_default_is_told_where_it_cant_be_had() {
    let scratch = Scratch::new();
    let inner = Cgroup::create(&scratch, &name("inner")).unwrap();
    let limits = Limits::new().or_default(Limit::pids_max(16_384)).ask(Limit::descendants_max(7));
    let applied = limits.apply(&inner).unwrap();
    assert!(applied.to_string().starts_with("not limited here: pids.max (16384): not available to this cgroup"), "{applied}");
    assert_eq!(applied.missing(), [Limit::pids_max(16_384)]);
    assert_eq!(inner.read("cgroup.max.descendants").unwrap(), "7\n");
    assert_eq!(Limits::new().apply(&inner).unwrap().to_string(), "");
}

#[test]
fn a_container_can_be_kept_from_making_cgroups_without_end() {
    let scratch = Scratch::new();
    let _ = Limits::new().ask(Limit::descendants_max(1)).ask(Limit::depth_max(5)).apply(&scratch).unwrap();
    Cgroup::create(&scratch, &name("one")).unwrap();
    let e = Cgroup::create(&scratch, &name("two")).unwrap_err();
    assert_eq!(e.errno(), Some(Errno::EAGAIN));
    assert!(e.hint().unwrap().contains("cgroup.max.descendants"), "{e}");
}

#[test]
fn time_on_the_cpu_is_counted_without_a_controller() {
    let scratch = Scratch::new();
    let inner = Cgroup::create(&scratch, &name("inner")).unwrap();
    let busy = start(&inner, || {
        loop {
            std::hint::spin_loop();
        }
    });
    let used = || inner.statistics().unwrap().cpu.unwrap();
    let until = std::time::Instant::now() + SOON;
    while used() < Duration::from_millis(50) {
        assert!(std::time::Instant::now() < until, "{:?}", used());
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(busy);
    let statistics = inner.statistics().unwrap();
    assert_eq!((statistics.memory, statistics.pids, statistics.oom_kills), (None, None, None));
}

fn limited(scratch: &Scratch, limits: Limits) -> (Machine, Cgroup) {
    let machine = Machine::create_below(scratch, &name("box")).unwrap();
    assert_eq!(machine.enabled().on() & limits.controllers(), limits.controllers(), "{}", machine.enabled());
    assert_eq!(limits.apply(machine.cgroup()).unwrap().to_string(), "");
    let payload = machine.payload(0, 0).unwrap();
    (machine, payload)
}

#[test]
#[ignore = "needs a delegated pids/memory controller: run in the rig"]
fn processes_are_limited() {
    let scratch = Scratch::new();
    let (machine, payload) = limited(&scratch, Limits::new().ask(Limit::pids_max(3)));
    let children: Vec<_> = (0..3).map(|_| start(&payload, sleep_forever)).collect();
    let refused = try_start(&payload, sleep_forever).err().and_then(|e| e.raw_os_error());
    assert_eq!(refused, Some(libc::EAGAIN));
    assert_eq!(machine.cgroup().statistics().unwrap().pids, Some(3));
    // A joining process is under the same limit.
    assert!(try_start(machine.join().unwrap().cgroup(), sleep_forever).is_err());
    drop(children);
    assert!(machine.cgroup().wait_empty(SOON).unwrap());
    machine.remove().unwrap();
}

/// Takes and touches memory until killed.
fn eat() -> u8 {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    let size = 200 * MIB as usize;
    // SAFETY: a new mapping of the kernel's choice.
    let Ok(memory) = (unsafe { mmap_anonymous(std::ptr::null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) }) else {
        return 1;
    };
    for at in (0..size).step_by(4096) {
        // SAFETY: inside of the mapping.
        unsafe { memory.cast::<u8>().add(at).write_volatile(1) };
    }
    0
}

#[test]
#[ignore = "needs a delegated pids/memory controller: run in the rig"]
fn memory_is_limited_and_the_kill_is_counted() {
    let scratch = Scratch::new();
    let limits = Limits::new()
        .ask(Limit::memory_max(64 * MIB))
        .or_default(Limit::memory_high(60 * MIB))
        .or_default(Limit::memory_swap_max(0))
        .ask(Limit::memory_oom_group(false));
    let machine = Machine::create_below(&scratch, &name("box")).unwrap();
    // A kernel without swap has no memory.swap.max: a default that is told, no error.
    let missing = limits.apply(machine.cgroup()).unwrap();
    assert!(missing.missing().iter().all(|l| l.file() == "memory.swap.max"), "{missing}");
    let _ = Limits::new().ask(Limit::memory_high(ns_cgroup::Amount::Max)).apply(machine.cgroup()).unwrap();
    let payload = machine.payload(0, 0).unwrap();
    assert_eq!(machine.cgroup().oom_kills().unwrap(), Some(0));
    assert_eq!(start(&payload, eat).wait(), 128 + libc::SIGKILL);
    assert_eq!(machine.cgroup().oom_kills().unwrap(), Some(1));
    // Still counted after the next boot has removed the payload's cgroup.
    machine.payload(0, 0).unwrap();
    let statistics = machine.cgroup().statistics().unwrap();
    assert_eq!(statistics.oom_kills, Some(1));
    assert!(statistics.memory.is_some());
    machine.remove().unwrap();
}

#[test]
#[ignore = "needs a delegated pids/memory controller: run in the rig"]
fn every_limit_is_taken_by_the_kernel() {
    let scratch = Scratch::new();
    let limits = Limits::new()
        .ask(Limit::memory_high(64 * MIB))
        .ask(Limit::memory_low(MIB))
        .ask(Limit::cpu_weight(50).unwrap())
        .ask(Limit::cpu_max(150_000, 100_000).unwrap())
        .ask(Limit::cpuset_cpus("0").unwrap())
        .or_default(Limit::io_weight(50).unwrap())
        .ask(Limit::pids_max(16_384));
    let machine = Machine::create_below(&scratch, &name("box")).unwrap();
    assert_eq!(machine.enabled().on(), Controllers::USUAL, "{}", machine.enabled());
    let applied = limits.apply(machine.cgroup()).unwrap();
    // Only kernels that were built with a proportional policy have it.
    assert!(applied.missing().iter().all(|l| l.file() == "io.weight"), "{applied}");
    let written = limits.iter().filter(|l| !applied.missing().contains(l) && l.file() != "io.weight");
    written.for_each(|l| assert_eq!(machine.cgroup().read(l.file()).unwrap().trim(), l.value(), "{l}"));
    machine.remove().unwrap();
}

#[test]
#[ignore = "needs a delegated pids/memory controller: run in the rig"]
fn what_is_in_the_way_further_up_is_named() {
    let scratch = Scratch::new();
    let child = start(&scratch, sleep_forever);
    let machine = Machine::create_below(&scratch, &name("box")).unwrap();
    assert_eq!(machine.enabled().missing(), Controllers::USUAL);
    assert!(machine.enabled().to_string().contains("processes are in this cgroup itself"), "{}", machine.enabled());
    machine.remove().unwrap();
    drop(child);
}
