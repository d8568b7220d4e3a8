//! Which programs of a tree are tried as process 1.

mod inittab;
mod kind;

pub use inittab::Inittab;
pub use kind::{Init, InitKind};

use std::ffi::{CStr, CString};

use rustix::fs::{FileType, OFlags, fstat};

use super::{RootUser, Tree};
use crate::{Error, Kind, escape::Escaped};

/// In the order in which they are tried.
const INITS: [&CStr; 3] = [c"/usr/lib/systemd/systemd", c"/lib/systemd/systemd", c"/sbin/init"];

pub(super) fn candidates(tree: &Tree) -> Result<Vec<CString>, Error> {
    let present = INITS.into_iter().filter(|path| is_program(tree, path));
    let present: Vec<CString> = present.map(CStr::to_owned).collect();
    match present.is_empty() {
        false => Ok(present),
        true => {
            let tried = INITS.map(|path| Escaped::c(path).to_string()).join(", ");
            Err(Error::new(Kind::Tree, format!("Directory {} has no init: none of {tried} is a program", Escaped::path(tree.path()))))
        }
    }
}

/// A regular file that somebody may execute. What can't be looked at is no candidate; that there is none is told then.
fn is_program(tree: &Tree, path: &CStr) -> bool {
    let found = tree.find(path, OFlags::empty()).ok().flatten();
    let stat = found.and_then(|fd| fstat(fd).ok());
    stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_mode & 0o111 != 0)
}

/// A login shell to try: the program, and the name it is called by, whose hyphen makes it one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Absolute, in the tree.
    pub path: CString,
    /// `argv[0]`, as `-bash`.
    pub arg0: CString,
}

const SHELLS: [(&CStr, &CStr); 3] = [(c"/bin/bash", c"-bash"), (c"/usr/bin/bash", c"-bash"), (c"/bin/sh", c"-sh")];
/// Programs that a passwd file names to keep people out.
const CLOSED: [&str; 2] = ["nologin", "false"];

impl RootUser {
    /// The shells to try in this order: root's own, if it lets anybody in, then the usual ones.
    pub fn logins(&self) -> Vec<Login> {
        let own = self.shell.as_ref().and_then(|shell| {
            let name = shell.file_name()?.to_str().filter(|name| !CLOSED.contains(name))?;
            Some(Login { path: CString::new(shell.as_os_str().as_encoded_bytes()).ok()?, arg0: CString::new(format!("-{name}")).ok()? })
        });
        let mut logins: Vec<Login> = own.into_iter().collect();
        for (path, arg0) in SHELLS {
            let login = Login { path: path.to_owned(), arg0: arg0.to_owned() };
            if !logins.contains(&login) {
                logins.push(login);
            }
        }
        logins
    }
}
