//! Cgroups for what joins a running machine.

use crate::cgroup::Cgroup;
use crate::dir;
use crate::error::{Error, ErrorKind, Result};
use crate::hierarchy::Hierarchy;
use crate::machine::Lock;
use crate::name::Name;
use crate::remove::rmdir;
use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

const PREFIX: &str = "join-";
/// At the same time.
const MOST: u32 = 4096;
/// Others remove an empty one just when we lock it.
const TRIES: u32 = 100;
/// Its last process has ended, and is on its way out.
const PATIENCE: Duration = Duration::from_millis(200);

/// The cgroup of one more process that joins a machine, `join-N` beside `payload/`: under the machine's limits and device program, and
/// beside the guest's root cgroup, which takes no processes once its systemd passes controllers on.
///
/// Locked, `flock(2)`, while this is open. Dropped, it stays; what is left empty is used again, and removed with the machine or by
/// [`Joined::collect`].
pub struct Joined {
    cgroup: Cgroup,
    machine: Cgroup,
    lock: Lock,
}

impl Joined {
    /// Makes one in the machine whose cgroup is at `machine`, an absolute path below where the hierarchy is mounted. NotFound: the machine
    /// has ended.
    pub fn create(hierarchy: &Hierarchy, machine: &Path) -> Result<Joined> {
        Joined::create_in(&hierarchy.cgroup(machine)?)
    }

    /// Makes one in this machine's cgroup.
    pub fn create_in(machine: &Cgroup) -> Result<Joined> {
        let mut tries = 0;
        let mut n = 0;
        while n < MOST {
            match Joined::take(machine, &Name::new(&format!("{PREFIX}{n}"))?) {
                Ok(Some(joined)) => return Ok(joined),
                Err(e) if e.is_gone() && tries < TRIES => tries += 1,
                Err(e) if e.kind() != ErrorKind::Busy => return Err(e),
                Ok(None) | Err(_) => n += 1,
            }
        }
        Err(Error::refused(ErrorKind::Busy, "join", machine.path(), format!("{MOST} processes have joined it already")))
    }

    /// `None`: something that outlived who joined runs in it.
    fn take(machine: &Cgroup, name: &Name) -> Result<Option<Joined>> {
        let cgroup = Cgroup::open_or_create(machine, name)?;
        let lock = Lock::take(&cgroup, machine, name)?;
        let free = !cgroup.populated()?;
        Ok(if free { Some(Joined { cgroup, machine: machine.try_clone()?, lock }) } else { None })
    }

    /// The cgroup: what `CLONE_INTO_CGROUP` takes.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Removes it; false where something in it goes on, as a service that was started from a shell: it is left then.
    pub fn remove(self) -> Result<bool> {
        let name = name_of(&self.cgroup);
        let removed = if self.cgroup.wait_empty(PATIENCE)? { remove_named(&self.machine, &name)? } else { false };
        drop(self.lock);
        Ok(removed)
    }

    /// Removes those in this machine that nobody uses any more; how many.
    pub fn collect(machine: &Cgroup) -> Result<usize> {
        let names = dir::children(machine.as_fd()).map_err(|e| Error::call("list the cgroups in", machine.path(), "getdents64", e))?;
        let names = names.iter().filter_map(|name| Name::new(name.to_str().ok()?).ok()).filter(|name| name.as_str().starts_with(PREFIX));
        let mut removed = 0;
        for name in names {
            let Some(cgroup) = Cgroup::open_if_present(machine, &name)? else { continue };
            match Lock::take(&cgroup, machine, &name) {
                Ok(_lock) if !cgroup.populated()? => removed += usize::from(remove_named(machine, &c_string(name.as_str()))?),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Busy || e.is_gone() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(removed)
    }
}

impl AsFd for Joined {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.cgroup.as_fd()
    }
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Joined({})", self.cgroup.path().display())
    }
}

fn remove_named(machine: &Cgroup, name: &CString) -> Result<bool> {
    use crate::errno::Errno;
    match rmdir(machine.as_fd(), name, PATIENCE) {
        Ok(()) => Ok(true),
        Err(Errno::EBUSY) => Ok(false),
        Err(e) => Err(Error::call("remove a cgroup in", machine.path(), "unlinkat", e)),
    }
}

fn name_of(cgroup: &Cgroup) -> CString {
    c_string(cgroup.path().file_name().and_then(|name| name.to_str()).unwrap_or_default())
}

fn c_string(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}
