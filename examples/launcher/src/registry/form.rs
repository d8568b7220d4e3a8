//! The record as JSON, and what is checked when it is read: nothing gets past here that isn't what it says it is.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use ns_core::credentials::{CapSet, SecureBits};
use serde::{Deserialize, Serialize};

use super::ProcessId;
use super::record::{BootId, IdRow, Links, NetworkKind, Protections, Record, ResourceLimit, Since, State};
use crate::guest::{FileId, InitKind, MachineId};
use crate::settings::{IfName, MachineName, Settings};
use crate::{Error, Kind, escape::Escaped};

/// Of the form; another is not understood. Further fields are no other version.
const VERSION: u64 = 1;
/// `PATH_MAX`
const LONGEST_PATH: usize = 4096;
/// Rows of an id map, of limits, of links.
const MOST_ROWS: usize = 340;

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct Form {
    version: u64,
    name: String,
    boot_id: String,
    state: String,
    class: String,
    service: String,
    root: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_bytes: Option<String>,
    tree: TreeForm,
    machine_id: String,
    supervisor: ProcessForm,
    keeper: Option<ProcessForm>,
    leader: Option<ProcessForm>,
    since: SinceForm,
    cgroup: Option<String>,
    boot: bool,
    user_namespace: bool,
    ids: Vec<IdForm>,
    network: NetworkForm,
    protections: ProtectionsForm,
    init: Option<String>,
    halt_signal: Option<i32>,
    reboot_signal: Option<i32>,
    /// Records of launchers that wrote none are of machines that have the default.
    #[serde(default = "default_stop_timeout")]
    stop_timeout_s: Option<u64>,
}

fn default_stop_timeout() -> Option<u64> {
    Some(Settings::STOP_TIMEOUT.as_secs())
}

#[derive(Serialize, Deserialize)]
struct TreeForm {
    dev: u64,
    ino: u64,
}

#[derive(Serialize, Deserialize)]
struct ProcessForm {
    pid: u32,
    start_time: u64,
}

#[derive(Serialize, Deserialize)]
struct SinceForm {
    realtime_us: u64,
    monotonic_us: u64,
}

#[derive(Serialize, Deserialize)]
struct IdForm {
    inside: u32,
    outside: u32,
    count: u32,
}

#[derive(Serialize, Deserialize)]
struct NetworkForm {
    kind: String,
    interfaces: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct ProtectionsForm {
    capabilities: String,
    no_new_privileges: bool,
    securebits: u32,
    filter: Option<String>,
    limits: Vec<LimitForm>,
}

#[derive(Serialize, Deserialize)]
struct LimitForm {
    name: String,
    soft: Option<u64>,
    hard: Option<u64>,
}

impl Record {
    /// The record as JSON, one line.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings, numbers and lists of them can't fail to be written to memory.
        let mut json = serde_json::to_vec(&Form::of(self)).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// Reads JSON of any origin, and checks each value.
    ///
    /// # Errors
    /// [`Kind::Damaged`] says what is wrong, in text that is safe to print.
    pub fn from_json(json: &[u8]) -> Result<Record, Error> {
        let damaged = |e: serde_json::Error| damaged(Escaped::text(&e.to_string()));
        let Versioned { version } = serde_json::from_slice(json).map_err(damaged)?;
        if version != VERSION {
            return Err(Error::new(Kind::Damaged, format!("version {version}; only {VERSION} is understood here")));
        }
        serde_json::from_slice::<Form>(json).map_err(damaged)?.check()
    }
}

impl Form {
    fn of(record: &Record) -> Form {
        let process = |id: ProcessId| ProcessForm { pid: id.pid, start_time: id.start_time };
        Form {
            version: VERSION,
            name: record.name.to_string(),
            boot_id: record.boot_id.as_str().to_owned(),
            state: record.state.as_str().to_owned(),
            class: record.class.clone(),
            service: record.service.clone(),
            root: record.root.to_str().map_or_else(|| Escaped::path(&record.root).to_string(), str::to_owned),
            root_bytes: record.root.to_str().is_none().then(|| hex(record.root.as_os_str())),
            tree: TreeForm { dev: record.tree.dev, ino: record.tree.ino },
            machine_id: record.machine_id.to_string(),
            supervisor: process(record.supervisor),
            keeper: record.keeper.map(process),
            leader: record.leader.map(process),
            since: SinceForm { realtime_us: record.since.realtime_us, monotonic_us: record.since.monotonic_us },
            cgroup: record.cgroup.as_ref().map(|path| path.to_string_lossy().into_owned()),
            boot: record.boot,
            user_namespace: record.user_namespace,
            ids: record.ids.iter().map(|row| IdForm { inside: row.inside, outside: row.outside, count: row.count }).collect(),
            network: NetworkForm {
                kind: record.network.kind.as_str().to_owned(),
                interfaces: record.network.interfaces.iter().map(IfName::to_string).collect(),
            },
            protections: ProtectionsForm::of(&record.protections),
            init: record.init.map(|init| init.as_str().to_owned()),
            halt_signal: record.halt_signal,
            reboot_signal: record.reboot_signal,
            stop_timeout_s: record.stop_timeout.map(|limit| limit.as_secs() + u64::from(limit.subsec_nanos() > 0)),
        }
    }

