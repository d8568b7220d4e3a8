//! A device rule: what is accepted prints as itself, and its program allows what it covers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ns_cgroup::DeviceRule;

fuzz_target!(|data: &str| {
    if let Ok(rule) = data.parse::<DeviceRule>() {
        assert_eq!(rule.to_string().parse::<DeviceRule>().unwrap(), rule);
    }
});
