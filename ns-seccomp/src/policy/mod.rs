//! A policy as a value: what is allowed, refused and on which conditions, by name.

mod display;
mod rule;

pub use rule::Rule;

use crate::error::{Error, Kind};
use crate::{Action, Arch, Call, group, syscall};
use ns_core::Errno;
use std::collections::HashMap;

/// Which calls are made and which are not. Pure data: build it, print it, compare it, [`compile`](Policy::compile) it.
///
/// A call is answered by the strictest of the rules that cover it and whose conditions hold (of equally strict ones by the later), so a
/// refusal can't be undone by adding an allowance. Calls that no rule covers get the default, numbers that no call has the answer for
/// unknown ones: `ENOSYS`, by which a C library newer than this table finds out that it must do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    name: String,
    arches: Vec<Arch>,
    default: Action,
    unknown: Action,
    rules: Vec<Rule>,
}

impl Policy {
    /// A policy without rules: known calls get `default`; unknown numbers, x32 and architectures that it isn't for get `ENOSYS`. It is for
    /// all architectures that the kernel of this one accepts.
    pub fn new(name: &str, default: Action) -> Policy {
        let arches = Arch::native().accepted().to_vec();
        Policy { name: name.to_owned(), arches, default, unknown: Action::Errno(Errno::ENOSYS), rules: Vec::new() }
    }

    /// The architectures whose calls it judges, instead of those of this kernel.
    #[must_use]
    pub fn for_arches(mut self, arches: &[Arch]) -> Policy {
        self.arches = arches.to_vec();
        self.arches.sort_unstable();
        self.arches.dedup();
        self
    }

    /// The answer to unknown numbers, x32 and other architectures, instead of `ENOSYS`.
    #[must_use]
    pub fn unknown(self, unknown: Action) -> Policy {
        Policy { unknown, ..self }
    }

    /// Allows calls and `@groups` by name.
    pub fn allow(self, names: &[&str]) -> Result<Policy, Error> {
        self.answer(Action::Allow, names)
    }

    /// Answers calls and `@groups` with `action`, whatever their arguments.
    pub fn answer(self, action: Action, names: &[&str]) -> Result<Policy, Error> {
        names.iter().try_fold(self, |policy, name| policy.rule(Rule::new(name, action)))
    }

    /// Adds a rule. Refused: a name that neither a call of any architecture nor a group has, and conditions that can't be meant.
    pub fn rule(mut self, rule: Rule) -> Result<Policy, Error> {
        rule.check().map_err(|(kind, cause)| Error::new(kind, format_args!("policy \"{}\": rule \"{rule}\"", self.name), cause))?;
        self.rules.push(rule);
        Ok(self)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The architectures that it is for, in order.
    pub fn arches(&self) -> &[Arch] {
        &self.arches
    }

    /// The answer to known calls that no rule covers.
    pub fn default_action(&self) -> Action {
        self.default
    }

    /// The answer to unknown numbers, x32 and other architectures.
    pub fn unknown_action(&self) -> Action {
        self.unknown
    }

    /// The answer to a call, read off the rules one by one: slow, and what compiled programs are tested against.
    pub fn evaluate(&self, call: &Call) -> Action {
        let arch = self.arches.iter().find(|arch| arch.audit() == call.audit);
        let Some((arch, name)) = arch.and_then(|arch| Some((*arch, syscall::name(*arch, call.number)?))) else {
            return self.unknown;
        };
        let covering = self.rules.iter().filter(|rule| rule.covers(arch, name) && rule.holds(&call.args));
        covering.rev().min_by_key(|rule| rule.action().rank()).map_or(self.default, Rule::action)
    }

    /// The calls of an architecture that are allowed whatever their arguments, or with some.
    pub fn allowed(&self, arch: Arch) -> impl Iterator<Item = &'static str> {
        let allows =
            |verdict: &Verdict<'_>| verdict.otherwise == Action::Allow || verdict.cases.iter().any(|case| case.action() == Action::Allow);
        self.verdicts(arch).into_iter().filter(move |row| allows(&row.2)).map(|row| row.1)
    }

    /// Every call of an architecture by number, with what the rules say of it.
    pub(crate) fn verdicts(&self, arch: Arch) -> Vec<(u32, &'static str, Verdict<'_>)> {
        let mut covering: HashMap<&str, Vec<&Rule>> = HashMap::new();
        for rule in self.rules.iter().rev().filter(|rule| rule.arch().is_none_or(|only| only == arch)) {
            rule.names().into_iter().for_each(|name| covering.entry(name).or_default().push(rule));
        }
        syscall::all(arch).map(|(number, name)| (number, name, self.verdict(covering.remove(name).unwrap_or_default()))).collect()
    }

    /// What the rules that cover one call, the last first, come to.
    fn verdict<'p>(&self, mut cases: Vec<&'p Rule>) -> Verdict<'p> {
        cases.sort_by_key(|rule| rule.action().rank());
        let flat = cases.iter().position(|rule| rule.conditions().is_empty());
        let otherwise = flat.and_then(|at| cases.get(at)).map_or(self.default, |rule| rule.action());
        cases.truncate(flat.unwrap_or(cases.len()));
        while cases.last().is_some_and(|rule| rule.action() == otherwise) {
            cases.pop();
        }
        Verdict { cases, otherwise }
    }
}

