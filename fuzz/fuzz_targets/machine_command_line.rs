#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nskit_fuzz_targets::target("machine_command_line").expect("a target")(data));
