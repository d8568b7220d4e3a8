//! The forwarder between real clients and servers. Needs root and a static busybox.

mod common;

use common::{busybox, in_new_namespace, inside, namespace, serving};
use ns_net::{Address, Change, Dns, IfName, Kind, Link, MachineId, MachineNames, Resolvers, Socket, Veth};
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const GATEWAY: &str = "10.201.8.1";
const OUTSIDE: &str = "127.0.0.1:53";
const WEB: &str = "10.201.8.2";

/// A host with a resolver on its loopback, and a container behind a veth.
fn net() -> (OwnedFd, OwnedFd) {
    let (host, container) = (namespace(), namespace());
    let [mut outside, mut within] = [&host, &container].map(|ns| Socket::open_in(ns.as_fd()).unwrap());
    let pair = Veth::of_machine("web", MachineId::new(*b"0123456789abcdef")).unwrap().apply(&mut within, &mut outside).unwrap();
    up(&mut outside);
    Address::new(&pair.host, GATEWAY.parse().unwrap(), 28).unwrap().apply(&mut outside).unwrap();
    Address::new(&pair.host, "fd00:8::1".parse().unwrap(), 64).unwrap().apply(&mut outside).unwrap();
    Address::new(&pair.container, WEB.parse().unwrap(), 28).unwrap().apply(&mut within).unwrap();
    Address::new(&pair.container, "fd00:8::2".parse().unwrap(), 64).unwrap().apply(&mut within).unwrap();
    (host, container)
}

fn up(socket: &mut Socket) {
    let lo = Link::get(socket, IfName::new("lo").unwrap()).unwrap();
    Change::of(&lo).up().apply(socket).unwrap();
}

fn listen() -> [SocketAddr; 2] {
    [SocketAddr::new(GATEWAY.parse().unwrap(), 53), "[fd00:8::1]:53".parse().unwrap()]
}

fn clients() -> Vec<ns_net::IpNet> {
    vec!["10.201.8.0/28".parse().unwrap(), "fd00:8::/64".parse().unwrap()]
}

fn names(name: &str) -> Option<Vec<IpAddr>> {
    (name == "web").then(|| vec![WEB.parse().unwrap(), "fd00:8::2".parse().unwrap()])
}

fn open(servers: &[&str]) -> Dns {
    let servers = servers.iter().map(|s| s.parse().unwrap()).collect();
    Dns::open(&listen(), clients(), names, Resolvers::Fixed(servers)).unwrap()
}

fn query(id: u16, name: &str) -> Vec<u8> {
    let mut message = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    message.extend(name.split('.').flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()));
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// What the resolver outside says: 192.0.2.7, `further` octets behind it, and this code.
fn answer(query: &[u8], code: u8, further: usize) -> Vec<u8> {
    let mut answer = query.to_vec();
    (answer[2], answer[3], answer[7]) = (0x81, 0x80 | code, 1);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
    answer.resize(answer.len() + further, 0);
    answer
}

/// Answers queries by UDP for as long as `body` runs; how many have come is counted.
fn resolver<T: Send>(
    host: &OwnedFd,
    address: &str,
    say: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync,
    body: impl FnOnce(&AtomicUsize) -> T + Send,
) -> T {
    let count = AtomicUsize::new(0);
    let socket = inside(host, || UdpSocket::bind(address).unwrap());
    let over = inside(host, || UdpSocket::bind("127.0.0.1:0").unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 4096];
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                if len == 0 {
                    return;
                }
                count.fetch_add(1, Ordering::Relaxed);
                for answer in say(&buffer[..len]) {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&count)));
        over.send_to(&[], address).unwrap();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn good(query: &[u8]) -> Vec<Vec<u8>> {
    vec![answer(query, 0, 0)]
}

/// By UDP from the container; `None` when nothing comes.
fn ask(container: &OwnedFd, to: SocketAddr, message: &[u8], patience: Duration) -> Option<Vec<u8>> {
    inside(container, || {
        let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
        socket.set_read_timeout(Some(patience)).unwrap();
        socket.send_to(message, to).unwrap();
        let mut buffer = vec![0; 65536];
        let (len, from) = socket.recv_from(&mut buffer).ok()?;
        assert_eq!(from, to);
        buffer.truncate(len);
        Some(buffer)
    })
}

const LONG: Duration = Duration::from_secs(20);

fn serve<T: Send>(host: &OwnedFd, servers: &[&str], body: impl FnOnce() -> T + Send) -> T {
    serving(host, || open(servers), Dns::turn, body)
}

