//! What is known of a running machine.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ns_core::Errno;
use ns_core::credentials::{CapSet, SecureBits};
use ns_core::steps::Resource;

use super::ProcessId;
use crate::guest::{FileId, InitKind, MachineId};
use crate::settings::{IfName, MachineName};
use crate::{Error, Kind};

/// A running machine, as its launcher describes it to those who look for it: `/run/nskit/machines/NAME.json`.
///
/// Everything in it was checked when it was read, and nothing in it is a secret. Of what it says of processes only [`ProcessId::open`]
/// is to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The machine's name.
    pub name: MachineName,
    /// The host's boot that it runs in: in another all of it has gone.
    pub boot_id: BootId,
    /// As its launcher wrote it last: see [`Record::current_state`].
    pub state: State,
    /// "container"
    pub class: String,
    /// Which program runs it: "ns-spawn".
    pub service: String,
    /// Its tree, as the launcher was told: absolute.
    pub root: PathBuf,
    /// Which directory that is, by whatever path.
    pub tree: FileId,
    /// The id that the payload was told.
    pub machine_id: MachineId,
    /// The launcher.
    pub supervisor: ProcessId,
    /// The init of the outer pid namespace, which outlives the payload.
    pub keeper: Option<ProcessId>,
    /// The payload's process 1; `None` while it is being made.
    pub leader: Option<ProcessId>,
    /// When it was started.
    pub since: Since,
    /// The machine's cgroup: absolute; the payload's is `payload/` below.
    pub cgroup: Option<PathBuf>,
    /// Whether an init was booted.
    pub boot: bool,
    /// Whether it has a user namespace of its own.
    pub user_namespace: bool,
    /// Its user and group ids, rows of `uid_map`; none without a user namespace.
    pub ids: Vec<IdRow>,
    /// Its network.
    pub network: Links,
    /// What every process that joins it has to be held by.
    pub protections: Protections,
    /// What kind of init was booted.
    pub init: Option<InitKind>,
    /// The signal that its init takes for a request to power off.
    pub halt_signal: Option<i32>,
    /// The same for a reboot.
    pub reboot_signal: Option<i32>,
    /// How long it may take to stop once it was asked; `None`: for ever. In the record whole seconds, rounded up.
    pub stop_timeout: Option<Duration>,
}

impl Record {
    /// As [`Record::state`], but closing once its first process has gone, whatever the launcher has come to write.
    pub fn current_state(&self) -> State {
        match (self.state, self.leader) {
            (State::Running, Some(leader)) if !leader.lives() => State::Closing,
            (state, _) => state,
        }
    }

    /// Whether nothing of it can be left: the host was booted since, or all its processes have ended.
    pub fn is_over(&self) -> bool {
        let of_this_boot = BootId::current().map_or(true, |boot| boot == self.boot_id);
        let mut processes = [Some(self.supervisor), self.keeper, self.leader].into_iter().flatten();
        !of_this_boot || !processes.any(ProcessId::lives)
    }
}

/// How far a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It is being made.
    Opening,
    /// Its payload runs.
    Running,
    /// It was asked to stop, or has ended and is being cleaned up.
    Closing,
}

impl State {
    const ALL: [(State, &'static str); 3] = [(State::Opening, "opening"), (State::Running, "running"), (State::Closing, "closing")];

    /// The word of the record.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, word)| word)
    }

    pub(super) fn parse(word: &str) -> Option<State> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(state, _)| *state)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A moment by two clocks, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Since {
    /// `CLOCK_REALTIME`, which is set now and then: for people.
    pub realtime_us: u64,
    /// `CLOCK_MONOTONIC`: for durations.
    pub monotonic_us: u64,
}

impl Since {
    /// Now.
    pub fn now() -> Since {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let monotonic = Duration::new(monotonic.tv_sec.unsigned_abs(), monotonic.tv_nsec.unsigned_abs() as u32);
        Since { realtime_us: micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()), monotonic_us: micros(monotonic) }
    }
}

/// So many ids from `inside` on are the host's from `outside` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdRow {
    /// The first, in the container.
    pub inside: u32,
    /// The first, on the host.
    pub outside: u32,
    /// How many; never 0.
    pub count: u32,
}

/// A machine's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// Whose it is.
    pub kind: NetworkKind,
    /// The host's ends of its links.
    pub interfaces: Vec<IfName>,
}

/// Whose network namespace it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetworkKind {
    /// The machine's own.
    Private,
    /// The host's.
    Host,
}

impl NetworkKind {
    /// The word of the record.
    pub fn as_str(self) -> &'static str {
        match self {
            NetworkKind::Private => "private",
            NetworkKind::Host => "host",
        }
    }

    pub(super) fn parse(word: &str) -> Option<NetworkKind> {
        [NetworkKind::Private, NetworkKind::Host].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// What a payload is held by, and whoever joins it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protections {
    /// The bounding set.
    pub capabilities: CapSet,
    /// `PR_SET_NO_NEW_PRIVS`
    pub no_new_privileges: bool,
    /// `PR_SET_SECUREBITS`
    pub securebits: SecureBits,
    /// Which seccomp filter: "os".
    pub filter: Option<String>,
    /// Resource limits.
    pub limits: Vec<ResourceLimit>,
}

/// A row of `getrlimit(2)`; `u64::MAX` is no limit, in the record `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceLimit {
    /// What is limited; its name in the record is the kernel's, as "NOFILE".
    pub resource: Resource,
    /// The limit.
    pub soft: u64,
    /// What the soft one may be raised to.
    pub hard: u64,
}

/// One boot of the host: `/proc/sys/kernel/random/boot_id`, a UUID.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BootId(String);

impl BootId {
    /// Of the running kernel.
    ///
    /// # Errors
    /// `/proc` isn't mounted, or covered.
    pub fn current() -> Result<BootId, Error> {
        const PATH: &str = "/proc/sys/kernel/random/boot_id";
        let text = std::fs::read_to_string(PATH)
            .map_err(|e| Error::call(Kind::Host, format!("read {PATH}"), Errno::new(e.raw_os_error().unwrap_or_default())))?;
        BootId::parse(text.trim_end()).ok_or_else(|| Error::new(Kind::Host, format!("{PATH} holds no UUID")))
    }

    pub(super) fn parse(text: &str) -> Option<BootId> {
        let hyphen = |n: usize| [8, 13, 18, 23].contains(&n);
        let fits = text.len() == 36 && text.bytes().enumerate().all(|(n, b)| if hyphen(n) { b == b'-' } else { b.is_ascii_hexdigit() });
        fits.then(|| BootId(text.to_ascii_lowercase()))
    }

    /// The UUID.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
