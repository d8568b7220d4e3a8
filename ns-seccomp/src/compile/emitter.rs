//! Instructions, written from the last to the first: jumps only go forward, so whatever one goes to is there already.

use crate::program::{Instruction, JA, RET_K};
use std::collections::BTreeMap;

/// Where a jump goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To a `return` of this value; one within reach is shared.
    Return(u32),
    /// To the instruction with this position, counted from the end.
    At(usize),
}

/// A program from its end.
#[derive(Debug, Default)]
pub(super) struct Emitter {
    reversed: Vec<Instruction>,
    returns: BTreeMap<u32, usize>,
}

/// A comparison skips at most 255 instructions. Two less: landing one of its targets may put an instruction between, and so may the other.
const REACH: usize = 253;

impl Emitter {
    /// A comparison of A with `k`.
    pub(super) fn jump(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        let yes = self.land(yes);
        let no = self.land(no);
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(Instruction { code, jt, jf, k })
    }

    /// An instruction after which comes `then`, at once.
    pub(super) fn before(&mut self, instruction: Instruction, then: Target) -> Target {
        match then {
            Target::At(position) if self.distance(position) == 0 => {}
            Target::At(position) => drop(self.push(Instruction::plain(JA, self.distance(position) as u32))),
            Target::Return(value) => drop(self.push_return(value)),
        }
        self.push(instruction)
    }

    /// Other code, which falls out nowhere: its own jumps stay inside.
    #[cfg(feature = "libseccomp")]
    pub(super) fn append(&mut self, code: Vec<Instruction>) -> Target {
        self.reversed.extend(code.into_iter().rev());
        Target::At(self.reversed.len() - 1)
    }

    /// The program from its start.
    pub(super) fn finish(self) -> Vec<[u8; 8]> {
        self.reversed.into_iter().rev().map(Instruction::to_bytes).collect()
    }

    /// A position within a comparison's reach.
    fn land(&mut self, target: Target) -> usize {
        match target {
            Target::At(position) if self.distance(position) <= REACH => position,
            Target::At(position) => self.push_at(Instruction::plain(JA, self.distance(position) as u32)),
            Target::Return(value) => match self.returns.get(&value) {
                Some(position) if self.distance(*position) <= REACH => *position,
                _ => self.push_return(value),
            },
        }
    }

    /// How many instructions the next one skips to get there.
    fn distance(&self, position: usize) -> usize {
        self.reversed.len() - position - 1
    }

    fn push_return(&mut self, value: u32) -> usize {
        let position = self.push_at(Instruction::plain(RET_K, value));
        self.returns.insert(value, position);
        position
    }

    fn push_at(&mut self, instruction: Instruction) -> usize {
        self.reversed.push(instruction);
        self.reversed.len() - 1
    }

    fn push(&mut self, instruction: Instruction) -> Target {
        Target::At(self.push_at(instruction))
    }
}
