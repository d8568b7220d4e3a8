//! ns-net: a pair of links between here and a child that is held before its exec. As root.

use ns_core::{Exec, Exit, Fds, IdMap, Kind, Namespaces, Plan, Unshare};
use ns_net::{Address, IfName, LoopbackUp, Socket, Veth};
use std::error::Error;
use std::os::fd::AsFd;

fn main() -> Result<(), Box<dyn Error>> {
    // For this tour only: a network namespace of this thread's own plays the host.
    Unshare(Namespaces::NET).apply()?;

    let script = "grep -q host0 /proc/self/net/dev && grep -q 10.200.1.2 /proc/self/net/fib_trie && exit 42";
    let exec = Exec::new("/bin/sh")?.args(["-c", script])?.env("PATH", "/usr/bin:/bin")?.inherit_stdio();
    let plan = Plan::new(exec).user(IdMap::range(0, 1_000_000, 65_536)?).unshare(Namespaces::NET).inside(LoopbackUp);
    let mut held = plan.seal()?.hold(Fds::new())?;

    let mut host = Socket::open()?;
    let mut container = Socket::open_in(held.namespace(Kind::Net)?.as_fd())?;
    let veth = Veth::new(IfName::new("ve-tour")?, IfName::HOST0);
    println!("{veth}"); // the command of ip(8) that does the same
    let pair = veth.apply(&mut container, &mut host)?;
    Address::new(&pair.host, "10.200.1.1".parse()?, 24)?.apply(&mut host)?;
    Address::new(&pair.container, "10.200.1.2".parse()?, 24)?.apply(&mut container)?;

    // Nothing is to be removed: the pair goes with the child's namespace.
    assert_eq!(held.release()?.wait()?, Exit::Exited(42));
    Ok(())
}

#[test]
fn runs() {
    main().unwrap();
}
