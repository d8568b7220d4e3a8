//! temporary
use super::prepare::Prepared;
use crate::Error;
use crate::report::Ended;
use ns_core::Exit;
use std::os::fd::AsFd;

impl Prepared<'_> {
    pub fn supervise(&self) -> Result<Ended, Error> {
        super::say(self.settings, &format!("Spawning container {} on {}.", self.settings.machine, self.tree.path().display()));
        loop {
            let mut boot = self.boot()?;
            let exit = loop {
                if let Some(exit) = boot.running.try_wait().map_err(|e| Error::new(crate::Kind::Host, e.to_string()))? { break exit; }
                let mut fds = vec![rustix::event::PollFd::from_borrowed_fd(boot.running.as_fd(), rustix::event::PollFlags::IN)];
                if let Some(pty) = &boot.pty { fds.push(rustix::event::PollFd::from_borrowed_fd(pty.as_fd(), rustix::event::PollFlags::IN)); }
                let _ = rustix::event::poll(&mut fds, None);
                if fds.len() > 1 && !fds[1].revents().is_empty() {
                    let mut b = [0u8; 4096];
                    if let Ok(n) = rustix::io::read(boot.pty.as_ref().unwrap(), &mut b) { let _ = std::io::Write::write_all(&mut std::io::stdout(), &b[..n]); let _ = std::io::Write::flush(&mut std::io::stdout()); }
                }
            };
            let ended = match exit { Exit::Exited(n) => Ended::Exited(n as u8), Exit::Signalled(n) => Ended::Signalled(n), Exit::PoweredOff => Ended::PoweredOff, Exit::Rebooted => Ended::Rebooted, _ => Ended::Exited(1) };
            super::report(self.settings, ended);
            if ended != Ended::Rebooted { return Ok(ended); }
        }
    }
}
