//! Answers on a netlink socket.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ns_net::reply::{attributes, replies};

fuzz_target!(|data: &[u8]| {
    for reply in replies(data).map_while(Result::ok) {
        let _ = reply.ack();
    }
    for _ in attributes(data) {}
    let _ = ns_net::Link::parse(data);
});
