//! Rule sets in the kernel, against `nft(8)`: what is printed is what is made. Needs root and nftables (Debian's package).

mod common;

use common::{inside, namespace};
use ns_net::nft::{Chain, ChainEntry, Element, Family, Field, Hook, Map, Name, Protocol, Rule, RuleEntry, Table, Transaction, Value};
use ns_net::{IfName, IpNet, Kind, Netfilter};
use std::io::Write;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

fn device(name: &str) -> IfName {
    IfName::new(name).unwrap()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn element(protocol: Protocol, host: u16, to: &str, port: u16) -> Element {
    let to: IpAddr = to.parse().unwrap();
    Element::new([Value::Protocol(protocol), Value::Port(host)], [Value::Address(to), Value::Port(port)])
}

/// Runs `nft` in this namespace, and gives what it says.
fn nft(namespace: &OwnedFd, arguments: &[&str], input: &str) -> Result<String, String> {
    inside(namespace, || {
        let mut command = Command::new("nft");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("nft(8) is missing: .ci/install test");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    })
}

/// One of everything that there is a type for.
fn everything() -> Table {
    let key = [Field::Protocol, Field::Port];
    let elements = [element(Protocol::Tcp, 8080, "10.200.1.2", 80), element(Protocol::Udp, 53, "10.200.1.2", 5353)];
    let any4 = Map::new(name("any4"), key, [Field::Ipv4, Field::Port]).elements(elements).unwrap();
    let any6 = Map::new(name("any6"), key, [Field::Ipv6, Field::Port]).elements([element(Protocol::Tcp, 8080, "fd00:1::2", 80)]).unwrap();
    let at4 = Map::new(name("at4"), [Field::Ipv4, Field::Protocol, Field::Port], [Field::Ipv4, Field::Port]);
    let at6 = Map::new(name("at6"), [Field::Ipv6, Field::Protocol, Field::Port], [Field::Ipv6, Field::Port]);
    let whole = Map::new(name("whole"), [Field::Port], [Field::Ipv4]);
    let ve = device("ve-web");
    let guard = Chain::new(name("guard"), Hook::Ingress(device("lo")), -500).rules([
        Rule::new().to(net("127.0.0.0/8")).drop(),
        Rule::new().from(net("127.0.0.0/8")).drop(),
        Rule::new().to_port(Protocol::Udp, 67).drop(),
        Rule::new().from_port(Protocol::Udp, 67).drop(),
        Rule::new().router_advertisement().drop().comment("no routers but us"),
    ]);
    let dnat = |hook, title| {
        Chain::new(name(title), hook, -101).rules([
            Rule::new().family(Family::Ip).dnat(&at4),
            Rule::new().family(Family::Ip6).dnat(&at6),
            Rule::new().to_this_machine().not_to(net("127.0.0.0/8")).dnat(&any4),
            Rule::new().to(net("127.0.0.1/32")).dnat(&any4),
            Rule::new().family(Family::Ip6).to_this_machine().dnat(&any6),
            Rule::new().family(Family::Ip).dnat(&whole),
        ])
    };
    let redirect = Rule::new().from_device(ve).to_this_machine().to_port(Protocol::Tcp, 53).redirect(5300);
    let post = Chain::new(name("post"), Hook::NatPostrouting, 101).rules([
        Rule::new().from(net("10.200.1.0/28")).not_to_device(ve).masquerade(),
        Rule::new().from(net("fd00:1::/64")).not_to_device(ve).masquerade(),
        Rule::new().from_device(ve).to_device(ve).was_dnat().masquerade(),
        Rule::new().to_device(ve).from(net("127.0.0.0/8")).masquerade(),
        Rule::new().to_device(ve).from(net("::1/128")).masquerade(),
        Rule::new().from(net("10.200.0.0/13")).to_device(device("odd*")).accept(),
    ]);
    let forward = Chain::new(name("forward"), Hook::FilterForward, 5).rule(Rule::new().to_device(ve).was_dnat().accept());
    let pre = dnat(Hook::NatPrerouting, "pre").rule(redirect);
    let table = Table::new(Family::Inet, name("nsk-web")).map(any4.clone()).map(any6.clone()).map(at4.clone()).map(at6.clone());
    table.map(whole.clone()).chain(guard).chain(pre).chain(dnat(Hook::NatOutput, "out")).chain(post).chain(forward)
}

#[test]
fn nft_takes_what_is_printed_and_makes_the_same_of_it() {
    let (ours, theirs) = (namespace(), namespace());
    let table = everything();
    let text = table.to_string();
    nft(&theirs, &["-c", "-f", "-"], &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    nft(&theirs, &["-f", "-"], &text).unwrap();
    let mut socket = Netfilter::open_in(ours.as_fd()).unwrap();
    table.apply(&mut socket).unwrap();
    let list = |of| nft(of, &["list", "ruleset"], "").unwrap();
    let (made, wanted) = (list(&ours), list(&theirs));
    assert_eq!(made.lines().collect::<Vec<_>>(), wanted.lines().collect::<Vec<_>>());
    assert!(made.contains("dnat ip to ip daddr . meta l4proto . th dport map @at4"), "{made}");
    // Byte for byte the same instructions, but for registers' other names.
    let expressions = |of: &OwnedFd| {
        let mut socket = Netfilter::open_in(of.as_fd()).unwrap();
        ["guard", "pre", "out", "post", "forward"]
            .map(|chain| RuleEntry::list(&mut socket, Family::Inet, table.name(), &name(chain)).unwrap())
            .map(|rules| rules.into_iter().map(|r| (r.comment, r.expressions)).collect::<Vec<_>>())
    };
    let (made, wanted) = (expressions(&ours), expressions(&theirs));
    assert_eq!(made.iter().map(Vec::len).collect::<Vec<_>>(), [5, 7, 6, 6, 1]);
    assert_eq!(made, wanted);
    assert_eq!(made[0][4].0.as_deref(), Some("no routers but us"));
}

#[test]
fn a_held_table_is_its_sockets_alone_and_goes_with_it() {
    let of = namespace();
    let held = everything().hold(Netfilter::open_in(of.as_fd()).unwrap()).unwrap();
    let listed = |of| nft(of, &["list", "tables"], "").unwrap();
    assert_eq!(listed(&of), "table inet nsk-web\n");
    let refused = nft(&of, &["delete", "table", "inet", "nsk-web"], "").unwrap_err();
    assert!(refused.contains("Operation not permitted"), "{refused}");
    nft(&of, &["flush", "ruleset"], "").unwrap();
    assert_eq!(listed(&of), "table inet nsk-web\n");
    let mut other = Netfilter::open_in(of.as_fd()).unwrap();
    let foreign = Transaction::new().delete_table(Family::Inet, held.table().name()).apply(&mut other).unwrap_err();
    assert_eq!(foreign.kind(), Kind::NotPermitted);
    let taken = everything().hold(other).unwrap_err();
    assert!(matches!(taken.kind(), Kind::Exists | Kind::NotPermitted), "{taken}");
    assert!(taken.to_string().starts_with("make table inet nsk-web: NFT_MSG_NEWTABLE: "), "{taken}");
    held.close().unwrap();
    assert_eq!(listed(&of), "");
}

/// The socket's last copy is a process's that is killed: nothing is left of the table, at once.
#[test]
fn a_killed_owner_leaves_nothing() {
    let of = namespace();
    let held = everything().hold(Netfilter::open_in(of.as_fd()).unwrap()).unwrap();
    let socket = held.into_socket().unwrap();
    let copy = rustix::io::fcntl_dupfd_cloexec(&socket, 3).unwrap();
    let mut owner = Command::new("sleep").arg("1000").stdin(copy).spawn().unwrap();
    drop(socket);
    assert_eq!(nft(&of, &["list", "tables"], "").unwrap(), "table inet nsk-web\n");
    owner.kill().unwrap();
    owner.wait().unwrap();
    // Another test's child that hasn't called execve(2) yet has a copy of the socket too, for a moment.
    let start = Instant::now();
    while !nft(&of, &["list", "tables"], "").unwrap().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(5), "the table outlives its owner");
    }
}

