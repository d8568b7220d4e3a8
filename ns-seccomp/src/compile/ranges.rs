//! The numbers of an architecture, in ranges with the same answer.

use crate::Arch;
use crate::policy::{Policy, Verdict};

/// From `first` to the next range's first.
#[derive(Debug)]
pub(super) struct Range<'p> {
    pub(super) first: u32,
    pub(super) verdict: Verdict<'p>,
}

/// Ranges that cover every number, in order: x32's and unknown ones too.
pub(super) fn of(policy: &Policy, arch: Arch) -> Vec<Range<'_>> {
    let unknown = || Verdict { cases: Vec::new(), otherwise: policy.unknown_action() };
    let mut ranges = vec![Range { first: 0, verdict: unknown() }];
    let mut next = 0;
    for (number, _, verdict) in policy.verdicts(arch) {
        if number > next {
            extend(&mut ranges, next, unknown());
        }
        extend(&mut ranges, number, verdict);
        next = number + 1;
    }
    extend(&mut ranges, next, unknown());
    ranges
}

fn extend<'p>(ranges: &mut Vec<Range<'p>>, first: u32, verdict: Verdict<'p>) {
    match ranges.last_mut() {
        Some(last) if last.verdict == verdict => {}
        Some(last) if last.first == first => last.verdict = verdict,
        _ => ranges.push(Range { first, verdict }),
    }
}
