//! Forwarded ports: every way to one really connects. The host, the outside and the machines are namespaces of the tests' own.

mod common;
#[path = "common/net.rs"]
mod net;

use common::inside;
use net::{Machine, Net, ip};
use ns_net::{Flow, Forward, Kind, Netfilter, Reservation};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(4);

fn forward(text: &str) -> Forward {
    text.parse().unwrap()
}

/// Answers on both protocols at this port of the namespace: "NAME PEER", to as many as come, until the test ends.
fn serve(namespace: &OwnedFd, port: u16, name: &'static str) {
    let (tcp, udp) = inside(namespace, || (TcpListener::bind(("::", port)).unwrap(), UdpSocket::bind(("::", port)).unwrap()));
    let answer = move |peer: SocketAddr| format!("{name} {}", peer.ip().to_canonical());
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap();
            let _ = stream.write_all(answer(peer).as_bytes());
        }
    });
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(answer(peer).as_bytes(), peer);
        }
    });
}

fn tcp(namespace: &OwnedFd, to: SocketAddr) -> Result<String, String> {
    inside(namespace, || {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE).map_err(|e| format!("connect: {e}"))?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).map_err(|e| format!("read: {e}"))?;
        Ok(text)
    })
}

fn udp(namespace: &OwnedFd, to: SocketAddr) -> Result<String, String> {
    let socket = inside(namespace, || UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap());
    ask(&socket, to)
}

/// The answer must come from where it was asked: the socket is connected.
fn ask(socket: &UdpSocket, to: SocketAddr) -> Result<String, String> {
    socket.connect(to).map_err(|e| format!("connect: {e}"))?;
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(b"?").map_err(|e| format!("send: {e}"))?;
    let mut buffer = [0; 64];
    let len = socket.recv(&mut buffer).map_err(|e| format!("recv: {e}"))?;
    Ok(String::from_utf8_lossy(&buffer[..len]).into_owned())
}

fn two() -> (Net, Machine, Machine) {
    let net = Net::new();
    let (web, db) = (net.machine("web", 1), net.machine("db", 2));
    (net, web, db)
}

#[test]
fn every_way_to_a_port_connects() {
    let (net, web, db) = two();
    serve(&web.namespace, 80, "web");
    let rules = web.rules("web").forward(forward("8080:80")).forward(forward("udp:8080:80"));
    let _web = net.hold(rules, &web);
    let _db = net.hold(db.rules("db"), &db);
    let ways: [(&str, &OwnedFd, &[&str]); 4] = [
        ("the outside", &net.outside, &["10.9.0.1", "fd09::1"]),
        ("the host", &net.host, &["10.9.0.1", "10.200.1.1", "127.0.0.1", "::ffff:127.0.0.1", "fd09::1", "fd00:1::1", "::1"]),
        ("another machine", &db.namespace, &["10.9.0.1", "10.200.2.1", "10.200.1.1", "fd09::1", "fd00:2::1", "fd00:1::1"]),
        ("the machine itself", &web.namespace, &["10.9.0.1", "10.200.1.1", "fd09::1", "fd00:1::1"]),
    ];
    let mut failed = Vec::new();
    let mut tried = 0;
    for (who, from, targets) in ways {
        for target in targets {
            for (protocol, way) in [("tcp", tcp as fn(&OwnedFd, SocketAddr) -> Result<String, String>), ("udp", udp)] {
                tried += 1;
                match way(from, SocketAddr::new(ip(target), 8080)) {
                    Ok(text) if text.starts_with("web ") => {}
                    other => failed.push(format!("{who} to {protocol} {target}: {other:?}")),
                }
            }
        }
    }
    assert_eq!((tried, failed), (38, Vec::new()));
}

