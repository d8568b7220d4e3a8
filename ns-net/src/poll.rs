//! What a service waits for, behind one descriptor that others can wait for.

use crate::error::{Doing, Result};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, retry_on_intr};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

pub(crate) use rustix::event::epoll::EventFlags;

/// The timer's token.
const TIMER: u64 = u64::MAX;
/// Events in one turn; what is left over stays readable.
const AT_ONCE: usize = 64;

/// An epoll set with a timer in it: readable when anything in it is ready, or the time has come.
#[derive(Debug)]
pub(crate) struct Poll {
    epoll: OwnedFd,
    timer: OwnedFd,
    at: Option<Instant>,
    what: &'static str,
}

/// Something that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub token: u64,
    pub flags: EventFlags,
}

impl Poll {
    /// An empty set; `what` is the operation in errors.
    pub fn open(what: &'static str) -> Result<Poll> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).doing(what, "epoll_create1")?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK);
        let poll = Poll { epoll, timer: timer.doing(what, "timerfd_create")?, at: None, what };
        poll.add(poll.timer.as_fd(), TIMER, EventFlags::IN)?;
        Ok(poll)
    }

    /// Watches a descriptor, which leaves the set when it is closed.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64, flags: EventFlags) -> Result<()> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), flags).doing(self.what, "epoll_ctl")
    }

    /// Watches it for something else.
    pub fn change(&self, fd: BorrowedFd<'_>, token: u64, flags: EventFlags) -> Result<()> {
        epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token), flags).doing(self.what, "epoll_ctl")
    }

    /// What is ready now, 64 at most; the timer, once it has fired, is told by `wake_at` alone.
    pub fn ready(&mut self) -> Result<Vec<Ready>> {
        let mut events = Vec::with_capacity(AT_ONCE);
        retry_on_intr(|| epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec::default())))
            .doing(self.what, "epoll_wait")?;
        if events.iter().any(|e| e.data.u64() == TIMER) {
            self.rest()?;
        }
        Ok(events.iter().map(|e| Ready { token: e.data.u64(), flags: e.flags }).filter(|r| r.token != TIMER).collect())
    }

    fn rest(&mut self) -> Result<()> {
        self.at = None;
        match rustix::io::read(&self.timer, &mut [0; 8]) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(e) => Err(e).doing(self.what, "read"),
        }
    }

    /// Makes the set readable then, or no more by time.
    pub fn wake_at(&mut self, at: Option<Instant>) -> Result<()> {
        if at == self.at {
            return Ok(());
        }
        // A value of zero would switch the timer off.
        let left = at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1)));
        let it_value = Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        let value = Itimerspec { it_interval: Timespec::default(), it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &value).doing(self.what, "timerfd_settime")?;
        self.at = at;
        Ok(())
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// How often a guest is answered: so many at once, then so many a second.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    left: f64,
    burst: f64,
    rate: f64,
    at: Instant,
}

impl Bucket {
    pub fn new(burst: u16, per_second: u16, now: Instant) -> Bucket {
        Bucket { left: burst.into(), burst: burst.into(), rate: per_second.into(), at: now }
    }

    /// Whether one more is within the bounds.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * self.rate).min(self.burst);
        let granted = self.left >= 1.0;
        if granted {
            self.left -= 1.0;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_makes_the_set_readable_once() {
        let mut poll = Poll::open("test").unwrap();
        assert_eq!(poll.ready().unwrap(), []);
        poll.wake_at(Some(Instant::now())).unwrap();
        let mut fds = [rustix::event::PollFd::new(&poll, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut fds, None).unwrap(), 1);
        assert_eq!(poll.ready().unwrap(), []);
        let mut fds = [rustix::event::PollFd::new(&poll, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut fds, Some(&Timespec::default())).unwrap(), 0);
    }

    #[test]
    fn a_bucket_fills_with_time_and_no_further_than_its_brim() {
        let now = Instant::now();
        let mut bucket = Bucket::new(3, 2, now);
        assert_eq!((0..5).filter(|_| bucket.take(now)).count(), 3);
        let later = now + Duration::from_secs(1);
        assert_eq!((0..5).filter(|_| bucket.take(later)).count(), 2);
        let much_later = now + Duration::from_secs(1000);
        assert_eq!((0..5).filter(|_| bucket.take(much_later)).count(), 3);
    }
}
