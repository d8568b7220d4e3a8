//! Of ns-core: id maps, the messages of a plan's processes.

use ns_core::IdMap;

use crate::fixed;

/// Four numbers: an accepted range maps all its ids, and no others.
pub fn id_map(bytes: &[u8]) {
    let [inside, outside, count, id] = [0, 4, 8, 12].map(|at| u32::from_ne_bytes(fixed(bytes, at)));
    if let Ok(map) = IdMap::range(inside, outside, count) {
        let within = id.checked_sub(inside).filter(|n| *n < count);
        assert_eq!(map.outside_uid(id), within.map(|n| outside + n));
        assert_eq!(map.outside_gid(id), within.map(|n| outside + n));
    }
}

/// What a payload may send to its caller before its exec, and a joined program's words after it.
pub fn link_message(bytes: &[u8]) {
    ns_core::fuzz::message(bytes);
    ns_core::fuzz::word(fixed(bytes, 0));
}
