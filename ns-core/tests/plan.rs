//! Plans started for real.

use ns_core::{ErrorKind, Exec, Exit, Fds, IdMap, Kind, Locked, Namespaces, Plan, Setns, Slot};

const ALL: Namespaces = Namespaces::all();

fn shell(script: &str) -> Exec {
    Exec::new("/bin/sh").unwrap().args(["-c", script]).unwrap()
}

fn ids() -> IdMap {
    IdMap::range(0, 1_000_000, 65536).unwrap()
}

#[test]
fn a_plain_program() {
    let plan = Plan::new(shell("exit 7")).seal().unwrap();
    assert_eq!(plan.start(Fds::new()).unwrap().wait().unwrap(), Exit::Exited(7));
}

#[test]
fn all_namespaces_kept() {
    let plan = Plan::new(shell("test $$ = 1 && test $(id -u) = 65534 && exit 5")).user(ids()).unshare(ALL).kept();
    let plan = plan.inside(Locked).seal().unwrap();
    println!("{plan}");
    let mut running = plan.start(Fds::new()).unwrap();
    assert_eq!(running.wait().unwrap(), Exit::Exited(5));
}

#[test]
fn all_namespaces_without_a_builder() {
    let plan = Plan::new(shell("test $$ = 1 && exit 5")).user(ids()).unshare(ALL).seal().unwrap();
    let mut held = plan.hold(Fds::new()).unwrap();
    let net = held.namespace(Kind::Net).unwrap();
    assert_eq!(net.kind(), Kind::Net);
    assert_eq!(held.release().unwrap().wait().unwrap(), Exit::Exited(5));
}

#[test]
fn what_cannot_be_executed_is_named() {
    let plan = Plan::new(Exec::new("/no/such/program").unwrap()).unshare(Namespaces::UTS).kept().seal().unwrap();
    let error = plan.start(Fds::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Step);
    assert_eq!(error.to_string(), "inside 1/1, exec /no/such/program: execve: No such file or directory");
}

#[test]
fn killed_is_told_apart_from_exited() {
    for plan in [Plan::new(shell("kill -9 $$")), Plan::new(shell("kill -9 $$")).kept()] {
        assert_eq!(plan.seal().unwrap().start(Fds::new()).unwrap().wait().unwrap(), Exit::Signalled(9));
    }
}

#[test]
fn a_held_start_that_is_dropped_leaves_nothing() {
    for kept in [false, true] {
        let plan = Plan::new(shell("sleep 100")).user(ids()).unshare(ALL).inside(Locked);
        let plan = if kept { plan.kept() } else { plan.outside(ns_core::Setns::new(NET, Namespaces::NET)).given(NET) };
        let plan = plan.seal().unwrap();
        let own = std::fs::File::open("/proc/self/ns/net").unwrap();
        let fds = if kept { Fds::new() } else { Fds::new().give(NET, own.into()) };
        let held = plan.hold(fds).unwrap();
        let pid = held.payload().unwrap().pid().unwrap();
        drop(held);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}

const NET: Slot = Slot::new("a network namespace");

#[test]
fn joins_what_it_is_given() {
    let plan =
        Plan::new(shell("test $(readlink /proc/self/ns/net) = $(readlink /proc/$PPID/ns/net)")).join(NET, Namespaces::NET).given(NET);
    let plan = plan.seal().unwrap();
    let own = std::fs::File::open("/proc/self/ns/net").unwrap();
    assert_eq!(plan.start(Fds::new().give(NET, own.into())).unwrap().wait().unwrap(), Exit::Exited(0));
    let error = plan.start(Fds::new()).unwrap_err();
    assert_eq!(error.to_string(), "start: \"a network namespace\" was not given");
}

#[test]
fn what_would_hang_is_refused() {
    let error = Plan::new(shell("")).outside(Setns::new(NET, Namespaces::NET)).seal().unwrap_err();
    assert_eq!(
        error.to_string(),
        "outside 1/1, join the net namespaces of a network namespace: needs \"a network namespace\", which nothing before it makes and \
         nothing gives"
    );
}

const FILE: Slot = Slot::new("program");
const WORD: Slot = Slot::new("word");

#[test]
fn a_file_in_a_slot_is_executed() {
    let plan = Plan::new(Exec::file(FILE, "true").unwrap().pass(WORD, 3).unwrap()).given(FILE).given(WORD).seal().unwrap();
    let open = |path| std::fs::File::open(path).unwrap();
    let fds = Fds::new().give(FILE, open("/bin/true").into()).give(WORD, open("/dev/null").into());
    assert_eq!(plan.start(fds).unwrap().wait().unwrap(), Exit::Exited(0));
}

#[test]
fn no_directory_of_the_callers_is_entered_by_its_number() {
    // Every number that the payload could have open while it is set up.
    for fd in 0..64 {
        for path in [format!("/proc/self/fd/{fd}"), format!("/proc/self/fd/{fd}/..")] {
            let plan = Plan::new(shell("exit 0").directory(&path).unwrap()).unshare(Namespaces::UTS).kept();
            let error = plan.seal().unwrap().start(Fds::new()).unwrap_err();
            assert!(error.to_string().contains("chdir"), "{path}: {error}");
        }
    }
}

#[test]
fn a_pause_inside_outlasts_the_builder() {
    for kept in [true, false] {
        let plan = Plan::new(shell("exit 3")).unshare(Namespaces::UTS | Namespaces::MOUNT).given(NET);
        let plan = plan.outside(Setns::new(NET, Namespaces::NET)).inside_pause("wait", &[]).inside(Locked);
        let plan = if kept { plan.kept() } else { plan }.seal().unwrap();
        let own = std::fs::File::open("/proc/self/ns/net").unwrap();
        let held = plan.hold(Fds::new().give(NET, own.into())).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(held.paused(), Some("wait"));
        assert_eq!(held.proceed().unwrap().release().unwrap().wait().unwrap(), Exit::Exited(3));
    }
}

#[test]
fn an_interpreter_is_no_way_to_the_callers_program() {
    let path = std::env::temp_dir().join(format!("ns-core-script-{}", std::process::id()));
    std::fs::write(&path, "#!/proc/self/exe --list\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let error = Plan::new(Exec::new(&path).unwrap()).seal().unwrap().start(Fds::new()).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert!(error.to_string().ends_with("execve (interpreter): Too many levels of symbolic links: /proc/self/exe"), "{error}");
}

#[test]
fn users_without_groups_are_refused() {
    let ids = IdMap::default().uids(0, 1_000_000, 10).unwrap();
    let error = Plan::new(shell("")).user(ids).seal().unwrap_err();
    assert_eq!(error.to_string(), "plan: the id map needs a range of users and one of groups");
}
