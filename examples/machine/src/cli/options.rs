//! The values of options.

use std::ffi::OsString;
use std::fmt::Write;

use nskit_launcher::report::Signal;
use nskit_launcher::{Error, Kind};

use super::{Matches, invalid};

/// What the options say, each for the verbs that it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `--property=`: which properties; all of them without.
    pub properties: Option<Vec<String>>,
    /// `--value`: without their names.
    pub value: bool,
    /// `--all`
    pub all: bool,
    /// `--full`
    pub full: bool,
    /// `--quiet`
    pub quiet: bool,
    /// Header and footer.
    pub legend: bool,
    /// `--wait`
    pub wait: bool,
    /// `--kill-whom=`
    pub whom: Whom,
    /// `--signal=`
    pub signal: Option<Signal>,
    /// `--lines=`
    pub lines: u32,
    /// `--output=`
    pub output: Output,
    /// `--max-addresses=`, `None`: all.
    pub max_addresses: Option<usize>,
    /// `--uid=`
    pub uid: Option<String>,
    /// `--setenv=`, as given.
    pub environment: Vec<OsString>,
}

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whom {
    /// The container's first process.
    Leader,
    /// The launcher that looks after it.
    Supervisor,
    /// Every process in the container.
    #[default]
    All,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// In columns.
    #[default]
    Text,
    /// One line of JSON.
    Json,
    /// JSON over several lines.
    JsonPretty,
}

/// journalctl's, of which a list distinguishes two.
const MODES: [&str; 16] = [
    "short",
    "short-full",
    "short-iso",
    "short-iso-precise",
    "short-precise",
    "short-monotonic",
    "short-delta",
    "short-unix",
    "verbose",
    "export",
    "json",
    "json-pretty",
    "json-sse",
    "json-seq",
    "cat",
    "with-unit",
];

const LINES: u32 = 10;

impl Options {
    pub(super) fn of(matches: &Matches<'_>) -> Result<Options, Error> {
        refuse_absent(matches)?;
        let output = output(matches)?;
        let full = matches.flag("full");
        Ok(Options {
            properties: properties(matches)?,
            value: matches.flag("value") || matches.text("value-of")?.is_some(),
            all: matches.flag("all"),
            full,
            quiet: matches.flag("quiet"),
            legend: !matches.flag("no-legend"),
            wait: matches.flag("wait"),
            whom: whom(matches)?,
            signal: matches.text("signal")?.map(Signal::parse).transpose()?,
            lines: matches.text("lines")?.map_or(Ok(LINES), lines)?,
            output,
            max_addresses: max_addresses(matches, full)?,
            uid: matches.text("uid")?.map(str::to_owned),
            environment: matches.values("setenv").cloned().collect(),
        })
    }
}

/// Lists separated by commas, and `-P`.
fn properties(matches: &Matches<'_>) -> Result<Option<Vec<String>>, Error> {
    let mut all: Option<Vec<String>> = None;
    for option in ["property", "value-of"] {
        for value in matches.values(option) {
            let text = value.to_str().ok_or_else(|| invalid(option, &value.to_string_lossy()))?;
            all.get_or_insert_default().extend(text.split(',').filter(|name| !name.is_empty()).map(str::to_owned));
        }
    }
    Ok(all)
}

fn whom(matches: &Matches<'_>) -> Result<Whom, Error> {
    let name = if matches.text("kill-whom")?.is_some() { "kill-whom" } else { "kill-who" };
    Ok(match matches.text(name)? {
        None | Some("all") => Whom::All,
        Some("leader") => Whom::Leader,
        Some("supervisor") => Whom::Supervisor,
        Some(other) => return Err(invalid(name, other).hint("it is leader, supervisor or all")),
    })
}

fn lines(value: &str) -> Result<u32, Error> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten().ok_or_else(|| invalid("lines", value).hint("expected a number, from 0 on"))
}

fn output(matches: &Matches<'_>) -> Result<Output, Error> {
    match matches.text("output")? {
        Some("json") => Ok(Output::Json),
        Some("json-pretty") => Ok(Output::JsonPretty),
        Some(other) if !MODES.contains(&other) => Err(invalid("output", other).hint("--output=help lists the modes")),
        _ => Ok(Output::Text),
    }
}

fn max_addresses(matches: &Matches<'_>, full: bool) -> Result<Option<usize>, Error> {
    match matches.text("max-addresses")? {
        Some("all") => Ok(None),
        Some(number) => {
            let digits = number.bytes().all(|b| b.is_ascii_digit());
            let parsed = digits.then(|| number.parse().ok()).flatten();
            parsed.map(Some).ok_or_else(|| invalid("max-addresses", number).hint("expected a number or all"))
        }
        None => Ok((!full).then_some(1)),
    }
}

/// What machinectl has and we don't is told, not passed over.
fn refuse_absent(matches: &Matches<'_>) -> Result<(), Error> {
    let absent = |option: &str, hint: &str| Err(Error::new(Kind::Usage, format!("ns-machine has no {option} yet")).hint(hint.to_owned()));
    match () {
        () if matches.text("host")?.is_some() => absent("--host", "run it there: ssh HOST ns-machine …"),
        () if matches.text("machine")?.is_some_and(|name| name != ".host") => {
            absent("--machine", "run it in there: ns-machine shell NAME /usr/bin/env ns-machine …")
        }
        () if matches.flag("user") => absent("--user", "machines of ordinary users can't be started yet either"),
        () if matches.text("runner")?.is_some() => absent("--runner", "it looks after containers only"),
        () if matches.flag("now") => absent("--now", "nor the verbs that it is for"),
        () if matches.flag("force") => absent("--force", "nor the verbs that it is for"),
        () => Ok(()),
    }
}

/// For `--signal=list`.
pub(super) fn signals() -> String {
    Signal::all().fold(String::from("SIGNAL NAME\n"), |mut text, signal| {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{:6} SIG{signal}", signal.0);
        text
    })
}

/// For `--output=help`.
pub(super) fn modes() -> String {
    MODES.map(|mode| format!("{mode}\n")).concat()
}