/// Others are seen as who they are, where nothing forces the host to stand in for them.
#[test]
fn the_machine_sees_who_asks() {
    let (net, web, db) = two();
    serve(&web.namespace, 80, "web");
    let _web = net.hold(web.rules("web").forward(forward("8080:80")), &web);
    let _db = net.hold(db.rules("db"), &db);
    let to = |text: &str| SocketAddr::new(ip(text), 8080);
    assert_eq!(tcp(&net.outside, to("10.9.0.1")).unwrap(), "web 10.9.0.2");
    assert_eq!(tcp(&net.outside, to("fd09::1")).unwrap(), "web fd09::2");
    assert_eq!(tcp(&net.host, to("127.0.0.1")).unwrap(), "web 10.200.1.1");
    assert_eq!(tcp(&net.host, to("::1")).unwrap(), "web fd00:1::1");
    assert_eq!(tcp(&db.namespace, to("10.9.0.1")).unwrap(), "web 10.200.1.1", "masqueraded, as all that leaves db");
    // And out: the outside, which has no route back, sees the host.
    serve(&net.outside, 90, "outside");
    assert_eq!(tcp(&web.namespace, SocketAddr::new(ip("10.9.0.2"), 90)).unwrap(), "outside 10.9.0.1");
    assert_eq!(udp(&web.namespace, SocketAddr::new(ip("fd09::2"), 90)).unwrap(), "outside fd09::1");
}

#[test]
fn an_address_that_was_named_is_the_only_one() {
    let (net, web, _db) = two();
    serve(&web.namespace, 80, "web");
    serve(&web.namespace, 81, "other");
    let rules = web.rules("web").forward(forward("127.0.0.1:8080:80")).forward(forward("[fd09::1]:8080:80"));
    let _held = net.hold(rules.forward(forward("10.9.0.1:8080:81")).forward(forward("0.0.0.0:9090:80")), &web);
    let to = |text: &str, port| SocketAddr::new(ip(text), port);
    assert!(tcp(&net.host, to("127.0.0.1", 8080)).unwrap().starts_with("web"));
    assert!(tcp(&net.outside, to("10.9.0.1", 8080)).unwrap().starts_with("other"));
    assert!(tcp(&net.outside, to("fd09::1", 8080)).unwrap().starts_with("web"));
    assert!(tcp(&net.outside, to("10.9.0.1", 9090)).unwrap().starts_with("web"));
    for (from, ip, port) in [(&net.host, "10.200.1.1", 8080), (&net.host, "::1", 8080), (&net.outside, "fd09::1", 9090)] {
        let refused = tcp(from, to(ip, port)).unwrap_err();
        assert!(refused.contains("refused"), "{ip} {port}: {refused}");
    }
}

/// The host's resolver at 127.0.0.53 keeps its port, and so do services that others have on 127.0.0.1 at other ports.
#[test]
fn the_hosts_own_loopback_services_stay_its_own() {
    let (net, web, _db) = two();
    serve(&web.namespace, 53, "web");
    let resolver = net.on_host(|| UdpSocket::bind("127.0.0.53:53").unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = resolver.recv_from(&mut buffer) {
            let _ = resolver.send_to(b"resolver", peer);
        }
    });
    let _held = net.hold(web.rules("web").forward(forward("udp:53")), &web);
    assert_eq!(udp(&net.host, SocketAddr::new(ip("127.0.0.53"), 53)).unwrap(), "resolver");
    assert_eq!(udp(&net.host, SocketAddr::new(ip("127.0.0.1"), 53)).unwrap(), "web 10.200.1.1");
}

