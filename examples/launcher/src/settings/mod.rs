//! What the user asked for, as plain data: parsing opens nothing, starts nothing and changes nothing.
//!
//! ```
//! use nskit_launcher::settings::{Parsed, parse};
//!
//! let line = ["ns-spawn", "--directory=/srv/box", "-b"];
//! let Parsed::Run(settings) = parse(line, "/".as_ref())? else { unreachable!() };
//! assert_eq!(settings.machine.as_str(), "box");
//! # Ok::<(), nskit_launcher::Error>(())
//! ```

mod bind;
mod cli;
mod command;
mod name;
mod network;
mod stop_timeout;
mod users;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::report::Signal;

pub use bind::{Bind, BindOptions};
pub(crate) use cli::root_refused;
pub use cli::{Parsed, parse};
pub use name::MachineName;
pub use network::{Attach, IfName, Inner, Network, NetworkNamespace, Zone};
pub use stop_timeout::{parse as parse_stop_timeout, show as show_stop_timeout};
pub use users::PrivateUsers;

/// Everything that a start needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the tree is.
    pub tree: TreeSource,
    /// `-M`, or the directory's name: the machine's name, its host name, and part of the names of what belongs to it.
    pub machine: MachineName,
    /// What runs as process 1.
    pub payload: Payload,
    /// `--private-users`
    pub users: PrivateUsers,
    /// The options of the heading "Network".
    pub network: Network,
    /// `--bind` and `--bind-ro`, in their order.
    pub binds: Vec<Bind>,
    /// `--read-only`
    pub read_only: bool,
    /// `--notify-ready`: ready is when the payload says so, not when it starts.
    pub notify_ready: bool,
    /// `--console`, `--pipe`
    pub console: Option<ConsoleMode>,
    /// `--kill-signal`: what asks the payload to stop; `None`: what its init understands.
    pub kill_signal: Option<Signal>,
    /// `--stop-timeout`: from being asked to stop until the payload is killed; `None`: for ever.
    pub stop_timeout: Option<Duration>,
    /// `-q`: no line about what goes well.
    pub quiet: bool,
    /// `--dry-run`: print the plan, start nothing.
    pub dry_run: bool,
}

/// Where the tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeSource {
    /// `-D`, or the current directory: absolute.
    Directory(PathBuf),
    /// `-M` alone: a directory of the machine's name in one of [`crate::guest::IMAGE_DIRECTORIES`].
    Image,
}

/// What runs as process 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// `-b`: the tree's init, with these arguments.
    Boot(Vec<OsString>),
    /// A program and its arguments; never empty.
    Command(Vec<OsString>),
    /// Root's login shell.
    Shell,
}

/// What the container's console is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleMode {
    /// A pty, and our terminal in raw mode.
    Interactive,
    /// A pty whose output we show; our standard input is left alone.
    ReadOnly,
    /// A pty that is connected to nothing.
    Passive,
    /// No pty: our three standard descriptors are the payload's.
    Pipe,
    /// [`ConsoleMode::Interactive`] on a terminal, else [`ConsoleMode::Pipe`].
    Autopipe,
}

impl ConsoleMode {
    const WORDS: [(&'static str, ConsoleMode); 5] = [
        ("interactive", ConsoleMode::Interactive),
        ("read-only", ConsoleMode::ReadOnly),
        ("passive", ConsoleMode::Passive),
        ("pipe", ConsoleMode::Pipe),
        ("autopipe", ConsoleMode::Autopipe),
    ];

    /// The word of the command line.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, mode)| *mode == self).map_or("", |(word, _)| word)
    }

    /// The same with [`ConsoleMode::Autopipe`] decided by whether standard input and output are both terminals.
    #[must_use]
    pub fn on(self, terminal: bool) -> ConsoleMode {
        match (self, terminal) {
            (ConsoleMode::Autopipe, true) => ConsoleMode::Interactive,
            (ConsoleMode::Autopipe, false) => ConsoleMode::Pipe,
            (mode, _) => mode,
        }
    }
}

impl Settings {
    /// How long a payload that was asked to stop may take, unless the user says otherwise.
    pub const STOP_TIMEOUT: Duration = Duration::from_secs(90);

    /// The command line that gives these settings: `parse` of it is equal.
    pub fn to_arguments(&self) -> Vec<OsString> {
        cli::arguments(self)
    }
}
