//! What `ns-machine` is made of: verbs on the machines that `ns-spawn` runs.
//!
//! There is no daemon to ask: each machine's supervisor keeps a record of it (`nskit_launcher::registry`), and a verb reads the record,
//! opens the processes that it names by pidfd, checks that they still are the ones, and only then looks or acts. No pid is ever
//! signalled, and nothing of a machine's own is printed but through the launcher's escaper.
//!
//! | module | what it knows |
//! |---|---|
//! | [`cli`] | what the user asked for, as plain data; parsing has no effects |
//! | [`shell`] | running a command in a machine |

pub mod cli;
pub mod shell;

use cli::{Options, Verb};
use nskit_launcher::Error;

/// Does it; the exit code.
///
/// # Errors
/// One line; of several machines the ones before the failure are done.
pub fn run(verb: &Verb, options: &Options) -> Result<u8, Error> {
    match verb {
        Verb::Shell { target, command } => shell::run(target.as_deref(), command, options),
        _ => Ok(0),
    }
}