#[test]
fn a_client_finds_machines_and_the_outside() {
    let (host, container) = net();
    let look = |name: &str| {
        let output = inside(&container, || busybox("nslookup").args([name, GATEWAY]).output().unwrap());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let say = |query: &[u8]| vec![answer(query, u8::from(query[12..].starts_with(b"\x02no")) * 3, 0)];
    resolver(&host, OUTSIDE, say, |_| {
        serve(&host, &[OUTSIDE], || {
            let found = look("web.machines");
            assert!(found.contains("Address: 10.201.8.2\n") && found.contains("Address: fd00:8::2\n"), "{found}");
            assert!(look("web").contains("Address: 10.201.8.2\n"));
            assert!(look("db.machines").contains("NXDOMAIN"));
            assert!(look("example.org").contains("Address: 192.0.2.7\n"));
            assert!(look("no.example.org").contains("NXDOMAIN"));
        });
    });
}

#[test]
fn a_query_is_passed_on_untouched_but_for_its_number() {
    let (host, container) = net();
    let seen = std::sync::Mutex::new(Vec::new());
    let say = |query: &[u8]| {
        seen.lock().unwrap().push(query.to_vec());
        // A forger who can't see the query, and an answer to another question, come first.
        let mut forged = answer(query, 0, 0);
        forged[0] ^= 0x55;
        let other = answer(&self::query(u16::from_be_bytes([query[0], query[1]]), "other.org"), 0, 0);
        vec![forged, other, query.to_vec(), answer(query, 0, 0)]
    };
    resolver(&host, OUTSIDE, say, |_| {
        serve(&host, &[OUTSIDE], || {
            // With an EDNS record of a kind that we don't know.
            let mut sent = [query(7, "eXample.org"), vec![0, 0, 41, 16, 0, 0, 0, 0x80, 0, 0, 6, 0, 10, 0, 2, 1, 2]].concat();
            sent[11] = 1;
            for to in listen() {
                let got = ask(&container, to, &sent, LONG).unwrap();
                assert_eq!((&got[..2], &got[got.len() - 4..]), (&[0, 7][..], &[192, 0, 2, 7][..]));
            }
            seen.lock().unwrap().iter().for_each(|passed| assert_eq!(passed[2..], sent[2..]));
        });
    });
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() == 2 && seen.iter().any(|q| q[..2] != [0, 7]), "numbers are our own");
}

#[test]
fn the_next_server_is_asked_where_one_is_silent_fails_or_is_not_there() {
    let (host, container) = net();
    resolver(
        &host,
        "127.0.0.2:53",
        |_| Vec::new(),
        |silent| {
            resolver(
                &host,
                "127.0.0.3:53",
                |query| vec![answer(query, 2, 0)],
                |failing| {
                    resolver(&host, OUTSIDE, good, |_| {
                        for first in ["127.0.0.2:53", "127.0.0.3:53", "127.0.0.4:53"] {
                            serve(&host, &[first, OUTSIDE], || {
                                let got = ask(&container, listen()[0], &query(7, "example.org"), LONG).unwrap();
                                assert_eq!(got[3] & 15, 0, "{first}");
                            });
                        }
                        assert_eq!((silent.load(Ordering::Relaxed), failing.load(Ordering::Relaxed)), (1, 1));
                    });
                },
            );
        },
    );
    let failed = serve(&host, &["127.0.0.4:53"], || ask(&container, listen()[0], &query(7, "example.org"), LONG).unwrap());
    assert_eq!((failed[3] & 15, &failed[..2]), (2, &[0, 7][..]));
    let nobody = serve(&host, &[], || ask(&container, listen()[0], &query(7, "example.org"), LONG).unwrap());
    assert_eq!(nobody[3] & 15, 2);
}

/// One that never answers doesn't take the others' places: of one client 32 wait, the rest is told so at once.
#[test]
fn a_flood_is_bounded() {
    let (host, container) = net();
    resolver(
        &host,
        OUTSIDE,
        |_| Vec::new(),
        |count| {
            serve(&host, &[OUTSIDE], || {
                inside(&container, || {
                    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                    socket.set_read_timeout(Some(LONG)).unwrap();
                    for n in 0..48 {
                        socket.send_to(&query(n, "example.org"), listen()[0]).unwrap();
                    }
                    let mut buffer = [0; 512];
                    for _ in 0..16 {
                        assert!(socket.recv(&mut buffer).unwrap() > 12 && buffer[3] & 15 == 2);
                    }
                });
                assert_eq!(count.load(Ordering::Relaxed), 32);
            });
        },
    );
}

fn exchange(stream: &mut TcpStream, message: &[u8]) -> Vec<u8> {
    stream.write_all(&[&(message.len() as u16).to_be_bytes(), message].concat()).unwrap();
    let mut len = [0; 2];
    stream.read_exact(&mut len).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut answer).unwrap();
    answer
}