    fn check(self) -> Result<Record, Error> {
        let root = match &self.root_bytes {
            Some(digits) => unhex(digits).ok_or_else(|| wrong("root_bytes", digits))?,
            None => PathBuf::from(&self.root),
        };
        Ok(Record {
            name: MachineName::new(&self.name).map_err(|_| wrong("name", &self.name))?,
            boot_id: word("boot_id", &self.boot_id, BootId::parse)?,
            state: word("state", &self.state, State::parse)?,
            class: word("class", &self.class, token)?,
            service: word("service", &self.service, token)?,
            root: word("root", &self.root, |_| absolute(root))?,
            tree: FileId { dev: self.tree.dev, ino: self.tree.ino },
            machine_id: word("machine_id", &self.machine_id, |id| MachineId::parse(id.as_bytes()).filter(|_| id.len() == 32))?,
            supervisor: self.supervisor.check("supervisor")?,
            keeper: self.keeper.map(|process| process.check("keeper")).transpose()?,
            leader: self.leader.map(|process| process.check("leader")).transpose()?,
            since: Since { realtime_us: self.since.realtime_us, monotonic_us: self.since.monotonic_us },
            cgroup: self.cgroup.map(|path| word("cgroup", &path, |path| absolute(path.into()).filter(|path| !climbs(path)))).transpose()?,
            boot: self.boot,
            user_namespace: self.user_namespace,
            ids: rows("ids", self.ids, IdForm::check)?,
            network: Links {
                kind: word("network.kind", &self.network.kind, NetworkKind::parse)?,
                interfaces: rows("network.interfaces", self.network.interfaces, |name| {
                    word("network.interfaces", &name, |name| IfName::new(name.as_ref()).ok())
                })?,
            },
            protections: self.protections.check()?,
            init: self.init.map(|init| word("init", &init, init_kind)).transpose()?,
            halt_signal: self.halt_signal.map(|signal| is_signal("halt_signal", signal)).transpose()?,
            reboot_signal: self.reboot_signal.map(|signal| is_signal("reboot_signal", signal)).transpose()?,
            stop_timeout: self
                .stop_timeout_s
                .map(|limit| stop_timeout(limit).ok_or_else(|| wrong("stop_timeout_s", &limit.to_string())))
                .transpose()?,
        })
    }
}

/// So much can be added to any moment.
fn stop_timeout(seconds: u64) -> Option<Duration> {
    u32::try_from(seconds).ok().map(|seconds| Duration::from_secs(seconds.into()))
}

impl ProcessForm {
    fn check(self, field: &str) -> Result<ProcessId, Error> {
        match i32::try_from(self.pid) {
            Ok(1..) => Ok(ProcessId { pid: self.pid, start_time: self.start_time }),
            _ => Err(wrong(field, &self.pid.to_string())),
        }
    }
}

impl IdForm {
    fn check(self) -> Result<IdRow, Error> {
        let IdForm { inside, outside, count } = self;
        // 4294967295 is no id.
        let fits = |first: u32| count > 0 && first.checked_add(count).is_some();
        match fits(inside) && fits(outside) {
            true => Ok(IdRow { inside, outside, count }),
            false => Err(wrong("ids", &format!("{inside} {outside} {count}"))),
        }
    }
}

impl ProtectionsForm {
    fn of(protections: &Protections) -> ProtectionsForm {
        let number = |limit: u64| Some(limit).filter(|limit| *limit != u64::MAX);
        let limits = protections.limits.iter();
        ProtectionsForm {
            capabilities: format!("{:016x}", protections.capabilities.bits()),
            no_new_privileges: protections.no_new_privileges,
            securebits: protections.securebits.bits(),
            filter: protections.filter.clone(),
            limits: limits
                .map(|row| LimitForm { name: row.resource.to_string(), soft: number(row.soft), hard: number(row.hard) })
                .collect(),
        }
    }

