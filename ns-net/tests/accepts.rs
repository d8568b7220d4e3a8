//! Beside other firewalls: rule sets as Docker's and firewalld's, in a host of the test's own. Needs root and nftables.

mod common;
#[path = "common/net.rs"]
mod net;

use common::inside;
use net::{Net, ip};
use ns_net::{Accepts, Event, Kind, Netfilter, Watch};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::thread;
use std::time::Duration;

fn shell(net: &Net, script: &str) -> String {
    let run = || Command::new("/bin/sh").args(["-ec", script]).output().unwrap();
    let output = net.on_host(run);
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// As iptables-nft makes them.
const DOCKER: &str = "for family in ip ip6; do nft -f - <<END
table $family filter {
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
        counter jump DOCKER-USER
    }
    chain DOCKER-USER {
        counter return
    }
}
END
done";

const FIREWALLD: &str = "nft -f - <<'END'
table inet firewalld {
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        reject with icmpx admin-prohibited
    }
}
END";

fn serve(namespace: &OwnedFd, port: u16) {
    let listener = inside(namespace, || TcpListener::bind(("::", port)).unwrap());
    thread::spawn(move || listener.incoming().for_each(drop));
}

fn connects(from: &OwnedFd, to: &str, port: u16, expected: bool) -> bool {
    let to = SocketAddr::new(ip(to), port);
    let connect = || TcpStream::connect_timeout(&to, Duration::from_millis(if expected { 5_000 } else { 200 }));
    inside(from, connect).is_ok_and(|mut stream| stream.read(&mut [0]).is_ok())
}

#[test]
fn docker_lets_the_machines_packets_through() {
    let net = Net::new();
    let web = net.machine("web", 1);
    serve(&web.namespace, 80);
    serve(&net.outside, 90);
    let _held = net.hold(web.rules("web").forward("8080:80".parse().unwrap()), &web);
    shell(&net, DOCKER);
    let works = |expected: bool| {
        for (from, to, port) in [(&net.outside, "10.9.0.1", 8080), (&net.outside, "fd09::1", 8080), (&web.namespace, "10.9.0.2", 90)] {
            assert_eq!(connects(from, to, port, expected), expected, "{to} {port}");
        }
    };
    works(false);
    let mut socket = Netfilter::open_in(net.host.as_fd()).unwrap();
    let mut watch = Watch::rules_in(net.host.as_fd()).unwrap();
    let accepts = Accepts::new("web", web.device);
    assert!(accepts.apply(&mut socket).unwrap());
    assert_eq!(watch.events().unwrap(), [Event::Rules]);
    works(true);
    assert!(!accepts.apply(&mut socket).unwrap(), "all is there");

    // Interfaces alone: `iptables -S` fails on a chain in which there is more.
    let listed = shell(&net, "nft list chain ip filter DOCKER-USER");
    let rules: Vec<&str> = listed.lines().filter(|line| line.contains("nskit")).map(str::trim).collect();
    assert_eq!(rules, ["oifname \"ve-web\" accept comment \"nskit: web\"", "iifname \"ve-web\" accept comment \"nskit: web\""]);

    // A reload drops them; the watch tells.
    let _ = watch.events().unwrap();
    shell(&net, "nft flush chain ip filter DOCKER-USER; nft add rule ip filter DOCKER-USER counter return");
    assert!(watch.events().unwrap().contains(&Event::Rules));
    assert!(!accepts.missing(&mut socket).unwrap().is_empty());
    assert!(accepts.apply(&mut socket).unwrap());
    works(true);
    assert_eq!(accepts.close(&mut socket).unwrap(), 4);
    assert_eq!(accepts.close(&mut socket).unwrap(), 0);
    works(false);
}

#[test]
fn firewalld_lets_the_machine_out() {
    let net = Net::new();
    let web = net.machine("web", 1);
    serve(&net.outside, 90);
    let _held = net.hold(web.rules("web"), &web);
    shell(&net, FIREWALLD);
    assert!(!connects(&web.namespace, "10.9.0.2", 90, false));
    let mut socket = Netfilter::open_in(net.host.as_fd()).unwrap();
    let accepts = Accepts::new("web", web.device);
    assert_eq!(
        accepts.missing(&mut socket).unwrap().to_string(),
        "insert rule inet firewalld filter_FORWARD iifname \"ve-web\" accept comment \"nskit: web\"\n"
    );
    assert!(accepts.apply(&mut socket).unwrap());
    for to in ["10.9.0.2", "fd09::2"] {
        assert!(connects(&web.namespace, to, 90, true), "{to}: {}", shell(&net, "nft list ruleset"));
    }
    assert_eq!(accepts.close(&mut socket).unwrap(), 1);
}

#[test]
fn what_a_crash_left_is_collected_by_its_comment() {
    let net = Net::new();
    shell(&net, &format!("{DOCKER}\n{FIREWALLD}"));
    let mut socket = Netfilter::open_in(net.host.as_fd()).unwrap();
    let before = shell(&net, "nft list ruleset");
    for machine in ["web", "db", "web-2"] {
        Accepts::new(machine, ns_net::IfName::new(&format!("ve-{machine}")).unwrap()).apply(&mut socket).unwrap();
    }
    assert_eq!(Accepts::collect(&mut socket, |machine| machine == "web").unwrap(), 10);
    assert_eq!(shell(&net, "nft list ruleset").matches("nskit: web\"").count(), 5);
    assert_eq!(Accepts::collect(&mut socket, |_| false).unwrap(), 5);
    assert_eq!(shell(&net, "nft list ruleset"), before);
}

#[test]
fn a_table_of_firewallds_alone_is_told_with_what_to_do() {
    use ns_net::nft::{Family, Name, Table};
    let net = Net::new();
    let web = net.machine("web", 1);
    let owner = Netfilter::open_in(net.host.as_fd()).unwrap();
    let chain = ns_net::nft::Chain::new(Name::new("filter_FORWARD").unwrap(), ns_net::nft::Hook::FilterForward, 10);
    let _held = Table::new(Family::Inet, Name::new("firewalld").unwrap()).chain(chain).hold(owner).unwrap();
    let e = Accepts::new("web", web.device).apply(&mut Netfilter::open_in(net.host.as_fd()).unwrap()).unwrap_err();
    assert_eq!(e.kind(), Kind::NotPermitted);
    assert!(e.to_string().ends_with("firewall-cmd --zone=trusted --add-interface=ve-web"), "{e}");
}

#[test]
fn without_other_firewalls_there_is_nothing_to_do() {
    let net = Net::new();
    let web = net.machine("web", 1);
    let accepts = Accepts::new("web", web.device);
    let mut socket = Netfilter::open_in(net.host.as_fd()).unwrap();
    assert!(!accepts.apply(&mut socket).unwrap());
    assert_eq!(accepts.close(&mut socket).unwrap(), 0);
    assert_eq!(accepts.to_string().lines().count(), 5);
}
