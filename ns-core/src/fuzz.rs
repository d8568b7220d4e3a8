//! What this repository's fuzz targets reach of what is private. No part of the interface.

use crate::{join, link};

/// A message between caller, builder and payload: what is one is written and read again as it is.
pub fn message(bytes: &[u8]) {
    if let Some(message) = link::Message::decode(bytes) {
        let written = message.encode();
        assert_eq!(link::Message::decode(&written).map(|again| again.encode()), Some(written));
    }
}

/// A word of a program that has joined a container.
pub fn word(bytes: [u8; 12]) {
    let _ = join::read(&bytes);
}
