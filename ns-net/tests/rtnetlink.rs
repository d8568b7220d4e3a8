//! The kernel's side, for real: each test has a host and a container, both network namespaces of its own. Needs root.

mod common;

use common::{in_new_namespace, inside, namespace};
use ns_net::{Address, AltName, Bridge, Change, IfName, Kind, Link, LinkFlags, LinkName, LinkRef, Mac, MachineId, Prefix, Socket, Veth};
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

const ID: MachineId = MachineId::new(*b"0123456789abcdef");

struct Pair {
    host_ns: OwnedFd,
    container_ns: OwnedFd,
    host: Socket,
    container: Socket,
}

fn pair() -> Pair {
    let (host_ns, container_ns) = (namespace(), namespace());
    let host = Socket::open_in(host_ns.as_fd()).unwrap();
    let container = Socket::open_in(container_ns.as_fd()).unwrap();
    Pair { host_ns, container_ns, host, container }
}

fn name(name: &str) -> IfName {
    IfName::new(name).unwrap()
}

fn names(socket: &mut Socket) -> Vec<String> {
    Link::list(socket).unwrap().iter().map(|l| l.name.to_string()).collect()
}

#[test]
fn a_machines_pair_is_up_with_its_names_and_addresses() {
    let mut p = pair();
    let machine = "averyveryveryverylongname";
    let veth = Veth::of_machine(machine, ID).unwrap().mtu(1400).host_index(777).container_index(42);
    let made = veth.apply(&mut p.container, &mut p.host).unwrap();

    assert_eq!(made.host, Link::get(&mut p.host, name("ve-averyverp9kn")).unwrap());
    assert_eq!(made.container, Link::get(&mut p.container, IfName::HOST0).unwrap());
    let whole = AltName::new("ve-averyveryveryverylongname").unwrap();
    assert_eq!(made.host, Link::get(&mut p.host, whole.clone()).unwrap(), "found by its altname");
    assert_eq!(made.host.altnames, [whole]);
    assert_eq!((made.host.index, made.container.index), (777, 42));
    assert_eq!((made.host.peer, made.container.peer), (Some(42), Some(777)));
    for link in [&made.host, &made.container] {
        assert!(link.flags.contains(LinkFlags::UP | LinkFlags::RUNNING | LinkFlags::LOWER_UP), "{link}");
        assert_eq!((link.kind.as_deref(), link.mtu, link.master), (Some("veth"), 1400, None));
    }
    assert_eq!(made.host.mac, Some(Mac::of_machine(ns_net::End::Host, ID, machine, 0)));
    assert_eq!(made.container.mac, Some(Mac::of_machine(ns_net::End::Container, ID, machine, 0)));

    made.close(&mut p.host).unwrap();
    assert_eq!((names(&mut p.host), names(&mut p.container)), (vec!["lo".into()], vec!["lo".into()]));
}

#[test]
fn a_pair_may_be_left_down() {
    let mut p = pair();
    let made = Veth::new(name("ve-x"), IfName::HOST0).down().apply(&mut p.container, &mut p.host).unwrap();
    assert!(!made.host.flags.contains(LinkFlags::UP) && !made.container.flags.contains(LinkFlags::UP));
}

#[test]
fn packets_go_through() {
    let mut p = pair();
    let made = Veth::of_machine("web", ID).unwrap().apply(&mut p.container, &mut p.host).unwrap();
    for (host, guest, prefix) in [("10.200.1.1", "10.200.1.2", 28), ("fd00:1::1", "fd00:1::2", 64)] {
        Address::new(&made.host, host.parse().unwrap(), prefix).unwrap().apply(&mut p.host).unwrap();
        Address::new(IfName::HOST0, guest.parse().unwrap(), prefix).unwrap().apply(&mut p.container).unwrap();
        let bind = |ip: &str| UdpSocket::bind((ip, 0)).unwrap();
        let server = inside(&p.container_ns, || bind(guest));
        let client = inside(&p.host_ns, || bind(host));
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.send_to(b"hello", server.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 16];
        let (len, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from), (&b"hello"[..], client.local_addr().unwrap()));
    }
    let twice = Address::new(IfName::HOST0, "10.200.1.2".parse().unwrap(), 28).unwrap().apply(&mut p.container).unwrap_err();
    assert_eq!(twice.kind(), Kind::Exists);
    assert!(twice.to_string().starts_with("add address 10.200.1.2/28 to host0: RTM_NEWADDR: File exists"), "{twice}");
}

