//! `show`

use std::os::fd::AsFd;

use nskit_launcher::Error;
use nskit_launcher::escape::Escaped;
use nskit_launcher::registry::{ProcessId, Record};
use nskit_launcher::report::show;
use nskit_launcher::settings::MachineName;
use rustix::fs::{fstat, fstatfs};

use crate::cli::Options;
use crate::{addresses, machine, time};

/// Prints the properties of each machine, or of the place for images without any.
///
/// # Errors
/// One of them isn't known; those before it are printed.
pub fn run(names: &[MachineName], options: &Options) -> Result<(), Error> {
    if names.is_empty() {
        return show(&text(&pool(), options));
    }
    for (n, name) in names.iter().enumerate() {
        let text = text(&properties(&machine::find(name)?), options);
        show(&if n > 0 { format!("\n{text}") } else { text })?;
    }
    Ok(())
}

/// A name and its value, which may be empty.
type Property = (&'static str, String);

/// A line each: those that were asked for, or all that have a value.
fn text(properties: &[Property], options: &Options) -> String {
    let asked = |name: &str| options.properties.as_ref().is_none_or(|asked| asked.iter().any(|one| one == name));
    let shown = properties.iter().filter(|(name, value)| asked(name) && (options.all || !value.is_empty()));
    shown.map(|(name, value)| if options.value { format!("{value}\n") } else { format!("{name}={value}\n") }).collect()
}

fn properties(record: &Record) -> Vec<Property> {
    let pid = |id: Option<ProcessId>| id.map(|id| id.pid.to_string()).unwrap_or_default();
    let links: Vec<String> = addresses::interfaces(record).into_iter().map(|link| link.index.to_string()).collect();
    vec![
        ("Name", record.name.to_string()),
        ("Id", record.machine_id.to_string()),
        ("Timestamp", time::moment(record.since)),
        ("TimestampMonotonic", record.since.monotonic_us.to_string()),
        ("Service", Escaped::text(&record.service).to_string()),
        ("Unit", machine::unit(record).map(|path| Escaped::path(&path).to_string()).unwrap_or_default()),
        ("Subgroup", String::new()),
        ("Leader", pid(record.leader)),
        ("LeaderPIDFDId", record.leader.and_then(pidfd_id).unwrap_or_default()),
        ("Supervisor", record.supervisor.pid.to_string()),
        ("SupervisorPIDFDId", pidfd_id(record.supervisor).unwrap_or_default()),
        ("Class", Escaped::text(&record.class).to_string()),
        ("RootDirectory", Escaped::path(&record.root).to_string()),
        ("NetworkInterfaces", links.join(" ")),
        ("VSockCID", String::new()),
        ("SSHAddress", String::new()),
        ("SSHPrivateKeyPath", String::new()),
        ("State", record.current_state().to_string()),
        ("UID", "0".to_owned()),
    ]
}

/// A number that no other process has until the host is booted again: the inode of its pidfd. Linux 6.9.
fn pidfd_id(id: ProcessId) -> Option<String> {
    const PIDFS: i64 = 0x5049_4446;
    let pidfd = id.open().ok()??;
    let own = fstatfs(pidfd.as_fd()).is_ok_and(|stat| stat.f_type == PIDFS);
    own.then(|| fstat(pidfd.as_fd()).ok()).flatten().map(|stat| stat.st_ino.to_string())
}

/// Where images are. How much they use and may use is known of no file system so far.
fn pool() -> Vec<Property> {
    vec![("PoolPath", "/var/lib/machines".to_owned()), ("PoolUsage", String::new()), ("PoolLimit", String::new())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Parsed, parse};

    fn shown(line: &str) -> String {
        let Ok(Parsed::Run(_, options)) = parse(["ns-machine", "show"].into_iter().chain(line.split_whitespace())) else {
            panic!("{line}");
        };
        text(&[("Name", "x".into()), ("Id", String::new()), ("Leader", "7".into())], &options)
    }

    #[test]
    fn empty_ones_are_shown_on_demand() {
        assert_eq!(shown(""), "Name=x\nLeader=7\n");
        assert_eq!(shown("-a"), "Name=x\nId=\nLeader=7\n");
        assert_eq!(shown("-p Leader,Name"), "Name=x\nLeader=7\n");
        assert_eq!(shown("-p Leader --value"), "7\n");
        assert_eq!(shown("-P Name"), "x\n");
        assert_eq!(shown("-P Id -a"), "\n");
        assert_eq!(shown("-p None"), "");
    }
}
