//! `shell`

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use nskit_launcher::enter::{self, Request};
use nskit_launcher::escape::Escaped;
use nskit_launcher::settings::MachineName;
use nskit_launcher::{Error, Kind};

use crate::cli::Options;
use crate::machine;

/// Runs a command in a machine, or its user's shell; the command's exit code.
///
/// # Errors
/// It could not be run.
pub fn run(target: Option<&OsStr>, command: &[OsString], options: &Options) -> Result<u8, Error> {
    let (user, name) = parse(target)?;
    let user = user.or_else(|| options.uid.clone());
    let request = Request { user, command: command.to_vec(), environment: options.environment.clone(), quiet: options.quiet };
    enter::run(&machine::find(&name)?, &request)
}

/// `[USER@]NAME`
fn parse(target: Option<&OsStr>) -> Result<(Option<String>, MachineName), Error> {
    let host = || Error::new(Kind::Usage, "shell needs the NAME of a machine: on the host itself there is a shell already");
    let target = target.map(OsStr::as_bytes).filter(|target| !target.is_empty()).ok_or_else(host)?;
    let invalid = || Error::new(Kind::Usage, format!("'{}' is no machine, nor a user of one", Escaped::bytes(target)));
    let text = std::str::from_utf8(target).map_err(|_| invalid())?;
    let (user, name) = match text.rsplit_once('@') {
        Some(("", _)) => return Err(invalid()),
        Some((user, name)) => (Some(user.to_owned()), name),
        None => (None, text),
    };
    if name.is_empty() || name == ".host" {
        return Err(host());
    }
    Ok((user, MachineName::new(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_and_a_machine() {
        let parsed = |text: &str| parse(Some(text.as_ref())).map(|(user, name)| (user.unwrap_or_default(), name.as_str().to_owned()));
        assert_eq!(parsed("box").unwrap(), (String::new(), "box".into()));
        assert_eq!(parsed("alice@box").unwrap(), ("alice".into(), "box".into()));
        assert_eq!(parsed("1000@box").unwrap(), ("1000".into(), "box".into()));
        for odd in ["", "@box", "box@", "alice@.host", ".host", "a/b", "alice@-x"] {
            assert!(parsed(odd).is_err(), "{odd}");
        }
        assert!(parse(None).is_err());
        assert!(!parsed("\u{1b}[2J@").unwrap_err().to_string().contains('\u{1b}'));
    }
}
