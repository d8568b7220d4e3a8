//! Whole distributions, booted to a prompt that is logged in to.

mod support;

use support::{Machine, in_own_network};

#[test]
fn boot_and_poweroff() {
    let machine = Machine::of("debian");
    in_own_network("br0", || {
        let mut guest = machine.boot(["--network-bridge=br0"]);
        assert_eq!(guest.run("systemctl is-system-running --wait").said, "running");
        guest.power_off(machine.name());
    });
}
