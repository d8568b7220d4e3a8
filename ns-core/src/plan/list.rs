//! One of a plan's two lists, compiled: waits inserted, slots numbered.

use crate::error::Side;
use crate::ids::IdMap;
use crate::namespace::{Namespaces, Setns, Unshare};
use crate::step::{Mark, Slot, Step, Wire, Wires};
use std::fmt;

/// A list as it is being written.
#[derive(Default)]
pub(crate) struct Draft(Vec<Entry>);

enum Entry {
    Step(Box<dyn Step>),
    Pause(&'static str, Vec<Slot>),
}

impl Draft {
    pub fn step(&mut self, step: Box<dyn Step>) {
        self.0.push(Entry::Step(step));
    }

    /// In front of the one that is `at`.
    pub fn insert(&mut self, at: usize, step: Box<dyn Step>) {
        self.0.insert(at.min(self.0.len()), Entry::Step(step));
    }

    pub fn pause(&mut self, what: &'static str, supplies: &[Slot]) {
        self.0.push(Entry::Pause(what, supplies.to_vec()));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries", self.0.len())
    }
}

/// One thing that a child does.
pub(crate) enum Op {
    Step(Box<dyn Step>, Wires),
    /// The plan's own: writes the payload's id maps.
    MapIds(String),
    Wait(Mark),
    Say(Mark),
    Pause(&'static str, Vec<Slot>),
    /// The inside list's last: what the payload becomes.
    Exec,
}

impl Op {
    /// Counted where a plan is printed and an error names a place.
    pub fn is_numbered(&self) -> bool {
        !matches!(self, Op::Wait(_) | Op::Say(_))
    }

    fn reaches(&self, mark: Mark) -> bool {
        matches!(self, Op::Say(said) if *said == mark)
    }

    /// Marks that this comes after.
    fn after(&self) -> Vec<Mark> {
        self.wires().filter_map(|wire| if let Wire::After(mark) = wire { Some(mark) } else { None }).collect()
    }

    fn names(&self, slot: Slot) -> bool {
        self.wires().any(|wire| wire == Wire::Uses(slot) || wire == Wire::Fills(slot))
    }

    pub fn wires(&self) -> impl Iterator<Item = Wire> + '_ {
        let own: Vec<Wire> = match self {
            Op::Step(_, wires) => wires.iter().collect(),
            Op::MapIds(_) => vec![Wire::Uses(Slot::PAYLOAD), Wire::Uses(Slot::PROC), Wire::Fills(Slot::USER_NS)],
            _ => Vec::new(),
        };
        own.into_iter()
    }
}

pub(crate) struct List {
    pub side: Side,
    pub ops: Vec<Op>,
    /// The child's table: every slot that the list fills, uses or is given; `given` of them are there at the start.
    pub slots: Vec<Slot>,
    pub given: Vec<Slot>,
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} operations", self.side, self.ops.len())
    }
}

impl List {
    fn new(side: Side) -> List {
        List { side, ops: Vec::new(), slots: Vec::new(), given: Vec::new() }
    }

    /// The builder's: ids first, "built" last.
    pub fn outside(side: Side, draft: Draft, ids: Option<&IdMap>, builder: bool) -> List {
        let mut list = List::new(side);
        if let Some(ids) = ids {
            list.ops.push(Op::MapIds(ids.to_string()));
            list.ops.push(Op::Say(Mark::IDS));
        }
        list.extend(draft);
        if builder {
            list.ops.push(Op::Say(Mark::BUILT));
        }
        list
    }

