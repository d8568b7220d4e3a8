//! `gc`

use nskit_launcher::registry::{self, Places};
use nskit_launcher::report::{show, tell};
use nskit_launcher::settings::MachineName;
use nskit_launcher::{Error, Kind};

use crate::cli::Options;

/// Removes what machines left that are gone, and prints what it was.
///
/// # Errors
/// Something stays, because it can't be removed or is in use; the rest is gone.
pub fn run(options: &Options) -> Result<(), Error> {
    let mut collected = registry::gc(&Places::of_host()?)?;
    if !options.quiet {
        show(&collected.removed.iter().map(|what| format!("Removed {what}.\n")).collect::<String>())?;
    }
    let last = collected.kept.pop();
    collected.kept.iter().for_each(|e| tell(format_args!("ns-machine: {e}")));
    last.map_or(Ok(()), Err)
}

/// The same for one machine that has just ended, whose launcher may have been killed.
pub(crate) fn after(places: &Places, name: &MachineName) -> Result<(), Error> {
    let collected = registry::collect(places, name);
    // Where it is in use, somebody has started it again.
    collected.kept.into_iter().find(|e| e.kind() != Kind::Busy).map_or(Ok(()), Err)
}
