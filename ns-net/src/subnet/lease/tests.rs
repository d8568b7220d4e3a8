//! Leases taken by many at once, freed, kept, refused.

use super::*;
use std::collections::{HashMap, HashSet};

const HOST: MachineId = MachineId::new(*b"0123456789abcdef");

fn leases(directory: &tempfile::TempDir) -> Leases {
    Leases::open(&directory.path().join("subnets"), HOST).unwrap()
}

fn net(lease: &Lease) -> IpNet {
    lease.subnet().net4()
}

/// Four starters at once lease the same names, each in another order.
fn race(names: usize, taken: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let taken: Vec<IpNet> = taken.iter().map(|n| n.parse().unwrap()).collect();
    let names: Vec<String> = (0..names).map(|n| format!("m{n}")).collect();
    let start = &|turn: usize| {
        let leases = leases(&directory);
        let order = (0..names.len()).map(|n| &names[(n * 7 + turn * names.len() / 4) % names.len()]);
        order.map(|name| (name.clone(), leases.take(Purpose::Machine, name, &taken).unwrap())).collect::<HashMap<_, _>>()
    };
    let held: Vec<_> = std::thread::scope(|scope| {
        let starters: Vec<_> = [0, 1, 2, 3].map(|turn| scope.spawn(move || start(turn))).into();
        starters.into_iter().map(|s| s.join().unwrap()).collect()
    });
    let distinct: HashSet<IpNet> = held[0].values().map(net).collect();
    assert_eq!(distinct.len(), names.len());
    for name in &names {
        held.iter().for_each(|one| assert_eq!(net(&one[name]), net(&held[0][name]), "{name}"));
    }
}

#[test]
fn racing_starters_agree_and_no_two_names_share() {
    race(300, &["10.128.0.0/10"]);
}

/// Half of the names want the same subnet, the first that the host doesn't route.
#[test]
fn racing_starters_agree_where_the_choice_is_one() {
    race(40, &["10.128.0.0/10", "198.18.0.0/17"]);
}

#[test]
fn a_name_keeps_its_subnet_and_its_own_routes_are_no_collision() {
    let directory = tempfile::tempdir().unwrap();
    let leases = leases(&directory);
    let first = leases.take(Purpose::Machine, "web", &[]).unwrap();
    assert_eq!(first.subnet(), Subnet::first_choice(HOST, Purpose::Machine, "web"));
    let routes = [net(&first), first.subnet().net6()];
    assert_eq!(leases.take(Purpose::Machine, "web", &routes).unwrap().subnet(), first.subnet(), "while it is held");
    drop(first);
    let again = leases.take(Purpose::Machine, "web", &routes).unwrap();
    assert_eq!(net(&again), routes[0], "after its holder ended, and its link isn't gone yet");
    drop(again);
    let moved = leases.take(Purpose::Machine, "web", &["10.128.0.0/9".parse().unwrap()]).unwrap();
    assert_eq!(net(&moved).to_string().split('.').next(), Some("198"), "the host routes all of it");
    drop(moved);
    assert!(net(&leases.take(Purpose::Machine, "web", &[]).unwrap()).to_string().starts_with("198."), "where it was last");
}

#[test]
fn a_zone_is_shared_and_its_members_differ() {
    let directory = tempfile::tempdir().unwrap();
    let leases = leases(&directory);
    let zone = leases.take(Purpose::Zone, "lan", &[]).unwrap();
    let other = leases.take(Purpose::Zone, "lan", &[net(&zone)]).unwrap();
    assert_eq!(net(&zone), net(&other));
    assert_ne!(net(&zone), net(&leases.take(Purpose::Zone, "wan", &[]).unwrap()));
    let members: Vec<_> = (0..253).map(|n| leases.join(&zone, &format!("m{n}")).unwrap()).collect();
    let addresses: HashSet<_> = members.iter().map(MemberLease::address).collect();
    assert_eq!(addresses.len(), 253);
    assert!(addresses.iter().all(|a| net(&zone).contains((*a).into()) && *a != zone.subnet().gateway()));
    assert_eq!(leases.join(&other, "m7").unwrap().address(), members[7].address());
    let full = leases.join(&zone, "one-more").unwrap_err();
    assert_eq!(full.kind(), Kind::NotFound);
    assert!(
        full.to_string().ends_with("for one-more: other machines have all addresses of the zone; choose the address yourself"),
        "{full}"
    );
}

#[test]
fn a_directory_of_rubbish_is_survived() {
    let directory = tempfile::tempdir().unwrap();
    let leases = leases(&directory);
    let choice = Subnet::first_choice(HOST, Purpose::Machine, "web");
    for rubbish in ["", "no address", "127.0.0.1", "10.128.0.1", &"9".repeat(1000)] {
        std::fs::write(directory.path().join("subnets/machine:web"), rubbish).unwrap();
        assert_eq!(leases.take(Purpose::Machine, "web", &[]).unwrap().subnet(), choice);
    }
    for bad in ["", "a/b", "a\0b", &"x".repeat(101)] {
        assert_eq!(leases.take(Purpose::Machine, bad, &[]).unwrap_err().kind(), Kind::Invalid);
    }
    std::os::unix::fs::symlink("/etc/passwd", directory.path().join("subnets/machine:link")).unwrap();
    assert!(leases.take(Purpose::Machine, "link", &[]).unwrap_err().to_string().contains("open: Too many levels of symbolic links"));
    assert!(
        Leases::open(Path::new("/no/such/directory"), HOST)
            .unwrap_err()
            .to_string()
            .starts_with("open the leases in /no/such/directory: mkdir")
    );
}
