//! A policy as a table to read.

use super::{Policy, Rule};
use crate::Action;
use std::fmt;

const WIDTH: usize = 100;

/// A line an answer, its groups and calls in the order of the rules; a line a rule where there are conditions.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arches: Vec<&str> = self.arches.iter().map(|arch| arch.name()).collect();
        writeln!(f, "policy \"{}\" for {}", self.name, arches.join(", "))?;
        for action in self.actions() {
            self.write_names(f, action)?;
        }
        for rule in self.rules.iter().filter(|rule| !is_plain(rule)) {
            writeln!(f, "  {rule}")?;
        }
        writeln!(f, "  {} other calls", self.default)?;
        writeln!(f, "  {} other numbers and architectures", self.unknown)
    }
}

impl Policy {
    /// Every answer of a plain rule once, the mildest first.
    fn actions(&self) -> Vec<Action> {
        let mut actions: Vec<Action> = self.rules.iter().filter(|rule| is_plain(rule)).map(Rule::action).collect();
        actions.sort_by_key(|action| (std::cmp::Reverse(action.rank()), action.to_raw()));
        actions.dedup();
        actions
    }

    fn write_names(&self, f: &mut fmt::Formatter<'_>, action: Action) -> fmt::Result {
        let head = format!("  {action} ");
        let mut column = head.len();
        write!(f, "{}", head.trim_end())?;
        for rule in self.rules.iter().filter(|rule| is_plain(rule) && rule.action() == action) {
            if column + rule.name().len() > WIDTH {
                write!(f, "\n     ")?;
                column = 6;
            }
            write!(f, " {}", rule.name())?;
            column += rule.name().len() + 1;
        }
        writeln!(f)
    }
}

fn is_plain(rule: &Rule) -> bool {
    rule.conditions().is_empty() && rule.arch().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, Arg};
    use ns_core::Errno;

    #[test]
    fn reads_as_a_table() {
        let policy = Policy::new("box", Action::Errno(Errno::EPERM))
            .for_arches(&[Arch::X86, Arch::X86_64])
            .allow(&["@basic-io", "exit_group", "ioctl"])
            .unwrap()
            .answer(Action::KillProcess, &["ptrace"])
            .unwrap()
            .rule(Rule::new("ioctl", Action::Errno(Errno::ENOTTY)).when(Arg::low(1).is(0x5412)))
            .unwrap()
            .rule(Rule::new("socketcall", Action::Errno(Errno::ENOSYS)).on(Arch::X86))
            .unwrap();
        let table = "policy \"box\" for x86_64, x86\n  allow @basic-io exit_group ioctl\n  kill process ptrace\n  \
                     ENOTTY ioctl where arg1 == 0x5412\n  ENOSYS socketcall on x86\n  EPERM other calls\n  \
                     ENOSYS other numbers and architectures\n";
        assert_eq!(policy.to_string(), table);
    }
}