#[test]
fn a_port_is_enslaved_and_up() {
    let mut p = pair();
    let bridge = Bridge::new(name("br0")).mac("02:00:00:00:00:01".parse().unwrap()).apply(&mut p.host).unwrap();
    assert_eq!(bridge.kind.as_deref(), Some("bridge"));
    assert!(bridge.flags.contains(LinkFlags::UP));
    let made = Veth::port_of_machine("web", ID, name("br0")).unwrap().apply(&mut p.container, &mut p.host).unwrap();
    assert_eq!(made.host.name.to_string(), "vb-web");
    assert_eq!(made.host.master, Some(bridge.index));
    assert!(made.host.flags.contains(LinkFlags::UP | LinkFlags::LOWER_UP));
    let again = Bridge::new(name("br0")).apply(&mut p.host).unwrap_err();
    assert_eq!((again.kind(), again.errno()), (Kind::Exists, Some(libc::EEXIST)));
}

#[test]
fn what_is_no_bridge_is_refused_and_nothing_is_made() {
    let mut p = pair();
    Veth::new(name("other"), name("peer0")).apply(&mut p.container, &mut p.host).unwrap();
    let before = (names(&mut p.host), names(&mut p.container));
    for (bridge, kind, words) in [
        ("br9", Kind::NotFound, "look at br9: RTM_GETLINK: No such device; there is no bridge br9: make it first"),
        ("other", Kind::NotABridge, "use other as a bridge: it is a veth link, not a bridge"),
        ("lo", Kind::NotABridge, "use lo as a bridge: it is no virtual link, not a bridge"),
    ] {
        let e = Veth::port_of_machine("web", ID, name(bridge)).unwrap().apply(&mut p.container, &mut p.host).unwrap_err();
        assert_eq!((e.kind(), e.to_string()), (kind, words.into()));
        assert_eq!((names(&mut p.host), names(&mut p.container)), before);
    }
}

#[test]
fn a_taken_name_is_an_error_soon() {
    let mut p = pair();
    let mut other = Socket::open_in(namespace().as_fd()).unwrap();
    let _first = Veth::of_machine("web", ID).unwrap().apply(&mut p.container, &mut p.host).unwrap();
    let start = Instant::now();
    let host_taken = Veth::of_machine("web", ID).unwrap().apply(&mut other, &mut p.host).unwrap_err();
    assert_eq!(host_taken.kind(), Kind::Exists);
    let text = host_taken.to_string();
    assert!(
        text.starts_with("make veth host0, peer ve-web: RTM_NEWLINK: File exists; the host has a link of this name: 2: ve-web: veth, "),
        "{text}"
    );
    let guest_taken = Veth::of_machine("db", ID).unwrap().apply(&mut p.container, &mut p.host).unwrap_err();
    assert_eq!(guest_taken.kind(), Kind::Exists);
    assert!(guest_taken.to_string().ends_with(", mtu 1500, up"), "{guest_taken}");
    assert!(start.elapsed() < Duration::from_secs(2), "a live link is watched for 100 ms");
    assert_eq!((names(&mut p.host).len(), names(&mut other).len()), (2, 1));
}

#[test]
fn a_taken_altname_leaves_nothing() {
    let mut p = pair();
    let long = LinkName::of(Prefix::Veth, "averyveryveryverylongname").unwrap();
    Bridge::new(name("br0")).apply(&mut p.host).unwrap();
    Change::of(name("br0")).altname(long.altname.unwrap()).apply(&mut p.host).unwrap();
    let e = Veth::of_machine("averyveryveryverylongname", ID).unwrap().apply(&mut p.container, &mut p.host).unwrap_err();
    assert_eq!(e.kind(), Kind::Exists);
    assert!(e.to_string().starts_with("name ve-averyverp9kn also: RTM_NEWLINKPROP: File exists"), "{e}");
    assert_eq!((names(&mut p.host).len(), names(&mut p.container).len()), (2, 1));
}