#[test]
fn long_answers_go_by_tcp_one_after_the_other() {
    let (host, container) = net();
    let server = inside(&host, || TcpListener::bind(OUTSIDE).unwrap());
    // The first server isn't there.
    serve(&host, &["127.0.0.4:53", OUTSIDE], || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..2 {
                    let (mut stream, _) = server.accept().unwrap();
                    let mut len = [0; 2];
                    stream.read_exact(&mut len).unwrap();
                    let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
                    stream.read_exact(&mut query).unwrap();
                    let answer = answer(&query, 0, 60_000);
                    stream.write_all(&[&(answer.len() as u16).to_be_bytes()[..], &answer].concat()).unwrap();
                }
            });
            let mut stream = inside(&container, || TcpStream::connect(listen()[1]).unwrap());
            stream.set_read_timeout(Some(LONG)).unwrap();
            for id in [7, 8] {
                let long = exchange(&mut stream, &query(id, "example.org"));
                assert_eq!((long.len() > 60_000, &long[..2]), (true, &id.to_be_bytes()[..]));
                assert_eq!(&exchange(&mut stream, &query(9, "web.machines"))[42..], &[10, 201, 8, 2]);
            }
        });
        // A length that no query has ends the connection.
        let mut stream = inside(&container, || TcpStream::connect(listen()[0]).unwrap());
        stream.write_all(&[0xff, 0xff, 0]).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
    });
    let mut refused = serve(&host, &["127.0.0.4:53"], || {
        let mut stream = inside(&container, || TcpStream::connect(listen()[0]).unwrap());
        exchange(&mut stream, &query(7, "example.org"))
    });
    assert_eq!(refused.remove(3) & 15, 2);
}

#[test]
fn strangers_are_not_answered_and_connections_are_bounded() {
    let (host, container) = net();
    serve(&host, &[], || {
        let from_host = ask(&host, listen()[0], &query(7, "web"), LONG);
        assert!(from_host.is_some(), "the host's own address there is one of the subnet's");
        let mut within = Socket::open_in(container.as_fd()).unwrap();
        let link = Link::get(&mut within, IfName::HOST0).unwrap();
        Address::new(&link, "10.99.0.2".parse().unwrap(), 32).unwrap().apply(&mut within).unwrap();
        inside(&container, || {
            let socket = UdpSocket::bind("10.99.0.2:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            socket.send_to(&query(7, "web"), listen()[0]).unwrap();
            assert!(socket.recv(&mut [0; 512]).is_err());
            let mut streams: Vec<_> = (0..9).map(|_| TcpStream::connect(listen()[0]).unwrap()).collect();
            streams.iter().for_each(|s| s.set_read_timeout(Some(LONG)).unwrap());
            assert_eq!(streams[8].read(&mut [0; 1]).unwrap_or(0), 0, "the ninth is closed");
            assert_eq!(exchange(&mut streams[0], &query(7, "web"))[7], 1);
        });
    });
}

/// Two serve one zone; either may end.
#[test]
fn servers_share_an_address_and_names() {
    let (host, container) = net();
    let directory = tempfile::tempdir().unwrap();
    let names = MachineNames::open(directory.path()).unwrap();
    let web = names.publish("web", &[WEB.parse().unwrap()]).unwrap();
    let open = || Dns::open(&listen(), clients(), names.clone(), Resolvers::Fixed(Vec::new())).unwrap();
    let known = || (0..20).filter(|n| ask(&container, listen()[0], &query(*n, "web"), LONG).unwrap()[7] == 1).count();
    serving(&host, open, Dns::turn, || {
        serving(&host, open, Dns::turn, || assert_eq!(known(), 20));
        assert_eq!(known(), 20);
        drop(web);
        assert_eq!(known(), 0);
    });
}

#[test]
fn a_taken_port_is_told_and_a_changed_resolv_conf_followed() {
    in_new_namespace(|| {
        up(&mut Socket::open().unwrap());
        let _other = UdpSocket::bind("127.0.0.1:53").unwrap();
        let refused = Dns::open(&["127.0.0.1:53".parse().unwrap()], Vec::new(), names, Resolvers::Fixed(Vec::new())).unwrap_err();
        assert_eq!(refused.kind(), Kind::InUse);
        let told = "answer DNS on 127.0.0.1:53: bind: Address already in use; another DNS server has it: redirect to another port";
        assert_eq!(refused.to_string(), told);
    });
    let (host, container) = net();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resolv.conf");
    fs::write(&path, "nameserver 127.0.0.4\nnameserver 10.201.8.1\n").unwrap();
    resolver(&host, OUTSIDE, good, |_| {
        let open = || Dns::open(&listen(), clients(), names, Resolvers::File(path.clone())).unwrap();
        let code = || ask(&container, listen()[0], &query(7, "example.org"), LONG).unwrap()[3] & 15;
        serving(&host, open, Dns::turn, || {
            assert_eq!(code(), 2, "the one isn't there, the other is ourselves");
            fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
            std::thread::sleep(Duration::from_millis(1100));
            assert_eq!(code(), 0);
        });
    });
}
