//! Trees that were made to get out: links, nodes and names at every place that the launcher touches. Each is started, or refused by one
//! clear line soon; nothing outside the tree is made, changed or read, which a directory of the host's tells where every link leads.
//!
//! A part of the cases is tried; all of them with `NSKIT_WHOLE=1 cargo test -p nskit-launcher --test hostile`, some minutes.

#[path = "hostile/canary.rs"]
mod canary;
#[path = "hostile/links.rs"]
mod links;
#[path = "hostile/mounted.rs"]
mod mounted;
#[path = "support/mounts.rs"]
mod mounts;
#[path = "hostile/outcome.rs"]
mod outcome;
#[path = "hostile/plant.rs"]
mod plant;
#[path = "hostile/race.rs"]
mod race;
mod support;
#[path = "hostile/watch.rs"]
mod watch;

/// Whether every case is to be tried.
fn whole() -> bool {
    std::env::var_os("NSKIT_WHOLE").is_some()
}