    fn check(self) -> Result<Protections, Error> {
        let digits = |text: &str| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let capabilities = |text: &str| u64::from_str_radix(text, 16).ok().filter(|_| digits(text));
        Ok(Protections {
            capabilities: CapSet::from_bits_retain(word("protections.capabilities", &self.capabilities, capabilities)?),
            no_new_privileges: self.no_new_privileges,
            securebits: SecureBits::from_bits_retain(self.securebits),
            filter: self.filter.map(|filter| word("protections.filter", &filter, token)).transpose()?,
            limits: rows("protections.limits", self.limits, LimitForm::check)?,
        })
    }
}

impl LimitForm {
    fn check(self) -> Result<ResourceLimit, Error> {
        let (soft, hard) = (self.soft.unwrap_or(u64::MAX), self.hard.unwrap_or(u64::MAX));
        let resource = word("protections.limits", &self.name, |name| name.parse().ok())?;
        match soft <= hard {
            true => Ok(ResourceLimit { resource, soft, hard }),
            false => Err(wrong("protections.limits", &self.name)),
        }
    }
}

fn word<T>(field: &str, text: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Error> {
    parse(text).ok_or_else(|| wrong(field, text))
}

fn rows<T, U>(field: &str, rows: Vec<T>, check: impl Fn(T) -> Result<U, Error>) -> Result<Vec<U>, Error> {
    match rows.len() {
        0..=MOST_ROWS => rows.into_iter().map(check).collect(),
        many => Err(wrong(field, &format!("{many} rows"))),
    }
}

/// A word for people and programs: "ns-spawn".
fn token(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
}

fn absolute(path: PathBuf) -> Option<PathBuf> {
    let bytes = path.as_os_str().as_bytes();
    let fits = bytes.len() < LONGEST_PATH && !bytes.contains(&0);
    (fits && path.is_absolute()).then_some(path)
}

fn climbs(path: &Path) -> bool {
    path.components().any(|part| part == Component::ParentDir)
}

fn init_kind(word: &str) -> Option<InitKind> {
    InitKind::WORDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind)
}

fn is_signal(field: &str, signal: i32) -> Result<i32, Error> {
    match signal {
        1..=64 => Ok(signal),
        _ => Err(wrong(field, &signal.to_string())),
    }
}

fn hex(text: &OsStr) -> String {
    text.as_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(digits: &str) -> Option<PathBuf> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let byte = |pair: &[u8]| Some((digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?) as u8);
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    Some(Path::new(&std::ffi::OsString::from_vec(bytes?)).to_owned())
}

fn wrong(field: &str, value: &str) -> Error {
    let shown: String = value.chars().take(64).collect();
    damaged(format!("{field} is '{}'", Escaped::text(&shown)))
}

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Damaged, what.to_string())
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
