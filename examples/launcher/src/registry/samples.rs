//! A record for tests.

use ns_core::credentials::{CapSet, SecureBits};
use ns_core::steps::Resource;

use super::record::{BootId, IdRow, Links, NetworkKind, Protections, ResourceLimit, Since, State};
use super::{ProcessId, Record};
use crate::guest::{FileId, InitKind, MachineId};
use crate::settings::{IfName, MachineName};

/// Of a machine with everything, in another boot.
pub(super) fn record(name: &str) -> Record {
    let process = |pid| ProcessId { pid, start_time: 7 };
    Record {
        name: MachineName::new(name).unwrap(),
        boot_id: BootId::parse("12345678-9abc-4def-8123-456789abcdef").unwrap(),
        state: State::Running,
        class: "container".into(),
        service: "ns-spawn".into(),
        root: "/srv/box".into(),
        tree: FileId { dev: 2049, ino: 12 },
        machine_id: MachineId::parse(b"0123456789abcdef0123456789abcdef").unwrap(),
        supervisor: process(100),
        keeper: Some(process(101)),
        leader: Some(process(102)),
        since: Since { realtime_us: 1_795_000_000_000_000, monotonic_us: 5 },
        cgroup: Some("/sys/fs/cgroup/nskit/box".into()),
        boot: true,
        user_namespace: true,
        ids: vec![IdRow { inside: 0, outside: 1_210_187_776, count: 65536 }],
        network: Links { kind: NetworkKind::Private, interfaces: vec![IfName::new("ve-box".as_ref()).unwrap()] },
        protections: Protections {
            capabilities: CapSet::from_bits_retain(0xfd),
            no_new_privileges: false,
            securebits: SecureBits::empty(),
            filter: Some("os".into()),
            limits: vec![
                ResourceLimit { resource: Resource::OpenFiles, soft: 1024, hard: 524_288 },
                ResourceLimit { resource: Resource::Core, soft: 0, hard: u64::MAX },
            ],
        },
        init: Some(InitKind::Systemd),
        halt_signal: Some(37),
        reboot_signal: Some(39),
        stop_timeout: Some(std::time::Duration::from_secs(90)),
    }
}

/// The record of "box" as it is written.
pub(super) fn json() -> String {
    concat!(
        r#"{"version":1,"name":"box","boot_id":"12345678-9abc-4def-8123-456789abcdef","state":"running","class":"container","#,
        r#""service":"ns-spawn","root":"/srv/box","tree":{"dev":2049,"ino":12},"machine_id":"0123456789abcdef0123456789abcdef","#,
        r#""supervisor":{"pid":100,"start_time":7},"keeper":{"pid":101,"start_time":7},"leader":{"pid":102,"start_time":7},"#,
        r#""since":{"realtime_us":1795000000000000,"monotonic_us":5},"cgroup":"/sys/fs/cgroup/nskit/box","boot":true,"#,
        r#""user_namespace":true,"ids":[{"inside":0,"outside":1210187776,"count":65536}],"#,
        r#""network":{"kind":"private","interfaces":["ve-box"]},"protections":{"capabilities":"00000000000000fd","#,
        r#""no_new_privileges":false,"securebits":0,"filter":"os","limits":[{"name":"NOFILE","soft":1024,"hard":524288},"#,
        r#"{"name":"CORE","soft":0,"hard":null}]},"init":"systemd","halt_signal":37,"reboot_signal":39,"stop_timeout_s":90}"#,
        "\n"
    )
    .to_owned()
}
