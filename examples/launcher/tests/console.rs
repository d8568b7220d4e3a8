//! The console and its substitutes: a terminal, pipes, and what of ours a payload gets.

mod support;

use support::Machine;

#[test]
fn a_command_runs_and_its_code_is_ours() {
    let machine = Machine::of("busybox");
    for (script, code) in [("exit 0", 0), ("exit 5", 5), ("exit 255", 255), ("exit 133", 1), ("exit 1", 1)] {
        machine.spawn(["sh", "-c", script]).run().expect(code);
    }
}
