//! The recipe: what the program is held by, put on before anybody in the machine sees it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ns_cgroup::Joined;
use ns_core::credentials::Credentials;
use ns_core::steps::{Keyring, OomScoreAdj, Personality, Rlimits, Umask};
use ns_core::{Entered, Exec, Fds, Plan, Sealed, Slot};
use ns_seccomp::Install;

use super::container::Container;
use crate::assemble::{CGROUP, OS, STDIO};
use crate::guest::User;
use crate::{Error, Kind};

/// A start takes milliseconds; signals of ours are heard after it. It has no end in a machine that is frozen meanwhile.
const LIMIT: Duration = Duration::from_secs(10);
const CONTAINER: Slot = Slot::new("machine's process 1");

/// Limits first, which may have to be raised by our rights; the filter before the user, who has no right to install one.
pub(super) fn of(container: &Container<'_>, user: &User, exec: Exec) -> Result<Sealed, Error> {
    let protections = &container.record.protections;
    let exec = STDIO.into_iter().zip(0..).try_fold(exec, |exec, (slot, number)| exec.pass(slot, number)).map_err(Error::host)?;
    let plan = STDIO.into_iter().fold(Plan::enter(exec, CONTAINER, container.namespaces()), Plan::given);
    let plan = match container.record.cgroup {
        Some(_) => plan.given(CGROUP).into_cgroup(CGROUP),
        None => plan,
    };
    let limits = protections.limits.iter().try_fold(Rlimits::new(), |limits, row| limits.set(row.resource, row.soft, row.hard));
    let plan = plan.before_entering(limits.map_err(Error::host)?).before_entering(oom_score(container)?);
    let plan = plan.inside(Personality::LINUX).inside(Umask::new(0o022)).inside(root(container)?).inside(Keyring);
    let plan = if protections.filter.is_some() { plan.inside(Install::new(OS)) } else { plan };
    plan.inside(credentials(container, user)?).seal().map_err(Error::host)
}

/// As the payload's process 1, which was given it by its launcher and can't lower it.
fn oom_score(container: &Container<'_>) -> Result<OomScoreAdj, Error> {
    let read = || std::fs::read_to_string(format!("/proc/{}/oom_score_adj", container.leader.pid()?)).ok()?.trim().parse().ok();
    let score = read().ok_or_else(|| container.error(Error::new(Kind::Host, "The machine's oom_score_adj can't be read")))?;
    OomScoreAdj::new(score).map_err(Error::host)
}

/// The container's root, who may install the filter.
fn root(container: &Container<'_>) -> Result<Credentials, Error> {
    let protections = &container.record.protections;
    let root = Credentials::root_with(protections.capabilities).securebits(protections.securebits);
    let root = if protections.no_new_privileges { root.no_new_privs() } else { root };
    root.build().map_err(Error::host)
}

fn credentials(container: &Container<'_>, user: &User) -> Result<Credentials, Error> {
    let protections = &container.record.protections;
    let unmapped = [user.uid, user.gid].into_iter().chain(user.groups.iter().copied()).find(|id| container.outside(*id).is_none());
    if let Some(id) = unmapped {
        return Err(Error::new(Kind::Tree, format!("User {user} has the id {id}, which machine {} has not", container.record.name)));
    }
    let set = protections.capabilities;
    let credentials = Credentials::user(user.uid, user.gid, user.groups.clone()).bounding(set).securebits(protections.securebits);
    let credentials = if user.uid == 0 { credentials.permitted(set).effective(set) } else { credentials };
    let credentials = if protections.no_new_privileges { credentials.no_new_privs() } else { credentials };
    credentials.build().map_err(Error::host)
}

/// Starts it, with the program's three descriptors.
pub(super) fn enter(plan: &Sealed, container: &Container<'_>, cgroup: Option<&Joined>, streams: Vec<OwnedFd>) -> Result<Entered, Error> {
    let fds = Fds::new().lend(CONTAINER, container.leader.as_fd());
    let fds = cgroup.into_iter().fold(fds, |fds, cgroup| fds.lend(CGROUP, cgroup.as_fd()));
    let fds = STDIO.into_iter().zip(streams).fold(fds, |fds, (slot, fd)| fds.give(slot, fd));
    plan.enter_within(fds, LIMIT).map_err(|e| container.error(Error::host(e)))
}
