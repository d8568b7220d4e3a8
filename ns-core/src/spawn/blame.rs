//! Who failed, and in which words: the caller still owns the plan.

use super::parts::Parts;
use crate::error::{Error, Place, Side};
use crate::link::Message;
use crate::plan::Op;
use crate::raw::{Errno, WaitId};
use crate::step::Fault;

/// As much of a step as an error's one line has room for: a table has its row named after it.
const ROOM: usize = 120;

fn shortened(what: String) -> String {
    match what.char_indices().nth(ROOM) {
        Some((end, _)) => format!("{}...", &what[..end]),
        None => what,
    }
}

impl Parts {
    fn place(&self, side: Side, position: usize, row: u32) -> Place {
        let list = self.sealed.0.list(side);
        let (number, of) = list.number(position);
        let op = list.ops.get(position);
        let what = match op {
            Some(Op::Exec) => self.sealed.0.exec.to_string(),
            Some(op) => shortened(op.to_string()),
            None => String::new(),
        };
        let row = (row != Fault::NO_ROW).then_some(row).and_then(|row| match op {
            Some(Op::Step(step, _)) => step.row(row).map(ToString::to_string),
            Some(Op::Exec) if self.sealed.0.exec.alternatives() > 1 => self.sealed.0.exec.alternative(row),
            _ => None,
        });
        Place { side, number, of, what, row }
    }

    /// A step failed: ends everything, and says which.
    pub(super) fn fail(&mut self, side: Side, message: &Message) -> Error {
        self.end();
        let call = String::from_utf8_lossy(&message.call);
        let call = call.trim_end_matches('\0').to_owned();
        Error::step(self.place(side, message.number as usize, message.row), call, Errno::new(message.code), message.text.to_string())
    }

    /// Both have gone without naming a fault: finds the one that went first.
    pub(super) fn explain(&mut self) -> Error {
        let told = self.left[0].filter(|end| end.code != 0).or(self.exit);
        let inside_end = told.or_else(|| self.reap(Side::Inside));
        let outside_end = self.reap(Side::Outside);
        let builder_told = self.left[0].is_some() || self.exit.is_some();
        let killed = |end: Option<WaitId>| end.filter(|end| end.code != 1);
        let side = match (killed(outside_end), killed(inside_end)) {
            // A kept payload ends with its builder, which tells of it if it was the other way round.
            _ if self.is_kept() => {
                if builder_told {
                    Side::Inside
                } else {
                    Side::Outside
                }
            }
            (Some(_), Some(_)) if builder_told => Side::Inside,
            (Some(_), _) => Side::Outside,
            (None, None) if self.left[1].is_some() => Side::Outside,
            (None, _) => Side::Inside,
        };
        self.blame(side, if side == Side::Outside { outside_end } else { inside_end })
    }

    fn blame(&mut self, side: Side, end: Option<WaitId>) -> Error {
        self.end();
        let how = match end {
            Some(WaitId { code: 1, status }) => format!("left with status {status} and no word"),
            Some(WaitId { status, .. }) => format!("killed by signal {status}"),
            None => "ended without a word".to_owned(),
        };
        Error::died(self.place(side, self.positions.get(side), Fault::NO_ROW), how)
    }

    /// One has gone before its work was done, and the other doesn't notice: it is stuck in a step.
    pub(super) fn blame_first(&mut self, side: Side) -> Error {
        let end = self.reap(side);
        self.blame(side, end)
    }
}
