//! What is executed, and its environment: built, not filtered.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ns_core::Exec;

use super::Request;
use crate::assemble::{command, environment};
use crate::guest::User;
use crate::{Error, Kind, escape::Escaped};

/// Where the tree names none.
const SHELL: &str = "/bin/sh";

pub(super) fn exec(user: &User, request: &Request, terminal: bool) -> Result<Exec, Error> {
    let exec = if request.command.is_empty() { login_shell(user)? } else { command(&request.command)? };
    let exec = exec.directory(&user.home).map_err(Error::host)?;
    let rows = rows(user, terminal);
    let exec = rows.into_iter().try_fold(exec, |exec, (name, value)| exec.env(name, value)).map_err(Error::host)?;
    request.environment.iter().try_fold(exec, assignment)
}

/// What is executed, for messages.
pub(super) fn program(user: &User, request: &Request) -> String {
    let name = request.command.first().map_or(shell(user).as_os_str(), OsString::as_os_str);
    Escaped::os(name).to_string()
}

fn shell(user: &User) -> &Path {
    user.shell.as_deref().unwrap_or(Path::new(SHELL))
}

/// Called by a name with a hyphen, as `login(1)` does.
fn login_shell(user: &User) -> Result<Exec, Error> {
    let shell = shell(user);
    let name = shell.file_name().unwrap_or(OsStr::new("sh"));
    let arg0: OsString = [OsStr::new("-"), name].into_iter().collect();
    Exec::new(shell).and_then(|exec| exec.arg0(arg0)).map_err(Error::host)
}

/// For a user on the machine, as `ns-spawn` for a shell.
fn rows(user: &User, terminal: bool) -> Vec<(&'static str, OsString)> {
    let term = environment::term().filter(|_| terminal).unwrap_or_else(|| "dumb".into());
    vec![
        ("container", environment::MANAGER.into()),
        ("PATH", environment::PATH.into()),
        ("HOME", user.home.clone().into()),
        ("USER", user.name.clone().into()),
        ("LOGNAME", user.name.clone().into()),
        ("SHELL", shell(user).into()),
        ("TERM", term),
        ("LANG", "C.UTF-8".into()),
    ]
}

/// `NAME=VALUE`; `NAME` alone for our own value, if there is one.
fn assignment(exec: Exec, word: &OsString) -> Result<Exec, Error> {
    let bytes = word.as_bytes();
    let equals = bytes.iter().position(|b| *b == b'=');
    let name = OsStr::from_bytes(bytes.get(..equals.unwrap_or(bytes.len())).unwrap_or_default());
    if !is_name(name) {
        return Err(Error::new(Kind::Usage, format!("Invalid value '{}' for --setenv", Escaped::bytes(bytes))));
    }
    let own = || std::env::var_os(name);
    match equals.map(|at| OsStr::from_bytes(bytes.get(at + 1..).unwrap_or_default()).to_owned()).or_else(own) {
        Some(value) => exec.env(name, value).map_err(Error::host),
        None => Ok(exec),
    }
}

/// As shells name variables.
fn is_name(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let plain = bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    plain && bytes.first().is_some_and(|b| !b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> User {
        let passwd = b"alice:x:1000:1000::/home/alice:/bin/zsh\nnone:x:5:5:::\n";
        User::find(passwd, b"", "alice").unwrap()
    }

    fn with(words: &[&str], environment: &[&str]) -> Result<String, Error> {
        let owned = |words: &[&str]| words.iter().map(OsString::from).collect();
        let request = Request { command: owned(words), environment: owned(environment), ..Request::default() };
        exec(&alice(), &request, false).map(|exec| format!("{exec}; {exec:?}"))
    }

    #[test]
    fn a_login_shell_or_a_command() {
        assert!(with(&[], &[]).unwrap().starts_with("exec /bin/zsh, in /home/alice; "));
        assert!(with(&["/bin/ls", "-l"], &[]).unwrap().starts_with("exec /bin/ls -l, in /home/alice; "));
        assert!(with(&["ls"], &[]).unwrap().starts_with("exec /usr/local/sbin/ls, else /usr/local/bin/ls, else "));
    }

    #[test]
    fn the_environment_is_built() {
        let rows = with(&["ls"], &["A=b=c", "HOME=/x", "NSKIT_NO_SUCH_VARIABLE", "EMPTY="]).unwrap();
        for row in ["\"A=b=c\"", "\"HOME=/x\"", "\"USER=alice\"", "\"LOGNAME=alice\"", "\"SHELL=/bin/zsh\"", "\"TERM=dumb\"", "\"EMPTY=\""]
        {
            assert!(rows.contains(row), "{row}: {rows}");
        }
        assert!(!rows.contains("HOME=/home/alice") && !rows.contains("NSKIT") && !rows.contains("CARGO"), "{rows}");
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for word in ["", "=x", "1A=x", "A B=x", "A-B", "\u{1b}[2J=x"] {
            let error = with(&[], &[word]).unwrap_err().to_string();
            assert!(error.starts_with("Invalid value '") && error.ends_with("' for --setenv"), "{error}");
            assert!(!error.contains('\u{1b}'));
        }
    }
}
