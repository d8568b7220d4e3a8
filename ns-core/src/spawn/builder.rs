//! The builder: runs the outside list with the caller's rights, then stays as the keeper, or leaves.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use super::payload;
use super::start::{Start, borrow};
use super::station::{Context, Station, Trouble, ended_within};
use crate::error::Side;
use crate::exec::{MAX_ROWS, Row, arrange, close_all_but};
use crate::link::{Kind, Link, Message};
use crate::raw::{self, Errno, WaitId};
use crate::step::{Call, Child, ChildFd, Fault, Mark, Slot};
use linux_raw_sys::general::{AT_EMPTY_PATH, CLONE_NEWPID, CLONE_PARENT, SIGCHLD, SIGKILL};
use rustix::io::retry_on_intr;
use rustix::process::{DumpableBehavior, Signal, set_parent_process_death_signal};
use std::os::fd::RawFd;

/// The builder's whole life. Never returns; says on its link why it leaves.
pub(super) fn run(start: &mut Start<'_>) -> ! {
    let link = Link::on(start.builder_link);
    if let Err(fault) = begin(start) {
        let _ = link.send(&Message::fault(0, &fault));
        raw::exit_group(1);
    }
    let payload = match birth(start) {
        Ok(payload) => payload,
        Err(fault) => {
            let _ = link.send(&Message::fault(0, &fault));
            raw::exit_group(1)
        }
    };
    match build(start, link, payload) {
        Ok(()) if start.plan.kept => {
            let (fault, link, payload) = keep(start, link, payload);
            leave(start, link, payload, Trouble::Fault(fault))
        }
        Ok(()) => raw::exit_group(0),
        Err(trouble) => leave(start, link, payload, trouble),
    }
}

fn begin(start: &Start<'_>) -> Result<(), Fault> {
    // First: until then, one that is stopped stays when its caller is killed.
    wake_with_caller(start)?;
    // Ignored by the caller, it would have the kernel reap the payload, and its status be lost.
    raw::reset_signal(SIGCHLD as usize).call("rt_sigaction")?;
    close_all_but(&start.keep_builder)
}

/// One that is stopped when its caller ends goes on then, and sees it. The signal does nothing else, so that it may come too when but the
/// thread ends that cloned.
fn wake_with_caller(start: &Start<'_>) -> Result<(), Fault> {
    if !start.plan.kept {
        return Ok(());
    }
    retry_on_intr(|| set_parent_process_death_signal(Some(Signal::CONT))).call("prctl PR_SET_PDEATHSIG")
}

/// Clones the payload. Its own sibling of the caller where nobody keeps it, so that the caller may wait for it.
fn birth(start: &mut Start<'_>) -> Result<RawFd, Fault> {
    if let Some(fd) = start.joins_pid {
        // Of that namespace only: the outside list keeps the caller's rights. What is born there is a copy of the caller, which those who
        // are there already must not look into.
        raw::setns(borrow(fd), CLONE_NEWPID).call("setns")?;
        retry_on_intr(|| rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)).call("prctl PR_SET_DUMPABLE")?;
    }
    let mut args = payload::clone_args(start.plan, start.cgroup);
    if !start.plan.kept {
        args.flags |= u64::from(CLONE_PARENT);
    }
    args.parent_tid = Some(start.positions.payload());
    // SAFETY: the child runs the payload, which keeps to the child's rules and never returns.
    match unsafe { raw::clone3(args) }.call("clone3")? {
        Some(pidfd) => Ok(pidfd),
        None => payload::run(start),
    }
}

fn build(start: &mut Start<'_>, link: Link, payload: RawFd) -> Result<(), Trouble> {
    // Exclusive ends: with a copy here nobody would see the payload's end.
    raw::close(start.payload_link);
    raw::close(start.payload_peer);
    link.send_with(&Message::new(Kind::Pid, 0), borrow(payload)).map_err(Trouble::of_caller)?;
    let mut table = std::mem::take(&mut start.outside);
    // SAFETY: a child; the table's descriptors are its own.
    let child = unsafe { Child::new(table.as_mut_slice(), Some(link)) };
    let mut station = Station::new(Side::Outside, child, link, Some(Link::on(start.builder_peer)), start.plan.number(Mark::BUILT));
    let _ = station.child.keep(Slot::PAYLOAD, ChildFd::from_raw(payload));
    let context = Context::of(start);
    let list = &start.plan.outside;
    let mut end = Ok(());
    for (position, op) in list.ops.iter().enumerate() {
        start.positions.set(Side::Outside, position);
        end = station.run(&context, list, op);
        if end.is_err() {
            break;
        }
    }
    // Freeing is not for a child.
    std::mem::forget(table);
    end
}

/// Becomes the stub: the caller's pidfd at 3, the payload's at 4, the link at 5, then what is held. Only returns on failure, with where the
/// link and the payload's are then.
fn keep(start: &Start<'_>, link: Link, payload: RawFd) -> (Fault, Link, RawFd) {
    // Again: a step that changed ids for a while has cleared it.
    if let Err(fault) = wake_with_caller(start) {
        return (fault, link, payload);
    }
    let mut rows = [Row::moved(-1, -1); MAX_ROWS];
    let own = [Row::moved(payload, 4), Row::moved(link.raw(), 5)];
    let mut count = 0;
    for (to, row) in rows.iter_mut().zip(start.keeper_rows.iter().chain(&own)) {
        *to = *row;
        count += 1;
    }
    let [stub, link, payload] = match arrange(None, rows.get(..count).unwrap_or_default(), [start.stub, link.raw(), payload]) {
        Ok(moved) => moved,
        Err((fault, [_, link, payload])) => return (fault, Link::on(link), payload),
    };
    let argv = [c"(ns-keeper)".as_ptr(), std::ptr::null()];
    let envp = [std::ptr::null()];
    // SAFETY: both arrays are null-terminated and on this stack.
    let fault = Fault::new("execveat of keeper", unsafe { raw::execveat(stub, c"", argv.as_ptr(), envp.as_ptr(), AT_EMPTY_PATH) });
    (fault, Link::on(link), payload)
}

/// Says why, takes the payload along, and ends.
fn leave(start: &Start<'_>, link: Link, payload: RawFd, trouble: Trouble) -> ! {
    let position = start.positions.get(Side::Outside) as u32;
    let gone = match trouble {
        // Its namespaces are gone a little before its pidfd tells.
        Trouble::Fault(fault) if fault.errno == Errno::ESRCH => ended_within(payload, 1000),
        Trouble::Fault(_) => ended_within(payload, 5),
        _ => ended_within(payload, 0),
    };
    let message = match trouble {
        // The payload's end makes calls on it fail: it is to blame, not the step.
        Trouble::Fault(fault) if !gone => Some(Message::fault(position, &fault)),
        Trouble::CallerGone => None,
        _ => Some(ended(start, payload)),
    };
    let sent = message.map(|message| link.send(&message));
    if start.plan.kept && !gone {
        let _ = raw::pidfd_send_signal(borrow(payload), SIGKILL as i32);
        let _ = raw::waitid(borrow(payload), true);
    }
    raw::exit_group(if matches!(sent, Some(Ok(()))) { 1 } else { 2 })
}

/// How the payload ended, where it is the builder's own child; otherwise the caller can ask.
fn ended(start: &Start<'_>, payload: RawFd) -> Message {
    let end = if start.plan.kept { raw::waitid(borrow(payload), true).ok().flatten() } else { None };
    let WaitId { code, status } = end.unwrap_or(WaitId { code: 0, status: 0 });
    Message::ended(Kind::Left, code, status)
}
