//! Starting a plan: the builder, the payload, and the caller's hold on both.

mod builder;
mod fds;
mod held;
mod ids;
mod parts;
mod payload;
mod position;
mod running;
mod station;

pub use fds::Fds;
pub use held::{Event, Held};
pub use running::Running;

use crate::error::{Error, Side};
use crate::exec::Row;
use crate::link::Link;
use crate::pidfd::PidFd;
use crate::plan::{Compiled, Op, Sealed};
use crate::raw::{self, CloneArgs, Errno, SigSet};
use crate::step::Slot;
use linux_raw_sys::general::{CLONE_CLEAR_SIGHAND, CLONE_NEWPID};
use parts::Parts;
use position::Positions;
use rustix::fs::{Mode, OFlags, open};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

impl Sealed {
    /// Starts it, held before the payload's exec: returns once the payload is there, and at the first pause where the plan has one.
    pub fn hold(&self, fds: Fds<'_>) -> Result<Held, Error> {
        Held::new(launch(self, fds, Gate::Shut)?).at_pause()
    }

    /// Starts it, and returns once the payload's program runs.
    pub fn start(&self, fds: Fds<'_>) -> Result<Running, Error> {
        let pauses = |side| self.0.list(side).ops.iter().any(|op| matches!(op, Op::Pause(..)));
        if pauses(Side::Outside) || pauses(Side::Inside) {
            return Err(Error::refused("start: the plan has a pause: Sealed::hold"));
        }
        Held::new(launch(self, fds, Gate::Open)?).until_running()
    }
}

/// Whether the payload waits for the caller before its exec.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    Shut,
}

/// Everything that the children read, prepared by the parent: they allocate nothing.
struct Start<'a> {
    plan: &'a Compiled,
    outside: Vec<(Slot, RawFd)>,
    inside: Vec<(Slot, RawFd)>,
    builder_link: RawFd,
    payload_link: RawFd,
    builder_peer: RawFd,
    payload_peer: RawFd,
    keep_builder: Vec<RawFd>,
    keep_payload: Vec<RawFd>,
    exec_rows: Vec<Row>,
    keeper_rows: Vec<Row>,
    stub: RawFd,
    cgroup: Option<RawFd>,
    joins_pid: Option<(RawFd, u32)>,
    maps: (Vec<u8>, Vec<u8>),
    positions: &'a Positions,
}

/// Descriptors that a keeper can hold, besides the six of its own.
pub(crate) const MAX_HELD: usize = crate::exec::MAX_ROWS - 6;

fn failed(what: &str) -> impl FnOnce(rustix::io::Errno) -> Error + '_ {
    move |e| Error::call(what, Errno::new(e.raw_os_error()))
}

/// Numbers below 3 are where programs expect their stdio: a caller may have closed them.
fn high(fd: OwnedFd) -> Result<OwnedFd, Error> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { rustix::io::fcntl_dupfd_cloexec(&fd, 3).map_err(failed("duplicate a descriptor")) }
}

fn pair() -> Result<(OwnedFd, OwnedFd), Error> {
    let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(failed("socketpair"))?;
    Ok((high(a)?, high(b)?))
}

/// The descriptors of a start; dropped by the parent once the children have theirs.
struct Descriptors {
    builder: (OwnedFd, OwnedFd),
    payload: (OwnedFd, OwnedFd),
    peers: (OwnedFd, OwnedFd),
    proc: OwnedFd,
    null: OwnedFd,
    caller: OwnedFd,
}

impl Descriptors {
    fn open() -> Result<Descriptors, Error> {
        let proc = open(c"/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(failed("open /proc"))?;
        check_proc(&proc)?;
        let null = open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty()).map_err(failed("open /dev/null"))?;
        let caller = high(PidFd::of_self()?.into())?;
        Ok(Descriptors { builder: pair()?, payload: pair()?, peers: pair()?, proc: high(proc)?, null: high(null)?, caller })
    }
}

/// What is mounted on the caller's /proc decides whose id maps are written: it must be procfs.
fn check_proc(proc: &OwnedFd) -> Result<(), Error> {
    const PROC_SUPER_MAGIC: u64 = 0x9fa0;
    match rustix::fs::fstatfs(proc) {
        Ok(found) if found.f_type as u64 == PROC_SUPER_MAGIC => Ok(()),
        Ok(_) => Err(Error::refused("start: /proc is no procfs: mount one")),
        Err(e) => Err(failed("statfs /proc")(e)),
    }
}

fn launch(sealed: &Sealed, fds: Fds<'_>, gate: Gate) -> Result<Parts, Error> {
    let plan = &*sealed.0;
    let given = fds.numbered(&plan.given)?;
    let own = Descriptors::open()?;
    let positions = Positions::new()?;
    let stub = if plan.kept || plan.exec.is_as_pid2() { plan.stub.fd()?.as_raw_fd() } else { -1 };
    let mut start = prepare(plan, &given, &own, &positions, stub);
    if gate == Gate::Open {
        // Before the clone: no round trip.
        let go = crate::link::Message::new(crate::link::Kind::Go, 0);
        Link::on(own.payload.0.as_raw_fd()).send(&go).map_err(|fault| Error::call("send", fault.errno))?;
    }
    let first = with_signals_blocked(|| clone_first(&mut start))?;
    // SAFETY: clone3 has just made it.
    let first = unsafe { PidFd::from_raw(first) };
    drop(start);
    let Descriptors { builder, payload, .. } = own;
    let parts = Parts::new(sealed.clone(), builder.0, payload.0, first, positions)?;
    if !plan.builder && plan.ids.is_some() {
        return map_without_builder(parts, plan);
    }
    Ok(parts)
}

