//! Id maps: an accepted range maps all its ids, and no others.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ns_core::IdMap;

fuzz_target!(|data: (u32, u32, u32, u32)| {
    let (inside, outside, count, id) = data;
    if let Ok(map) = IdMap::range(inside, outside, count) {
        let within = id.checked_sub(inside).filter(|n| *n < count);
        assert_eq!(map.outside_uid(id), within.map(|n| outside + n));
    }
});
