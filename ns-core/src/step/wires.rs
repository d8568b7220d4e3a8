//! What a step comes after, uses and fills, told to a visitor in the parent.
#![allow(clippy::disallowed_types, reason = "runs in the parent, when a plan is sealed")]

use super::{Mark, Slot};

/// One wire of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    After(Mark),
    Reaches(Mark),
    Uses(Slot),
    Fills(Slot),
}

/// What a step comes after, uses and fills: a plan checks it, and inserts the waits.
#[derive(Debug, Default)]
pub struct Wires {
    wires: Vec<Wire>,
}

impl Wires {
    /// The step runs after the other list has reached `mark`.
    pub fn after(&mut self, mark: Mark) -> &mut Self {
        self.add(Wire::After(mark))
    }

    /// When the step is done, the other list is told so.
    pub fn reaches(&mut self, mark: Mark) -> &mut Self {
        self.add(Wire::Reaches(mark))
    }

    /// The step asks its child for `slot`, to use or to send it.
    pub fn uses(&mut self, slot: Slot) -> &mut Self {
        self.add(Wire::Uses(slot))
    }

    /// The step keeps a descriptor in `slot` for later ones.
    pub fn fills(&mut self, slot: Slot) -> &mut Self {
        self.add(Wire::Fills(slot))
    }

    fn add(&mut self, wire: Wire) -> &mut Self {
        self.wires.push(wire);
        self
    }
}

#[cfg(feature = "spawn")]
impl Wires {
    pub(crate) fn of(step: &dyn super::Step) -> Wires {
        let mut wires = Wires::default();
        step.wires(&mut wires);
        wires
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Wire> + '_ {
        self.wires.iter().copied()
    }
}
