use std::fs::{create_dir, write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::lock::{Attempt, Mode};
use super::super::samples::{json, record};
use super::super::{BootId, ProcessId, State};
use super::*;

fn set_up() -> (TempDir, Machines) {
    let dir = tempfile::tempdir().unwrap();
    let machines = Machines::at(Places::below(dir.path()));
    (dir, machines)
}

fn name(name: &str) -> MachineName {
    MachineName::new(name).unwrap()
}

/// The record of a machine whose launcher this test is.
fn mine(name: &str) -> Record {
    let dead = ProcessId { pid: i32::MAX as u32, start_time: 7 };
    Record {
        boot_id: BootId::current().unwrap(),
        supervisor: ProcessId::of_self().unwrap(),
        keeper: Some(dead),
        leader: None,
        state: State::Opening,
        ..record(name)
    }
}

fn written(machines: &Machines, record: &Record) -> RecordFile {
    let file = RecordFile::new(machines.places(), &record.name).unwrap();
    file.write(record).unwrap();
    file
}

fn shown(machines: &Machines) -> Vec<String> {
    let show = |machine: Machine| match machine {
        Machine::Known(record) => format!("{} {}", record.name, record.current_state()),
        Machine::Damaged { name, why, pid } => format!("{name}: {why} {pid:?}"),
    };
    machines.list().unwrap().into_iter().map(show).collect()
}

#[test]
fn none_where_nothing_was_ever_made() {
    let (dir, machines) = set_up();
    assert!(machines.list().unwrap().is_empty() && machines.get(&name("box")).unwrap().is_none());
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_machine_is_found_while_a_process_of_it_lives() {
    let (_dir, machines) = set_up();
    let file = written(&machines, &mine("box"));
    written(&machines, &mine("a"));
    assert_eq!(shown(&machines), ["a opening", "box opening"]);
    assert!(matches!(machines.get(&name("box")).unwrap(), Some(Machine::Known(found)) if *found == mine("box")));
    file.write(&Record { state: State::Closing, ..mine("box") }).unwrap();
    assert_eq!(shown(&machines), ["a opening", "box closing"]);
    assert!(file.remove().unwrap() && !file.remove().unwrap());
    assert_eq!(shown(&machines), ["a opening"]);
}

#[test]
fn whose_first_process_has_gone_is_closing() {
    let dead = ProcessId { pid: i32::MAX as u32, start_time: 7 };
    let record = Record { state: State::Running, leader: Some(dead), ..mine("box") };
    assert_eq!(record.current_state(), State::Closing);
    let record = Record { leader: Some(ProcessId::of_self().unwrap()), ..record };
    assert_eq!(record.current_state(), State::Running);
}

#[test]
fn recycled_pids_and_other_boots_are_over() {
    let (_dir, machines) = set_up();
    let recycled = ProcessId { start_time: 1, ..ProcessId::of_self().unwrap() };
    written(&machines, &Record { supervisor: recycled, ..mine("recycled") });
    written(&machines, &Record { boot_id: record("x").boot_id, ..mine("other-boot") });
    written(&machines, &record("old"));
    assert_eq!(shown(&machines), [""; 0]);
    assert!(machines.get(&name("recycled")).unwrap().is_none());
    // Nothing was removed: that is for who holds the name.
    assert_eq!(machines.recorded().unwrap().len(), 3);
}

#[test]
fn who_holds_a_name_has_a_machine_whatever_the_record_says() {
    let (_dir, machines) = set_up();
    written(&machines, &record("over"));
    let locks = machines.places().tree_locks().unwrap();
    let take = |name: &str| match LockFile::take(locks.join(format!("name-{name}")), Mode::Exclusive).unwrap() {
        Attempt::Held(lock) => lock,
        Attempt::Busy(_) => panic!("{name} is held by nobody"),
    };
    let held = [take("over"), take("bare")];
    held[1].describe("77 bare\n").unwrap();
    assert_eq!(shown(&machines), ["bare: it has no record, or none yet Some(77)", "over: it has no record, or none yet None"]);
    drop(held);
    assert_eq!(shown(&machines), [""; 0]);
}

#[test]
fn damaged_records_are_shown_by_name_and_never_hide_others() {
    let (dir, machines) = set_up();
    written(&machines, &mine("good"));
    let directory = machines.places().records().unwrap();
    let path = |name: &str| directory.join(format!("{name}.json"));
    write(path("empty"), "").unwrap();
    write(path("cut"), &json()[..100]).unwrap();
    write(path("stolen"), json()).unwrap();
    write(path("controls"), json().replace("/srv/box", "\u{1b}[2J")).unwrap();
    symlink("/etc/passwd", path("link")).unwrap();
    symlink("/dev/zero", path("link2")).unwrap();
    std::fs::File::create(path("huge")).unwrap().set_len(4 << 30).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    create_dir(path("directory")).unwrap();
    // None of these is a machine's.
    for file in [".good.json", "bad_name.json", "x.txt", "..json", ".json"] {
        write(directory.join(file), "").unwrap();
    }
    let began = Instant::now();
    let lines = shown(&machines);
    assert!(began.elapsed() < Duration::from_secs(1));
    let ends = [
        ("controls", "line 1 column "),
        ("cut", "EOF while parsing"),
        ("directory", "it is no regular file"),
        ("empty", "EOF while parsing"),
        ("fifo", "it is no regular file"),
        ("good", "opening"),
        ("huge", "it is longer than 65536 bytes"),
        ("link", "it is a symbolic link"),
        ("link2", "it is a symbolic link"),
        ("stolen", "it is about machine 'box'"),
    ];
    assert_eq!(lines.len(), ends.len(), "{lines:#?}");
    for (line, (name, why)) in lines.iter().zip(ends) {
        assert!(line.starts_with(name) && line.contains(why) && !line.chars().any(char::is_control), "{line}");
    }
    drop(dir);
}

#[test]
fn a_directory_that_others_write_to_is_not_believed() {
    let (_dir, machines) = set_up();
    written(&machines, &mine("good"));
    std::fs::set_permissions(machines.places().run.join("machines"), PermissionsExt::from_mode(0o777)).unwrap();
    assert!(machines.list().unwrap_err().to_string().contains("only its owner"));
}

#[test]
fn readers_see_the_old_or_the_new_record_and_nothing_else() {
    let (_dir, machines) = set_up();
    let file = written(&machines, &mine("box"));
    let records = [Record { class: "c".repeat(64), state: State::Closing, ..mine("box") }, mine("box")];
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..500 {
                file.write(&records[n % 2]).unwrap();
            }
        });
        while !writer.is_finished() {
            assert!(matches!(machines.get(&name("box")).unwrap(), Some(Machine::Known(_))));
        }
    });
}

#[test]
fn records_are_for_all_to_read_and_for_nobody_else_to_write() {
    let (_dir, machines) = set_up();
    let file = written(&machines, &mine("box"));
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(file.path()), mode(file.path().parent().unwrap())), (0o644, 0o755));
    assert!(RecordFile::new(&Places::below("/proc".as_ref()), &name("box")).unwrap_err().to_string().contains("/proc/nskit"));
}
