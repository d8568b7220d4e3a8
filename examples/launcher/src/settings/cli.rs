//! From arguments to [`Settings`] and back.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::error::ErrorKind;

use super::{Bind, BindOptions, ConsoleMode, MachineName, Payload, PrivateUsers, Settings, TreeSource, command::command, stop_timeout};
use crate::report::Signal;
use crate::usage::one_line;
use crate::{Error, escape::Escaped};

#[path = "cli_network.rs"]
mod network;

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "there is one in a process")]
pub enum Parsed {
    /// A container.
    Run(Settings),
    /// A text for standard output, and nothing else.
    Print(String),
}

/// Reads a command line, whose first word is the program's; `cwd`, absolute, is what relative paths are relative to.
///
/// # Errors
/// One line that names the option; nothing has been done.
pub fn parse<I, T>(arguments: I, cwd: &Path) -> Result<Parsed, Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => Matches(matches),
        Err(e) if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => return Ok(Parsed::Print(e.to_string())),
        Err(e) => return Err(one_line(&e)),
    };
    if matches.value("console")?.is_some_and(|mode| mode == "help") {
        return Ok(Parsed::Print(ConsoleMode::WORDS.map(|(word, _)| format!("{word}\n")).concat()));
    }
    if matches.value("kill-signal")?.is_some_and(|signal| signal == "help" || signal == "list") {
        return Ok(Parsed::Print(Signal::all().map(|signal| format!("SIG{signal}\n")).collect()));
    }
    settings(&matches, cwd).map(Parsed::Run)
}

fn settings(matches: &Matches, cwd: &Path) -> Result<Settings, Error> {
    let (tree, machine) = tree_and_name(matches, cwd)?;
    Ok(Settings {
        tree,
        machine,
        payload: payload(matches)?,
        users: matches.text("private-users")?.map_or(Ok(PrivateUsers::Pick), PrivateUsers::parse)?,
        network: network::read(matches, cwd)?,
        binds: binds(matches, cwd)?,
        read_only: matches.flag("read-only"),
        notify_ready: matches.text("notify-ready")?.map_or(Ok(false), |value| boolean("notify-ready", value))?,
        console: console(matches)?,
        kill_signal: matches.text("kill-signal")?.map(kill_signal).transpose()?,
        stop_timeout: matches.text("stop-timeout")?.map_or(Ok(Some(Settings::STOP_TIMEOUT)), stop_timeout::parse)?,
        quiet: matches.flag("quiet"),
        dry_run: matches.flag("dry-run"),
    })
}

/// clap's matches, where an empty value is an error.
struct Matches(ArgMatches);

impl Matches {
    fn flag(&self, name: &str) -> bool {
        self.0.get_flag(name)
    }