/// With `route_localnet` a frame to 127.0.0.1 would be the host's: the guard drops it.
#[test]
fn the_machine_does_not_reach_the_hosts_loopback() {
    use ns_net::{Address, IfName, Route, Socket, Sysctls};
    let (net, web, _db) = two();
    let service = net.on_host(|| UdpSocket::bind("127.0.0.1:9999").unwrap());
    service.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let attack = || {
        let mut socket = Socket::open_in(web.namespace.as_fd()).unwrap();
        let all = Sysctls::new().set("net/ipv4/conf/all/route_localnet", 1).set("net/ipv4/conf/host0/route_localnet", 1);
        all.apply_in(web.namespace.as_fd()).unwrap();
        // The machine's own loopback gives way to the host's.
        let _ = Address::new(1, ip("127.0.0.1"), 8).unwrap().remove(&mut socket);
        let via = Route::on_link("127.0.0.1/32".parse().unwrap(), IfName::HOST0).gateway(ip("10.200.1.1"));
        let _ = via.apply(&mut socket);
        let from = inside(&web.namespace, || UdpSocket::bind("10.200.1.2:0").unwrap());
        let _ = from.send_to(b"in?", "127.0.0.1:9999");
        service.recv(&mut [0; 16])
    };
    web.rules("web").sysctls().apply_in(net.host.as_fd()).unwrap();
    assert!(attack().is_ok(), "without the guard the frame must come in: the test would prove nothing");
    let _held = web.rules("web").forward(forward("8080:80")).hold(Netfilter::open_in(net.host.as_fd()).unwrap()).unwrap();
    assert!(attack().is_err(), "the guard lets it in");
}

#[test]
fn ports_follow_the_machines_address() {
    use ns_net::{Address, IfName, Socket};
    let (net, web, _db) = two();
    serve(&web.namespace, 80, "web");
    let mut held = net.hold(web.rules("web").forward(forward("udp:8080:80")).forward(forward("8080:80")), &web);
    let client = inside(&net.outside, || UdpSocket::bind("0.0.0.0:0").unwrap());
    let to = SocketAddr::new(ip("10.9.0.1"), 8080);
    assert_eq!(ask(&client, to).unwrap(), "web 10.9.0.2");

    let mut socket = Socket::open_in(web.namespace.as_fd()).unwrap();
    Address::new(IfName::HOST0, ip("10.200.1.2"), 28).unwrap().remove(&mut socket).unwrap();
    Address::new(IfName::HOST0, ip("10.200.1.9"), 28).unwrap().apply(&mut socket).unwrap();
    ns_net::Route::via(ip("10.200.1.1"), IfName::HOST0).apply(&mut socket).unwrap();
    held.guest(ip("10.200.1.9")).unwrap();
    assert!(held.rules().to_string().contains("tcp . 8080 : 10.200.1.9 . 80"), "{}", held.rules());
    assert_eq!(tcp(&net.outside, to).unwrap(), "web 10.9.0.2", "a new connection");

    let mut netfilter = Netfilter::open_in(net.host.as_fd()).unwrap();
    let old = |flows: Vec<Flow>| flows.into_iter().filter(|f| f.answers.ip() == ip("10.200.1.2") && f.protocol == 17).count();
    assert_eq!(old(Flow::list(&mut netfilter).unwrap()), 1);
    assert!(Flow::forget(&mut netfilter, ip("10.200.1.2")).unwrap() >= 1);
    assert_eq!(old(Flow::list(&mut netfilter).unwrap()), 0);
    assert_eq!(ask(&client, to).unwrap(), "web 10.9.0.2", "the same flow of UDP");
    let flow = Flow::list(&mut netfilter).unwrap().into_iter().find(|f| f.protocol == 17 && f.target == to).unwrap();
    assert_eq!(flow.answers, SocketAddr::new(ip("10.200.1.9"), 80));
    flow.delete(&mut netfilter).unwrap();
    assert_eq!(flow.delete(&mut netfilter).unwrap_err().kind(), Kind::NotFound);

    held.forward(forward("9090:80")).unwrap();
    assert!(tcp(&net.outside, SocketAddr::new(ip("10.9.0.1"), 9090)).is_ok());
    held.unforward(&forward("9090:80")).unwrap();
    assert!(tcp(&net.outside, SocketAddr::new(ip("10.9.0.1"), 9090)).unwrap_err().contains("refused"));
    held.close().unwrap();
    assert!(tcp(&net.outside, to).unwrap_err().contains("refused"));
}