#[test]
fn elements_move_in_one_transaction_or_stay() {
    let of = namespace();
    let table = everything();
    let mut held = table.clone().hold(Netfilter::open_in(of.as_fd()).unwrap()).unwrap();
    let any4 = &table.maps()[0];
    let (old, new) = (element(Protocol::Tcp, 8080, "10.200.1.2", 80), element(Protocol::Tcp, 8080, "10.200.1.9", 80));
    let change = |old: &Element, new: &Element| {
        let deleted = Transaction::new().delete_elements(Family::Inet, table.name(), any4, vec![old.clone()]).unwrap();
        deleted.add_elements(Family::Inet, table.name(), any4, vec![new.clone()]).unwrap()
    };
    let moved = change(&old, &new);
    assert_eq!(
        moved.to_string(),
        "delete element inet nsk-web any4 { tcp . 8080 : 10.200.1.2 . 80 }\nadd element inet nsk-web any4 { tcp . 8080 : 10.200.1.9 . 80 }\n"
    );
    nft(&of, &["-c", "-f", "-"], &moved.to_string()).expect_err("the table is another socket's");
    held.change(&moved).unwrap();
    let listed = || nft(&of, &["list", "map", "inet", "nsk-web", "any4"], "").unwrap();
    assert!(listed().contains(" . 8080 : 10.200.1.9 . 80") && !listed().contains("10.200.1.2 . 80"), "{}", listed());

    // The second step fails: the first one is undone.
    let before = listed();
    let absent = element(Protocol::Tcp, 1, "10.200.1.2", 80);
    let failed = held.change(&change(&new, &new).delete_elements(Family::Inet, table.name(), any4, vec![absent]).unwrap()).unwrap_err();
    assert_eq!((failed.kind(), failed.errno()), (Kind::NotFound, Some(libc::ENOENT)));
    assert!(
        failed.to_string().starts_with("delete elements of map any4 in table inet nsk-web: NFT_MSG_DELSETELEM: No such file"),
        "{failed}"
    );
    assert_eq!(listed(), before);
    let twice = held.change(&Transaction::new().add_elements(Family::Inet, table.name(), any4, vec![new]).unwrap()).unwrap_err();
    assert_eq!(twice.kind(), Kind::Exists);
}

