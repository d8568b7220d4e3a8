//! A message of the payload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nskit_launcher::notify::Notice;

fuzz_target!(|data: &[u8]| {
    if let Some(status) = Notice::parse(data).status {
        assert!(!status.chars().any(char::is_control));
    }
});
