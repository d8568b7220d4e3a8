#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nskit_fuzz_targets::target("os_release").expect("a target")(data));
