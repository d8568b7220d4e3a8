//! Groups of system calls: `@basic-io`, `@mount`.

mod table;

/// The members of a group, those of groups in it included; nothing for a name that no group has.
///
/// Some members exist on no architecture known here, which does no harm: a rule about them covers nothing.
pub fn members(group: &str) -> Vec<&'static str> {
    let rows = table::GROUPS.iter().filter(|row| row.0 == group).flat_map(|row| row.1);
    rows.flat_map(|name| if name.starts_with('@') { members(name) } else { vec![*name] }).collect()
}

/// Every group's name.
pub fn all() -> impl Iterator<Item = &'static str> {
    table::GROUPS.iter().map(|row| row.0)
}

/// Whether a group, or one in it, lists the call.
pub(crate) fn contains(group: &str, call: &str) -> bool {
    let rows = table::GROUPS.iter().filter(|row| row.0 == group).flat_map(|row| row.1);
    rows.into_iter().any(|name| *name == call || (name.starts_with('@') && contains(name, call)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_nest() {
        assert!(members("@default").contains(&"landlock_add_rule"));
        assert!(contains("@default", "seccomp") && contains("@sandbox", "seccomp"));
        assert!(!contains("@sandbox", "read"));
        assert!(members("@nonsense").is_empty());
    }

    #[test]
    fn no_group_lists_a_call_twice_nor_a_group_that_is_not_there() {
        for group in all() {
            let mut members = members(group);
            let count = members.len();
            members.sort_unstable();
            members.dedup();
            assert_eq!(members.len(), count, "{group}");
        }
        let nested = table::GROUPS.iter().flat_map(|row| row.1).filter(|name| name.starts_with('@'));
        assert!(nested.into_iter().all(|name| !super::members(name).is_empty()));
    }
}
