//! The host's resolvers: `resolv.conf(5)`.

use rustix::fs::{CWD, Mode, OFlags, fstat};
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PORT: u16 = 53;
/// As many as the C library asks.
const MOST: usize = 3;
/// Nobody has a longer file.
const LONGEST: u64 = 64 << 10;
/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// The servers that a `resolv.conf(5)` names, the first three; whatever the octets. Lines that can't be read are passed over, as the C
/// library does; `fe80::1%eth0` needs the link to be there.
///
/// ```
/// let servers = ns_net::resolvers(b"# made by hand\nnameserver 192.0.2.1\noptions edns0\nnameserver 2001:db8::1 # comment\n");
/// assert_eq!(servers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.1:53", "[2001:db8::1]:53"]);
/// ```
pub fn resolvers(text: &[u8]) -> Vec<SocketAddr> {
    let lines = text.get(..text.len().min(LONGEST as usize)).unwrap_or_default().split(|b| *b == b'\n');
    let words = |line: &'_ [u8]| String::from_utf8_lossy(line).split_ascii_whitespace().take(2).map(String::from).collect::<Vec<_>>();
    let servers = lines.map(words).filter_map(|words| match words.as_slice() {
        [keyword, address] if keyword == "nameserver" => server(address),
        _ => None,
    });
    servers.take(MOST).collect()
}

fn server(text: &str) -> Option<SocketAddr> {
    match text.split_once('%') {
        None => text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, PORT)),
        Some((ip, link)) => {
            let ip: Ipv6Addr = ip.parse().ok()?;
            Some(SocketAddrV6::new(ip, PORT, 0, link.parse().ok().or_else(|| index_of(link))?).into())
        }
    }
}

fn index_of(link: &str) -> Option<u32> {
    let any = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None).ok()?;
    rustix::net::netdevice::name_to_index(any, link).ok()
}

/// Where queries go that are not about machines.
#[derive(Debug)]
pub(super) struct Upstreams {
    file: Option<PathBuf>,
    servers: Vec<SocketAddr>,
    seen: Option<(u64, i64, i64)>,
    looked: Option<Instant>,
}

impl Upstreams {
    pub fn fixed(servers: Vec<SocketAddr>) -> Upstreams {
        Upstreams { file: None, servers, seen: None, looked: None }
    }

    pub fn file(path: PathBuf) -> Upstreams {
        Upstreams { file: Some(path), servers: Vec::new(), seen: None, looked: None }
    }

    /// The servers now: the file is read again when it has changed, which is looked for once a second.
    pub fn now(&mut self, now: Instant) -> &[SocketAddr] {
        if self.file.is_some() && self.looked.is_none_or(|then| now.saturating_duration_since(then) >= EVERY) {
            self.looked = Some(now);
            self.read();
        }
        &self.servers
    }

    /// Where the file is gone or can't be read, the servers stay as they were.
    fn read(&mut self) -> Option<()> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, self.file.as_ref()?, flags, Mode::empty()).ok()?;
        let stat = fstat(&file).ok()?;
        let seen = Some((stat.st_ino, stat.st_mtime, stat.st_mtime_nsec as i64));
        if seen != self.seen {
            let mut text = Vec::new();
            File::from(file).take(LONGEST).read_to_end(&mut text).ok()?;
            (self.servers, self.seen) = (resolvers(&text), seen);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(text: &str) -> Vec<String> {
        resolvers(text.as_bytes()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn three_servers_count_and_rubbish_does_not() {
        assert_eq!(
            strings("nameserver 1.1.1.1\nnameserver\nnameserver x\n;nameserver 9.9.9.9\n nameserver\t2.2.2.2"),
            ["1.1.1.1:53", "2.2.2.2:53"]
        );
        assert_eq!(strings(&"nameserver ::1\n".repeat(9)), ["[::1]:53"; 3]);
        assert_eq!(
            strings("nameserver fe80::1%lo\nnameserver fe80::1%7\nnameserver fe80::1%nolink\nnameserver 1.2.3.4%lo"),
            ["[fe80::1%1]:53", "[fe80::1%7]:53"]
        );
        let mut random = crate::random::Random::new(4);
        for _ in 0..2_000 {
            assert!(resolvers(&random.damaged(b"nameserver 1.1.1.1\nnameserver fe80::1%lo\noptions ndots:1\n", 9)).len() <= 3);
        }
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_lost_one_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        let mut upstreams = Upstreams::file(path.clone());
        let start = Instant::now();
        assert_eq!(upstreams.now(start), []);
        std::fs::write(&path, "nameserver 1.1.1.1\n").unwrap();
        assert_eq!(upstreams.now(start), [], "not so soon");
        assert_eq!(upstreams.now(start + EVERY)[0].to_string(), "1.1.1.1:53");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(upstreams.now(start + 2 * EVERY).len(), 1);
    }
}
