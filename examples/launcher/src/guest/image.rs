//! Whether there is an operating system in a directory, and directories of machines by name.

use std::ffi::{CStr, CString};
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags, openat};

use super::Tree;
use crate::settings::{MachineName, Payload};
use crate::{Error, Kind, escape::Escaped};

/// Where a machine's directory is looked for by its name.
pub const IMAGE_DIRECTORIES: [&str; 6] =
    ["/etc/machines", "/run/machines", "/var/lib/machines", "/var/lib/container", "/usr/local/lib/machines", "/usr/lib/machines"];

/// As many entries of a directory are looked at for a tree one level below.
const ENTRIES: usize = 256;

impl Tree {
    /// The directory of this name in the first of `directories` that has one.
    ///
    /// # Errors
    /// None has; or the one that is there can't be opened.
    pub fn of_machine<P: AsRef<Path>>(name: &MachineName, directories: impl IntoIterator<Item = P>) -> Result<Tree, Error> {
        let found = directories.into_iter().map(|directory| directory.as_ref().join(name.as_str())).find(|path| path.is_dir());
        match found {
            Some(path) => Tree::open(&path),
            None => Err(Error::new(Kind::Tree, format!("No image for machine '{name}'."))),
        }
    }

    /// Refuses a directory that holds no operating system: to boot it needs an `os-release`, for a command `/usr`.
    ///
    /// `SYSTEMD_NSPAWN_CHECK_OS_RELEASE=0` in our environment turns the check off.
    ///
    /// # Errors
    /// Says what is missing, and names a directory below that has it.
    pub fn check(&self, payload: &Payload) -> Result<(), Error> {
        let value = std::env::var("SYSTEMD_NSPAWN_CHECK_OS_RELEASE");
        match value.as_deref() {
            Ok("0" | "no" | "false" | "off") => Ok(()),
            _ => self.check_always(payload),
        }
    }

    pub(super) fn check_always(&self, payload: &Payload) -> Result<(), Error> {
        let missing = match payload {
            Payload::Boot(_) if self.os_release()?.is_none() => "the os-release file is missing",
            Payload::Command(_) | Payload::Shell if !self.has_directory(c"usr")? => "the /usr directory is missing",
            _ => return Ok(()),
        };
        let path = Escaped::path(self.path());
        let error = Error::new(Kind::Tree, format!("Directory {path} doesn't look like it has an OS tree: {missing}"));
        match self.inner() {
            Some(name) => Err(error.hint(format!("{path}/{} does, use that", Escaped::c(&name)))),
            None => Err(error),
        }
    }

    /// The first directory in this one, by name, with a tree: an archive's tree is often one level down.
    fn inner(&self) -> Option<CString> {
        let here = openat(self, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let entries = Dir::new(here).ok()?.take(ENTRIES).filter_map(Result::ok);
        let mut names: Vec<CString> = entries.map(|entry| entry.file_name().to_owned()).filter(|name| is_plain(name)).collect();
        names.sort();
        names.into_iter().find(|name| self.is_tree(name).unwrap_or(false))
    }

    fn is_tree(&self, name: &CStr) -> Result<bool, Error> {
        let below = Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name.to_bytes()));
        let Some(fd) = self.find(name, OFlags::DIRECTORY | OFlags::NOFOLLOW)? else { return Ok(false) };
        let tree = Tree { fd, path: self.path().join(below), id: self.id(), resolve: self.resolve };
        Ok(tree.os_release()?.is_some() && tree.has_directory(c"usr")?)
    }
}

fn is_plain(name: &CStr) -> bool {
    !matches!(name.to_bytes(), b"." | b"..")
}
