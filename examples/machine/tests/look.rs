//! Verbs that look at machines which run a command.

mod manager;
#[path = "../../launcher/tests/support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::symlink;

use manager::{complaint, listed, ns_machine, output, property, started, started_with};
use nix::sys::signal::Signal;
use support::{Machine, in_own_network, until, within};

#[test]
fn without_machines() {
    let machine = Machine::of("busybox");
    assert_eq!(output(&machine, ""), "No machines.\n");
    assert_eq!(output(&machine, "list --no-legend"), "");
    assert_eq!(output(&machine, "-o json"), "[]\n");
    assert_eq!(output(&machine, "show -p PoolPath"), "PoolPath=/var/lib/machines\n");
    assert!(output(&machine, "--help").contains("terminate"));
    let unknown = format!("Machine '{}' is not known; ns-machine list shows those that run", machine.name());
    for verb in ["status", "show", "poweroff", "reboot", "terminate", "kill"] {
        assert_eq!(complaint(&machine, &format!("{verb} NAME other")), unknown);
    }
    let host = output(&machine, "list --all --no-legend");
    assert!(host.starts_with(".host host "), "{host}");
}

#[test]
fn a_command_is_listed_and_shown() {
    let machine = Machine::of("busybox");
    let mut running = started(&machine, "sleep 300 & wait");
    let name = machine.name();

    let text = output(&machine, "list");
    let header = format!("{:1$} CLASS     SERVICE  OS      VERSION ADDRESSES", "MACHINE", name.len());
    let row = format!("{name} container ns-spawn busybox -       -");
    assert_eq!(text, format!("{header}\n{row}\n\n1 machines listed.\n"));
    assert_eq!(output(&machine, "list --no-legend --max-addresses=0"), format!("{name} container ns-spawn busybox -\n"));
    let [row] = listed(&machine).try_into().unwrap();
    assert_eq!((row["machine"].as_str(), row["class"].as_str()), (Some(name), Some("container")));
    assert_eq!((row["os"].as_str(), row["version"].is_null()), (Some("busybox"), true));

    let all = output(&machine, "show NAME");
    let (leader, supervisor) = (running.payload().0, running.process().0);
    for line in [
        format!("Name={name}"),
        format!("Leader={leader}"),
        format!("Supervisor={supervisor}"),
        format!("RootDirectory={}", machine.tree.path().display()),
        format!("Unit=nskit/{name}"),
        "Service=ns-spawn".into(),
        "State=running".into(),
    ] {
        assert!(all.lines().any(|one| one == line), "{line} is not in\n{all}");
    }
    assert!(!all.contains("VSockCID") && output(&machine, "show -a NAME").contains("\nVSockCID=\n"));
    assert_eq!(
        output(&machine, "show NAME -p Leader,Class --property State"),
        format!("Leader={leader}\nClass=container\nState=running\n")
    );
    assert_eq!(output(&machine, "show NAME NAME --value -p Leader"), format!("{leader}\n\n{leader}\n"));
    assert_eq!(output(&machine, "show NAME -p Nothing"), "");

    let status = output(&machine, "status NAME");
    let lines: Vec<&str> = status.lines().collect();
    assert!(lines[0].starts_with(&format!("{name}(")) && lines[0].len() == name.len() + 34, "{status}");
    assert!(lines[1].starts_with("           Since: ") && lines[1].contains(" UTC; ") && lines[1].ends_with(" ago"), "{status}");
    assert!(lines[2].starts_with(&format!("          Leader: {leader} (")), "{status}");
    assert!(lines[3].starts_with(&format!("         Superv.: {supervisor} (")), "{status}");
    assert_eq!(lines[4], "         Service: ns-spawn; class container");
    assert_eq!(lines[5], format!("            Root: {}", machine.tree.path().display()));
    assert_eq!(lines[6], "              OS: BusyBox");
    let ids = running.payload().read("uid_map");
    assert_eq!(lines[7], format!("        ID Shift: {}", ids.split_whitespace().nth(1).unwrap()));
    assert_eq!(lines[8], format!("            Unit: nskit/{name}"));
    assert!(lines[9].starts_with(&format!("                  ├─{leader} /bin/sh -c echo begun\\n")), "{status}");
    assert!(lines[10].starts_with("                  └─") && lines[10].ends_with(" sleep 300"), "{status}");
    assert_eq!(lines.len(), 11);

    running.process().signal(Signal::SIGTERM);
    running.expect("terminated by signal KILL", within(10));
    running.finish(within(10)).expect(1);
    assert_eq!(output(&machine, "list"), "No machines.\n");
}

