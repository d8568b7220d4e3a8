//! What a start prepares for its children: they allocate nothing.

use super::fds::{Numbered, high};
use super::position::Positions;
use crate::error::{Error, failed};
use crate::exec::Row;
use crate::pidfd::PidFd;
use crate::plan::{Compiled, List};
use crate::step::Slot;
use rustix::event::epoll;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::retry_on_intr;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Everything that the children read, prepared by the parent: they allocate nothing.
pub(super) struct Start<'a> {
    pub plan: &'a Compiled,
    pub outside: Vec<(Slot, RawFd)>,
    pub inside: Vec<(Slot, RawFd)>,
    pub builder_link: RawFd,
    pub payload_link: RawFd,
    pub builder_peer: RawFd,
    pub payload_peer: RawFd,
    pub keep_builder: Vec<RawFd>,
    pub keep_payload: Vec<RawFd>,
    pub exec_rows: Vec<Row>,
    pub keeper_rows: Vec<Row>,
    pub stub: RawFd,
    pub cgroup: Option<RawFd>,
    pub joins_pid: Option<RawFd>,
    pub maps: (Vec<u8>, Vec<u8>),
    /// Where the inside list has no more use for [`Slot::PROC`].
    pub proc_until: Option<usize>,
    pub positions: &'a Positions,
}

fn pair() -> Result<(OwnedFd, OwnedFd), Error> {
    let (a, b) = retry_on_intr(|| socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None))
        .map_err(failed("link to a child: socketpair"))?;
    Ok((high(a)?, high(b)?))
}

/// The descriptors of a start; dropped by the parent once the children have theirs.
pub(super) struct Descriptors {
    pub builder: (OwnedFd, OwnedFd),
    pub payload: (OwnedFd, OwnedFd),
    peers: (OwnedFd, OwnedFd),
    proc: OwnedFd,
    null: OwnedFd,
    caller: OwnedFd,
    /// Readable when one of the caller's ends is.
    pub events: OwnedFd,
}

impl Descriptors {
    pub fn open() -> Result<Descriptors, Error> {
        let proc = open_proc()?;
        let null = retry_on_intr(|| open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty()))
            .map_err(failed("open /dev/null"))?;
        let caller = high(PidFd::of_self()?.into())?;
        let (builder, payload) = (pair()?, pair()?);
        // Before the clone, as all that can fail: afterwards there is somebody to end.
        let events = retry_on_intr(|| epoll::create(epoll::CreateFlags::CLOEXEC)).map_err(failed("watch the children: epoll_create1"))?;
        for link in [&builder.0, &payload.0] {
            let added = retry_on_intr(|| epoll::add(&events, link, epoll::EventData::new_u64(0), epoll::EventFlags::IN));
            added.map_err(failed("watch the children: epoll_ctl"))?;
        }
        Ok(Descriptors { builder, payload, peers: pair()?, proc: high(proc)?, null: high(null)?, caller, events })
    }
}

/// A proc of our own, mounted nowhere: what the caller's `/proc` is covered with decides nothing then. Without the right to mount one, the
/// caller's, which must be procfs.
pub(super) fn open_proc() -> Result<OwnedFd, Error> {
    own_proc().or_else(|_| {
        let proc = retry_on_intr(|| open(c"/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()))
            .map_err(failed("open /proc"))?;
        match retry_on_intr(|| rustix::fs::fstatfs(&proc)) {
            Ok(found) if found.f_type as u64 == PROC_SUPER_MAGIC => Ok(proc),
            Ok(_) => Err(Error::refused("start: /proc is no procfs: mount one")),
            Err(e) => Err(failed("statfs /proc")(e)),
        }
    })
}

const PROC_SUPER_MAGIC: u64 = 0x9fa0;

fn own_proc() -> rustix::io::Result<OwnedFd> {
    let context = retry_on_intr(|| fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC))?;
    retry_on_intr(|| fsconfig_create(context.as_fd()))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    retry_on_intr(|| fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes))
}

pub(super) fn prepare<'a>(plan: &'a Compiled, given: &Numbered<'_>, own: &Descriptors, positions: &'a Positions, stub: RawFd) -> Start<'a> {
    let proc = own.proc.as_raw_fd();
    let table = |list: &List| -> Vec<(Slot, RawFd)> {
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
    let joins_pid = plan.joins_pid.map(|slot| given.number(slot));
    let ends = [own.builder.1.as_raw_fd(), own.peers.0.as_raw_fd(), own.caller.as_raw_fd()];
    let outside_fds = outside.iter().map(|row| row.1).chain(held.clone()).chain(cgroup).chain(joins_pid);
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
        proc_until: plan.inside.last_use(Slot::PROC).filter(|_| !plan.exec.slots().contains(&Slot::PROC)),
        positions,
    }
}

fn sorted(fds: impl Iterator<Item = RawFd>) -> Vec<RawFd> {
    let mut all: Vec<RawFd> = fds.collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// A descriptor for one call, by number.
pub(super) fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: a child's descriptors stay open until it execs; the parent's callers name such ones.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