    fn value(&self, name: &str) -> Result<Option<&OsString>, Error> {
        match self.0.get_one::<OsString>(name) {
            Some(value) if value.is_empty() => Err(empty(name)),
            value => Ok(value),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Error> {
        self.value(name)?.map(|value| value.to_str().ok_or_else(|| invalid(name, value))).transpose()
    }

    /// The values of an option that may be repeated; an empty one is an error.
    fn each<T>(&self, name: &str, read: impl Fn(&OsStr) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        self.placed(name).map(|(_, value)| if value.is_empty() { Err(empty(name)) } else { read(value) }).collect()
    }

    /// The values of an option that may be repeated, with their places on the line.
    fn placed<'a>(&'a self, name: &str) -> impl Iterator<Item = (usize, &'a OsString)> {
        self.0.indices_of(name).into_iter().flatten().zip(self.0.get_many::<OsString>(name).into_iter().flatten())
    }
}

fn empty(name: &str) -> Error {
    Error::usage(format!("Option --{name} needs a value that is not empty"))
}

fn invalid(name: &str, value: &OsStr) -> Error {
    Error::usage(format!("Invalid value '{}' for --{name}", Escaped::os(value)))
}

fn tree_and_name(matches: &Matches, cwd: &Path) -> Result<(TreeSource, MachineName), Error> {
    let name = matches.value("machine")?.map(|name| MachineName::new(&name.to_string_lossy())).transpose()?;
    match (matches.value("directory")?, name) {
        (None, Some(name)) => Ok((TreeSource::Image, name)),
        (directory, name) => {
            let directory = absolute(cwd, directory.map_or(OsStr::new(""), OsString::as_os_str));
            if directory == Path::new("/") {
                return Err(root_refused());
            }
            let name = name.map_or_else(|| MachineName::of_directory(&directory), Ok)?;
            Ok((TreeSource::Directory(directory), name))
        }
    }
}

/// Says that the host's own root is no tree to start from.
pub(crate) fn root_refused() -> Error {
    let hint = "Consider using --ephemeral, --volatile=yes or --volatile=state.";
    Error::usage(format!("Spawning container on root directory is not supported. {hint}"))
}

/// Joined to the current directory, without `.`, repeated and final slashes; `..` stays, since a link may stand before it.
fn absolute(cwd: &Path, path: &OsStr) -> PathBuf {
    cwd.join(path).components().collect()
}

fn payload(matches: &Matches) -> Result<Payload, Error> {
    let words: Vec<OsString> = matches.0.get_many::<OsString>("command").into_iter().flatten().cloned().collect();
    match (matches.flag("boot"), words.first()) {
        (true, _) => Ok(Payload::Boot(words)),
        (false, None) => Ok(Payload::Shell),
        (false, Some(program)) if program.is_empty() => Err(Error::usage("The command's name is empty")),
        (false, Some(_)) => Ok(Payload::Command(words)),
    }
}

/// In the order of the line, whichever of the two options each came by: a later one may lie on an earlier one.
fn binds(matches: &Matches, cwd: &Path) -> Result<Vec<Bind>, Error> {
    let writable = matches.placed("bind").map(|(place, value)| (place, value, "bind", BindOptions::empty()));
    let read_only = matches.placed("bind-ro").map(|(place, value)| (place, value, "bind-ro", BindOptions::READ_ONLY));
    let mut all: Vec<_> = writable.chain(read_only).collect();
    all.sort_by_key(|(place, ..)| *place);
    all.into_iter()
        .map(|(_, value, name, options)| match value.is_empty() {
            true => Err(empty(name)),
            false => Bind::parse(value, options, cwd),
        })
        .collect()
}

fn console(matches: &Matches) -> Result<Option<ConsoleMode>, Error> {
    let asked = matches.value("console")?;
    let words = || ConsoleMode::WORDS.map(|(word, _)| word).join(", ");
    let mode = asked.map(|value| {
        let known = ConsoleMode::WORDS.iter().find(|(word, _)| value == word).map(|(_, mode)| *mode);
        known.ok_or_else(|| invalid("console", value).hint(format!("one of {}", words())))
    });
    match (mode.transpose()?, matches.flag("pipe")) {
        (None | Some(ConsoleMode::Pipe), true) => Ok(Some(ConsoleMode::Pipe)),
        (Some(mode), true) => Err(Error::usage(format!("--pipe can't be combined with --console={}", mode.as_str()))),
        (mode, false) => Ok(mode),
    }
}

/// As systemd reads them, but for the case.
fn boolean(name: &str, value: &str) -> Result<bool, Error> {
    match value {
        "yes" | "true" | "1" | "on" => Ok(true),
        "no" | "false" | "0" | "off" => Ok(false),
        _ => Err(invalid(name, value.as_ref()).hint("say yes or no")),
    }
}

fn kill_signal(value: &str) -> Result<Signal, Error> {
    Signal::parse(value).map_err(|e| e.hint("--kill-signal=list shows the names"))
}

/// The canonical line, without the program's name.
pub(super) fn arguments(settings: &Settings) -> Vec<OsString> {
    let mut line: Vec<OsString> = Vec::new();
    if let TreeSource::Directory(path) = &settings.tree {
        line.push(option("directory", path.as_os_str()));
    }
    line.push(option("machine", settings.machine.as_str()));
    line.push(option("private-users", settings.users.to_string()));
    line.extend(network::arguments(&settings.network));
    line.extend(settings.binds.iter().map(|bind| match bind.options.contains(BindOptions::READ_ONLY) {
        true => option("bind-ro", bind.to_value()),
        false => option("bind", bind.to_value()),
    }));
    line.extend(settings.console.map(|mode| option("console", mode.as_str())));
    line.push(option("notify-ready", if settings.notify_ready { "yes" } else { "no" }));
    line.extend(settings.kill_signal.map(|signal| option("kill-signal", signal.to_string())));
    line.push(option("stop-timeout", stop_timeout::show(settings.stop_timeout)));
    let switches = [("--read-only", settings.read_only), ("--quiet", settings.quiet), ("--dry-run", settings.dry_run)];
    line.extend(switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.into()));
    line.extend(payload_arguments(&settings.payload));
    line
}

fn payload_arguments(payload: &Payload) -> Vec<OsString> {
    let (boot, words) = match payload {
        Payload::Boot(words) => (Some("--boot"), words.as_slice()),
        Payload::Command(words) => (None, words.as_slice()),
        Payload::Shell => (None, &[][..]),
    };
    let separator = (!words.is_empty()).then_some("--");
    boot.into_iter().chain(separator).map(OsString::from).chain(words.iter().cloned()).collect()
}

fn option(name: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut whole = OsString::from(format!("--{name}="));
    whole.push(OsStr::from_bytes(value.as_ref().as_bytes()));
    whole
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
