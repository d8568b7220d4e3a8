//! Policies for containers.

mod os;

pub use os::{REFUSED, os};
