//! More words for a start that failed, where the cause can be found: how the tree is mounted, what is turned off on this host.

use super::prepare::Prepared;
use crate::assemble::PATH;
use crate::escape::Escaped;
use crate::guest::Mounted;
use crate::settings::{Payload, PrivateUsers};
use crate::{Error, Kind};
use ns_core::Errno;
use std::ffi::{CString, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Prepared<'_> {
    /// The launcher's error for a plan's.
    pub(super) fn explain(&self, e: &ns_core::Error) -> Error {
        let error = Error::host(e);
        let Some(errno) = e.errno() else { return error };
        match (e.failed_call(), errno) {
            (Some("execve"), Errno::ENOENT | Errno::ENOTDIR) => self.not_found().unwrap_or(error),
            (Some("execve"), Errno::EACCES) => match self.on_mount_with("noexec") {
                Some(mount) => error.hint(format!("the tree is on a file system mounted noexec at {}", Escaped::path(&mount.point))),
                None => error,
            },
            (Some(_), Errno::EROFS) => match self.tree.mount_of(c".").filter(|mount| mount.has("ro")) {
                Some(mount) => error.hint(format!("the tree is on a file system mounted ro at {}", Escaped::path(&mount.point))),
                None => error,
            },
            (_, Errno::ENOSPC) if self.has_ids() && user_namespaces_are_off() => error.hint(
                "user namespaces are turned off here: sysctl user.max_user_namespaces=15000; \
                 or --private-users=no, where container root is the host's root",
            ),
            (_, Errno::EINVAL | Errno::EPERM) if self.has_ids() => self.not_mappable(errno).unwrap_or(error),
            _ => error,
        }
    }

    /// A command without a slash is in none of the directories that were looked in.
    fn not_found(&self) -> Option<Error> {
        let Payload::Command(words) = &self.settings.payload else { return None };
        let program = words.first().filter(|program| !program.as_encoded_bytes().contains(&b'/'))?;
        let text = format!("exec {}: execve", Escaped::os(program));
        Some(Error::call(Kind::Tree, text, Errno::ENOENT).hint(format!("the tree has it in none of {PATH}")))
    }

    /// The mount of the program that was to be executed, or the tree's own, if it has this option.
    fn on_mount_with(&self, option: &str) -> Option<Mounted> {
        let programs = self.programs().into_iter().chain([c".".to_owned()]);
        programs.filter_map(|program| self.tree.mount_of(&program)).find(|mount| mount.has(option))
    }

    /// As paths in the tree, those that are not there too.
    fn programs(&self) -> Vec<CString> {
        let in_path = |program: &OsStr| PATH.split(':').map(|dir| Path::new(dir).join(program)).collect::<Vec<_>>();
        let paths = match &self.settings.payload {
            // A path stays what it is when it is joined.
            Payload::Command(words) => words.first().map(|program| in_path(program)).unwrap_or_default(),
            Payload::Boot(_) => return self.tree.inits().unwrap_or_default(),
            Payload::Shell => {
                return self.tree.root_user().map(|user| user.logins()).unwrap_or_default().into_iter().map(|l| l.path).collect();
            }
        };
        paths.into_iter().filter_map(|path| CString::new(path.as_os_str().as_bytes()).ok()).collect()
    }

    fn has_ids(&self) -> bool {
        self.settings.users != PrivateUsers::No
    }

    /// `EINVAL`: the tree's file system takes no id map; `EPERM`: it has one already.
    fn not_mappable(&self, errno: Errno) -> Option<Error> {
        let why = ns_mount::id_mappable(self.tree.as_fd()).err().filter(|why| why.kind() == ns_mount::ErrorKind::IdMap)?;
        let error = Error::host(why);
        Some(if errno == Errno::EINVAL { error.hint(self.copy_it()) } else { error })
    }

    fn copy_it(&self) -> String {
        let (path, name) = (Escaped::path(self.tree.path()), &self.settings.machine);
        format!(
            "copy it to a file system that can (ext4, xfs, btrfs): cp -a {path} /var/lib/machines/{name} && ns-spawn -D \
             /var/lib/machines/{name} ...; or --private-users=no, where container root is the host's root"
        )
    }
}

fn user_namespaces_are_off() -> bool {
    std::fs::read_to_string("/proc/sys/user/max_user_namespaces").is_ok_and(|text| text.trim() == "0")
}
