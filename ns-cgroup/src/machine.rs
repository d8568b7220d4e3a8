//! A machine's cgroups.

use crate::cgroup::Cgroup;
use crate::controllers::Controllers;
use crate::dir;
use crate::enable::Enabled;
use crate::errno::{Errno, errno};
use crate::error::{Error, ErrorKind, Result};
use crate::hierarchy::Hierarchy;
use crate::join::Joined;
use crate::name::Name;
use crate::remove::rmdir;
use rustix::fs::{AtFlags, CWD, FlockOperation, Gid, Mode, OFlags, Uid, chownat, fchown, flock, fstat, openat, statat};
use rustix::io::retry_on_intr;
use std::ffi::CString;
use std::fmt;
use std::os::fd::AsFd;
use std::time::Duration;

/// The cgroup of one machine, `nskit/NAME`:
///
/// ```text
/// nskit/            made with the first machine, removed with the last
///   NAME/           limits and device program; stays over reboots, no processes of its own
///     payload/      the container's, its root's to write; made afresh at each boot
///     join-0/ …     processes that join it: the same limits and devices, the guest not disturbed
/// ```
///
/// While it is open no other can be created of the same name: the directory is locked, `flock(2)`. Dropping it unlocks the directory and
/// leaves the cgroup; [`Machine::remove`] removes it. When the process is killed instead, the lock goes with the last copy of the
/// descriptor, as children have one until they exec or close it.
pub struct Machine {
    place: Cgroup,
    cgroup: Cgroup,
    name: Name,
    enabled: Enabled,
    _lock: Lock,
}

/// The directory of all machines.
const PLACE: &str = "nskit";
const PAYLOAD: &str = "payload";
/// Others remove `nskit` while we make a cgroup in it: each of them does so once.
const TRIES: u32 = 100;

impl Machine {
    /// Makes `nskit/NAME` below the root of the hierarchy or, where the caller may not, below the cgroup that is delegated to it
    /// ([`Hierarchy::delegated`]), and passes on to it the controllers that an operating system uses, as far as they can be had:
    /// [`Machine::enabled`] tells.
    ///
    /// What is left of a machine of the same name is removed if it is empty. Busy, naming it, where processes are in it or another
    /// process holds the machine open.
    pub fn create(hierarchy: &Hierarchy, name: &Name) -> Result<Machine> {
        Machine::create_at(hierarchy, |parent| Machine::create_below(parent, name))
    }

    /// The same, for a caller to whom a machine that nobody holds open is what a crash left: processes in it are killed, and waited for at
    /// most so long.
    pub fn create_emptied(hierarchy: &Hierarchy, name: &Name, limit: Duration) -> Result<Machine> {
        Machine::create_at(hierarchy, |parent| with_place(parent, |(place, above)| Machine::create_in(place, above, name, Some(limit))))
    }

    fn create_at(hierarchy: &Hierarchy, create: impl Fn(&Cgroup) -> Result<Machine>) -> Result<Machine> {
        match create(hierarchy.root()) {
            Err(e) if e.is_no_right() => create(&hierarchy.delegated()?),
            made => made,
        }
    }

    /// Makes `nskit/NAME` below a cgroup of the caller's choice.
    pub fn create_below(parent: &Cgroup, name: &Name) -> Result<Machine> {
        with_place(parent, |(place, above)| Machine::create_in(place, above, name, None))
    }

    fn create_in(place: Cgroup, above: Enabled, name: &Name, emptying: Option<Duration>) -> Result<Machine> {
        let above = place.enable(Controllers::USUAL)?.explained_by(above);
        if let Some(old) = Cgroup::open_if_present(&place, name)? {
            let _lock = Lock::take(&old, &place, name)?;
            match emptying {
                Some(limit) => clear(old, limit)?,
                None => refuse_populated(&old).and_then(|()| old.remove())?,
            }
        }
        let cgroup = Cgroup::open_or_create(&place, name)?;
        match Lock::take(&cgroup, &place, name).and_then(|lock| Ok((lock, cgroup.enable(Controllers::USUAL)?))) {
            Ok((lock, enabled)) => Ok(Machine { place, cgroup, name: name.clone(), enabled: enabled.explained_by(above), _lock: lock }),
            Err(e) => {
                // The first error is the one to tell. Another's machine is locked by it; without a further descriptor, of which there may
                // be none left.
                if flock(&cgroup, FlockOperation::NonBlockingLockExclusive).is_ok() {
                    let _ = rmdir(place.as_fd(), &c_string(name.as_str()), Duration::ZERO);
                }
                Err(e)
            }
        }
    }

