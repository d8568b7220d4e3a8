//! The payload: runs the inside list in its new namespaces, then becomes the program.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use super::start::{Start, borrow};
use super::station::{Context, Station, Trouble};
use crate::error::Side;
use crate::exec::{Exec, arrange, close_all_but};
use crate::link::{Kind, Link, Message};
use crate::namespace::Namespaces;
use crate::plan::Compiled;
use crate::raw::{self, CloneArgs};
use crate::step::{Child, Mark, Slot};
use linux_raw_sys::general::CLONE_CLEAR_SIGHAND;
use std::os::fd::{AsRawFd, RawFd};

/// The namespaces that it is born in; the network's and the cgroup's it makes itself while the builder works. With a builder it is born
/// into that one's mount namespace.
pub(super) fn clone_args<'a>(plan: &Compiled, cgroup: Option<RawFd>) -> CloneArgs<'a> {
    let later = Namespaces::NET | Namespaces::CGROUP | if plan.builder { Namespaces::MOUNT } else { Namespaces::empty() };
    let born = plan.unshare - later;
    CloneArgs { flags: CLONE_CLEAR_SIGHAND | u64::from(born.bits()), cgroup: cgroup.map(borrow), parent_tid: None }
}

/// The payload's whole life before its program. Never returns; says on its link why it leaves.
pub(super) fn run(start: &mut Start<'_>) -> ! {
    let link = Link::on(start.payload_link);
    let left = match close_all_but(&start.keep_payload) {
        Ok(()) => live(start, link),
        Err(fault) => (link, Trouble::Fault(fault)),
    };
    let (link, trouble) = left;
    let position = start.positions.get(Side::Inside) as u32;
    let _ = match trouble {
        Trouble::Fault(fault) => link.send(&Message::fault(position, &fault)),
        Trouble::PeerGone => link.send(&Message::new(Kind::Left, 0)),
        Trouble::CallerGone => Ok(()),
    };
    raw::exit_group(1)
}

fn live(start: &mut Start<'_>, link: Link) -> (Link, Trouble) {
    let mut table = std::mem::take(&mut start.inside);
    // SAFETY: a child; the table's descriptors are its own.
    let child = unsafe { Child::new(table.as_mut_slice(), Some(link)) };
    let peer = start.plan.builder.then_some(Link::on(start.payload_peer));
    let mut station = Station::new(Side::Inside, child, link, peer, start.plan.number(Mark::BUILT));
    let context = Context::of(start);
    let list = &start.plan.inside;
    for (position, op) in list.ops.iter().enumerate() {
        start.positions.set(Side::Inside, position);
        if let Err(trouble) = station.run(&context, list, op) {
            std::mem::forget(table);
            return (link, trouble);
        }
        if start.proc_until == Some(position) {
            // Whoever closes the last descriptor of a mount that is nowhere waits for every processor: not the payload, on its last way.
            station.child.close(Slot::PROC);
        }
    }
    let end = become_program(start, &mut station);
    std::mem::forget(table);
    end
}

/// The last word before exec is "ready": end-of-file alone does not tell an exec from a death.
fn become_program(start: &Start<'_>, station: &mut Station<'_>) -> (Link, Trouble) {
    let exec = &start.plan.exec;
    let before = station.link;
    if let Err(trouble) = station.wait_go() {
        return (before, trouble);
    }
    let stub = if exec.needs_stub() { start.stub } else { -1 };
    let file = exec.file_slot().and_then(|slot| station.child.fd(slot).ok()).map_or(-1, |fd| fd.as_raw_fd());
    match arrange(Some(&station.child), &start.exec_rows, [before.raw(), stub, file]) {
        Ok([link, stub, file]) => (Link::on(link), execute(exec, Link::on(link), stub, file)),
        Err((fault, [link, ..])) => (Link::on(link), Trouble::Fault(fault)),
    }
}

/// With nothing open any more but what the program gets: a path that leads through a descriptor finds none.
fn execute(exec: &Exec, link: Link, stub: RawFd, file: RawFd) -> Trouble {
    if let Err(fault) = exec.enter_directory() {
        return Trouble::Fault(fault);
    }
    if let Err(fault) = link.send(&Message::new(Kind::Ready, 0)) {
        return Trouble::of_caller(fault);
    }
    if let Err(fault) = exec.reset_signals() {
        return Trouble::Fault(fault);
    }
    Trouble::Fault(match exec {
        exec if exec.is_as_pid2() => exec.execute_stub(stub),
        exec if exec.is_by_joiner() => exec.execute_joiner(stub),
        exec => exec.execute(file),
    })
}
