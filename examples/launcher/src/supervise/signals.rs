//! The launcher's signals, as a descriptor: `signalfd(2)`.

use crate::interrupted::again;
use crate::{Error, Kind};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// Blocked for the process, read in its event loop.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// `SIGTERM`, `SIGINT`, `SIGHUP`: stop.
    Stop(Signal),
    /// `SIGWINCH`: our terminal has another size.
    Window,
}

const STOP: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

impl Signals {
    /// Blocks them. Also lets children be waited for, whatever the caller has ignored.
    pub fn new() -> Result<Signals, Error> {
        let failed = |call: &str, e: nix::Error| Error::call(Kind::Host, format!("take signals: {call}"), ns_core::Errno::new(e as i32));
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default disposition runs no code of ours.
        again(|| unsafe { sigaction(Signal::SIGCHLD, &default) }).map_err(|e| failed("sigaction", e))?;
        let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        // Beyond the caller's limit of a file's size a write fails then, and doesn't end us halfway; the payload has the default.
        // SAFETY: ignoring runs no code of ours.
        again(|| unsafe { sigaction(Signal::SIGXFSZ, &ignore) }).map_err(|e| failed("sigaction", e))?;
        let mut set = SigSet::empty();
        STOP.into_iter().chain([Signal::SIGWINCH]).for_each(|signal| set.add(signal));
        again(|| set.thread_block()).map_err(|e| failed("sigprocmask", e))?;
        let fd = again(|| SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK));
        fd.map(Signals).map_err(|e| failed("signalfd", e))
    }

    /// The next that is there.
    pub fn next(&self) -> Option<Sent> {
        let info = self.0.read_signal().ok().flatten()?;
        let signal = Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()?;
        Some(if STOP.contains(&signal) { Sent::Stop(signal) } else { Sent::Window })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