#[test]
fn an_element_has_its_maps_fields() {
    let any4 = Map::new(name("any4"), [Field::Protocol, Field::Port], [Field::Ipv4, Field::Port]);
    let e = any4.clone().elements([element(Protocol::Tcp, 1, "fd00::1", 2)]).unwrap_err();
    assert_eq!(e.to_string(), "element tcp . 1 : fd00::1 . 2 of map any4: its fields are not the map's");
    let e = Transaction::new().add_elements(Family::Inet, &name("x"), &any4, vec![element(Protocol::Tcp, 1, "::", 2)]).unwrap_err();
    assert_eq!(e.kind(), Kind::Invalid);
}

/// All ports of both protocols, in one transaction.
#[test]
fn as_many_elements_as_there_are_ports() {
    let of = namespace();
    let key = [Field::Protocol, Field::Port];
    let all = |p| (1..=u16::MAX).map(move |port| element(p, port, "10.200.1.2", port));
    let map = Map::new(name("any4"), key, [Field::Ipv4, Field::Port]).elements(all(Protocol::Tcp).chain(all(Protocol::Udp))).unwrap();
    let table = Table::new(Family::Inet, name("many")).map(map);
    table.hold(Netfilter::open_in(of.as_fd()).unwrap()).unwrap().close().unwrap();
}

#[test]
fn a_hundred_tables_beside_one_another() {
    let of = namespace();
    let held: Vec<_> = (0..100)
        .map(|n| {
            let map = Map::new(name("t4"), [Field::Port], [Field::Ipv4]);
            let pre = Chain::new(name("pre"), Hook::NatPrerouting, -101).rule(Rule::new().family(Family::Ip).dnat(&map));
            let table = Table::new(Family::Inet, name(&format!("nsk-{n}"))).map(map).chain(pre);
            table.hold(Netfilter::open_in(of.as_fd()).unwrap()).unwrap()
        })
        .collect();
    let mut socket = Netfilter::open_in(of.as_fd()).unwrap();
    let chains = ChainEntry::list(&mut socket).unwrap();
    assert_eq!(chains.len(), 100);
    assert_eq!((chains[0].kind.as_deref(), chains[0].hook, chains[0].priority, chains[0].drops), (Some("nat"), Some(0), Some(-101), false));
    drop(held);
    assert_eq!(ChainEntry::list(&mut socket).unwrap().len(), 0);
}