/// What a machine says of itself reaches no terminal as it is, and nothing is followed out of it.
#[test]
fn a_hostile_guest_is_looked_at() {
    let machine = Machine::of("busybox");
    let script = "cd /sys/fs/cgroup
        mkdir init $(printf 'x\\033[2J') a a/b \"$(printf 'z\\342\\200\\256z\\302\\233z\\342\\200\\213z\\330\\234')\"
        for n in $(seq 200); do mkdir -p many/$n; done
        echo $$ >init/cgroup.procs
        sh -c 'sleep 300; true' \"$(printf 'y\\033[2J\\n')\" & echo $! >$(printf 'x\\033[2J')/cgroup.procs
        (sleep 299) & echo $! >a/b/cgroup.procs
        rm -f /etc/os-release; printf 'ID=\"\\033[2J\"\\nVERSION_ID=\"1\\342\\200\\2562\"\\nPRETTY_NAME=\"\\233\\342\\200\\213\"\\n' >/etc/os-release
        hostname \"$(printf 'h\\033[2J\\342\\200\\256')\"; printf '\\033[2J\\n' >/etc/machine-id
        echo made; wait";
    let mut running = started(&machine, script);
    running.expect("made", within(20));
    let shown = |line: &str| {
        let text = output(&machine, line);
        // What is no control and is not printable turns text around, or hides; the lines of the tree are none of that.
        let plain = |c: char| c == '\n' || matches!(c, '"' | '\'' | '\\') || c.escape_debug().eq([c]);
        assert!(text.chars().all(plain), "{}", text.escape_debug());
        text
    };
    let status = shown("status NAME");
    let tree: Vec<&str> = status.lines().skip_while(|line| !line.contains("Unit:")).skip(1).map(|line| &line[18..]).collect();
    assert_eq!((tree[0], tree[1]), ("├─a", "│ └─b"), "{status}");
    assert!(tree.contains(&"├─init") && tree.iter().any(|line| line.contains("x\\x1b[2J")), "{status}");
    assert!(shown("status -a NAME").contains("z\\u{202e}z\\u{9b}z\\u{200b}z\\u{61c}"), "{}", shown("status -a NAME"));
    assert!(!status.contains("─many\n") && shown("status -a NAME").contains("├─many\n"), "{status}");
    assert!(shown("list").contains(" \\x1b[2J "), "{}", shown("list"));
    shown("list --output=json");
    shown("list --full");
    shown("show -a NAME");

    // Links out of the tree, what is no file, what never ends.
    let os_release = machine.tree.join("etc/os-release");
    fs::remove_file(&os_release).unwrap();
    fs::remove_file(machine.tree.join("usr/lib/os-release")).unwrap();
    for target in ["/proc/1/root/etc/os-release", "/../../../../etc/os-release", "/dev/zero", "/proc/self/environ", "os-release"] {
        symlink(target, &os_release).unwrap();
        assert!(listed(&machine)[0]["os"].is_null(), "{target}");
        fs::remove_file(&os_release).unwrap();
    }
    fs::File::create(&os_release).unwrap().set_len(4 << 30).unwrap();
    assert!(listed(&machine)[0]["os"].is_null());
    running.process().signal(Signal::SIGTERM);
    running.finish(within(20)).expect(1);
}

#[test]
fn addresses_are_those_of_its_own_network() {
    let machine = Machine::of("busybox");
    in_own_network("br0", || {
        let script = "ip addr add 10.9.8.7/24 dev host0; ip addr add fd00::7/64 dev host0; echo made; sleep 300";
        let mut running = started_with(&machine, &["--quiet", "-n"], script);
        running.expect("made", within(10));
        let mut addresses = Vec::new();
        // IPv6 asks first whether somebody else has an address.
        until("all addresses are there", within(10), || {
            let text = output(&machine, "list --no-legend --full");
            addresses = text.split_whitespace().skip(5).map(str::to_owned).collect();
            addresses.len() == 3
        });
        let index = support::link(&format!("ve-{}", machine.name())).unwrap().index;
        assert_eq!(&addresses[..2], ["10.9.8.7", "fd00::7"]);
        assert!(addresses[2].starts_with("fe80::") && addresses[2].ends_with(&format!("%{index}")), "{addresses:?}");
        assert!(output(&machine, "list --no-legend").ends_with(" 10.9.8.7…\n"));
        assert_eq!(property(&machine, "NetworkInterfaces"), index.to_string());
        let status = output(&machine, "status NAME");
        let lines = format!("           Iface: ve-{}\n         Address: 10.9.8.7\n                  fd00::7\n", machine.name());
        assert!(status.contains(&lines), "{status}");
        running.process().signal(Signal::SIGTERM);
        running.finish(within(10)).expect(1);
    });
    let shared = started_with(&machine, &["--quiet", "--network=host"], "sleep 300");
    assert!(listed(&machine)[0]["addresses"].is_null());
    shared.process().signal(Signal::SIGTERM);
    shared.finish(within(10)).expect(1);
}

/// Records are files: what is wrong in one concerns that machine only, and a number in one is never believed.
#[test]
fn a_record_that_is_not_to_be_trusted() {
    let machine = Machine::of("busybox");
    let running = started(&machine, "sleep 300");
    let record = machine.run_dir().join(format!("machines/{}.json", machine.name()));
    let good = fs::read_to_string(&record).unwrap();

    fs::write(&record, &good[..good.len() / 2]).unwrap();
    let ended = ns_machine(&machine, "list --no-legend").run().expect(0);
    assert_eq!(ended.text(), format!("{} - - - - -\n", machine.name()));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(complaint(&machine, "kill NAME").starts_with(&format!("Machine '{}' can't be looked at: ", machine.name())));

    // Its processes' numbers are those of others by now: of this test, in which nothing may happen.
    let mut value: serde_json::Value = serde_json::from_str(&good).unwrap();
    for process in ["supervisor", "keeper", "leader"] {
        value[process]["pid"] = std::process::id().into();
    }
    fs::write(&record, value.to_string()).unwrap();
    for line in ["kill NAME -s KILL", "kill NAME --kill-whom=leader -s KILL", "kill NAME --kill-whom=supervisor -s KILL"] {
        complaint(&machine, line);
    }
    assert!(running.payload().runs());

    fs::write(&record, &good).unwrap();
    assert_eq!(property(&machine, "State"), "running");
    running.process().signal(Signal::SIGTERM);
    running.finish(within(10)).expect(1);
}
