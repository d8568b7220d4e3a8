//! Strings of others, made safe to print.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nskit_launcher::escape::Escaped;

fuzz_target!(|data: &[u8]| {
    assert!(!Escaped::bytes(data).to_string().chars().any(char::is_control));
});
