//! `gc`

use nskit_launcher::Error;

use crate::cli::Options;

/// Removes what machines left that are gone.
///
/// # Errors
/// Something can't be removed.
pub fn run(_options: &Options) -> Result<(), Error> {
    Ok(())
}
