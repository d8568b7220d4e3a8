//! Credentials put on by real children, seen from outside.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests run in the parent")]

use super::*;
use crate::raw::Errno;
use crate::step::Step;
use crate::steps::trial::{Failure, Seen, Trial};
use linux_raw_sys::general::CLONE_NEWUSER;

const NET: CapSet = CapSet::of(&[Capability::NetBindService, Capability::NetRaw]);

#[derive(Debug, PartialEq)]
struct Found {
    uid: String,
    gid: String,
    groups: String,
    /// Inheritable, permitted, effective, bounding, ambient.
    sets: [CapSet; 5],
    no_new_privs: bool,
}

fn found(seen: Seen) -> Found {
    let set = |key| CapSet::from_bits_retain(u64::from_str_radix(&seen.status(key), 16).unwrap());
    Found {
        uid: seen.status("Uid"),
        gid: seen.status("Gid"),
        groups: seen.status("Groups"),
        sets: ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(set),
        no_new_privs: seen.status("NoNewPrivs") == "1",
    }
}

fn four(id: u32) -> String {
    [id.to_string(), id.to_string(), id.to_string(), id.to_string()].join("\t")
}

fn put_on(steps: &[&dyn Step]) -> Result<Found, Failure> {
    Trial::new().look(steps, found)
}

/// A user namespace where ids 0.. are 100000..
fn map(pid: i32) {
    std::fs::write(format!("/proc/{pid}/uid_map"), "0 100000 65536").unwrap();
    std::fs::write(format!("/proc/{pid}/gid_map"), "0 100000 65536").unwrap();
}

fn map_one(pid: i32) {
    std::fs::write(format!("/proc/{pid}/setgroups"), "deny").unwrap();
    std::fs::write(format!("/proc/{pid}/uid_map"), "0 0 1").unwrap();
    std::fs::write(format!("/proc/{pid}/gid_map"), "0 0 1").unwrap();
}

#[test]
fn root_keeps_what_it_is_bound_to() {
    let own = CapSet::own_bounding().unwrap();
    let found = put_on(&[&Credentials::root_with(CapSet::OS).build().unwrap()]).unwrap();
    let kept = CapSet::OS & own;
    let none = CapSet::EMPTY;
    let expected = Found { uid: four(0), gid: four(0), groups: "".into(), sets: [none, kept, kept, kept, none], no_new_privs: false };
    assert_eq!(found, expected);
}

#[test]
fn a_user_has_nothing_left() {
    let user = Credentials::user(1000, 1001, [27, 4, 27]).no_new_privs().build().unwrap();
    assert_eq!(user.to_string(), "become uid 1000, gid 1001, groups 4 27; keep no capabilities, bound to none; no new privileges");
    let expected = Found { uid: four(1000), gid: four(1001), groups: "4 27".into(), sets: [CapSet::EMPTY; 5], no_new_privs: true };
    assert_eq!(put_on(&[&user]).unwrap(), expected);
}

#[test]
fn a_user_keeps_what_it_is_given() {
    let user = Credentials::user(33, 33, []).keeping(NET).build().unwrap();
    assert_eq!(put_on(&[&user]).unwrap().sets, [NET; 5]);
    let bound = Credentials::user(33, 33, []).keeping(NET).bounding(CapSet::OS).inheritable(NET | Capability::Chown.into());
    let own = CapSet::own_bounding().unwrap();
    let found = put_on(&[&bound.build().unwrap()]).unwrap();
    assert_eq!(found.sets, [NET | Capability::Chown.into(), NET, NET, CapSet::OS & own, NET]);
}

#[test]
fn in_a_user_namespace_every_capability_is_there() {
    let root = Credentials::root_with(CapSet::OS).build().unwrap();
    let found = Trial::new().unshared(CLONE_NEWUSER).before(map).look(&[&root], found).unwrap();
    assert_eq!((found.uid, found.gid), (four(100000), four(100000)));
    assert_eq!(found.sets, [CapSet::EMPTY, CapSet::OS, CapSet::OS, CapSet::OS, CapSet::EMPTY]);
}

#[test]
fn ids_may_be_a_step_of_their_own() {
    let ids = Ids::new(0, 0, []).unwrap();
    let rest = Credentials::root_with(NET).without_ids().build().unwrap();
    assert_eq!(rest.to_string(), "keep NET_BIND_SERVICE NET_RAW, bound to them");
    let found = Trial::new().unshared(CLONE_NEWUSER).before(map).look(&[&ids, &rest], found).unwrap();
    assert_eq!((found.uid, found.sets), (four(100000), [CapSet::EMPTY, NET, NET, NET, CapSet::EMPTY]));
}

#[test]
fn groups_that_are_denied_fail_unless_left_alone() {
    let with = Credentials::root_with(NET).build().unwrap();
    let without = Credentials::root_with(NET).without_groups().build().unwrap();
    let trial = || Trial::new().unshared(CLONE_NEWUSER).before(map_one);
    assert_eq!(trial().run(&[&with]).unwrap_err().to_string(), "setgroups: Operation not permitted");
    trial().run(&[&without]).unwrap();
    assert_eq!(trial().run(&[&Ids::new(5, 0, []).unwrap().without_groups()]).unwrap_err().to_string(), "setresuid: Invalid argument");
}

