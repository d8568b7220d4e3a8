//! ns-core alone: a shell in new namespaces, twice, from a program with threads. As root.

use ns_core::credentials::{CapSet, Credentials};
use ns_core::steps::Hostname;
use ns_core::{Exec, Exit, Fds, IdMap, Namespaces, Plan, Sealed};
use std::sync::atomic::{AtomicBool, Ordering};

/// Pure data, and checked: what would hang, or lack a descriptor, is refused by `seal`.
fn plan() -> Result<Sealed, ns_core::Error> {
    let script = "test $$ = 1 && test $(id -u) = 0 && test $(hostname) = box && exit 42";
    let exec = Exec::new("/bin/sh")?.args(["-c", script])?.env("PATH", "/usr/bin:/bin")?.inherit_stdio();
    Plan::new(exec)
        .user(IdMap::range(0, 1_000_000, 65_536)?) // root inside is user 1,000,000 outside
        .unshare(Namespaces::PID | Namespaces::IPC | Namespaces::UTS | Namespaces::NET | Namespaces::CGROUP)
        .inside(Hostname::new("box")?)
        .inside(Credentials::root_with(CapSet::EMPTY).build()?)
        .seal()
}

fn start_twice() -> Result<(), ns_core::Error> {
    let sealed = plan()?;
    print!("{sealed}"); // what is printed is what is executed
    for _ in 0..2 {
        assert_eq!(sealed.start(Fds::new())?.wait()?, Exit::Exited(42));
    }
    Ok(())
}

fn main() -> Result<(), ns_core::Error> {
    // Another thread holds the allocator's lock half of the time. A child that allocated would hang.
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                drop(std::hint::black_box(vec![0_u8; 1 << 20]));
            }
        });
        let result = start_twice();
        done.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
fn runs() {
    main().unwrap();
}
