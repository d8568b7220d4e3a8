//! Stopping in two stages, with limits: asked, then killed, then given up.

use crate::report::Signal;
use std::time::{Duration, Instant};

/// `SIGRTMIN+4`: systemd's poweroff.target. User space counts from 34.
pub(super) const POWER_OFF: i32 = 38;
/// `SIGRTMIN+5`: reboot.target.
pub(super) const REBOOT: i32 = 39;
/// `SIGKILL`
pub(super) const KILL: i32 = Signal::KILL.0;

/// What was killed ends within milliseconds; gigabytes of memory take a second. After that it is looked whether something is stuck in
/// the kernel, and again as often.
const DEATH: Duration = Duration::from_secs(5);
/// What only takes its time is waited for so often: a minute.
const LOOKS: u32 = 12;

/// How far stopping has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nobody has asked.
    No,
    /// The payload was asked by a signal, and is killed then, if ever.
    Asked(i32, Option<Instant>),
    /// It was killed, and is looked after then, for the so-manieth time.
    Killed(Instant, u32),
}

/// What a limit that has passed demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    Nothing,
    Signal(i32),
    /// It should be gone. Whether this is the last look.
    Look(bool),
}

impl Stop {
    /// Somebody wants it to stop: the signal to send now. `halt`: what the payload understands as a request; `limit`: how long it may take.
    pub fn request(&mut self, halt: Option<i32>, limit: Option<Duration>, now: Instant) -> Option<i32> {
        match (*self, halt) {
            (Stop::No, Some(signal)) if signal != KILL => {
                *self = Stop::Asked(signal, limit.map(|limit| now + limit));
                Some(signal)
            }
            (Stop::No | Stop::Asked(..), _) => self.kill(now),
            (Stop::Killed(..), _) => None,
        }
    }

    /// What it was asked by, while that is awaited.
    pub fn asked(&self) -> Option<i32> {
        match self {
            Stop::Asked(signal, _) => Some(*signal),
            _ => None,
        }
    }

    /// What is due because time is up.
    pub fn expire(&mut self, now: Instant) -> Expired {
        match *self {
            Stop::Asked(_, Some(deadline)) if now >= deadline => self.kill(now).map_or(Expired::Nothing, Expired::Signal),
            Stop::Killed(deadline, looks) if now >= deadline => {
                *self = Stop::Killed(now + DEATH, looks + 1);
                Expired::Look(looks + 1 >= LOOKS)
            }
            _ => Expired::Nothing,
        }
    }

    /// `SIGKILL`
    pub fn kill(&mut self, now: Instant) -> Option<i32> {
        *self = Stop::Killed(now + DEATH, 0);
        Some(KILL)
    }

    /// Whether nothing can be asked any more.
    pub fn is_killed(&self) -> bool {
        matches!(self, Stop::Killed(..))
    }

    /// When [`Stop::expire`] has something.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Stop::Asked(_, deadline) => *deadline,
            Stop::Killed(deadline, _) => Some(*deadline),
            Stop::No => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(90);
    const HALT: i32 = 37;

    #[test]
    fn asked_then_killed() {
        let (mut stop, now) = (Stop::No, Instant::now());
        assert_eq!(stop.request(Some(HALT), Some(LIMIT), now), Some(HALT));
        assert_eq!(stop.asked(), Some(HALT));
        assert_eq!(stop.request(Some(HALT), Some(LIMIT), now), Some(KILL));
        assert_eq!(stop.asked(), None);
        assert_eq!(stop.request(Some(HALT), Some(LIMIT), now), None);
    }

    #[test]
    fn killed_when_time_is_up_and_looked_after_then() {
        let (mut stop, now) = (Stop::No, Instant::now());
        stop.request(Some(HALT), Some(LIMIT), now);
        assert_eq!(stop.expire(now + LIMIT - Duration::from_millis(1)), Expired::Nothing);
        assert_eq!(stop.deadline(), Some(now + LIMIT));
        assert_eq!(stop.expire(now + LIMIT), Expired::Signal(KILL));
        let mut at = now + LIMIT;
        for look in 1..=LOOKS {
            assert_eq!(stop.deadline(), Some(at + DEATH));
            assert_eq!(stop.expire(at), Expired::Nothing);
            at += DEATH;
            assert_eq!(stop.expire(at), Expired::Look(look == LOOKS));
        }
    }

    #[test]
    fn without_a_limit_it_is_asked_for_ever_and_killed_when_asked_again() {
        let (mut stop, now) = (Stop::No, Instant::now());
        stop.request(Some(HALT), None, now);
        assert_eq!((stop.deadline(), stop.expire(now + LIMIT * 1_000_000)), (None, Expired::Nothing));
        assert_eq!(stop.request(Some(HALT), None, now), Some(KILL));
    }

    #[test]
    fn what_understands_no_request_is_killed_at_once() {
        assert_eq!(Stop::No.request(None, Some(LIMIT), Instant::now()), Some(KILL));
        let mut stop = Stop::No;
        assert_eq!(stop.request(Some(KILL), Some(LIMIT), Instant::now()), Some(KILL));
        assert!(matches!(stop, Stop::Killed(..)), "a kill is no request");
    }
}
