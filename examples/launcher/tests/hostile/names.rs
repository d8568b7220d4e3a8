//! Names of machines: what is one, and what is refused before anything is made.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::sys::signal::Signal;
use ns_net::{Link, Socket};

use super::outcome::{SAYS, one_line};
use super::support::{Machine, in_own_network, until, within};

/// Both have links, of names that fit and differ, although the first 15 bytes of the names are the same.
#[test]
fn long_names_that_begin_alike_have_links_of_their_own() {
    let machine = Machine::of("busybox");
    let other = Machine::of("busybox");
    let names = ["a", "b"].map(|end| format!("{:x<63}{end}", machine.name()));
    assert!(names.iter().all(|name| name.len() == 64) && names[0][..63] == names[1][..63]);
    in_own_network("br0", || {
        let links = || -> Vec<String> {
            let all = Link::list(&mut Socket::open().unwrap()).unwrap();
            all.into_iter().map(|link| link.name.to_string()).filter(|name| name.starts_with("ve-")).collect()
        };
        let start = |machine: &Machine, name: &str| {
            let name = format!("--machine={name}");
            let mut running = machine.spawn(["-q", "-n", &name, "sh", "-c", "ip link show host0; hostname; exec sleep 1000"]).start();
            running.expect(&format!("{}\n", &name["--machine=".len()..]), within(20));
            running.expect("host0", within(20));
            running
        };
        let running = [start(&machine, &names[0]), start(&other, &names[1])];
        let found = links();
        assert!(found.len() == 2 && found[0] != found[1] && found.iter().all(|name| name.len() <= 15), "{found:?}");
        for running in running {
            running.process().signal(Signal::SIGTERM);
            running.finish(within(20)).expect(1);
        }
        until("the links are gone", within(5), || links().is_empty());
    });
}

#[test]
fn what_is_no_name_is_refused_before_anything_is_made() {
    let machine = Machine::of("busybox");
    let tree = machine.tree.path();
    let state = |path: &std::path::Path| {
        let found = path.metadata().unwrap();
        (found.ctime(), found.ctime_nsec(), found.mtime(), found.mtime_nsec())
    };
    let before = (state(tree), state(machine.run_dir()), fs::read_dir(machine.run_dir()).unwrap().count());
    let long = "a".repeat(65);
    let names =
        ["", ".", "..", ".x", "x.", "-x", "x-", "a/b", "/", "../x", "a..b", "a b", "a_b", "ä", "日本", "a\n", "a\u{200b}b", "@x", &long];
    for name in names {
        for arguments in [&["true"][..], &["--boot"], &["-n", "true"]] {
            let ended = machine.spawn(["-q", &format!("--machine={name}")]).args(arguments).run();
            one_line(&ended, name);
            super::outcome::harmless(&ended, name);
        }
    }
    let after = (state(tree), state(machine.run_dir()), fs::read_dir(machine.run_dir()).unwrap().count());
    assert_eq!(before, after);
    // And of the longest.
    let longest = format!("--machine={:x<64}", machine.name());
    assert_eq!(machine.spawn(["-q", &longest, "/bin/busybox", "echo", SAYS]).run().expect(0).text(), format!("{SAYS}\n"));
}
