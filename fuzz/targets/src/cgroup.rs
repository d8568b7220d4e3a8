//! Of ns-cgroup: the kernel's files, rules of devices.

use ns_cgroup::{Amount, Controllers, DeviceRule, Events, Name};

use crate::text;

/// `proc_pid_mountinfo(5)`: a line gives one mount or none.
pub fn mountinfo(bytes: &[u8]) {
    let mounts = ns_cgroup::mountinfo::parse(bytes);
    assert!(mounts.len() <= bytes.split(|b| *b == b'\n').count());
}

/// `cgroup.events`, `cgroup.controllers`, `memory.max` and names.
pub fn files(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let _ = Events::parse(text);
    let known = Controllers::parse(text);
    let words: Vec<&str> = known.words().map(|(_, word)| word).collect();
    assert_eq!(Controllers::parse(&words.join(" ")), known);
    if let Ok(amount) = text.parse::<Amount>() {
        assert_eq!(amount.to_string().parse::<Amount>().expect("accepted before"), amount);
    }
    if let Ok(name) = text.parse::<Name>() {
        assert!(name.as_str() == text && !text.contains('/') && !text.chars().any(char::is_control));
    }
}

/// A device rule: what is accepted prints as itself.
pub fn devices(bytes: &[u8]) {
    if let Some(Ok(rule)) = text(bytes).map(str::parse::<DeviceRule>) {
        assert_eq!(rule.to_string().parse::<DeviceRule>().expect("accepted before"), rule);
    }
}
