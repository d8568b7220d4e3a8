//! From arguments to a [`Verb`] and [`Options`]; parsing has no effects.

mod command;
mod options;

use std::ffi::OsString;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use nskit_launcher::escape::Escaped;
use nskit_launcher::settings::MachineName;
use nskit_launcher::usage::one_line;
use nskit_launcher::{Error, Kind};

pub use options::{Options, Output, Whom};

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A verb.
    Run(Verb, Options),
    /// A text for standard output, and nothing else.
    Print(String),
}

/// What is to be done, to which machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `list`
    List,
    /// `status NAME…`
    Status(Vec<MachineName>),
    /// `show [NAME…]`
    Show(Vec<MachineName>),
    /// `poweroff NAME…`, `stop`
    PowerOff(Vec<MachineName>),
    /// `reboot NAME…`, `restart`
    Reboot(Vec<MachineName>),
    /// `terminate NAME…`
    Terminate(Vec<MachineName>),
    /// `kill NAME…`
    Kill(Vec<MachineName>),
    /// `gc`
    Gc,
    /// `shell [[USER@]NAME [PATH [ARGS…]]]`
    Shell {
        /// `[USER@]NAME`
        target: Option<OsString>,
        /// The command, none for the user's shell.
        command: Vec<OsString>,
    },
}

/// Reads a command line, whose first word is the program's.
///
/// # Errors
/// One line that names the verb or the option; nothing has been done.
pub fn parse<I, T>(arguments: I) -> Result<Parsed, Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let outer = command::command().try_get_matches_from(arguments).map_err(|e| told(&e))?;
    let matches = Matches(std::iter::once(&outer).chain(outer.subcommand().map(|(_, inner)| inner)).collect());
    if let Some(text) = asked_to_print(&matches)? {
        return Ok(Parsed::Print(text));
    }
    let options = Options::of(&matches)?;
    Ok(Parsed::Run(verb(&outer)?, options))
}

fn asked_to_print(matches: &Matches<'_>) -> Result<Option<String>, Error> {
    let asked = |name: &str, words: &[&str]| matches.text(name).map(|value| value.is_some_and(|value| words.contains(&value)));
    Ok(match () {
        () if matches.flag("help") => Some(command::command().render_help().to_string()),
        () if matches.flag("version") => Some(format!("ns-machine {}\n", env!("CARGO_PKG_VERSION"))),
        () if asked("signal", &["help", "list"])? => Some(options::signals()),
        () if asked("output", &["help"])? => Some(options::modes()),
        () => None,
    })
}

fn verb(outer: &ArgMatches) -> Result<Verb, Error> {
    let Some((name, inner)) = outer.subcommand() else { return Ok(Verb::List) };
    let words = |id: &str| inner.get_many::<OsString>(id).into_iter().flatten().cloned().collect::<Vec<_>>();
    let some = || match words("names") {
        names if names.is_empty() => Err(Error::new(Kind::Usage, format!("{name} needs the NAME of a machine"))),
        names => names_of(&names),
    };
    Ok(match name {
        "status" => Verb::Status(some()?),
        "show" => Verb::Show(names_of(&words("names"))?),
        "poweroff" => Verb::PowerOff(some()?),
        "reboot" => Verb::Reboot(some()?),
        "terminate" => Verb::Terminate(some()?),
        "kill" => Verb::Kill(some()?),
        "gc" => Verb::Gc,
        "shell" => Verb::Shell { target: inner.get_one::<OsString>("name").cloned(), command: words("command") },
        _ => Verb::List,
    })
}

fn names_of(words: &[OsString]) -> Result<Vec<MachineName>, Error> {
    words.iter().map(|word| MachineName::new(&word.to_string_lossy())).collect()
}

fn told(e: &clap::Error) -> Error {
    match (e.kind(), e.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(verb))) if command::ABSENT.contains(&verb.as_str()) => {
            Error::new(Kind::Usage, format!("ns-machine has no '{}' yet", Escaped::text(verb)))
        }
        _ => one_line(e),
    }
}

/// What stood before the verb, then what stood after it.
struct Matches<'a>(Vec<&'a ArgMatches>);

impl Matches<'_> {
    fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|matches| matches.get_flag(name))
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &OsString> {
        self.0.iter().flat_map(move |matches| matches.get_many::<OsString>(name).into_iter().flatten())
    }

    /// The last one.
    fn text(&self, name: &str) -> Result<Option<&str>, Error> {
        match self.values(name).last() {
            Some(value) if value.is_empty() => Err(Error::new(Kind::Usage, format!("Option --{name} needs a value that is not empty"))),
            Some(value) => value.to_str().map(Some).ok_or_else(|| invalid(name, &value.to_string_lossy())),
            None => Ok(None),
        }
    }
}

fn invalid(name: &str, value: &str) -> Error {
    Error::new(Kind::Usage, format!("Invalid value '{}' for --{name}", Escaped::text(value)))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
