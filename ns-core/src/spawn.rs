//! Starting a plan: the builder, the payload, and the caller's hold on both.

mod blame;
mod builder;
mod fds;
mod held;
mod ids;
mod parts;
mod payload;
mod position;
mod running;
mod start;
mod station;

pub use fds::Fds;
pub(crate) use fds::high;
pub use held::{Event, Held};
pub use running::Running;

use crate::error::{Error, Side};
use crate::link::Link;
use crate::pidfd::PidFd;
use crate::plan::{Compiled, Op, Sealed};
use crate::raw::{self, CloneArgs, Errno, SigSet};
use linux_raw_sys::general::{CLONE_CLEAR_SIGHAND, CLONE_NEWPID};
use parts::Parts;
use position::Positions;
use start::{Descriptors, Start, open_proc, prepare};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

impl Sealed {
    /// Starts it, held before the payload's exec: returns once the payload is there, and at the first pause where the plan has one.
    pub fn hold(&self, fds: Fds<'_>) -> Result<Held, Error> {
        Held::new(launch(self, fds, Gate::Shut)?).at_pause()
    }

    /// Starts it, and returns once the payload's program runs.
    pub fn start(&self, fds: Fds<'_>) -> Result<Running, Error> {
        self.start_within(fds, None)
    }

    /// What does not run when the limit has passed is ended, and reaped.
    pub(crate) fn start_within(&self, fds: Fds<'_>, limit: Option<Duration>) -> Result<Running, Error> {
        let pauses = |side| self.0.list(side).ops.iter().any(|op| matches!(op, Op::Pause(..)));
        if pauses(Side::Outside) || pauses(Side::Inside) {
            return Err(Error::refused("start: the plan has a pause: Sealed::hold"));
        }
        let mut parts = launch(self, fds, Gate::Open)?;
        limit.into_iter().for_each(|limit| parts.limit(limit));
        Held::new(parts).until_running()
    }
}

/// Whether the payload waits for the caller before its exec.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    Shut,
}

fn launch(sealed: &Sealed, fds: Fds<'_>, gate: Gate) -> Result<Parts, Error> {
    let plan = &*sealed.0;
    let given = fds.numbered(&plan.given)?;
    let own = Descriptors::open()?;
    let positions = Positions::new()?;
    let stub = if plan.kept || plan.exec.needs_stub() { plan.stub.fd()?.as_raw_fd() } else { -1 };
    let mut start = prepare(plan, &given, &own, &positions, stub);
    if gate == Gate::Open {
        // Before the clone: no round trip.
        let go = crate::link::Message::new(crate::link::Kind::Go, 0);
        Link::on(own.payload.0.as_raw_fd()).send(&go).map_err(|fault| Error::call("let the payload go: send", fault.errno))?;
    }
    let (first, unblocked) = with_signals_blocked(|| clone_first(&mut start))?;
    // SAFETY: clone3 has just made it.
    let first = unsafe { PidFd::from_raw(first) };
    drop(start);
    let Descriptors { builder, payload, events, .. } = own;
    let parts = Parts::new(sealed.clone(), [builder.0, payload.0], events, first, positions);
    // Dropping the parts ends and reaps the child.
    unblocked?;
    if !plan.builder && plan.ids.is_some() {
        return map_without_builder(parts, plan);
    }
    Ok(parts)
}

fn map_without_builder(parts: Parts, plan: &Compiled) -> Result<Parts, Error> {
    let maps = plan.ids.as_ref().map(|ids| ids.texts()).unwrap_or_default();
    let proc = open_proc()?;
    let Some(payload) = parts.payload() else { return Ok(parts) };
    let deny = plan.ids.as_ref().is_some_and(|ids| ids.denies_setgroups());
    let written = ids::write_maps(proc.as_fd(), payload.as_fd(), &maps.0, &maps.1, deny);
    // Dropping the parts ends and reaps the child.
    written.map_err(|fault| Error::call(format!("write the id maps: {}", fault.call), fault.errno))?;
    parts.say_ids()?;
    Ok(parts)
}

/// No handler of the caller's may run in a child.
fn with_signals_blocked<T>(work: impl FnOnce() -> Result<T, Errno>) -> Result<(T, Result<(), Error>), Error> {
    let old = raw::sigprocmask(SigSet::FULL).map_err(|e| Error::call("block signals: rt_sigprocmask", e))?;
    let answer = work();
    let restored = raw::sigprocmask(old);
    let answer = answer.map_err(|e| Error::call("start a child: clone3", e))?;
    Ok((answer, restored.map(drop).map_err(|e| Error::call("unblock signals: rt_sigprocmask", e))))
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