    /// The payload's: namespaces first, exec last, after everything that the builder does.
    pub fn inside(side: Side, draft: Draft, unshare: Namespaces, joins: &[(Slot, Namespaces)], builder: bool, ids: bool) -> List {
        let mut list = List::new(side);
        for (slot, kinds) in joins {
            // The pid namespace is entered by birth.
            if *kinds != Namespaces::PID {
                list.step(Box::new(Setns::new(*slot, *kinds - Namespaces::PID)));
            }
        }
        for (kind, mark) in [(Namespaces::CGROUP, Mark::CGROUP), (Namespaces::NET, Mark::NETWORK)] {
            if unshare.contains(kind) {
                list.step(Box::new(Unshare(kind)));
                list.ops.push(Op::Say(mark));
            }
        }
        if !builder && unshare.contains(Namespaces::MOUNT) {
            // Born with it: nothing is mounted for the payload, so nothing needs to be locked.
            list.ops.push(Op::Say(crate::namespace::Locked::MARK));
        }
        list.extend(draft);
        for (wanted, mark) in [(ids, Mark::IDS), (builder, Mark::BUILT)] {
            if wanted {
                list.wait(mark);
            }
        }
        list.ops.push(Op::Exec);
        list
    }

    fn extend(&mut self, draft: Draft) {
        for entry in draft.0 {
            match entry {
                Entry::Step(step) => self.step(step),
                Entry::Pause(what, supplies) => self.ops.push(Op::Pause(what, supplies)),
            }
        }
    }

    /// A step, the waits that it needs before it, what it announces after it.
    fn step(&mut self, step: Box<dyn Step>) {
        let wires = Wires::of(&*step);
        let op = Op::Step(step, wires);
        for mark in op.after() {
            self.wait(mark);
        }
        let reached: Vec<Mark> = op.wires().filter_map(|wire| if let Wire::Reaches(mark) = wire { Some(mark) } else { None }).collect();
        self.ops.push(op);
        self.ops.extend(reached.into_iter().map(Op::Say));
    }

    /// Waits once, and not for what this list itself has said.
    fn wait(&mut self, mark: Mark) {
        if !self.ops.iter().any(|op| op.reaches(mark) || matches!(op, Op::Wait(waited) if *waited == mark)) {
            self.ops.push(Op::Wait(mark));
        }
    }

    /// Numbers the slots: those given that the list uses, then what it fills and is supplied.
    pub fn with_slots(mut self, given: Vec<Slot>, also: &[Slot]) -> List {
        let mut all: Vec<Slot> = Vec::new();
        let mut add = |slot: Slot| {
            if !all.contains(&slot) {
                all.push(slot);
            }
        };
        for op in &self.ops {
            op.wires().for_each(|wire| match wire {
                Wire::Uses(slot) | Wire::Fills(slot) => add(slot),
                _ => {}
            });
            if let Op::Pause(_, supplies) = op {
                supplies.iter().copied().for_each(&mut add);
            }
        }
        also.iter().copied().for_each(add);
        self.given = given.into_iter().filter(|slot| all.contains(slot)).collect();
        self.slots = all;
        self
    }

    /// Drops waits for what is there from the start.
    pub fn drop_waits(&mut self, marks: &[Mark]) {
        self.ops.retain(|op| !matches!(op, Op::Wait(mark) if marks.contains(mark)));
    }

    /// Drops what nobody waits for; but what the caller may want to know of the payload's namespaces stays.
    pub fn drop_unheard(&mut self, other: &List) {
        let told = [Mark::CGROUP, Mark::NETWORK, crate::namespace::Locked::MARK];
        let heard = |mark: &Mark| other.ops.iter().any(|op| matches!(op, Op::Wait(waited) if waited == mark));
        let inside = self.side == Side::Inside;
        self.ops.retain(|op| match op {
            Op::Say(mark) => heard(mark) || (inside && told.contains(mark)) || (!inside && *mark == Mark::BUILT),
            _ => true,
        });
    }

    /// The last operation that names `slot`.
    pub fn last_use(&self, slot: Slot) -> Option<usize> {
        self.ops.iter().rposition(|op| op.names(slot))
    }

    /// The number of the operation at `position`, and how many there are, as printed.
    pub fn number(&self, position: usize) -> (usize, usize) {
        let count = |ops: &[Op]| ops.iter().filter(|op| op.is_numbered()).count();
        (count(&self.ops[..(position + 1).min(self.ops.len())]), count(&self.ops))
    }
}
