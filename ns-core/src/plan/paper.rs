//! Running a plan on paper: marks only grow, so one run tells exactly whether it can hang.

use super::{Compiled, List, Op};
use crate::error::{Error, Side};
use crate::namespace::{Locked, Namespaces};
use crate::step::{Mark, Slot, Wire};

/// A list keeps what it has heard in one word.
const MAX_MARKS: usize = 64;

/// Refuses what would hang, or use a descriptor that isn't there.
pub(super) fn check(plan: &Compiled) -> Result<(), Error> {
    check_slots(plan, &plan.outside, &plan.outside.given)?;
    check_slots(plan, &plan.inside, &plan.inside.given)?;
    let needed = plan.cgroup.into_iter().chain(plan.joins_pid);
    if let Some(slot) = needed.into_iter().find(|slot| !plan.given.contains(slot)) {
        return Err(Error::refused(format!("plan: needs \"{slot}\", which nothing gives")));
    }
    if plan.marks.len() > MAX_MARKS {
        return Err(Error::refused(format!("plan: {} marks: at most {MAX_MARKS} can be told apart", plan.marks.len())));
    }
    check_marks(plan)?;
    let says_locked = plan.inside.ops.iter().any(|op| matches!(op, Op::Say(mark) if *mark == Locked::MARK));
    if plan.unshare.contains(Namespaces::MOUNT) && plan.builder && !says_locked {
        return Err(Error::refused("plan: the inside list never copies the builder's mounts: add the step Locked"));
    }
    Ok(())
}

/// "outside 3/4, bind of /usr"
pub(crate) fn place(list: &List, position: usize) -> String {
    let (number, of) = list.number(position);
    let what = list.ops.get(position).map(ToString::to_string).unwrap_or_default();
    format!("{} {number}/{of}, {what}", list.side)
}

fn check_slots(plan: &Compiled, list: &List, given: &[Slot]) -> Result<(), Error> {
    let mut there: Vec<Slot> = given.to_vec();
    if plan.ids.is_none() {
        there.retain(|slot| *slot != Slot::USER_NS);
    }
    for (position, op) in list.ops.iter().enumerate() {
        if let Op::Pause(_, supplies) = op {
            there.extend(supplies);
        }
        for wire in op.wires() {
            match wire {
                Wire::Uses(slot) if !there.contains(&slot) => return Err(missing(list, position, slot)),
                Wire::Fills(slot) => there.push(slot),
                _ => {}
            }
        }
        if matches!(op, Op::Exec) {
            if let Some(slot) = plan.exec.slots().into_iter().find(|slot| !there.contains(slot)) {
                return Err(missing(list, position, slot));
            }
        }
    }
    Ok(())
}

fn missing(list: &List, position: usize, slot: Slot) -> Error {
    Error::refused(format!("{}: needs \"{slot}\", which nothing before it makes and nothing gives", place(list, position)))
}

struct Run<'a> {
    list: &'a List,
    at: usize,
    said: Vec<Mark>,
}

impl Run<'_> {
    /// Goes on as far as the other list's marks allow.
    fn advance(&mut self, plan: &Compiled, heard: &[Mark]) -> bool {
        let start = self.at;
        while let Some(op) = self.list.ops.get(self.at) {
            match op {
                Op::Wait(mark) if !heard.contains(mark) && !self.is_implied(plan, *mark) => break,
                Op::Say(mark) => self.said.push(*mark),
                _ => {}
            }
            self.at += 1;
        }
        self.at > start
    }

    /// Ids without a builder are the caller's work.
    fn is_implied(&self, plan: &Compiled, mark: Mark) -> bool {
        plan.is_moot(mark) || (mark == Mark::IDS && !plan.builder)
    }

    fn waits_for(&self) -> Option<Mark> {
        match self.list.ops.get(self.at) {
            Some(Op::Wait(mark)) => Some(*mark),
            _ => None,
        }
    }
}

fn check_marks(plan: &Compiled) -> Result<(), Error> {
    let mut outside = Run { list: &plan.outside, at: 0, said: Vec::new() };
    let mut inside = Run { list: &plan.inside, at: 0, said: Vec::new() };
    while outside.advance(plan, &inside.said) | inside.advance(plan, &outside.said) {}
    for (stuck, other) in [(&outside, &inside), (&inside, &outside)] {
        if let Some(mark) = stuck.waits_for() {
            if !other.list.ops.iter().any(|op| matches!(op, Op::Say(said) if *said == mark)) {
                return Err(nobody(stuck, other.list.side, mark));
            }
        }
    }
    match (outside.waits_for(), inside.waits_for()) {
        (Some(a), Some(b)) => {
            let (outside, inside) = (stuck_place(&outside), stuck_place(&inside));
            Err(Error::refused(format!("each list waits for the other: {outside}: \"{a}\"; {inside}: \"{b}\"")))
        }
        _ => Ok(()),
    }
}

/// The place is the step that wants the mark: "outside 2/4, before bind of /usr"
fn stuck_place(stuck: &Run<'_>) -> String {
    let wants = (stuck.at..stuck.list.ops.len()).find(|n| stuck.list.ops[*n].is_numbered()).unwrap_or(stuck.at);
    let (number, of) = stuck.list.number(wants);
    format!("{} {number}/{of}, before {}", stuck.list.side, stuck.list.ops[wants])
}

/// Nothing there says it.
fn nobody(stuck: &Run<'_>, other: Side, mark: Mark) -> Error {
    Error::refused(format!("{}: nothing {other} reaches \"{mark}\"", stuck_place(stuck)))
}
