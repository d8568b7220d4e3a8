//! A container's start as two lists of steps: [`Plan`], checked on paper: [`Sealed`].

mod enter;
mod list;
mod paper;
mod show;

pub(crate) use list::{List, Op};

use crate::error::{Error, Side};
use crate::exec::Exec;
use crate::ids::IdMap;
use crate::namespace::Namespaces;
use crate::step::{Mark, Slot, Step};
use list::Draft;
use std::sync::Arc;

/// Descriptors that a keeper can hold, besides the six of its own.
const MAX_HELD: usize = crate::exec::MAX_ROWS - 6;

/// What is to be started: a value, built in any order, without effects.
///
/// The *outside* list is run by a builder with the caller's rights in a mount namespace of its own; the *inside* list by the payload, in
/// its new namespaces, which has no rights outside them. The two run at the same time and meet at marks. A plan without outside steps has
/// no builder.
#[derive(Debug)]
pub struct Plan {
    exec: Exec,
    given: Vec<Slot>,
    ids: Option<IdMap>,
    unshare: Namespaces,
    joins: Vec<(Slot, Namespaces)>,
    cgroup: Option<Slot>,
    outside: Draft,
    inside: Draft,
    /// How many of the inside steps come before a running container is entered.
    entering: usize,
    kept: bool,
    holds: Vec<Slot>,
}

impl Plan {
    /// A payload that becomes this program; nothing else yet.
    pub fn new(exec: Exec) -> Plan {
        Plan {
            exec,
            given: Vec::new(),
            ids: None,
            unshare: Namespaces::empty(),
            joins: Vec::new(),
            cgroup: None,
            outside: Draft::default(),
            inside: Draft::default(),
            entering: 0,
            kept: false,
            holds: Vec::new(),
        }
    }

    /// A descriptor that the caller hands over at every start, for the lists that use it.
    #[must_use]
    pub fn given(mut self, slot: Slot) -> Plan {
        self.given.push(slot);
        self
    }

    /// A new user namespace with these ids.
    #[must_use]
    pub fn user(mut self, ids: IdMap) -> Plan {
        self.ids = Some(ids);
        self.unshare(Namespaces::USER)
    }

    /// New namespaces of these kinds. With outside steps a mount namespace is the builder's, and the payload copies it by the step
    /// [`crate::Locked`].
    #[must_use]
    pub fn unshare(mut self, kinds: Namespaces) -> Plan {
        self.unshare |= kinds;
        self
    }

    /// The payload joins namespaces of what is in `slot`: an nsfs descriptor (of one kind) or a pidfd. A pid namespace is entered by
    /// birth, which needs a builder; the payload is then no more dumpable, since others are there already (`PR_SET_DUMPABLE`).
    ///
    /// Processes that may be hostile are not joined by this: see [`Plan::enter`].
    #[must_use]
    pub fn join(mut self, slot: Slot, kinds: Namespaces) -> Plan {
        self.joins.push((slot, kinds));
        self
    }

    /// The payload is born in the cgroup in `slot`, `CLONE_INTO_CGROUP`. Linux 5.7.
    #[must_use]
    pub fn into_cgroup(mut self, slot: Slot) -> Plan {
        self.cgroup = Some(slot);
        self
    }

    /// One more outside step.
    #[must_use]
    pub fn outside(mut self, step: impl Step + 'static) -> Plan {
        self.outside.step(Box::new(step));
        self
    }

    /// One more inside step.
    #[must_use]
    pub fn inside(mut self, step: impl Step + 'static) -> Plan {
        self.inside.step(Box::new(step));
        self
    }

    /// The builder stops here until the caller has done something, and supplied these descriptors: [`crate::Held::proceed`].
    #[must_use]
    pub fn outside_pause(mut self, what: &'static str, supplies: &[Slot]) -> Plan {
        self.outside.pause(what, supplies);
        self
    }

    /// The payload stops here until the caller has done something, and supplied these descriptors.
    #[must_use]
    pub fn inside_pause(mut self, what: &'static str, supplies: &[Slot]) -> Plan {
        self.inside.pause(what, supplies);
        self
    }

    /// The builder stays as the keeper, the init of an outer pid namespace: when the caller dies it ends the payload, and when it dies
    /// itself the kernel ends the payload. Nothing that the payload does reaches it.
    #[must_use]
    pub fn kept(mut self) -> Plan {
        self.kept = true;
        self
    }

    /// A given descriptor that the keeper holds until the payload is gone: a lock.
    #[must_use]
    pub fn holding(mut self, slot: Slot) -> Plan {
        self.holds.push(slot);
        self
    }

    /// Checks the plan by running both lists against each other on paper. What would hang or lack a descriptor is refused with a sentence.
    pub fn seal(mut self) -> Result<Sealed, Error> {
        self.exec.seal()?;
        self.check_namespaces()?;
        let builder = !self.outside.is_empty() || self.kept || self.joins.iter().any(|(_, kinds)| kinds.contains(Namespaces::PID));
        let mut sealed = self.compile(builder)?;
        paper::check(&sealed)?;
        let moot: Vec<Mark> = [Mark::IDS, Mark::BUILT].into_iter().filter(|mark| sealed.is_moot(*mark)).collect();
        sealed.outside.drop_waits(&moot);
        sealed.inside.drop_waits(&moot);
        sealed.outside.drop_unheard(&sealed.inside);
        sealed.inside.drop_unheard(&sealed.outside);
        Ok(Sealed(Arc::new(sealed)))
    }

