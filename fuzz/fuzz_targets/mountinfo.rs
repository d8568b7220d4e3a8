//! The kernel's table of mounts.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = ns_cgroup::mountinfo::parse(data);
});
