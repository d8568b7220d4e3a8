//! A plan as text: what a dry run prints is what runs.

use super::{Compiled, List, Op, Sealed};
use crate::error::Side;
use crate::namespace::Namespaces;
use std::fmt;

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Step(step, _) => write!(f, "{step}"),
            Op::MapIds(what) => f.write_str(what),
            Op::Wait(mark) => write!(f, "wait until \"{mark}\""),
            Op::Say(mark) => write!(f, "say \"{mark}\""),
            Op::Pause(what, supplies) => {
                write!(f, "pause: the caller does \"{what}\"")?;
                supplies.iter().try_for_each(|slot| write!(f, ", supplies {slot}"))
            }
            Op::Exec => f.write_str("exec"),
        }
    }
}

fn show(f: &mut fmt::Formatter<'_>, plan: &Compiled, list: &List) -> fmt::Result {
    let mut number = 0;
    for op in &list.ops {
        if op.is_numbered() {
            number += 1;
            write!(f, "  {number:>2}  ")?;
        } else {
            write!(f, "        ")?;
        }
        match op {
            Op::Exec => writeln!(f, "{}", plan.exec)?,
            op => writeln!(f, "{op}")?,
        }
    }
    Ok(())
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &*self.0;
        if plan.builder {
            f.write_str("outside, with the caller's rights")?;
            if plan.unshare.contains(Namespaces::MOUNT) {
                f.write_str(", in a mount namespace of its own")?;
            }
            if plan.kept {
                f.write_str(", and a process namespace; stays to end the payload with the caller")?;
            }
            writeln!(f, ":")?;
            show(f, plan, plan.list(Side::Outside))?;
        }
        match plan.unshare {
            kinds if kinds.is_empty() => f.write_str("inside, in the caller's namespaces")?,
            kinds => write!(f, "inside new namespaces ({kinds})")?,
        }
        if let Some(slot) = plan.joins_pid {
            write!(f, ", born into the pid namespace of {slot}")?;
        }
        if let Some(cgroup) = plan.cgroup {
            write!(f, ", born in {cgroup}")?;
        }
        writeln!(f, ":")?;
        show(f, plan, plan.list(Side::Inside))?;
        if !plan.given.is_empty() {
            f.write_str("descriptors from the caller: ")?;
            plan.given.iter().enumerate().try_for_each(|(n, slot)| write!(f, "{}{slot}", if n > 0 { ", " } else { "" }))?;
            writeln!(f)?;
        }
        if !plan.holds.is_empty() {
            f.write_str("held until the payload is gone: ")?;
            plan.holds.iter().enumerate().try_for_each(|(n, slot)| write!(f, "{}{slot}", if n > 0 { ", " } else { "" }))?;
            writeln!(f)?;
        }
        Ok(())
    }
}
