//! What `ns-machine` is made of: verbs on the machines that `ns-spawn` runs.
//!
//! There is no daemon to ask: each machine's supervisor keeps a record of it (`nskit_launcher::registry`), and a verb reads the record,
//! opens the processes that it names by pidfd, checks that they still are the ones, and only then looks or acts. No pid is ever
//! signalled, and nothing of a machine's own is printed but through the launcher's escaper.
//!
//! | module | what it knows |
//! |---|---|
//! | [`cli`] | what the user asked for, as plain data; parsing has no effects |
//! | [`machine`] | machines by name, and what of one is asked for over and over |
//! | [`list`], [`status`], [`show`] | verbs that look |
//! | [`poweroff`], [`reboot`], [`terminate`], [`kill`] | verbs that end |
//! | [`gc`] | removing what a crash left |
//! | [`shell`] | running a command in a machine |
//! | [`addresses`], [`processes`], [`time`], [`table`] | what is shown, and how |

pub mod addresses;
pub mod cli;
pub mod gc;
pub mod kill;
pub mod list;
pub mod machine;
pub mod poweroff;
pub mod processes;
pub mod reboot;
mod request;
pub mod shell;
pub mod show;
pub mod status;
pub mod table;
pub mod terminate;
pub mod time;

use cli::{Options, Verb};
use nskit_launcher::Error;

/// Does it; the exit code.
///
/// # Errors
/// One line; of several machines the ones before the failure are done.
pub fn run(verb: &Verb, options: &Options) -> Result<u8, Error> {
    match verb {
        Verb::List => list::run(options),
        Verb::Status(names) => status::run(names, options),
        Verb::Show(names) => show::run(names, options),
        Verb::PowerOff(names) => poweroff::run(names, options),
        Verb::Reboot(names) => reboot::run(names, options),
        Verb::Terminate(names) => terminate::run(names),
        Verb::Kill(names) => kill::run(names, options),
        Verb::Gc => gc::run(options),
        Verb::Shell { target, command } => return shell::run(target.as_deref(), command, options),
    }
    .map(|()| 0)
}