#[test]
fn a_reserved_port_is_nobody_elses() {
    let net = Net::new();
    for (text, binds) in [
        ("8080:80", &["0.0.0.0", "127.0.0.1", "10.9.0.1", "[::]", "[::1]", "[fd09::1]"][..]),
        ("udp:8080:80", &["0.0.0.0", "127.0.0.1", "10.9.0.1", "[::]", "[::1]", "[fd09::1]"]),
        ("127.0.0.1:8080:80", &["0.0.0.0", "127.0.0.1"]),
        ("[fd09::1]:8080:80", &["[fd09::1]"]),
    ] {
        let forward = forward(text);
        let tcp = forward.protocol() == ns_net::nft::Protocol::Tcp;
        let bind = |at: &str| {
            let at = format!("{at}:8080");
            net.on_host(|| if tcp { TcpListener::bind(&at).map(drop) } else { UdpSocket::bind(&at).map(drop) })
        };
        let held = net.on_host(|| Reservation::take(forward).unwrap());
        assert_eq!((held.forward(), held.sockets()), (&forward, 1));
        for at in binds {
            assert_eq!(bind(at).unwrap_err().raw_os_error(), Some(libc::EADDRINUSE), "{text} {at}");
        }
        let again = net.on_host(|| Reservation::take(forward).unwrap_err());
        assert_eq!(again.kind(), Kind::Exists);
        assert!(again.to_string().ends_with("bind: Address already in use; another program has the port: see ss -lntup"), "{again}");
        drop(held);
        binds.iter().for_each(|at| bind(at).unwrap_or_else(|e| panic!("{text} {at}: {e}")));
    }
}

/// A service that has just ended left connections behind: they are no obstacle, and nobody else gets the port for them either.
#[test]
fn ended_connections_are_no_obstacle() {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt};
    let net = Net::new();
    for (text, at) in [("127.0.0.1:8080:80", "127.0.0.1:8080"), ("8080:80", "[::]:8080"), ("8080:80", "0.0.0.0:8080")] {
        let address: SocketAddr = at.parse().unwrap();
        let take = |share: bool| {
            let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP)).unwrap();
            sockopt::set_socket_reuseaddr(&socket, share).unwrap();
            bind(&socket, &address).and_then(|()| listen(&socket, 1))
        };
        net.on_host(|| {
            let server = TcpListener::bind(address).unwrap();
            let mut client = TcpStream::connect("127.0.0.1:8080").unwrap();
            // Who closes first waits.
            drop(server.accept().unwrap());
            assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
            drop((client, server));
            assert_eq!(take(false).unwrap_err(), rustix::io::Errno::ADDRINUSE, "{text}: no connection was left behind");

            let held = Reservation::take(forward(text)).unwrap();
            assert_eq!(held.sockets(), 1);
            assert_eq!(Reservation::take(forward(text)).unwrap_err().kind(), Kind::Exists, "{text}");
            assert_eq!(take(true).unwrap_err(), rustix::io::Errno::ADDRINUSE, "{text}");
            let refused = TcpStream::connect("127.0.0.1:8080").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::ECONNREFUSED), "it doesn't listen");
            drop(held);
            take(true).unwrap();
        });
    }
}

