//! Of ns-seccomp: classic BPF programs.

use ns_seccomp::{Arch, Call, Program};

use crate::fixed;

/// A call's number and arguments, then a program: what is accepted can be evaluated for every call, and ends.
pub fn filter(bytes: &[u8]) {
    let number = u32::from_ne_bytes(fixed(bytes, 0));
    let args = [4, 12, 20, 28, 36, 44].map(|at| u64::from_ne_bytes(fixed(bytes, at)));
    if let Ok(program) = Program::from_bytes("fuzz", bytes.get(52..).unwrap_or_default()) {
        let _ = program.evaluate(&Call::new(Arch::X86_64, number, args));
    }
}
