//! The payload's environment: built, not filtered.

use super::Site;
use crate::Error;
use crate::guest::OsRelease;
use crate::settings::Payload;
use ns_core::Exec;
use std::ffi::OsString;

/// What guests know as the manager: other words make systemd say "container-other".
pub(crate) const MANAGER: &str = "systemd-nspawn";
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the payload is told of the host.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// `os-release(5)`, as it is.
    pub os_release: Vec<u8>,
    /// The caller's `TERM`, for a payload on a terminal.
    pub term: Option<OsString>,
}

/// As `os-release(5)` sizes go.
const MAX: u64 = 64 * 1024;

impl Host {
    /// Reads what there is: a host without an os-release is no reason not to start.
    pub fn read() -> Host {
        let read = |path: &str| -> Option<Vec<u8>> {
            let mut text = Vec::with_capacity(4096);
            std::io::Read::read_to_end(&mut std::io::Read::take(std::fs::File::open(path).ok()?, MAX), &mut text).ok()?;
            Some(text)
        };
        let os_release = read("/etc/os-release").or_else(|| read("/usr/lib/os-release")).unwrap_or_default();
        Host { os_release, term: term() }
    }
}

/// Our own terminal's kind.
pub(crate) fn term() -> Option<OsString> {
    std::env::var_os("TERM").filter(is_plain)
}

/// It comes from the caller's environment, and ends in a guest's.
fn is_plain(term: &OsString) -> bool {
    let bytes = term.as_encoded_bytes();
    !bytes.is_empty() && bytes.len() <= 64 && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-+._".contains(b))
}

pub(super) fn set(site: &Site<'_>, exec: Exec) -> Result<Exec, Error> {
    let term = site.host.term.clone().filter(|_| site.has_pty()).unwrap_or_else(|| "dumb".into());
    let mut rows: Vec<(&str, OsString)> = vec![
        ("container", MANAGER.into()),
        ("container_uuid", site.machine_id.hyphenated().into()),
        ("NOTIFY_SOCKET", "/run/host/notify".into()),
        ("PATH", PATH.into()),
        ("HOME", site.root_user.home.clone().into()),
        ("USER", "root".into()),
        ("LOGNAME", "root".into()),
        ("TERM", term),
    ];
    let host = OsRelease::parse(&site.host.os_release);
    let told = [
        ("container_host_id", &host.id),
        ("container_host_version_id", &host.version),
        ("container_host_build_id", &host.build),
        ("container_host_variant_id", &host.variant),
    ];
    rows.extend(told.into_iter().filter_map(|(name, value)| Some((name, value.clone()?.into()))));
    if !matches!(site.settings.payload, Payload::Boot(_)) {
        rows.push(("LANG", "C.UTF-8".into()));
    }
    rows.into_iter().try_fold(exec, |exec, (name, value)| exec.env(name, value)).map_err(Error::host)
}
