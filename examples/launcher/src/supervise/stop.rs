//! Stopping in two stages, with limits: asked, then killed, then given up.

use std::time::{Duration, Instant};

/// `SIGRTMIN+3`: systemd's halt.target. User space counts from 34.
pub(super) const HALT: i32 = 37;
/// `SIGRTMIN+4`: poweroff.target.
pub(super) const POWER_OFF: i32 = 38;
/// `SIGRTMIN+5`: reboot.target.
pub(super) const REBOOT: i32 = 39;
/// `SIGKILL`
pub(super) const KILL: i32 = 9;

/// What was killed ends within milliseconds; gigabytes of memory take a second. After that it is stuck in the kernel.
const DEATH: Duration = Duration::from_secs(20);

/// How far stopping has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nobody has asked.
    No,
    /// The payload was asked, and is killed then.
    Asked(Instant),
    /// It was killed, and is given up then.
    Killed(Instant),
}

/// What a limit that has passed demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    Nothing,
    Signal(i32),
    Stuck,
}

impl Stop {
    /// Somebody wants it to stop: the signal to send now. `halt`: what the payload understands as a request.
    pub fn request(&mut self, halt: Option<i32>, limit: Duration, now: Instant) -> Option<i32> {
        match (*self, halt) {
            (Stop::No, Some(signal)) => {
                *self = Stop::Asked(now + limit);
                Some(signal)
            }
            (Stop::No | Stop::Asked(_), _) => self.kill(now),
            (Stop::Killed(_), _) => None,
        }
    }

    /// What is due because time is up.
    pub fn expire(&mut self, now: Instant) -> Expired {
        match *self {
            Stop::Asked(deadline) if now >= deadline => self.kill(now).map_or(Expired::Nothing, Expired::Signal),
            Stop::Killed(deadline) if now >= deadline => Expired::Stuck,
            _ => Expired::Nothing,
        }
    }

    /// `SIGKILL`
    pub fn kill(&mut self, now: Instant) -> Option<i32> {
        *self = Stop::Killed(now + DEATH);
        Some(KILL)
    }

    /// When [`Stop::expire`] has something.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Stop::Asked(deadline) | Stop::Killed(deadline) => Some(*deadline),
            Stop::No => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(90);

    #[test]
    fn asked_then_killed() {
        let (mut stop, now) = (Stop::No, Instant::now());
        assert_eq!(stop.request(Some(HALT), LIMIT, now), Some(HALT));
        assert_eq!(stop.request(Some(HALT), LIMIT, now), Some(KILL));
        assert_eq!(stop.request(Some(HALT), LIMIT, now), None);
    }

    #[test]
    fn killed_when_time_is_up_and_given_up_after_that() {
        let (mut stop, now) = (Stop::No, Instant::now());
        stop.request(Some(HALT), LIMIT, now);
        assert_eq!(stop.expire(now + LIMIT - Duration::from_millis(1)), Expired::Nothing);
        assert_eq!(stop.deadline(), Some(now + LIMIT));
        assert_eq!(stop.expire(now + LIMIT), Expired::Signal(KILL));
        assert_eq!(stop.deadline(), Some(now + LIMIT + DEATH));
        assert_eq!(stop.expire(now + LIMIT), Expired::Nothing);
        assert_eq!(stop.expire(now + LIMIT + DEATH), Expired::Stuck);
    }

    #[test]
    fn a_command_understands_no_request() {
        assert_eq!(Stop::No.request(None, LIMIT, Instant::now()), Some(KILL));
    }
}
