//! The proxy between namespaces that nothing else connects. Needs root.

mod common;

use common::{inside, namespace, serving};
use ns_net::{Change, IfName, Kind, Link, PortRef, Proxy, Socket};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

/// Two namespaces with a loopback each, and nothing between them.
fn net() -> (OwnedFd, OwnedFd) {
    let made = [namespace(), namespace()];
    for namespace in &made {
        let mut socket = Socket::open_in(namespace.as_fd()).unwrap();
        let lo = Link::get(&mut socket, IfName::new("lo").unwrap()).unwrap();
        Change::of(&lo).up().apply(&mut socket).unwrap();
    }
    made.into()
}

fn addresses(to: &[&str]) -> Vec<SocketAddr> {
    to.iter().map(|a| a.parse().unwrap()).collect()
}

/// A proxy of the host's 127.0.0.1:8080, while `body` runs.
fn proxied<T: Send>(host: &OwnedFd, container: &OwnedFd, to: &[&str], body: impl FnOnce() -> T + Send) -> T {
    let open = || {
        let mut proxy = Proxy::new(container.as_fd()).unwrap();
        proxy.tcp(TcpListener::bind("127.0.0.1:8080").unwrap().into(), &addresses(to)).unwrap();
        proxy
    };
    serving(host, open, Proxy::turn, body)
}

fn connect(host: &OwnedFd) -> TcpStream {
    let stream = inside(host, || TcpStream::connect("127.0.0.1:8080").unwrap());
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

/// Octets that show where they belong.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|n| ((n * 31 + n / 251 + seed) % 253) as u8).collect()
}

#[test]
fn octets_go_both_ways_and_ends_one_by_one() {
    let (host, container) = net();
    let server = inside(&container, || TcpListener::bind("127.0.0.1:80").unwrap());
    // The first two addresses refuse.
    proxied(&host, &container, &["127.0.0.1:81", "[::1]:80", "127.0.0.1:80"], || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..3 {
                    let (mut stream, _) = server.accept().unwrap();
                    let mut got = Vec::new();
                    // Its client's end is passed on, and it still answers.
                    stream.read_to_end(&mut got).unwrap();
                    assert!(got == pattern(500_000 + n, n), "{} octets", got.len());
                    stream.write_all(&pattern(1_000_000, n)).unwrap();
                }
            });
            for n in 0..3 {
                let mut stream = connect(&host);
                stream.write_all(&pattern(500_000 + n, n)).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let mut got = Vec::new();
                stream.read_to_end(&mut got).unwrap();
                assert!(got == pattern(1_000_000, n), "{} octets", got.len());
            }
        });
    });
}

/// Fast senders whose receivers are slow fill what they may and no more, and all arrives.
#[test]
fn many_connections_at_once_each_get_their_own() {
    let (host, container) = net();
    let server = inside(&container, || TcpListener::bind("[::1]:80").unwrap());
    proxied(&host, &container, &["[::1]:80"], || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut streams: Vec<_> = (0..40).map(|_| server.accept().unwrap().0).collect();
                for mut stream in streams.drain(..) {
                    let mut seed = [0; 1];
                    stream.read_exact(&mut seed).unwrap();
                    stream.write_all(&pattern(100_000, seed[0].into())).unwrap();
                }
            });
            let mut streams: Vec<_> = (0..40).map(|_| connect(&host)).collect();
            streams.iter_mut().enumerate().for_each(|(n, s)| s.write_all(&[n as u8]).unwrap());
            for (n, stream) in streams.iter_mut().enumerate() {
                let mut got = Vec::new();
                stream.read_to_end(&mut got).unwrap();
                assert!(got == pattern(100_000, n), "{n}: {} octets", got.len());
            }
        });
    });
}

#[test]
fn refusals_and_resets_are_passed_on() {
    let (host, container) = net();
    proxied(&host, &container, &["127.0.0.1:80", "[::1]:80"], || {
        let refused = connect(&host).read(&mut [0; 1]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionReset);
        let server = inside(&container, || TcpListener::bind("127.0.0.1:80").unwrap());
        let mut client = connect(&host);
        client.write_all(b"x").unwrap();
        let (mut within, _) = server.accept().unwrap();
        within.read_exact(&mut [0; 1]).unwrap();
        // Closed with octets that nobody has read: the kernel resets.
        client.write_all(b"unread").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        drop(within);
        let mut got = [0; 1];
        assert_eq!(client.read(&mut got).unwrap_err().kind(), ErrorKind::ConnectionReset);
        // And the proxy lives.
        let mut client = connect(&host);
        let (mut within, _) = server.accept().unwrap();
        within.write_all(b"y").unwrap();
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"y");
    });
}

