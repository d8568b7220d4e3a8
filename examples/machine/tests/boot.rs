//! Verbs on a machine that has booted a distribution.

mod manager;
#[path = "../../launcher/tests/support/mod.rs"]
mod support;

use manager::{listed, output, property};
use support::{Guest, Machine, within};

/// The essay's commands: `machinectl status arch1`, `machinectl poweroff arch1`.
#[test]
fn boot_status_and_poweroff() {
    let machine = Machine::of("debian");
    let mut terminal = machine.boot_to_prompt([] as [&str; 0]);
    let [row] = listed(&machine).try_into().unwrap();
    assert_eq!((row["os"].as_str(), row["version"].as_str()), (Some("debian"), Some("12")));

    let status = output(&machine, "status NAME");
    let tree: Vec<&str> = status.lines().skip_while(|line| !line.contains("Unit:")).skip(1).map(|line| &line[18..]).collect();
    let leader = property(&machine, "Leader");
    assert!(status.contains(&format!("          Leader: {leader} (systemd)\n")), "{status}");
    assert!(status.contains("              OS: Debian GNU/Linux 12 (bookworm)\n"), "{status}");
    assert_eq!(tree[0], "├─init.scope");
    assert!(tree[1].starts_with(&format!("│ └─{leader} /")), "{status}");
    let slice = tree.iter().position(|line| line.ends_with("─system.slice")).expect("system.slice");
    let below = &tree[slice..];
    for service in ["dbus.service", "systemd-journald.service", "systemd-logind.service"] {
        let at = below.iter().position(|line| line.ends_with(&format!("─{service}"))).unwrap_or_else(|| panic!("{service}\n{status}"));
        assert!(below[at + 1].contains("─") && below[at + 1].contains(" /"), "{status}");
    }
    assert_eq!(terminal.payload().0.to_string(), leader);

    assert_eq!(output(&machine, "poweroff --wait NAME"), "");
    assert_eq!(output(&machine, "list"), "No machines.\n");
    assert_eq!(terminal.finish(within(10)), Some(0));
    assert!(terminal.text().contains(&format!("Container {} has been shut down.", machine.name())), "{}", terminal.text());
}

#[test]
fn boot_reboot_and_terminate() {
    let machine = Machine::of("debian");
    let mut guest = machine.boot([] as [&str; 0]);
    let boot_id = |guest: &mut Guest| guest.ok("cat /proc/sys/kernel/random/boot_id");
    let (first, leader) = (boot_id(&mut guest), property(&machine, "Leader"));
    assert_eq!(output(&machine, "reboot --wait NAME"), "");
    assert_ne!(property(&machine, "Leader"), leader);
    let mut guest = Guest::log_in(guest.terminal);
    assert_ne!(boot_id(&mut guest), first);

    assert_eq!(output(&machine, "terminate NAME"), "");
    assert_eq!(output(&machine, "list"), "No machines.\n");
    assert_eq!(machine.cgroup(), None);
    assert_eq!(guest.terminal.finish(within(10)), Some(1));
}
