//! What the launcher's tests stand on: trees of their own, the launcher on pipes or on a terminal, a guest that is logged in to, and a
//! look at the machine before and after.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

mod guest;
mod machine;
mod network;
mod process;
mod spawn;
mod terminal;
mod tree;

pub use guest::{Answer, Guest};
pub use machine::Machine;
pub use network::{in_own_network, link};
pub use process::{Process, until};
pub use spawn::{Ended, Spawn, Started};
pub use terminal::{Terminal, opened};
pub use tree::Tree;

use std::time::Duration;

/// Whether this is the emulated machine of `.ci/vm`, where everything takes ten times as long.
pub fn in_rig() -> bool {
    std::env::var_os("NSKIT_IN_RIG").is_some()
}

/// A limit of so many seconds on an ordinary machine.
pub fn within(seconds: u64) -> Duration {
    Duration::from_secs(if in_rig() { seconds * 10 } else { seconds })
}

/// More than a boot takes.
pub fn boot_time() -> Duration {
    within(60)
}

/// The launcher under test: of another build where `NS_SPAWN` says so, which other packages' tests need.
pub fn launcher() -> std::path::PathBuf {
    let built = std::env::var_os("NS_SPAWN").or_else(|| option_env!("CARGO_BIN_EXE_ns-spawn").map(Into::into));
    built.expect("NS_SPAWN says where the launcher is: `.ci/test` sets it").into()
}