fn map_without_builder(parts: Parts, plan: &Compiled) -> Result<Parts, Error> {
    let maps = plan.ids.as_ref().map(|ids| ids.texts()).unwrap_or_default();
    let proc = open(c"/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(failed("open /proc"))?;
    let Some(payload) = parts.payload() else { return Ok(parts) };
    let deny = plan.ids.as_ref().is_some_and(|ids| ids.denies_setgroups());
    let written = ids::write_maps(proc.as_fd(), payload.as_fd(), &maps.0, &maps.1, deny);
    // Dropping the parts ends and reaps the child.
    written.map_err(|fault| Error::call(format!("write the id maps: {}", fault.call), fault.errno))?;
    parts.say_ids()?;
    Ok(parts)
}

fn prepare<'a>(plan: &'a Compiled, given: &fds::Numbered<'_>, own: &Descriptors, positions: &'a Positions, stub: RawFd) -> Start<'a> {
    let proc = own.proc.as_raw_fd();
    let table = |list: &crate::plan::List| -> Vec<(Slot, RawFd)> {
        let number = |slot: &Slot| if *slot == Slot::PROC { proc } else { given.number(*slot) };
        list.slots.iter().map(|slot| (*slot, if list.given.contains(slot) { number(slot) } else { -1 })).collect()
    };
    let (outside, inside) = (table(&plan.outside), table(&plan.inside));
    let null = own.null.as_raw_fd();
    let ends = [own.payload.1.as_raw_fd(), own.peers.1.as_raw_fd(), proc, null, stub];
    let inherited = plan.exec.rows().iter().filter(|row| row.slot_name().is_none()).map(Row::number);
    let keep_payload = sorted(ends.into_iter().chain(inherited).chain(inside.iter().map(|row| row.1)));
    let held = plan.holds.iter().map(|slot| given.number(*slot));
    let cgroup = plan.cgroup.map(|slot| given.number(slot));
    let joins_pid = plan.joins_pid.map(|(slot, kinds)| (given.number(slot), kinds.bits()));
    let ends = [own.builder.1.as_raw_fd(), own.peers.0.as_raw_fd(), own.caller.as_raw_fd()];
    let outside_fds = outside.iter().map(|row| row.1).chain(held.clone()).chain(cgroup).chain(joins_pid.map(|join| join.0));
    let keep_builder = sorted(ends.into_iter().chain(outside_fds).chain(keep_payload.iter().copied()));
    let missing = (0..3).filter(|n| !plan.exec.rows().iter().any(|row| row.number() == *n));
    let exec_rows = plan.exec.rows().iter().copied().chain(missing.map(|n| Row::moved(null, n))).collect();
    let keeper = [(null, 0), (null, 1), (null, 2), (own.caller.as_raw_fd(), 3)].into_iter();
    let keeper_rows = keeper.chain(held.zip(6..)).map(|(from, to)| Row::moved(from, to)).collect();
    Start {
        plan,
        outside,
        inside,
        builder_link: own.builder.1.as_raw_fd(),
        payload_link: own.payload.1.as_raw_fd(),
        builder_peer: own.peers.0.as_raw_fd(),
        payload_peer: own.peers.1.as_raw_fd(),
        keep_builder,
        keep_payload,
        exec_rows,
        keeper_rows,
        stub,
        cgroup,
        joins_pid,
        maps: plan.ids.as_ref().map(|ids| ids.texts()).unwrap_or_default(),
        positions,
    }
}

fn sorted(fds: impl Iterator<Item = RawFd>) -> Vec<RawFd> {
    let mut all: Vec<RawFd> = fds.collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// No handler of the caller's may run in a child.
fn with_signals_blocked<T>(work: impl FnOnce() -> Result<T, Errno>) -> Result<T, Error> {
    let old = raw::sigprocmask(SigSet::FULL).map_err(|e| Error::call("rt_sigprocmask", e))?;
    let answer = work();
    let restored = raw::sigprocmask(old);
    let answer = answer.map_err(|e| Error::call("clone3", e))?;
    restored.map(|_| answer).map_err(|e| Error::call("rt_sigprocmask", e))
}

/// The caller's own clone: the builder, or the payload of a plan without one.
fn clone_first(start: &mut Start<'_>) -> Result<RawFd, Errno> {
    let args = if start.plan.builder {
        let mount = start.plan.unshare & crate::namespace::Namespaces::MOUNT;
        let outer = if start.plan.kept { CLONE_NEWPID } else { 0 };
        CloneArgs { flags: CLONE_CLEAR_SIGHAND | u64::from(mount.bits() | outer), ..CloneArgs::default() }
    } else {
        payload::clone_args(start.plan, start.cgroup)
    };
    // SAFETY: the child runs the builder or the payload, which keep to the child's rules and never return.
    match unsafe { raw::clone3(args) }? {
        Some(pidfd) => Ok(pidfd),
        None if start.plan.builder => builder::run(start),
        None => payload::run(start),
    }
}

/// A descriptor for one call, by number.
fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: a child's descriptors stay open until it execs; the parent's callers name such ones.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
