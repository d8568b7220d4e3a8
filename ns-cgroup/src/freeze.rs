//! Freezing: `cgroup.freeze`, Linux 5.2.

use crate::cgroup::Cgroup;
use crate::errno::Errno;
use crate::error::{Error, Result};
use std::time::Duration;

impl Cgroup {
    /// Stops every process in this cgroup and below it: `cgroup.freeze`. Waits until all have stopped, as long as `timeout`; TimedOut
    /// where one stays uninterruptible in the kernel: the rest stays frozen until [`Cgroup::thaw`].
    ///
    /// Frozen processes can still be killed.
    pub fn freeze(&self, timeout: Duration) -> Result<()> {
        let events = self.events_fd()?;
        self.write("cgroup.freeze", "1")?;
        match events.wait(Some(timeout), |e| e.frozen || !e.populated)? {
            true => Ok(()),
            false => Err(Error::call("freeze", self.path(), "poll", Errno::ETIMEDOUT).hinted("a process is stuck in the kernel (state D)")),
        }
    }

    /// Lets them go on. Does nothing where they aren't frozen.
    pub fn thaw(&self) -> Result<()> {
        self.write("cgroup.freeze", "0")
    }

    /// Whether [`Cgroup::freeze`] was asked for here; a cgroup below a frozen one answers false and stands still all the same.
    pub fn is_frozen(&self) -> Result<bool> {
        Ok(self.read("cgroup.freeze")?.trim() == "1")
    }
}