/// The host's end of a stopped container's pair keeps its name for a while, longer when a socket held the namespace.
#[test]
fn the_same_name_right_after_a_stop_works() {
    let mut host = Socket::open_in(namespace().as_fd()).unwrap();
    let veth = Veth::of_machine("averyveryveryverylongname", ID).unwrap();
    let open = || {
        let container = namespace();
        (Socket::open_in(container.as_fd()).unwrap(), container)
    };
    let mut met = 0;
    let (mut socket, mut container) = open();
    for round in 0..20 {
        let made = veth.apply(&mut socket, &mut host).unwrap();
        assert!(made.host.flags.contains(LinkFlags::LOWER_UP));
        assert_eq!(made.host.altnames.len(), 1);
        let next = open();
        if round % 2 == 0 {
            // No socket holds the namespace: it ends with its descriptor, at once.
            drop(socket);
            thread::sleep(Duration::from_millis(50));
        }
        (socket, container) = next;
        // The next machine comes at once.
        met += usize::from(Link::get(&mut host, name("ve-averyverp9kn")).is_ok());
    }
    drop((socket, container));
    assert!(met > 0, "the kernel removed each pair at once: nothing was tested");
    let start = Instant::now();
    while names(&mut host) != ["lo"] {
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", names(&mut host));
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_left_over_is_replaced_when_asked_and_only_ours() {
    let mut p = pair();
    let mut other = Socket::open_in(namespace().as_fd()).unwrap();
    let web = Veth::of_machine("web", ID).unwrap();
    let old = web.apply(&mut p.container, &mut p.host).unwrap();
    let foreign = web.clone().host_mac("02:00:00:00:00:09".parse().unwrap()).replace().apply(&mut other, &mut p.host).unwrap_err();
    assert_eq!(foreign.kind(), Kind::Exists);
    let noted = web.clone().alias("whose").replace().apply(&mut other, &mut p.host).unwrap_err();
    assert_eq!(noted.kind(), Kind::Exists);
    let new = web.replace().apply(&mut other, &mut p.host).unwrap();
    assert_ne!(new.host.index, old.host.index);
    assert_eq!((names(&mut p.container), names(&mut other)), (vec!["lo".into()], vec!["lo".into(), "host0".into()]));
}

/// What `replace` is for: data that the other side doesn't take keeps a killed container's connection, and with it the namespace.
#[test]
fn a_dead_containers_connection_holds_its_pair() {
    use std::io::Write;
    let mut p = pair();
    let web = Veth::of_machine("web", ID).unwrap();
    let made = web.apply(&mut p.container, &mut p.host).unwrap();
    Address::new(&made.host, "10.200.1.1".parse().unwrap(), 28).unwrap().apply(&mut p.host).unwrap();
    Address::new(&made.container, "10.200.1.2".parse().unwrap(), 28).unwrap().apply(&mut p.container).unwrap();
    let server = inside(&p.host_ns, || std::net::TcpListener::bind("10.200.1.1:0").unwrap());
    // More waits here than fits there, however late it is delivered.
    rustix::net::sockopt::set_socket_recv_buffer_size(&server, 4096).unwrap();
    let mut client = inside(&p.container_ns, || std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap());
    rustix::net::sockopt::set_socket_send_buffer_size(&client, 1 << 20).unwrap();
    let _never_read = server.accept().unwrap();
    client.set_nonblocking(true).unwrap();
    while client.write(&[0; 65536]).is_ok() {}
    let Pair { mut host, container, container_ns, host_ns: _host_ns } = p;
    drop((client, container, container_ns));

    let mut next = Socket::open_in(namespace().as_fd()).unwrap();
    assert_eq!(web.apply(&mut next, &mut host).unwrap_err().kind(), Kind::Exists);
    let made = web.replace().apply(&mut next, &mut host).unwrap();
    assert!(made.host.flags.contains(LinkFlags::LOWER_UP));
}

/// What a dry run prints is what is done: `ip` makes the same of it.
#[test]
fn ip_takes_what_is_printed() {
    use std::process::Command;
    let script = |commands: &str| {
        // `ip -n` and `netns` want namespaces bound below /run/netns: in a mount namespace that ends with the shell.
        let set_up = "set -e; mount -t tmpfs none /run; ip netns add host; ip netns add container";
        let enter = "exec nsenter --net=/run/netns/host /bin/sh -ec";
        let shown = "ip -n container -d link show host0; ip -d link show";
        let line = format!("{set_up}; {enter} '{commands}\n{shown}'");
        let output = Command::new("unshare").args(["-m", "/bin/sh", "-c", &line]).output().unwrap();
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let bridge = Bridge::new(name("br0")).mac("02:00:00:00:00:01".parse().unwrap()).mtu(1400);
    let veth = Veth::port_of_machine("averyveryveryverylongname", ID, name("br0")).unwrap().mtu(1400).host_index(77).container_index(9);
    let change = Change::of(name("br0")).down().rename(name("lan")).altname(AltName::new("a-longer-name-for-it").unwrap());
    let address = Address::new(name("lan"), "10.1.2.3".parse().unwrap(), 24).unwrap();
    let address6 = Address::new(name("lan"), "fd00::1".parse().unwrap(), 64).unwrap();
    let shown = script(&format!("{bridge}\n{veth}\n{change}\n{address}\n{address6}"));

    let mut p = pair();
    bridge.apply(&mut p.host).unwrap();
    let made = veth.apply(&mut p.container, &mut p.host).unwrap();
    for (end, index) in [(&made.host, 77), (&made.container, 9)] {
        assert!(shown.contains(&format!("{index}: {}@", end.name)), "{shown}");
        assert!(shown.contains(&format!("link/ether {} ", end.mac.unwrap())), "{shown}");
    }
    for words in
        ["altname vb-averyveryveryverylongname", "altname a-longer-name-for-it", "mtu 1400", "master lan", ": lan: ", "bridge_slave"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[test]
fn a_link_is_changed_renamed_and_deleted() {
    let mut p = pair();
    Bridge::new(name("br0")).apply(&mut p.host).unwrap();
    let alt = AltName::new("a-name-that-is-longer-than-fifteen").unwrap();
    let mac: Mac = "02:00:00:00:00:07".parse().unwrap();
    let change = Change::of(name("br0")).down().rename(name("lan")).mac(mac).mtu(1300).altname(alt.clone());
    let link = change.apply(&mut p.host).unwrap();
    assert_eq!((link.name, link.mac, link.mtu, &link.altnames[..]), (name("lan"), Some(mac), 1300, &[alt.clone()][..]));
    let up = Change::of(alt).up().apply(&mut p.host).unwrap();
    assert!(up.flags.contains(LinkFlags::UP));

    let made = Veth::new(name("ve-x"), IfName::HOST0).port_of(name("lan")).apply(&mut p.container, &mut p.host).unwrap();
    assert_eq!(Change::of(&made.host).no_master().apply(&mut p.host).unwrap().master, None);
    assert_eq!(Change::of(&made.host).master(link.index).apply(&mut p.host).unwrap().master, Some(link.index));
    Link::delete(&mut p.host, name("lan")).unwrap();
    let gone = Link::get(&mut p.host, name("lan")).unwrap_err();
    assert_eq!((gone.kind(), gone.errno()), (Kind::NotFound, Some(libc::ENODEV)));
}

#[test]
fn many_links_are_listed_whole() {
    let mut p = pair();
    for n in 0..150 {
        Bridge::new(name(&format!("br{n}"))).apply(&mut p.host).unwrap();
    }
    let links = Link::list(&mut p.host).unwrap();
    assert_eq!(links.len(), 151);
    for link in &links {
        assert_eq!(&Link::get(&mut p.host, link).unwrap(), link);
    }
}

#[test]
fn a_batch_runs_in_order_and_tells_the_first_failure() {
    use ns_net::message::{Batch, Call, Flags, Message};
    let mut p = pair();
    let mut batch = Batch::new();
    let get = |index: u32| Message::new(Call::GETLINK, Flags::empty()).fixed(&[[0; 4], index.to_ne_bytes(), [0; 4], [0; 4]].concat());
    for index in [1; 200] {
        batch.add("look at lo", get(index));
    }
    let answers = p.host.run(&batch).unwrap();
    assert_eq!(answers.iter().map(|a| a.request).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    batch.add("look at nothing", get(4242)).add("look at less", get(4343));
    let e = p.host.run(&batch).unwrap_err();
    assert!(e.to_string().starts_with("look at nothing: RTM_GETLINK: No such device"), "{e}");
    // The socket is none the worse.
    assert_eq!(names(&mut p.host), ["lo"]);
}

#[test]
fn the_kernels_words_are_in_the_error() {
    use ns_net::message::{Batch, Call, Flags, Message};
    let mut p = pair();
    let mut batch = Batch::new();
    let message =
        Message::new(Call::NEWLINK, Flags::CREATE | Flags::EXCL).fixed(&[0; 16]).string(3, b"x0").nest(18, |m| m.string(1, b"nosuchkind"));
    batch.add("make nosuchkind x0", message);
    let e = p.host.run(&batch).unwrap_err();
    assert_eq!((e.kind(), e.kernel_text()), (Kind::Unsupported, Some("Unknown device type")));
    assert!(e.to_string().starts_with("make nosuchkind x0: RTM_NEWLINK: Operation not supported: Unknown device type; "), "{e}");
}

#[test]
fn what_others_send_is_not_read() {
    let mut p = pair();
    let before = Link::get(&mut p.host, name("lo")).unwrap();
    let port = rustix::net::getsockname(&p.host).unwrap();
    // In the same namespace: an answer to the request that comes next, with an impossible length and a forged error.
    let forged =
        [&36u32.to_ne_bytes()[..], &2u16.to_ne_bytes(), &[0; 2], &2u32.to_ne_bytes(), &[0; 4], &(-1i32).to_ne_bytes(), &[0; 16]].concat();
    let other = Socket::open_in(p.host_ns.as_fd()).unwrap();
    for bytes in [&forged[..], &[0xff; 40], &[1]] {
        rustix::net::sendto(&other, bytes, rustix::net::SendFlags::empty(), &port).unwrap();
    }
    assert_eq!(Link::get(&mut p.host, name("lo")).unwrap(), before);
}

#[test]
fn a_socket_knows_its_namespace_and_what_it_is() {
    let p = pair();
    let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
    assert_eq!(inode(&p.host.namespace().unwrap()), inode(&p.host_ns));
    assert_eq!(inode(&p.container.namespace().unwrap()), inode(&p.container_ns));
    let e = Socket::from_fd(UdpSocket::bind("127.0.0.1:0").unwrap().into()).unwrap_err();
    assert_eq!(e.kind(), Kind::Invalid);
    let e = Socket::open_in(std::fs::File::open("/").unwrap().as_fd()).unwrap_err();
    assert_eq!(
        e.to_string(),
        "open a route socket in a network namespace: setns: Invalid argument; the descriptor is no network namespace"
    );
    let fd = in_new_namespace(|| rustix::io::fcntl_dupfd_cloexec(Socket::open().unwrap(), 3).unwrap());
    assert_eq!(names(&mut Socket::from_fd(fd).unwrap()), ["lo"]);
}

#[test]
fn without_rights_the_error_says_which() {
    let host_ns = namespace();
    let e = inside(&host_ns, || {
        let mut socket = Socket::open().unwrap();
        // This thread alone gives up its capabilities, and ends.
        let none = rustix::thread::CapabilitySets {
            effective: rustix::thread::CapabilitySet::empty(),
            permitted: rustix::thread::CapabilitySet::empty(),
            inheritable: rustix::thread::CapabilitySet::empty(),
        };
        rustix::thread::set_capabilities(None, none).unwrap();
        (Bridge::new(name("br0")).apply(&mut socket).unwrap_err(), Socket::open_in(host_ns.as_fd()).unwrap_err())
    });
    assert_eq!((e.0.kind(), e.1.kind()), (Kind::NotPermitted, Kind::NotPermitted));
    assert!(e.0.to_string().starts_with("make bridge br0: RTM_NEWLINK: Operation not permitted"), "{}", e.0);
    assert!(e.0.to_string().ends_with("CAP_NET_ADMIN in the user namespace that owns the network namespace"), "{}", e.0);
    assert!(e.1.to_string().contains("setns: Operation not permitted; this needs CAP_SYS_ADMIN"), "{}", e.1);
}

#[test]
fn the_machines_own_links_stay_as_they_are() {
    let own = || Link::list(&mut Socket::open().unwrap()).unwrap();
    let before = own();
    let mut p = pair();
    let _made = Veth::of_machine("web", ID).unwrap().apply(&mut p.container, &mut p.host).unwrap();
    assert_eq!(own(), before);
    drop(p);
    assert_eq!(own(), before);
}

#[test]
fn a_link_reference_reads_as_what_it_is() {
    assert_eq!(LinkRef::from(7).to_string(), "link 7");
    assert_eq!(LinkRef::from(name("ve-x")).to_string(), "ve-x");
}

#[test]
fn values_may_cross_threads() {
    fn check<T: Send + Sync + std::panic::UnwindSafe + 'static>() {}
    check::<(Socket, Veth, Bridge, Change, Address, Link, LinkRef, LinkName)>();
    check::<(ns_net::message::Batch, ns_net::message::Message, IfName, AltName, Mac)>();
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    error::<ns_net::Error>();
}