/// What a policy says of one call: the first case whose conditions hold, else `otherwise`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict<'p> {
    pub(crate) cases: Vec<&'p Rule>,
    pub(crate) otherwise: Action,
}

/// Whether a call or group of this name is known.
fn is_known(name: &str) -> bool {
    if name.starts_with('@') {
        return group::all().any(|group| group == name);
    }
    Arch::ALL.into_iter().any(|arch| syscall::number(arch, name).is_some()) || group::all().any(|group| group::contains(group, name))
}

impl Rule {
    fn check(&self) -> Result<(), (Kind, &'static str)> {
        if !is_known(self.name()) {
            return Err((Kind::UnknownName, "no system call and no @group has this name"));
        }
        self.conditions().iter().find_map(|condition| condition.fault()).map_or(Ok(()), |fault| Err((Kind::BadCondition, fault)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arg;

    const EPERM: Action = Action::Errno(Errno::EPERM);
    const ENOSYS: Action = Action::Errno(Errno::ENOSYS);

    fn ask(policy: &Policy, arch: Arch, name: &str, args: [u64; 6]) -> Action {
        policy.evaluate(&Call::new(arch, syscall::number(arch, name).unwrap(), args))
    }

    #[test]
    fn a_refusal_wins_over_an_allowance_in_any_order() {
        let one = Policy::new("t", EPERM).allow(&["@basic-io"]).unwrap().answer(ENOSYS, &["read"]).unwrap();
        let two = Policy::new("t", EPERM).answer(ENOSYS, &["read"]).unwrap().allow(&["@basic-io"]).unwrap();
        for policy in [one, two] {
            assert_eq!(ask(&policy, Arch::native(), "read", [0; 6]), ENOSYS);
            assert_eq!(ask(&policy, Arch::native(), "write", [0; 6]), Action::Allow);
            assert_eq!(ask(&policy, Arch::native(), "openat", [0; 6]), EPERM);
        }
    }

    #[test]
    fn of_equally_strict_rules_the_later_answers() {
        let policy = Policy::new("t", Action::Allow).answer(EPERM, &["read"]).unwrap().answer(ENOSYS, &["read"]).unwrap();
        assert_eq!(ask(&policy, Arch::native(), "read", [0; 6]), ENOSYS);
    }

    #[test]
    fn what_has_no_name_is_unknown() {
        let policy = Policy::new("t", Action::Allow).for_arches(&[Arch::X86_64]);
        for number in [335 + 1, 600, 0x4000_0000, u32::MAX] {
            assert_eq!(policy.evaluate(&Call::new(Arch::X86_64, number, [0; 6])), ENOSYS, "{number}");
        }
        assert_eq!(policy.evaluate(&Call::new(Arch::X86, 1, [0; 6])), ENOSYS);
    }

    #[test]
    fn conditions_decide_by_argument_and_architecture() {
        let rule = Rule::new("socket", EPERM).when(Arg::low(0).is(16)).when(Arg::low(2).is(9)).on(Arch::X86_64);
        let policy = Policy::new("t", Action::Allow).for_arches(&Arch::ALL).rule(rule).unwrap();
        assert_eq!(ask(&policy, Arch::X86_64, "socket", [16, 3, 9, 0, 0, 0]), EPERM);
        assert_eq!(ask(&policy, Arch::X86_64, "socket", [16 | 1 << 40, 3, 9, 0, 0, 0]), EPERM);
        assert_eq!(ask(&policy, Arch::X86_64, "socket", [16, 3, 0, 0, 0, 0]), Action::Allow);
        assert_eq!(ask(&policy, Arch::X86, "socket", [16, 3, 9, 0, 0, 0]), Action::Allow);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_sentence() {
        let policy = || Policy::new("p", Action::Allow);
        let typo = policy().allow(&["raed"]).unwrap_err();
        assert_eq!(typo.kind(), Kind::UnknownName);
        assert_eq!(typo.to_string(), "policy \"p\": rule \"allow raed\": no system call and no @group has this name");
        assert_eq!(policy().allow(&["@bsaic-io"]).unwrap_err().kind(), Kind::UnknownName);
        let wide = policy().rule(Rule::new("ioctl", EPERM).when(Arg::low(1).is(1 << 40))).unwrap_err();
        assert_eq!(wide.kind(), Kind::BadCondition);
        assert_eq!(policy().rule(Rule::new("ioctl", EPERM).when(Arg::whole(6).is(1))).unwrap_err().kind(), Kind::BadCondition);
        // Calls of architectures that have no table here may stand in shared lists.
        policy().allow(&["s390_pci_mmio_read"]).unwrap();
    }

    #[test]
    fn values_cross_threads() {
        fn check<T: Clone + Send + Sync + 'static>() {}
        check::<Policy>();
        check::<crate::Program>();
        check::<crate::Install>();
    }
}
