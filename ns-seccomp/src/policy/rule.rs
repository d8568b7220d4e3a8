//! One rule of a policy.

use crate::condition::Condition;
use crate::{Action, Arch, group};
use std::fmt;

/// What is answered to a call, or to every call of a group, when all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    name: String,
    action: Action,
    conditions: Vec<Condition>,
    arch: Option<Arch>,
}

impl Rule {
    /// For this call or `@group`, on every architecture, whatever the arguments.
    pub fn new(name: &str, action: Action) -> Rule {
        Rule { name: name.to_owned(), action, conditions: Vec::new(), arch: None }
    }

    /// Only when this holds too.
    #[must_use]
    pub fn when(mut self, condition: Condition) -> Rule {
        self.conditions.push(condition);
        self
    }

    /// Only on this architecture.
    #[must_use]
    pub fn on(self, arch: Arch) -> Rule {
        Rule { arch: Some(arch), ..self }
    }

    /// The call's or group's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The answer.
    pub fn action(&self) -> Action {
        self.action
    }

    /// All of which must hold.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The only architecture that it is for.
    pub fn arch(&self) -> Option<Arch> {
        self.arch
    }

    pub(crate) fn covers(&self, arch: Arch, call: &str) -> bool {
        self.arch.is_none_or(|only| only == arch)
            && (self.name == call || (self.name.starts_with('@') && group::contains(&self.name, call)))
    }

    /// The calls that it covers, on every architecture.
    pub(crate) fn names(&self) -> Vec<&str> {
        if self.name.starts_with('@') { group::members(&self.name) } else { vec![&self.name] }
    }

    pub(crate) fn holds(&self, args: &[u64; 6]) -> bool {
        self.conditions.iter().all(|condition| condition.holds(args))
    }
}

/// `EAFNOSUPPORT socket where arg0 == 16 and arg2 == 9`
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action, self.name)?;
        if let Some(arch) = self.arch {
            write!(f, " on {arch}")?;
        }
        for (at, condition) in self.conditions.iter().enumerate() {
            write!(f, " {} {condition}", if at == 0 { "where" } else { "and" })?;
        }
        Ok(())
    }
}
