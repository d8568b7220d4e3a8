//! Where state is kept.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use ns_core::Errno;
use rustix::process::geteuid;

use crate::interrupted::again;
use crate::{Error, Kind, escape::Escaped};

/// The directories that hold state; tests have their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Ours: `/run/nskit`.
    pub run: PathBuf,
    /// systemd's, whose locks we take too: `/run/systemd`.
    pub systemd: PathBuf,
    /// The host's users and the ids they were given: `/etc`.
    pub etc: PathBuf,
}

impl Places {
    /// The host's; `NSKIT_RUN_DIR` in our environment stands in for `/run/nskit`, and an ordinary user's is in `XDG_RUNTIME_DIR`.
    ///
    /// # Errors
    /// An ordinary user without a runtime directory.
    pub fn of_host() -> Result<Places, Error> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let run = match (absolute("NSKIT_RUN_DIR"), geteuid().is_root()) {
            (Some(run), _) => run,
            (None, true) => "/run/nskit".into(),
            (None, false) => {
                let runtime = absolute("XDG_RUNTIME_DIR");
                runtime.ok_or_else(|| Error::new(Kind::Host, "XDG_RUNTIME_DIR isn't set: there is no place for locks"))?.join("nskit")
            }
        };
        Ok(Places { run, systemd: "/run/systemd".into(), etc: "/etc".into() })
    }

    /// Ours for locks of trees, made if missing.
    pub(super) fn tree_locks(&self) -> Result<PathBuf, Error> {
        directory(&self.run, 0o755)?;
        directory(&self.run.join("locks"), 0o700)
    }

    /// Records of running machines, made if missing.
    pub(super) fn records(&self) -> Result<PathBuf, Error> {
        directory(&self.run, 0o755)?;
        directory(&self.run.join("machines"), 0o755)
    }

    /// The same, looked at only. [`None`]: there is none, so that no machine runs.
    ///
    /// # Errors
    /// Others than its owner and root may write to it: what it says is not to be believed.
    pub(super) fn records_if_present(&self) -> Result<Option<PathBuf>, Error> {
        let path = self.run.join("machines");
        for path in [&self.run, &path] {
            let found = match again(|| path.symlink_metadata()) {
                Ok(found) => found,
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(Error::call(Kind::Host, format!("look at {}: lstat", Escaped::path(path)), number(&e))),
            };
            let owners = [0, geteuid().as_raw()];
            if !found.is_dir() || !owners.contains(&found.uid()) || found.mode() & 0o022 != 0 {
                return Err(not_ours(path));
            }
        }
        Ok(Some(path))
    }

    /// systemd-nspawn's for the same, made if missing as it makes them.
    pub(super) fn systemd_tree_locks(&self) -> Result<PathBuf, Error> {
        directory(&self.systemd, 0o755)?;
        directory(&self.systemd.join("nspawn"), 0o755)?;
        directory(&self.systemd.join("nspawn/locks"), 0o700)
    }

    /// systemd-nspawn's lock of all zones; its directory is made if missing.
    pub(super) fn zone_lock(&self) -> Result<PathBuf, Error> {
        Ok(directory(&self.systemd, 0o755)?.join("nspawn-network-zone"))
    }

    /// systemd-nspawn's for ranges of ids.
    pub(super) fn id_locks(&self) -> Result<PathBuf, Error> {
        directory(&self.systemd, 0o755)?;
        directory(&self.systemd.join("nspawn-uid"), 0o755)
    }
}

/// Makes it, or checks that it is a directory of ours which nobody else may write to.
fn directory(path: &Path, mode: u32) -> Result<PathBuf, Error> {
    let failed = |call: &str, e: std::io::Error| {
        Error::call(Kind::Host, format!("make directory {} for locks: {call}", Escaped::path(path)), number(&e))
    };
    match again(|| DirBuilder::new().mode(mode).create(path)) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(failed("mkdir", e)),
        _ => {}
    }
    let found = again(|| path.symlink_metadata()).map_err(|e| failed("lstat", e))?;
    if !geteuid().is_root() && found.uid() != geteuid().as_raw() {
        return Err(failed("access", std::io::Error::from_raw_os_error(Errno::EACCES.raw_os_error())).hint("run it as root"));
    }
    match found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o022 == 0 {
        true => Ok(path.to_owned()),
        false => Err(not_ours(path)),
    }
}

fn not_ours(path: &Path) -> Error {
    Error::new(Kind::Host, format!("{} is no directory that only its owner, us, may write to", Escaped::path(path)))
}

fn number(e: &std::io::Error) -> Errno {
    Errno::new(e.raw_os_error().unwrap_or_default())
}

#[cfg(test)]
impl Places {
    /// All below one directory.
    pub(crate) fn below(path: &Path) -> Places {
        Places { run: path.join("nskit"), systemd: path.join("systemd"), etc: path.join("etc") }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn directories_are_made_with_their_modes() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::below(dir.path());
        let mode = |path: PathBuf| path.metadata().unwrap().mode() & 0o7777;
        for _ in 0..2 {
            assert_eq!(mode(places.tree_locks().unwrap()), 0o700);
            assert_eq!(mode(places.systemd_tree_locks().unwrap()), 0o700);
            assert_eq!(mode(places.id_locks().unwrap()), 0o755);
        }
        assert_eq!(mode(places.run), 0o755);
    }

    #[test]
    fn directories_of_others_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::below(dir.path());
        let locks = places.tree_locks().unwrap();
        std::fs::set_permissions(&locks, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(places.tree_locks().unwrap_err().to_string().contains("only its owner"));
        std::fs::remove_dir(&locks).unwrap();
        symlink("/tmp", &locks).unwrap();
        assert!(places.tree_locks().unwrap_err().to_string().contains("only its owner"));
        let none = Places::below("/proc/none".as_ref());
        assert_eq!(none.tree_locks().unwrap_err().errno(), Some(Errno::ENOENT));
    }
}
