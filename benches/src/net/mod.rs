//! The network: what ns-net makes, against bare messages, `nft` and a veth pair set up by hand. All in namespaces of this run's own.

mod field;
mod links;
mod paths;
mod rules;

use std::io;

/// Measures and prints.
pub fn run(rounds: usize) -> io::Result<()> {
    links::run(rounds).map_err(io::Error::other)?;
    rules::run(rounds).map_err(io::Error::other)?;
    paths::run(rounds).map_err(io::Error::other)
}

/// Anything that fails ends the run.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
