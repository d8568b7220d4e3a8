#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nskit_fuzz_targets::target("link_message").expect("a target")(data));
