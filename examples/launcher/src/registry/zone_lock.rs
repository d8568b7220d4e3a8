//! The lock under which bridges of zones are made and removed: one for all, systemd-nspawn's.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Places;
use super::lock::{Attempt, LockFile, Mode};
use crate::{Error, Kind};
use ns_core::Errno;

/// Held for as long as it takes to find or make a bridge and to give it a port.
#[derive(Debug)]
pub struct ZoneLock {
    _lock: LockFile,
}

/// Whoever has it makes or deletes one link.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(2);

impl ZoneLock {
    /// Waits for it, at most five seconds.
    ///
    /// # Errors
    /// Its file can't be made, or somebody doesn't let go.
    pub fn take(places: &Places) -> Result<ZoneLock, Error> {
        let path = places.zone_lock()?;
        let began = Instant::now();
        loop {
            match LockFile::take(path.clone(), Mode::Exclusive)? {
                Attempt::Held(lock) => return Ok(ZoneLock { _lock: lock }),
                Attempt::Busy(_) if began.elapsed() < PATIENCE => sleep(PAUSE),
                Attempt::Busy(_) => {
                    let text = format!("The lock {} of network zones has been held for {} s", path.display(), PATIENCE.as_secs());
                    return Err(Error::new(Kind::Busy, text).with_errno(Errno::EBUSY));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_waits_for_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::below(dir.path());
        let first = ZoneLock::take(&places).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| ZoneLock::take(&places).map(drop));
            sleep(Duration::from_millis(50));
            assert!(!second.is_finished());
            drop(first);
            second.join().unwrap().unwrap();
        });
        assert!(!places.zone_lock().unwrap().exists());
    }
}
