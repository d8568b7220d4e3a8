//! From a policy to a program.
//!
//! ```text
//!   A = architecture;  which one?  ── none of the policy's ─► unknown
//!   A = number
//!   binary search over the ranges of numbers with the same answer
//!        ├─► return it
//!        └─► a call with conditions: its cases, strictest first, each a chain of comparisons of 32-bit halves
//! ```
//!
//! The kernel runs a program for every number when it is installed (to answer constant allowances from a bitmap later), so a search is
//! not only shorter but several times faster to install than one comparison a call.

#[cfg(feature = "libseccomp")]
mod cube;
mod emitter;
#[cfg(feature = "libseccomp")]
mod libseccomp;
mod ranges;

use crate::condition::{Condition, Op};
use crate::error::{Error, Kind};
use crate::policy::{Policy, Verdict};
use crate::program::{AND, Instruction, JEQ, JGE, JGT, LD_ABS, Program};
use crate::{Arch, call};
use emitter::{Emitter, Target};
use ranges::Range;

impl Policy {
    /// The program for all of the policy's architectures. Takes a fraction of a millisecond and no C library.
    ///
    /// Refused: what grows over 4096 instructions.
    pub fn compile(&self) -> Result<Program, Error> {
        let mut code = Emitter::default();
        let judge = |code: &mut Emitter, arch| search(code, &ranges::of(self, arch));
        let start = dispatch(self, &mut code, judge);
        finish(self, code, start)
    }
}

/// Asks for the architecture; `judge` emits what each does with the number in A.
fn dispatch(policy: &Policy, code: &mut Emitter, mut judge: impl FnMut(&mut Emitter, Arch) -> Target) -> Target {
    let unknown = Target::Return(policy.unknown_action().to_raw());
    let judges: Vec<(u32, Target)> = (policy.arches().iter().rev())
        .map(|arch| {
            let body = judge(code, *arch);
            (arch.audit(), code.before(Instruction::plain(LD_ABS, call::NUMBER), body))
        })
        .collect();
    judges.into_iter().fold(unknown, |next, (audit, body)| code.jump(JEQ, audit, body, next))
}

fn finish(policy: &Policy, mut code: Emitter, start: Target) -> Result<Program, Error> {
    code.before(Instruction::plain(LD_ABS, call::ARCH), start);
    let instructions = code.finish();
    Program::from_instructions(policy.name(), &instructions).map_err(|error| match error.kind() {
        Kind::TooLong => error,
        kind => Error::new(kind, format_args!("compile policy \"{}\"", policy.name()), error),
    })
}

/// The number is in A: finds its range.
fn search(code: &mut Emitter, ranges: &[Range<'_>]) -> Target {
    let (low, high) = ranges.split_at(ranges.len() / 2);
    match (low, high) {
        ([], [one]) => answer(code, &one.verdict),
        (_, [first, ..]) => {
            let above = search(code, high);
            let below = search(code, low);
            code.jump(JGE, first.first, above, below)
        }
        (_, []) => unreachable!("the ranges of an architecture cover every number"),
    }
}

fn answer(code: &mut Emitter, verdict: &Verdict<'_>) -> Target {
    let otherwise = Target::Return(verdict.otherwise.to_raw());
    verdict.cases.iter().rev().fold(otherwise, |next, case| {
        let yes = Target::Return(case.action().to_raw());
        case.conditions().iter().rev().fold(yes, |yes, condition| test(code, condition, yes, next))
    })
}

/// One condition on an argument's two halves.
fn test(code: &mut Emitter, condition: &Condition, yes: Target, no: Target) -> Target {
    match condition.op {
        Op::Is => halves(code, condition, None, JEQ, yes, no),
        Op::IsNot => halves(code, condition, None, JEQ, no, yes),
        Op::Above => halves(code, condition, Some(yes), JGT, yes, no),
        Op::AtLeast => halves(code, condition, Some(yes), JGE, yes, no),
        Op::AtMost => halves(code, condition, Some(no), JGT, no, yes),
        Op::Below => halves(code, condition, Some(no), JGE, no, yes),
    }
}

/// `greater`: where to go when the high half alone decides that the argument is the greater one; without it, it only has to be equal.
fn halves(code: &mut Emitter, condition: &Condition, greater: Option<Target>, low: u16, yes: Target, no: Target) -> Target {
    let (mask, value) = (condition.arg.mask, condition.value);
    let offset = call::arg(condition.arg.index);
    let compared = code.jump(low, value as u32, yes, no);
    let low = load(code, offset, mask as u32, compared);
    let (mask, value) = ((mask >> 32) as u32, (value >> 32) as u32);
    if mask == 0 {
        return low;
    }
    let equal = code.jump(JEQ, value, low, no);
    let compared = greater.map_or(equal, |greater| code.jump(JGT, value, greater, equal));
    load(code, offset + 4, mask, compared)
}

fn load(code: &mut Emitter, offset: u32, mask: u32, then: Target) -> Target {
    let then = if mask == u32::MAX { then } else { code.before(Instruction::plain(crate::program::ALU | AND, mask), then) };
    code.before(Instruction::plain(LD_ABS, offset), then)
}
