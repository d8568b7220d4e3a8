//! A classic BPF program: what is accepted can be evaluated for every call, and ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ns_seccomp::{Arch, Call, Program};

fuzz_target!(|data: (Vec<u8>, u32, [u64; 6])| {
    let (bytes, number, args) = data;
    if let Ok(program) = Program::from_bytes("fuzz", &bytes) {
        let _ = program.evaluate(&Call::new(Arch::X86_64, number, args));
    }
});
