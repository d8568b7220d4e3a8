use std::ffi::OsString;

use ns_core::steps::Resource;

use super::super::samples::{json, record};
use super::*;

fn refused(json: &str) -> String {
    let e = Record::from_json(json.as_bytes()).expect_err(json);
    assert_eq!(e.kind(), Kind::Damaged);
    let text = e.to_string();
    assert!(!text.chars().any(char::is_control) && text.len() < 400, "{text:?}");
    text
}

#[test]
fn what_is_written_is_read_again() {
    let all = record("box");
    assert_eq!(Record::from_json(&all.to_json()).unwrap(), all);
    let opening = Record {
        state: State::Opening,
        keeper: None,
        leader: None,
        cgroup: None,
        ids: vec![],
        init: None,
        halt_signal: None,
        reboot_signal: None,
        ..all.clone()
    };
    assert_eq!(Record::from_json(&opening.to_json()).unwrap(), opening);
    for root in [&b"/srv/b\xffx"[..], b"/\x1b[2J", "/Zürich".as_bytes(), b"/a\"b\\", b"/"] {
        let odd = Record { root: OsString::from_vec(root.to_vec()).into(), ..all.clone() };
        assert_eq!(Record::from_json(&odd.to_json()).unwrap(), odd);
    }
}

#[test]
fn the_form_is_what_others_read() {
    let text = String::from_utf8(record("box").to_json()).unwrap();
    assert_eq!(text, json());
    assert!(!text.contains("root_bytes"));
    let odd = Record { root: OsString::from_vec(b"/b\xff".to_vec()).into(), ..record("box") };
    assert!(String::from_utf8(odd.to_json()).unwrap().contains(r#""root":"/b\\xff","root_bytes":"2f62ff""#));
}

#[test]
fn every_truncated_record_is_refused() {
    let whole = json();
    for end in 0..whole.trim_end().len() {
        refused(&whole[..end]);
    }
    for cut in (0..whole.len() - 40).step_by(7) {
        let mut bytes = whole.clone().into_bytes();
        bytes.drain(cut..cut + 30);
        // What has lost a whole field that may be absent is a record still; whatever it is, it is no panic.
        let _ = Record::from_json(&bytes);
    }
}

#[test]
fn no_value_gets_past_that_is_not_what_it_says() {
    let table = [
        (r#""version":1"#, r#""version":2"#, "version 2"),
        (r#""version":1"#, r#""version":"1""#, "expected u64"),
        (r#""name":"box""#, r#""name":"../box""#, "name is '../box'"),
        (r#""name":"box""#, r#""name":"b\u001b[2Jx""#, "name is 'b\\x1b[2Jx'"),
        (r#""name":"box""#, r#""name":"box","name":"box""#, "duplicate field"),
        (r#""boot_id":"1"#, r#""boot_id":"x"#, "boot_id is"),
        (r#""state":"running""#, r#""state":"RUNNING""#, "state is 'RUNNING'"),
        (r#""class":"container""#, r#""class":"""#, "class is ''"),
        (r#""service":"ns-spawn""#, r#""service":"a\nb""#, "service is 'a\\nb'"),
        (r#""root":"/srv/box""#, r#""root":"srv/box""#, "root is 'srv/box'"),
        (r#""root":"/srv/box""#, r#""root":"/a\u0000""#, "root is '/a\\x00'"),
        (r#""root":"/srv/box""#, r#""root":"/x","root_bytes":"2f6""#, "root_bytes is '2f6'"),
        (r#""root":"/srv/box""#, r#""root":"/x","root_bytes":"62""#, "root is '/x'"),
        (r#""dev":2049"#, r#""dev":-1"#, "expected u64"),
        (r#""machine_id":"0"#, r#""machine_id":"x"#, "machine_id is"),
        (r#""pid":100,"#, r#""pid":0,"#, "supervisor is '0'"),
        (r#""pid":100,"#, r#""pid":-1,"#, "expected u32"),
        (r#""pid":101,"#, r#""pid":2147483648,"#, "keeper is '2147483648'"),
        (r#""pid":102,"#, r#""pid":0,"#, "leader is '0'"),
        (r#""start_time":7"#, r#""start_time":7.5"#, "expected u64"),
        (r#""cgroup":"/sys"#, r#""cgroup":"sys"#, "cgroup is 'sys"),
        (r#"/nskit/box","#, r#"/nskit/../box","#, "cgroup is '/sys"),
        (r#""boot":true"#, r#""boot":1"#, "expected a boolean"),
        (r#""inside":0"#, r#""inside":4294967295"#, "ids is '4294967295 "),
        (r#""count":65536"#, r#""count":0"#, "ids is '0 "),
        (r#""count":65536"#, r#""count":4294967295"#, "ids is '0 "),
        (r#""kind":"private""#, r#""kind":"none""#, "network.kind is 'none'"),
        (r#""ve-box""#, r#""a/b""#, "network.interfaces is 'a/b'"),
        (r#""capabilities":"0"#, r#""capabilities":"+"#, "protections.capabilities is '+"),
        (r#""capabilities":"0"#, r#""capabilities":""#, "protections.capabilities is '"),
        (r#""filter":"os""#, r#""filter":"/etc/x""#, "protections.filter is '/etc/x'"),
        (r#""name":"NOFILE""#, r#""name":"FILES""#, "protections.limits is 'FILES'"),
        (r#""soft":1024"#, r#""soft":999999"#, "protections.limits is 'NOFILE'"),
        (r#""init":"systemd""#, r#""init":"launchd""#, "init is 'launchd'"),
        (r#""halt_signal":37"#, r#""halt_signal":65"#, "halt_signal is '65'"),
        (r#""reboot_signal":39"#, r#""reboot_signal":0"#, "reboot_signal is '0'"),
        (r#""since":{"#, r#""since":[{"#, "line 1"),
    ];
    for (from, to, expected) in table {
        let changed = json().replacen(from, to, 1);
        assert_ne!(changed, json(), "{from} isn't in the sample");
        let text = refused(&changed);
        assert!(text.contains(expected), "{to}: {text}");
    }
}

#[test]
fn nonsense_is_refused() {
    let deep = "[".repeat(100_000);
    for text in ["", "{}", "null", "[]", "\0", "{\"version\":1}", deep.as_str(), &format!("{{\"version\":1,\"x\":{deep}")] {
        refused(text);
    }
    assert!(Record::from_json(b"\xff\xfe").is_err());
    let many = format!(r#""ids":[{}"#, r#"{"inside":0,"outside":1,"count":1},"#.repeat(400));
    assert!(refused(&json().replacen(r#""ids":["#, &many, 1)).contains("ids is '401 rows'"));
}

#[test]
fn a_field_of_tomorrow_is_no_damage() {
    let changed = json().replacen(r#""class""#, r#""tomorrow":{"a":[1,2]},"class""#, 1);
    assert_eq!(Record::from_json(changed.as_bytes()).unwrap(), record("box"));
}

#[test]
fn no_limit_is_null() {
    let limit = ResourceLimit { resource: Resource::Core, soft: 0, hard: u64::MAX };
    let text = String::from_utf8(record("box").to_json()).unwrap();
    assert!(record("box").protections.limits.contains(&limit) && text.contains(r#"{"name":"CORE","soft":0,"hard":null}"#), "{text}");
}
