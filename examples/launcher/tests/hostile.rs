//! Trees that were made to get out: links, nodes and names at every place that the launcher touches. Each is started, or refused by one
//! clear line soon; nothing outside the tree is made, changed or read, which a directory of the host's tells where every link leads.
//!
//! A part of the cases is tried; all of them, some thousand starts, with
//! `cargo test -p nskit-launcher --test hostile whole_ -- --ignored`, some minutes.

#[path = "hostile/canary.rs"]
mod canary;
#[path = "hostile/links.rs"]
mod links;
#[path = "hostile/mounted.rs"]
mod mounted;
#[path = "support/mounts.rs"]
mod mounts;
#[path = "hostile/names.rs"]
mod names;
#[path = "hostile/outcome.rs"]
mod outcome;
#[path = "hostile/plant.rs"]
mod plant;
#[path = "hostile/privileges.rs"]
mod privileges;
mod probe;
#[path = "hostile/race.rs"]
mod race;
mod support;
#[path = "hostile/watch.rs"]
mod watch;
#[path = "hostile/words.rs"]
mod words;

use std::sync::atomic::{AtomicBool, Ordering};

static WHOLE: AtomicBool = AtomicBool::new(false);

/// Whether every case is to be tried.
fn whole() -> bool {
    WHOLE.load(Ordering::Relaxed)
}

#[test]
#[ignore = "takes minutes: every case of what is tried in part"]
fn whole_links_and_nodes() {
    WHOLE.store(true, Ordering::Relaxed);
    links::ALL.into_iter().for_each(|test| test());
}

#[test]
#[ignore = "takes minutes: many more of the starts that are raced with"]
fn whole_races() {
    WHOLE.store(true, Ordering::Relaxed);
    race::ALL.into_iter().for_each(|test| test());
}
