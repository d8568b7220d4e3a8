//! Freezing: `cgroup.freeze`, Linux 5.2.

use crate::cgroup::Cgroup;
use crate::dir;
use crate::errno::{Errno, errno};
use crate::error::{Error, Result};
use crate::file::whole;
use crate::hierarchy::own_path;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::Component;
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

/// A process's place in the hierarchy: PATH_MAX.
const LONGEST_PLACE: usize = 64 << 10;

impl Cgroup {
    /// Lets one process in this cgroup or below it go on: thaws every cgroup from this one down to the process's own, and no others. What
    /// a container has frozen elsewhere stays so.
    ///
    /// By its pid in the caller's pid namespace. NotFound where it isn't in this cgroup, or has ended.
    pub fn thaw_process(&self, pid: u32) -> Result<()> {
        self.thaw()?;
        let fail = |call, e| Error::call(format!("thaw process {pid} in"), self.path(), call, e);
        let file = openat(CWD, format!("/proc/{pid}/cgroup"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(errno);
        let text = file.and_then(|fd| whole(fd.as_fd(), LONGEST_PLACE)).map_err(|e| fail("read", e))?;
        let place = own_path(&text).unwrap_or_default();
        let way: Vec<&OsStr> = place.components().map(Component::as_os_str).collect();
        // The container can't leave this cgroup, but may call one of its own the same: the first of the name that leads on is it.
        let name = self.path().file_name();
        let starts = way.iter().enumerate().filter(|(_, step)| Some(**step) == name).map(|(n, _)| n + 1);
        let mut found = Err(Errno::ENOENT);
        for start in starts {
            found = self.thaw_along(&way[start..]);
            if found.is_ok() {
                break;
            }
        }
        found.map_err(|e| fail("openat", e))
    }

    fn thaw_along(&self, way: &[&OsStr]) -> std::result::Result<(), Errno> {
        let mut here = dir::open(self, c".")?;
        for step in way {
            here = dir::open(&here, *step)?;
            let file = openat(&here, c"cgroup.freeze", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(errno)?;
            rustix::io::retry_on_intr(|| rustix::io::write(&file, b"0")).map_err(errno)?;
        }
        Ok(())
    }
}