    /// Opens the cgroup of a running machine, without its lock, to look at it, freeze or kill it. NotFound where there is none.
    pub fn open(hierarchy: &Hierarchy, name: &Name) -> Result<Cgroup> {
        let open = |parent: &Cgroup| Cgroup::open(parent, &word(PLACE)?).and_then(|place| Cgroup::open(&place, name));
        match open(hierarchy.root()) {
            Err(e) if e.is_gone() => open(&hierarchy.delegated()?),
            found => found,
        }
    }

    /// The names of all machines that have a cgroup, running or left behind: the directories in `nskit`.
    pub fn list(hierarchy: &Hierarchy) -> Result<Vec<Name>> {
        let Some(place) = Machine::place(hierarchy)? else { return Ok(Vec::new()) };
        let names = dir::children(place.as_fd()).map_err(|e| Error::call("list the cgroups in", place.path(), "getdents64", e))?;
        Ok(names.iter().filter_map(|name| Name::new(name.to_str().ok()?).ok()).collect())
    }

    /// Removes what is left of a machine that nobody holds open: processes in it are killed, and waited for at most so long. False: nothing
    /// was left. Busy, naming them, where processes don't end, and where somebody holds it.
    pub fn clear(hierarchy: &Hierarchy, name: &Name, limit: Duration) -> Result<bool> {
        let Some(place) = Machine::place(hierarchy)? else { return Ok(false) };
        let Some(old) = Cgroup::open_if_present(&place, name)? else { return Ok(false) };
        let _lock = match Lock::take(&old, &place, name) {
            Err(e) if e.is_gone() => return Ok(false),
            lock => lock?,
        };
        clear(old, limit)?;
        leave(place)?;
        Ok(true)
    }

    fn place(hierarchy: &Hierarchy) -> Result<Option<Cgroup>> {
        let name = word(PLACE)?;
        match Cgroup::open_if_present(hierarchy.root(), &name)? {
            None => Cgroup::open_if_present(&hierarchy.delegated()?, &name),
            found => Ok(found),
        }
    }

    /// The machine's own cgroup: for limits, the device program, statistics, freezing and killing.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// The machine's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Which controllers the payload has, and why not the others.
    pub fn enabled(&self) -> &Enabled {
        &self.enabled
    }

    /// Makes the container's own cgroup, `payload/`, and gives it to the container's root, whose host ids are these: `fchownat(2)` of the
    /// directory and of the files in `/sys/kernel/cgroup/delegate` (Linux 4.15), so that the guest can make cgroups below and divide what
    /// it has, but not raise what the machine has.
    ///
    /// To be called for each boot: what the last one left (cgroups, controllers passed on, which clone3 then refuses with EBUSY) is
    /// removed first, and a frozen machine is thawed. Busy where processes are left in it.
    ///
    /// The cgroup is what `CLONE_INTO_CGROUP` takes.
    pub fn payload(&self, uid: u32, gid: u32) -> Result<Cgroup> {
        let name = word(PAYLOAD)?;
        if let Some(old) = Cgroup::open_if_present(&self.cgroup, &name)? {
            refuse_populated(&old)?;
            old.remove()?;
        }
        self.cgroup.thaw()?;
        let payload = Cgroup::create(&self.cgroup, &name)?;
        give(&payload, uid, gid)?;
        Ok(payload)
    }

    /// The `payload/` that is there.
    pub fn current_payload(&self) -> Result<Cgroup> {
        Cgroup::open(&self.cgroup, &word(PAYLOAD)?)
    }

    /// Makes a cgroup for one more process that joins the machine.
    pub fn join(&self) -> Result<Joined> {
        Joined::create_in(&self.cgroup)
    }

    /// Kills whatever is in the machine and waits until it has ended; false where the time ran out first, because of a process stuck in
    /// the kernel or stopped by a tracer.
    pub fn kill(&self, timeout: Duration) -> Result<bool> {
        self.cgroup.kill()?;
        self.cgroup.wait_empty(timeout)
    }

    /// Removes the machine's cgroups, and `nskit` if this was the last machine. Busy where processes are left.
    pub fn remove(self) -> Result<()> {
        let Machine { place, cgroup, .. } = self;
        cgroup.remove()?;
        leave(place)
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Machine({})", self.cgroup.path().display())
    }
}

/// Kills what is in it, and removes it.
fn clear(old: Cgroup, limit: Duration) -> Result<()> {
    old.kill()?;
    old.wait_empty(limit)?;
    refuse_populated(&old)?;
    old.remove()
}