/// However many ask for it at once, one has it.
#[test]
fn of_many_at_once_one_has_the_port() {
    let net = Net::new();
    net.on_host(|| {
        let server = TcpListener::bind("127.0.0.1:8080").unwrap();
        let mut client = TcpStream::connect("127.0.0.1:8080").unwrap();
        drop(server.accept().unwrap());
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    });
    for _ in 0..20 {
        let start = std::sync::Barrier::new(4);
        let taken: Vec<_> = thread::scope(|scope| {
            let take = || {
                net.on_host(|| {
                    start.wait();
                    Reservation::take(forward("127.0.0.1:8080:80"))
                })
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(taken.iter().filter(|taken| taken.is_ok()).count() == 1, "{taken:?}");
    }
}

#[test]
fn a_resolver_on_its_own_loopback_address_is_no_obstacle() {
    let net = Net::new();
    let _resolver = net.on_host(|| (TcpListener::bind("127.0.0.53:53").unwrap(), UdpSocket::bind("127.0.0.53:53").unwrap()));
    for text in ["53", "udp:53"] {
        let held = net.on_host(|| Reservation::take(forward(text)).unwrap());
        assert!(held.sockets() >= 4, "one for each address: {held:?}");
        let taken = |at: IpAddr| net.on_host(|| Reservation::take(forward(text).at(at)).map(drop)).unwrap_err().kind();
        ["127.0.0.1", "10.9.0.1", "::1", "fd09::1"].iter().for_each(|at| assert_eq!(taken(ip(at)), Kind::Exists, "{text} {at}"));
    }
    let _other = net.on_host(|| TcpListener::bind("10.9.0.1:80").unwrap());
    let e = net.on_host(|| Reservation::take(forward("80")).unwrap_err());
    assert!(e.to_string().starts_with("hold tcp port 80 of 10.9.0.1: bind: Address already in use"), "{e}");
    let e = net.on_host(|| Reservation::take(forward("10.99.0.1:80")).unwrap_err());
    assert_eq!((e.kind(), e.errno()), (Kind::Invalid, Some(libc::EADDRNOTAVAIL)));
    let range = net.on_host(|| Reservation::take(forward("9000-9099")).unwrap());
    assert_eq!(range.sockets(), 100);
}

#[test]
fn a_host_without_ipv6_forwards_ipv4() {
    use ns_net::Sysctls;
    let net = Net::new();
    Sysctls::new().set("net/ipv6/conf/all/disable_ipv6", 1).apply_in(net.host.as_fd()).unwrap();
    let held = net.on_host(|| Reservation::take(forward("8080")).unwrap());
    assert_eq!(held.sockets(), 1);
    let back = Sysctls::new().set("net/ipv6/conf/all/disable_ipv6", 0).apply_in(net.host.as_fd()).unwrap();
    assert_eq!(back, Sysctls::new().set("net/ipv6/conf/all/disable_ipv6", 1));
    let e = Sysctls::new().set("net/ipv4/ip_forward", 0).set("net/ipv4/nosuch", 1).apply_in(net.host.as_fd()).unwrap_err();
    assert_eq!((e.kind(), e.to_string()), (Kind::NotFound, "read sysctl net/ipv4/nosuch: open: No such file or directory".into()));
    assert_eq!(net.on_host(|| Sysctls::get("net/ipv4/ip_forward").unwrap()), "1", "put back");
    assert_eq!(Sysctls::get("net/../kernel/hostname").unwrap_err().kind(), Kind::Invalid);
    assert_eq!(Sysctls::get("kernel/hostname").unwrap_err().kind(), Kind::Invalid);
}

/// The rules as they are printed, golden.
#[test]
fn rules_read_as_nft_writes_them() {
    let net = Net::new();
    let web = net.machine("web", 1);
    let rules = web.rules("web").forward(forward("8080:80")).forward(forward("udp:127.0.0.1:53")).serves().dns(5353);
    let text = rules.to_string();
    for line in [
        "table inet nsk-web {",
        "elements = { tcp . 8080 : 10.200.1.2 . 80 }",
        "elements = { 127.0.0.1 . udp . 53 : 10.200.1.2 . 53 }",
        "type filter hook ingress device \"ve-web\" priority -500; policy accept;",
        "meta nfproto ipv4 dnat ip to ip daddr . meta l4proto . th dport map @at4",
        "fib daddr type local ip daddr != 127.0.0.0/8 dnat ip to meta l4proto . th dport map @any4",
        "iifname \"ve-web\" fib daddr type local udp dport 53 redirect to :5353",
        "ip saddr 10.200.1.0/28 oifname != \"ve-web\" masquerade",
        "oifname \"ve-web\" ip6 saddr ::1 masquerade",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert_eq!(rules.sysctls().to_string(), "sysctl -w net/ipv4/conf/ve-web/route_localnet=1\n");
    assert_eq!(rules.loopback_route(3).to_string(), "ip -6 route add local ::1/128 dev link 3 table local metric 4099");
}
