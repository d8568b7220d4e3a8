//! Conditions as unions of masked equalities, the one comparison of libseccomp by which all can be said.
//!
//! libseccomp compares an argument once a rule, knows no "otherwise" per call, and of overlapping rules with different answers it picks by
//! its own order. So each call's cases become disjoint cubes: of every argument some bits are fixed, the others free.

use crate::condition::{Condition, Op};
use crate::policy::Verdict;

/// Fixed bits and their values, per argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cube([Bits; 6]);

/// `arg & mask == value`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    pub(super) mask: u64,
    pub(super) value: u64,
}

/// Conditions multiply: three `!=` of 64 bits on different arguments are a quarter of a million cubes.
pub(super) const MOST: usize = 256;

/// The cubes of each answer, disjoint, together every argument there is; `None` when they are too many.
pub(super) fn partition(verdict: &Verdict<'_>) -> Option<Vec<(Cube, u32)>> {
    let mut remaining = vec![Cube::default()];
    let mut answered = Vec::new();
    for case in &verdict.cases {
        let region = case.conditions().iter().try_fold(vec![Cube::default()], |region, condition| few(meet(&region, &cubes(condition))))?;
        answered.extend(meet(&remaining, &region).into_iter().map(|cube| (cube, case.action().to_raw())));
        let without = |old: Vec<Cube>, cube: &Cube| few(old.iter().flat_map(|old| old.without(cube)).collect());
        remaining = region.iter().try_fold(remaining, without)?;
    }
    answered.extend(remaining.into_iter().map(|cube| (cube, verdict.otherwise.to_raw())));
    (answered.len() <= MOST).then_some(answered)
}

fn few(cubes: Vec<Cube>) -> Option<Vec<Cube>> {
    (cubes.len() <= MOST).then_some(cubes)
}

fn meet(a: &[Cube], b: &[Cube]) -> Vec<Cube> {
    a.iter().flat_map(|a| b.iter().filter_map(|b| a.and(b))).collect()
}

/// The disjoint cubes in which a condition holds: it is decided by the highest bit in which the argument differs from the value.
fn cubes(condition: &Condition) -> Vec<Cube> {
    let bits = Bits { mask: condition.arg.mask, value: condition.value };
    let differs = |wanted: Option<u64>| {
        let places = (0..64).map(|place| 1_u64 << place).filter(move |bit| bits.mask & bit != 0);
        let places = places.filter(move |bit| wanted.is_none_or(|wanted| u64::from(bits.value & bit != 0) == wanted));
        places.map(move |bit| Bits { mask: bits.mask & !(bit - 1), value: (bits.value ^ bit) & !(bit - 1) })
    };
    let (below, above) = (differs(Some(1)), differs(Some(0)));
    let found: Vec<Bits> = match condition.op {
        Op::Is => vec![bits],
        Op::IsNot => differs(None).collect(),
        Op::Below => below.collect(),
        Op::AtMost => below.chain([bits]).collect(),
        Op::Above => above.collect(),
        Op::AtLeast => above.chain([bits]).collect(),
    };
    found.into_iter().map(|bits| Cube::of(condition.arg.index, bits)).collect()
}

impl Cube {
    fn of(index: u8, bits: Bits) -> Cube {
        let mut cube = Cube::default();
        if let Some(arg) = cube.0.get_mut(usize::from(index)) {
            *arg = bits;
        }
        cube
    }

    /// The arguments with fixed bits.
    pub(super) fn fixed(&self) -> impl Iterator<Item = (u32, Bits)> {
        (0..).zip(self.0).filter(|(_, bits)| bits.mask != 0)
    }

    fn and(&self, other: &Cube) -> Option<Cube> {
        let mut both = *self;
        for (a, b) in both.0.iter_mut().zip(other.0) {
            if (a.value ^ b.value) & a.mask & b.mask != 0 {
                return None;
            }
            *a = Bits { mask: a.mask | b.mask, value: a.value | b.value };
        }
        Some(both)
    }

    /// What is left when `other` is taken away: a cube a bit that only `other` fixes.
    fn without(&self, other: &Cube) -> Vec<Cube> {
        if self.and(other).is_none() {
            return vec![*self];
        }
        let mut inside = *self;
        let mut left = Vec::new();
        for (index, wanted) in other.fixed() {
            for bit in (0..64).rev().map(|place| 1_u64 << place) {
                let Some(arg) = inside.0.get_mut(index as usize) else { continue };
                if wanted.mask & !arg.mask & bit == 0 {
                    continue;
                }
                *arg = Bits { mask: arg.mask | bit, value: arg.value | (!wanted.value & bit) };
                left.push(inside);
                if let Some(arg) = inside.0.get_mut(index as usize) {
                    arg.value ^= bit;
                }
            }
        }
        left
    }
}
