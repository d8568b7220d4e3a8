//! Of the launcher: command line, what a tree says of itself, records, messages.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nskit_launcher::escape::Escaped;
use nskit_launcher::guest::{Inittab, MachineId, OsRelease, RootUser};
use nskit_launcher::notify::Notice;
use nskit_launcher::registry::Record;
use nskit_launcher::report::Signal;
use nskit_launcher::settings::{Parsed, parse, parse_stop_timeout, show_stop_timeout};
use nskit_launcher::stat::Stat;

use crate::text;

/// A command line, its arguments separated by NULs: what is accepted comes back from its own arguments, an error is one line.
pub fn settings(bytes: &[u8]) {
    returns(bytes.split(|byte| *byte == 0).map(OsStr::from_bytes).map(OsStr::to_owned));
}

/// `--bind=`, with its escapes.
pub fn bind(bytes: &[u8]) {
    for option in ["--bind=", "--bind-ro="] {
        returns([option_of(option, bytes), "-D/srv/box".into(), "true".into()]);
    }
}

/// `--private-users=`: a range of ids.
pub fn private_users(bytes: &[u8]) {
    returns([option_of("--private-users=", bytes), "-D/srv/box".into(), "true".into()]);
}

fn option_of(option: &str, value: &[u8]) -> OsString {
    let mut whole = OsString::from(option);
    whole.push(OsStr::from_bytes(value));
    whole
}

fn returns(words: impl IntoIterator<Item = OsString>) {
    let arguments = std::iter::once("ns-spawn".into()).chain(words);
    match parse(arguments, Path::new("/cwd")) {
        Ok(Parsed::Run(settings)) => {
            let line = std::iter::once("ns-spawn".into()).chain(settings.to_arguments());
            assert_eq!(parse(line, Path::new("/cwd")).expect("accepted before"), Parsed::Run(settings));
        }
        Ok(Parsed::Print(_)) => {}
        Err(e) => printable(&e.to_string()),
    }
}

/// What is shown of others: nothing in it acts on a terminal, and nothing starts a line.
fn printable(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// Strings of others, made safe to print; a second time changes no control characters, since there are none.
pub fn escape(bytes: &[u8]) {
    printable(&Escaped::bytes(bytes).to_string());
}

/// `os-release(5)`
pub fn os_release(bytes: &[u8]) {
    printable(&Escaped::text(OsRelease::parse(bytes).title()).to_string());
}

/// `passwd(5)`: there always is a shell to try, and each has a name that makes it a login shell.
pub fn passwd(bytes: &[u8]) {
    let logins = RootUser::parse(bytes).logins();
    assert!(!logins.is_empty());
    for login in logins {
        assert!(login.path.to_bytes().starts_with(b"/") && login.arg0.to_bytes().starts_with(b"-"), "{login:?}");
    }
}

/// `machine-id(5)`: what is one is written as it was read, but for the case and the newline.
pub fn machine_id(bytes: &[u8]) {
    if let Some(id) = MachineId::parse(bytes) {
        assert_eq!(id.to_string().as_bytes(), bytes.trim_ascii_end().to_ascii_lowercase());
        assert_eq!(MachineId::new(id.to_bytes()), Some(id));
    }
}

/// `inittab(5)`: more lines never take away what others say.
pub fn inittab(bytes: &[u8]) {
    let first = Inittab::parse(bytes);
    let twice = Inittab::parse(&[bytes, b"\n", bytes].concat());
    assert_eq!(first, twice);
}

/// `proc_pid_stat(5)`
pub fn stat(bytes: &[u8]) {
    if let Some(stat) = Stat::parse(bytes) {
        let line = [b"1 (", &stat.comm[..], b") ", &[stat.state], b" 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 "].concat();
        assert_eq!(Stat::parse(&[&line, stat.start_time.to_string().as_bytes()].concat()), Some(stat));
    }
}

/// The record of a running machine: what is accepted is written and read again as it is; a refusal is one line.
pub fn record(bytes: &[u8]) {
    match Record::from_json(bytes) {
        Ok(record) => assert_eq!(Record::from_json(&record.to_json()).expect("accepted before"), record),
        Err(e) => printable(&e.to_string()),
    }
}

/// `sd_notify(3)`
pub fn notify(bytes: &[u8]) {
    if let Some(status) = Notice::parse(bytes).status {
        printable(&status);
    }
}

/// Names and numbers of signals, and time-outs.
pub fn signal(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    match Signal::parse(text) {
        Ok(signal) => assert_eq!(Signal::parse(&signal.to_string()).expect("a signal's own name"), signal),
        Err(e) => printable(&e.to_string()),
    }
    match parse_stop_timeout(text) {
        Ok(limit) => assert_eq!(parse_stop_timeout(&show_stop_timeout(limit)).expect("accepted before"), limit),
        Err(e) => printable(&e.to_string()),
    }
}