#[test]
fn a_foreign_chain_gets_a_rule_first_and_loses_it() {
    let of = namespace();
    nft(&of, &["-f", "-"], "table ip filter {\n chain DOCKER-USER {\n return\n }\n}\n").unwrap();
    let mut socket = Netfilter::open_in(of.as_fd()).unwrap();
    let (table, chain) = (name("filter"), name("DOCKER-USER"));
    let rule = Rule::new().from_device(device("ve-web")).accept().comment("nskit: web");
    let insert = Transaction::new().insert(Family::Ip, &table, &chain, rule);
    assert_eq!(insert.to_string(), "insert rule ip filter DOCKER-USER iifname \"ve-web\" accept comment \"nskit: web\"\n");
    nft(&of, &["-c", "-f", "-"], &insert.to_string()).unwrap();
    insert.apply(&mut socket).unwrap();
    let rules = RuleEntry::list(&mut socket, Family::Ip, &table, &chain).unwrap();
    assert_eq!(rules.len(), 2);
    assert_eq!(rules[0].comment.as_deref(), Some("nskit: web"));
    assert_eq!(rules[0].expressions, ["meta", "cmp", "immediate accept"]);
    let delete = Transaction::new().delete_rule(&rules[0]);
    nft(&of, &["-c", "-f", "-"], &delete.to_string()).unwrap();
    delete.apply(&mut socket).unwrap();
    assert_eq!(RuleEntry::list(&mut socket, Family::Ip, &table, &chain).unwrap(), rules[1..]);
    assert_eq!(RuleEntry::list(&mut socket, Family::Ip, &table, &name("nosuch")).unwrap(), []);
    let gone = delete.apply(&mut socket).unwrap_err();
    assert_eq!(gone.errno(), Some(libc::ENOENT));
}

#[test]
fn a_device_that_is_not_there_is_an_error_and_nothing_is_made() {
    let of = namespace();
    let guard = Chain::new(name("guard"), Hook::Ingress(device("ve-none")), -500).rule(Rule::new().drop());
    let table = Table::new(Family::Inet, name("nsk-web")).chain(guard);
    // Linux 6.16 and newer: the chain waits for the device.
    if let Err(e) = table.hold(Netfilter::open_in(of.as_fd()).unwrap()) {
        assert!(e.to_string().starts_with("make chain guard in table inet nsk-web: NFT_MSG_NEWCHAIN: No such"), "{e}");
    }
    assert_eq!(nft(&of, &["list", "tables"], "").unwrap(), "");
}

/// What the parsers are given is the kernel's; whatever it is, they end.
#[test]
fn random_bytes_do_no_harm() {
    let mut seed = 88_172_645_463_325_252_u64;
    for _ in 0..50_000 {
        let bytes: Vec<u8> = (0..96)
            .map(|i| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                if i % 4 == 1 && seed & 7 != 0 { 0 } else { (seed >> 32) as u8 & 0x1f }
            })
            .collect();
        let _ = (ChainEntry::parse(&bytes), RuleEntry::parse(&bytes));
    }
    assert_eq!((ChainEntry::parse(&[]), RuleEntry::parse(&[1, 0, 0, 0])), (None, None));
}

#[test]
fn without_rights_the_error_says_which() {
    let of = namespace();
    let e = inside(&of, || {
        let socket = Netfilter::open().unwrap();
        let none = rustix::thread::CapabilitySet::empty();
        let none = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
        // This thread alone gives up its capabilities, and ends.
        rustix::thread::set_capabilities(None, none).unwrap();
        everything().hold(socket).unwrap_err()
    });
    assert_eq!(e.kind(), Kind::NotPermitted);
    assert!(e.to_string().starts_with("make table inet nsk-web: NFT_MSG_NEWTABLE: Operation not permitted; this needs CAP_NET"), "{e}");
}
