//! What `poweroff` and `reboot` have in common: an init is asked by a signal, each in its own words.

use std::time::{Duration, Instant};

use ns_core::PidFd;
use nskit_launcher::registry::Record;
use nskit_launcher::report::Signal;
use nskit_launcher::settings::MachineName;
use nskit_launcher::supervise;
use nskit_launcher::{Error, Kind};

use crate::machine;

/// A machine that takes longer than its own limit has not heard; its supervisor, were it asked, would need as long to clean up.
const MARGIN: Duration = Duration::from_secs(10);

/// Sends process 1 of the machine a signal that it understands as a request, and lets it go on where it was frozen or stopped. Returns at
/// once.
///
/// # Errors
/// It has ended, or could not be sent anything.
pub fn send(record: &Record, signal: Signal) -> Result<(), Error> {
    let leader = machine::process(record, "process 1", record.leader)?;
    let cgroup = machine::own_cgroup(record)?;
    supervise::send(&leader, cgroup.as_ref(), signal).map_err(|e| Error::new(Kind::Host, format!("Machine '{}': {e}", record.name)))
}

/// A machine that was asked, and is waited for.
#[derive(Debug)]
pub struct Asked {
    name: MachineName,
    supervisor: PidFd,
    until: Option<Instant>,
}

impl Asked {
    /// From now on.
    ///
    /// # Errors
    /// Its supervisor has ended.
    pub fn new(record: &Record) -> Result<Asked, Error> {
        let supervisor = machine::process(record, "supervisor", Some(record.supervisor))?;
        let until = record.stop_timeout.map(|limit| Instant::now() + limit + MARGIN);
        Ok(Asked { name: record.name.clone(), supervisor, until })
    }

    /// Who looks after it.
    pub fn supervisor(&self) -> &PidFd {
        &self.supervisor
    }

    /// Whether it ends so soon.
    ///
    /// # Errors
    /// It has had its time.
    pub fn ended_within(&self, piece: Duration) -> Result<bool, Error> {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        match self.supervisor.ended_within(left.map_or(piece, |left| left.min(piece))) {
            false if left == Some(Duration::ZERO) => {
                let text = format!("Machine '{}' was asked, and has not done it in the time that it has to stop", self.name);
                Err(Error::new(Kind::Host, text).hint(format!("ns-machine terminate {}", self.name)))
            }
            ended => Ok(ended),
        }
    }
}

/// What can't be asked for.
pub fn not_understood(record: &Record, what: &str) -> Error {
    let why = if record.boot { "its init knows no signal that asks for it" } else { "it runs a command, not an init" };
    let hint = format!("ns-machine terminate {0}, or name a signal: --signal=", record.name);
    Error::new(Kind::Usage, format!("Machine '{}' can't be asked to {what}: {why}", record.name)).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_waited_for_for_ever() {
        let asked = |until| Asked { name: MachineName::new("box").unwrap(), supervisor: PidFd::of_self().unwrap(), until };
        let piece = Duration::from_millis(20);
        assert!(!asked(None).ended_within(piece).unwrap());
        let limited = asked(Some(Instant::now() + piece / 2));
        assert!(!limited.ended_within(piece * 1000).unwrap());
        let e = limited.ended_within(piece).unwrap_err().to_string();
        assert!(e.starts_with("Machine 'box' was asked, and has not done it") && e.ends_with("; ns-machine terminate box"), "{e}");
    }
}