/// 300 want in: 256 are served, the others when there is room.
#[test]
fn what_does_not_fit_waits() {
    let (host, container) = net();
    let server = inside(&container, || TcpListener::bind("127.0.0.1:80").unwrap());
    proxied(&host, &container, &["127.0.0.1:80"], || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut held: Vec<_> = (0..256).map(|_| server.accept().unwrap().0).collect();
                server.set_nonblocking(true).unwrap();
                std::thread::sleep(Duration::from_millis(50));
                assert!(server.accept().is_err(), "the 257th");
                server.set_nonblocking(false).unwrap();
                held.iter_mut().for_each(|s| s.write_all(b"x").unwrap());
                held.clear();
                (0..44).for_each(|_| server.accept().unwrap().0.write_all(b"x").unwrap());
            });
            let streams: Vec<_> = (0..300).map(|_| connect(&host)).collect();
            for mut stream in streams {
                let mut got = Vec::new();
                stream.read_to_end(&mut got).unwrap();
                assert_eq!(got, b"x");
            }
        });
    });
}

/// An echo of datagrams, with who has sent them, until one is empty.
fn echo(socket: &UdpSocket) {
    let mut buffer = [0; 65536];
    while let Ok((len @ 1.., from)) = socket.recv_from(&mut buffer) {
        socket.send_to(&buffer[..len], from).unwrap();
    }
}

#[test]
fn datagrams_find_their_clients_and_come_from_where_they_went() {
    let (host, container) = net();
    let [first, second] = inside(&container, || ["127.0.0.1:80", "[::1]:81"].map(|a| UdpSocket::bind(a).unwrap()));
    let (aim, aimed) = std::sync::mpsc::channel::<Vec<SocketAddr>>();
    let aimed = std::sync::Mutex::new(aimed);
    let open = || {
        let mut proxy = Proxy::new(container.as_fd()).unwrap();
        let port = proxy.udp(UdpSocket::bind("[::]:8080").unwrap().into(), &addresses(&["127.0.0.1:80"])).unwrap();
        (proxy, port)
    };
    let turn = |(proxy, port): &mut (Proxy, PortRef)| {
        aimed.lock().unwrap().try_iter().for_each(|to| proxy.aim(*port, &to));
        proxy.turn()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| echo(&first));
        scope.spawn(|| echo(&second));
        serving(
            &host,
            || Both(open()),
            |both| turn(&mut both.0),
            || {
                let ask = |to: &str, what: &[u8]| {
                    let client = inside(&host, || UdpSocket::bind(if to.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" }).unwrap());
                    client.set_read_timeout(Some(LONG)).unwrap();
                    // Connected: an answer from another address would not come in.
                    client.connect(to).unwrap();
                    client.send(what).unwrap();
                    let mut buffer = [0; 65536];
                    let len = client.recv(&mut buffer).unwrap();
                    assert_eq!(&buffer[..len], what, "{to}");
                };
                for n in 0..20u8 {
                    ["127.0.0.1:8080", "127.0.0.77:8080", "[::1]:8080"].iter().for_each(|to| ask(to, &[n; 9]));
                }
                ask("127.0.0.1:8080", &pattern(60_000, 3));
                // More clients than there is room for: the oldest make room.
                (0..300).for_each(|n: u32| ask("127.0.0.1:8080", &n.to_ne_bytes()));
                aim.send(addresses(&["[::1]:81"])).unwrap();
                ask("127.0.0.1:8080", b"wakes the service, and may still go to the first");
                ask("127.0.0.1:8080", b"second");
            },
        );
        let end = |to: SocketAddr| inside(&container, || UdpSocket::bind("[::]:0").unwrap().send_to(&[], to).unwrap());
        for socket in [&first, &second] {
            end(socket.local_addr().unwrap());
        }
    });
}

struct Both((Proxy, PortRef));

impl AsFd for Both {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

#[test]
fn what_is_no_namespace_refuses_when_it_is_dialled() {
    let (host, _) = net();
    let null = std::fs::File::open("/dev/null").unwrap();
    proxied(&host, &null.into(), &["127.0.0.1:80"], || {
        assert_eq!(connect(&host).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
    let (_, container) = net();
    let unbound = std::fs::File::open("/dev/null").unwrap();
    let refused = Proxy::new(container.as_fd()).unwrap().tcp(unbound.into(), &[]).unwrap_err();
    assert_eq!((refused.kind(), refused.errno()), (Kind::Other, Some(88)));
}
