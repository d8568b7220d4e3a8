//! ns-net: a child that makes its IPv6 address by itself, served from here. As root.

use ns_core::{Exec, Exit, Fds, IdMap, Kind, Namespaces, Plan, Unshare};
use ns_net::{Address, Autoconf, Change, Dhcp, Dns, Leases, LoopbackUp, MachineId, Purpose, Resolvers, Router, Socket, Veth};
use std::error::Error;
use std::net::IpAddr;
use std::os::fd::AsFd;

/// The kernel inside is the client.
const SCRIPT: &str = "until grep -q ^fd /proc/self/net/if_inet6; do sleep 0.01; done; exit 42";

fn main() -> Result<(), Box<dyn Error>> {
    // For this tour only: a network namespace of this thread's own plays the host.
    Unshare(Namespaces::NET).apply()?;
    let directory = tempfile::tempdir()?;
    let host_id: MachineId = "0123456789abcdef0123456789abcdef".parse()?;

    let exec = Exec::new("/bin/sh")?.args(["-c", SCRIPT])?.env("PATH", "/usr/bin:/bin")?.inherit_stdio();
    let plan = Plan::new(exec).user(IdMap::range(0, 1_000_000, 65_536)?).unshare(Namespaces::NET).inside(LoopbackUp);
    let mut held = plan.seal()?.hold(Fds::new())?;
    let mut host = Socket::open()?;
    let mut container = Socket::open_in(held.namespace(Kind::Net)?.as_fd())?;
    let pair = Veth::of_machine("tour", host_id)?.down().apply(&mut container, &mut host)?;

    // A subnet that nobody else has, for as long as the lease is kept; a program gives the host's routes here.
    let lease = Leases::open(&directory.path().join("subnets"), host_id)?.take(Purpose::Machine, "tour", &[])?;
    let subnet = lease.subnet();
    let [gateway, gateway6] = [IpAddr::from(subnet.gateway()), subnet.gateway6().into()];
    Address::new(&pair.host, gateway, subnet.net4().prefix())?.apply(&mut host)?;
    Address::new(&pair.host, gateway6, 64)?.apply(&mut host)?;

    let mac = pair.host.mac.ok_or("a veth has a hardware address")?;
    let dhcp = Dhcp::new(subnet.machine(), subnet.net4().prefix(), subnet.gateway())?.routed().resolver(subnet.gateway());
    let router = Router::new(subnet.gateway6(), mac).resolver(subnet.gateway6());
    println!("{dhcp}\n{router}");
    let mut autoconf = Autoconf::open(pair.host.index, mac, Some(dhcp), Some(router))?;
    let names = move |name: &str| (name == "tour").then(|| vec![IpAddr::from(subnet.machine())]);
    let listen = [(gateway, 53).into(), (gateway6, 53).into()];
    let mut dns = Dns::open(&listen, vec![subnet.net4(), subnet.net6()], names, Resolvers::File("/etc/resolv.conf".into()))?;

    // Served before the carrier is there; then the caller's own loop, which would poll the descriptors of both, and the child's.
    Change::of(&pair.host).up().apply(&mut host)?;
    Change::of(&pair.container).up().apply(&mut container)?;
    autoconf.hurry();
    let mut running = held.release()?;
    loop {
        if let Some(exit) = running.try_wait()? {
            assert_eq!(exit, Exit::Exited(42));
            return Ok(());
        }
        autoconf.turn()?;
        dns.turn()?;
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
fn runs() {
    main().unwrap();
}
