//! `shell`

use std::ffi::{OsStr, OsString};

use nskit_launcher::{Error, Kind};

use crate::cli::Options;

/// Runs a command in a machine, or its user's shell; the command's exit code.
///
/// # Errors
/// It could not be run.
pub fn run(_target: Option<&OsStr>, _command: &[OsString], _options: &Options) -> Result<u8, Error> {
    Err(Error::new(Kind::Usage, "ns-machine has no 'shell' yet"))
}