#[test]
fn what_is_gone_does_not_come_back() {
    let few = Credentials::root_with(NET | Capability::Setpcap.into() | Capability::Setgid.into() | Capability::Setuid.into());
    let more = Credentials::root_with(CapSet::all() - Capability::Setpcap.into());
    let found = put_on(&[&few.build().unwrap(), &more.build().unwrap()]).unwrap();
    let left = NET | Capability::Setgid.into() | Capability::Setuid.into();
    assert_eq!(found.sets, [CapSet::EMPTY, left, left, left, CapSet::EMPTY]);
}

#[test]
fn without_setpcap_the_bounding_set_stays_and_the_step_fails() {
    let first = Credentials::root_with(NET).build().unwrap();
    let second = Credentials::root_with(Capability::NetRaw.into()).without_groups().build().unwrap();
    let failure = put_on(&[&first, &second]).unwrap_err();
    assert_eq!(
        (failure.to_string().as_str(), failure.row.as_deref()),
        ("prctl PR_CAPBSET_DROP: Operation not permitted", Some("CAP_NET_BIND_SERVICE"))
    );
}

#[test]
fn a_user_without_rights_may_still_give_up_gaining_any() {
    let all = CapSet::all();
    let first = Credentials::user(1000, 1000, []).bounding(all).build().unwrap();
    let second = Credentials::user(1000, 1000, []).bounding(all).without_groups().no_new_privs().build().unwrap();
    let found = put_on(&[&first, &second]).unwrap();
    assert!(found.no_new_privs);
    let none = Credentials::user(1000, 1000, []).without_groups().build().unwrap();
    assert_eq!(put_on(&[&first, &none]).unwrap_err().call, "prctl PR_CAPBSET_DROP");
}

#[test]
fn securebits_hold_after_the_change_of_ids() {
    let bits = SecureBits::NO_ROOT | SecureBits::NO_ROOT_LOCKED;
    let root = Credentials::root_with(NET).securebits(bits).build().unwrap();
    assert!(root.to_string().ends_with("; securebits 0x3"));
    put_on(&[&root]).unwrap();
    let user = Credentials::user(7, 7, []).keeping(NET).securebits(bits | SecureBits::NO_SETUID_FIXUP).build().unwrap();
    assert_eq!(put_on(&[&user]).unwrap().sets, [NET; 5]);
    let other = Credentials::root_with(NET | Capability::Setpcap.into());
    let locked = other.clone().securebits(bits).build().unwrap();
    let failure = put_on(&[&locked, &other.without_groups().build().unwrap()]).unwrap_err();
    assert_eq!(failure.to_string(), "prctl PR_SET_SECUREBITS: Operation not permitted");
}

#[test]
fn a_difference_is_said() {
    let fault = Ids::new(12345, 0, []).unwrap().verify().unwrap_err();
    assert_eq!(fault.to_string(), "getresuid: Operation not permitted: the user differs from what was set");
    assert_eq!(fault.errno, Errno::EPERM);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let refused = |builder: CredentialsBuilder| builder.build().unwrap_err().to_string();
    assert_eq!(
        refused(Credentials::root_with(NET).permitted(NET | Capability::Chown.into())),
        "credentials: CAP_CHOWN is in the permitted set, not in the bounding one"
    );
    assert_eq!(
        refused(Credentials::root_with(NET).ambient(NET)),
        "credentials: CAP_NET_BIND_SERVICE is in the ambient set, not in the inheritable one"
    );
    assert!(refused(Credentials::root_with(NET).effective(CapSet::OS)).contains("effective"));
    assert!(refused(Credentials::root_with(NET).inheritable(CapSet::OS)).contains("inheritable"));
    assert!(refused(Credentials::user(1, 1, []).keeping(NET).securebits(SecureBits::NO_AMBIENT_RAISE)).contains("ambient"));
    assert!(refused(Credentials::user(1, 1, []).keeping(NET).securebits(SecureBits::KEEP_CAPS_LOCKED)).contains("keep_caps_locked"));
    assert!(refused(Credentials::user(u32::MAX, 1, [])).contains("4294967295"));
    assert!(refused(Credentials::user(1, 1, (0..2000).collect::<Vec<_>>())).contains("2000 supplementary groups"));
}

#[test]
fn what_the_caller_lacks_is_named() {
    let (rest, lost) = Credentials::root_with(CapSet::all()).intersect_with_own_bounding().unwrap();
    let own = CapSet::own_bounding().unwrap();
    assert_eq!((rest.build().unwrap().bounding(), lost), (CapSet::all() & own, CapSet::all() - own));
}

#[test]
fn every_set_is_printed_where_they_differ() {
    let odd = Credentials::root_with(NET).effective(CapSet::EMPTY).without_ids().build().unwrap();
    assert_eq!(
        odd.to_string(),
        "keep capabilities: effective none, permitted NET_BIND_SERVICE NET_RAW, inheritable none, ambient none, \
         bound to NET_BIND_SERVICE NET_RAW"
    );
    let bound = Credentials::user(5, 5, []).bounding(NET).without_groups().build().unwrap();
    assert_eq!(bound.to_string(), "become uid 5, gid 5, groups as they are; keep no capabilities, bound to NET_BIND_SERVICE NET_RAW");
}