/// Makes `nskit` and does something in it, again when another process removed it between the two; leaves nothing behind on failure.
fn with_place<T>(parent: &Cgroup, mut work: impl FnMut((Cgroup, Enabled)) -> Result<T>) -> Result<T> {
    let name = word(PLACE)?;
    let mut last = None;
    for _ in 0..TRIES {
        match prepared(parent, &name).and_then(&mut work) {
            Err(e) if e.is_gone() => last = Some(e),
            Err(e) => {
                // The first error is the one to tell; a directory that stays behind empty harms nobody and is used next time.
                let _ = Cgroup::open(parent, &name).and_then(leave);
                return Err(e);
            }
            done => return done,
        }
    }
    last.map_or_else(|| Err(Error::refused(ErrorKind::TimedOut, "create a cgroup in", parent.path(), "it keeps being removed")), Err)
}

fn prepared(parent: &Cgroup, name: &Name) -> Result<(Cgroup, Enabled)> {
    let place = Cgroup::open_or_create(parent, name)?;
    Ok((place, parent.enable(Controllers::USUAL)?))
}

/// Removes `nskit` unless others are in it.
fn leave(place: Cgroup) -> Result<()> {
    let parent = crate::dir::open(&place, c"..").map_err(|e| Error::call("open the cgroup above", place.path(), "openat", e))?;
    match rmdir(parent.as_fd(), &c_string(PLACE), Duration::ZERO) {
        Ok(()) | Err(Errno::EBUSY | Errno::ENOTEMPTY) => Ok(()),
        Err(e) => Err(Error::call("remove cgroup", place.path(), "unlinkat", e)),
    }
}

/// `flock(2)` on a machine's directory.
pub(crate) struct Lock(Cgroup);

impl Lock {
    /// The directory must still be the one that has the name: another process may have removed it meanwhile.
    pub(crate) fn take(cgroup: &Cgroup, place: &Cgroup, name: &Name) -> Result<Lock> {
        let fail = |call, e| Error::call("lock cgroup", cgroup.path(), call, errno(e));
        let lock = cgroup.try_clone()?;
        retry_on_intr(|| flock(&lock, FlockOperation::NonBlockingLockExclusive)).map_err(|e| match errno(e) {
            Errno::EAGAIN => fail("flock", e).of_kind(ErrorKind::Busy).hinted("another process holds the machine of this name"),
            _ => fail("flock", e),
        })?;
        let lock = Lock(lock);
        let held = retry_on_intr(|| fstat(cgroup)).map_err(|e| fail("fstat", e))?;
        let named = retry_on_intr(|| statat(place, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)).map_err(|e| fail("fstatat", e))?;
        // ENOENT lets the caller begin again.
        if held.st_ino == named.st_ino { Ok(lock) } else { Err(fail("fstatat", rustix::io::Errno::NOENT)) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // By hand, since children may still have copies, and with them the lock. It can't fail on a descriptor that has it.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

fn refuse_populated(old: &Cgroup) -> Result<()> {
    if !old.populated()? {
        return Ok(());
    }
    let pids = old.procs_below()?;
    let shown: Vec<String> = pids.iter().take(5).map(u32::to_string).collect();
    let more = if pids.len() > shown.len() { " and more" } else { "" };
    let said = if shown.is_empty() { String::new() } else { format!("processes {}{more}", shown.join(", ")) };
    let hint = "a container is still running in it, or was left behind: wait for it or kill it";
    Err(Error::call("use cgroup", old.path(), "cgroup.events", Errno::EBUSY).saying(said).hinted(hint))
}

/// Linux 4.15 and newer list the files; these are what it listed then.
const DELEGATE_BEFORE: &str = "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n";

fn give(payload: &Cgroup, uid: u32, gid: u32) -> Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let fail = |e| Error::call("give to the container's root", payload.path(), "fchown", errno(e));
    retry_on_intr(|| fchown(payload, uid, gid)).map_err(fail)?;
    for file in delegate().lines().filter(|f| !f.contains('/')) {
        match retry_on_intr(|| chownat(payload, file, uid, gid, AtFlags::SYMLINK_NOFOLLOW)) {
            // The list names the files of controllers that aren't enabled too.
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(fail(e)),
        }
    }
    Ok(())
}

fn delegate() -> String {
    let file = retry_on_intr(|| openat(CWD, c"/sys/kernel/cgroup/delegate", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()));
    let text = file.ok().and_then(|fd| crate::file::text(fd.as_fd(), 64 << 10).ok());
    text.unwrap_or_else(|| DELEGATE_BEFORE.to_owned())
}

fn word(name: &str) -> Result<Name> {
    Name::new(name)
}

fn c_string(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}