    fn check_namespaces(&self) -> Result<(), Error> {
        let joined = self.joins.iter().fold(Namespaces::empty(), |all, (_, kinds)| all | *kinds);
        if self.unshare.intersects(joined) {
            return Err(Error::refused(format!("plan: the {} namespaces are to be new and joined", self.unshare & joined)));
        }
        if self.joins.iter().filter(|(_, kinds)| kinds.contains(Namespaces::PID)).count() > 1 {
            return Err(Error::refused("plan: only one pid namespace can be joined"));
        }
        if self.ids.as_ref().is_some_and(|ids| !ids.is_complete()) {
            return Err(Error::refused("plan: the id map needs a range of users and one of groups"));
        }
        if self.unshare.contains(Namespaces::USER) && self.ids.is_none() {
            return Err(Error::refused("plan: a new user namespace needs an id map: Plan::user"));
        }
        if self.exec.is_as_pid2() && !self.unshare.contains(Namespaces::PID) {
            // reboot(2) of the stub would be the host's.
            return Err(Error::refused("plan: the stub init is process 1 of a new pid namespace: Plan::unshare"));
        }
        self.check_entering()?;
        if self.holds.len() > MAX_HELD {
            return Err(Error::refused(format!("plan: {} descriptors are to be held: at most {}", self.holds.len(), MAX_HELD)));
        }
        match self.holds.iter().find(|slot| !self.kept || !self.given.contains(slot)) {
            Some(slot) => Err(Error::refused(format!("plan: {slot} is to be held, which only a keeper does, and only what is given"))),
            None => Ok(()),
        }
    }

    fn compile(self, builder: bool) -> Result<Compiled, Error> {
        let Plan { exec, given, ids, unshare, joins, cgroup, outside, inside, kept, holds, .. } = self;
        let outside = List::outside(Side::Outside, outside, ids.as_ref().filter(|_| builder), builder);
        let inside = List::inside(Side::Inside, inside, unshare, &joins, builder, ids.is_some());
        let given_outside = [Slot::PAYLOAD, Slot::USER_NS, Slot::PROC].into_iter().chain(given.iter().copied()).collect();
        let given_inside = [Slot::PROC].into_iter().chain(given.iter().copied()).collect();
        let outside = outside.with_slots(given_outside, &[]);
        let inside = inside.with_slots(given_inside, &exec.slots());
        let joins_pid = joins.iter().find(|(_, kinds)| kinds.contains(Namespaces::PID)).map(|(slot, _)| *slot);
        let marks = marks(&[&outside, &inside]);
        Ok(Compiled {
            exec,
            given,
            ids,
            unshare,
            joins_pid,
            cgroup,
            outside,
            inside,
            builder,
            kept,
            holds,
            marks,
            stub: Default::default(),
        })
    }
}

/// A checked plan: pure data, printed by a dry run, started as often as wanted.
#[derive(Clone, Debug)]
pub struct Sealed(pub(crate) Arc<Compiled>);

impl std::panic::UnwindSafe for Sealed {}
impl std::panic::RefUnwindSafe for Sealed {}

#[derive(Debug)]
pub(crate) struct Compiled {
    pub exec: Exec,
    pub given: Vec<Slot>,
    pub ids: Option<IdMap>,
    pub unshare: Namespaces,
    pub joins_pid: Option<Slot>,
    pub cgroup: Option<Slot>,
    pub outside: List,
    pub inside: List,
    pub builder: bool,
    pub kept: bool,
    pub holds: Vec<Slot>,
    /// Every mark, numbered for the messages.
    pub marks: Vec<Mark>,
    pub stub: crate::stub::Stub,
}

fn marks(lists: &[&List]) -> Vec<Mark> {
    let mut all = vec![Mark::IDS];
    for op in lists.iter().flat_map(|list| &list.ops) {
        if let Op::Wait(mark) | Op::Say(mark) = op {
            if !all.contains(mark) {
                all.push(*mark);
            }
        }
    }
    all
}

impl Compiled {
    pub fn list(&self, side: Side) -> &List {
        match side {
            Side::Outside => &self.outside,
            Side::Inside => &self.inside,
        }
    }

    /// The lists that know this slot.
    pub fn sides_with(&self, slot: Slot) -> Vec<Side> {
        [Side::Outside, Side::Inside].into_iter().filter(|side| self.list(*side).slots.contains(&slot)).collect()
    }

    /// The number of a mark in messages. A mark that the plan doesn't know has one that is never said.
    pub fn number(&self, mark: Mark) -> u32 {
        self.marks.iter().position(|one| *one == mark).unwrap_or(self.marks.len()) as u32
    }

    /// Whether a mark that no list says is there all the same, since the plan has nothing that makes it.
    pub fn is_moot(&self, mark: Mark) -> bool {
        (mark == Mark::IDS && self.ids.is_none()) || (mark == Mark::BUILT && !self.builder)
    }
}
