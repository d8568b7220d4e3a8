//! A program in a running container: how it is told of, and that it never keeps the container from ending.

mod common;

use common::{Act, Scripted, Shared, alone, ids, kill, shell};
use ns_core::credentials::{CapSet, Credentials};
use ns_core::{Entered, Errno, ErrorKind, Exec, Exit, Fds, Namespaces, PidFd, Plan, Running, Sealed, Slot, Word};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

const CONTAINER: Slot = Slot::new("container");
const OUT: Slot = Slot::new("output");
const ERR: Slot = Slot::new("errors");
const SOON: Duration = Duration::from_secs(20);

fn kinds() -> Namespaces {
    Namespaces::USER | Namespaces::PID | Namespaces::MOUNT | Namespaces::UTS | Namespaces::IPC
}

/// Its process 1 does nothing.
fn container() -> Running {
    let exec = shell("while :; do sleep 1000; done").env("PATH", "/usr/bin:/bin").unwrap();
    Plan::new(exec).user(ids()).unshare(kinds()).seal().unwrap().start(Fds::new()).unwrap()
}

fn plan(exec: Exec) -> Sealed {
    let exec = exec.env("PATH", "/usr/bin:/bin").unwrap();
    let exec = exec.pass(OUT, 1).unwrap().pass(ERR, 2).unwrap();
    let credentials = Credentials::root_with(CapSet::OS).build().unwrap();
    Plan::enter(exec, CONTAINER, kinds()).given(OUT).given(ERR).inside(credentials).seal().unwrap()
}

/// The program, its output, its errors.
fn enter(container: &Running, exec: Exec) -> (Entered, BufReader<File>, BufReader<File>) {
    let ((out, out_end), (err, err_end)) = (pipe(), pipe());
    let fds = Fds::new().lend(CONTAINER, container.pidfd()).give(OUT, out_end).give(ERR, err_end);
    (plan(exec).enter(fds).unwrap(), BufReader::new(out.into()), BufReader::new(err.into()))
}

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).unwrap()
}

fn next_word(entered: &mut Entered) -> Word {
    let limit = Timespec { tv_sec: SOON.as_secs() as i64, tv_nsec: 0 };
    loop {
        if let Some(word) = entered.next_word().unwrap() {
            return word;
        }
        let mut fds = [PollFd::new(entered, PollFlags::IN)];
        assert_ne!(poll(&mut fds, Some(&limit)), Ok(0), "no word came");
    }
}

fn end(mut container: Running) {
    container.payload().unwrap().signal(9).unwrap();
    assert!(container.payload().unwrap().ended_within(SOON), "the container does not end");
    assert_eq!(container.wait().unwrap(), Exit::Signalled(9));
}

fn line(from: &mut BufReader<File>) -> String {
    let mut text = String::new();
    from.read_line(&mut text).unwrap();
    text
}

#[test]
fn streams_are_separate_and_the_status_is_the_programs() {
    let alone = alone("entering");
    let container = container();
    let script = "echo out; echo err >&2; cat; test $(id -u) = 0 && exit 7";
    let (mut entered, mut out, mut err) = enter(&container, shell(script));
    assert_eq!(entered.wait().unwrap(), Some(Exit::Exited(7)));
    let (mut said, mut complained) = (String::new(), String::new());
    out.read_to_string(&mut said).unwrap();
    err.read_to_string(&mut complained).unwrap();
    assert_eq!((said.as_str(), complained.as_str()), ("out\n", "err\n"));
    assert!(entered.close(SOON));
    let (mut entered, ..) = enter(&container, shell("kill -KILL $$"));
    assert_eq!(entered.wait().unwrap(), Some(Exit::Signalled(9)));
    assert!(entered.close(SOON));
    end(container);
    drop((out, err));
    alone.nothing_left(&"entering");
}

#[test]
fn what_cannot_be_executed_is_told() {
    let _alone = alone("a program that isn't there");
    let container = container();
    let missing = Exec::new("/no/such").unwrap().or("/etc/passwd/x").unwrap().arg0("/no/such").unwrap();
    let (mut entered, ..) = enter(&container, missing);
    assert_eq!(next_word(&mut entered), Word::Failed(Errno::ENOENT, 0));
    assert_eq!(entered.wait().unwrap_err().to_string(), "exec in the container: No such file or directory");
    assert!(entered.close(SOON));
    let second = Exec::new("/no/such").unwrap().arg0("sh").unwrap().args(["-c", "exit 5"]).unwrap();
    let second = second.or("/bin/sh").unwrap().arg0("sh").unwrap().args(["-c", "exit 5"]).unwrap();
    let (mut entered, ..) = enter(&container, second);
    assert_eq!(entered.wait().unwrap(), Some(Exit::Exited(5)));
    assert!(entered.close(SOON));
    let (mut entered, ..) = enter(&container, Exec::new("/etc/passwd").unwrap());
    assert_eq!(next_word(&mut entered), Word::Failed(Errno::EACCES, 0));
    assert!(entered.close(SOON));
    end(container);
}

#[test]
fn the_program_has_a_pidfd_and_a_directory() {
    let _alone = alone("a program's pidfd");
    let container = container();
    let exec = shell("pwd; exec sleep 1000").directory("/usr").unwrap();
    let (mut entered, mut out, _err) = enter(&container, exec);
    assert_eq!(next_word(&mut entered), Word::Started);
    assert_eq!(line(&mut out), "/usr\n");
    let program = entered.program().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid().unwrap())).unwrap();
    let levels = status.lines().find(|line| line.starts_with("NSpid:")).unwrap();
    assert_eq!(levels.split_whitespace().count(), 3, "{levels}");
    program.signal(15).unwrap();
    assert_eq!(entered.wait().unwrap(), Some(Exit::Signalled(15)));
    assert!(entered.close(SOON));
    // A directory that isn't there is no reason not to run.
    let (mut entered, mut out, _err) = enter(&container, shell("pwd").directory("/no/such").unwrap());
    assert_eq!((entered.wait().unwrap(), line(&mut out)), (Some(Exit::Exited(0)), "/\n".into()));
    assert!(entered.close(SOON));
    end(container);
}

#[test]
fn a_container_ends_whatever_its_joiners_do() {
    let _alone = alone("a container's end");
    const STOP: i32 = 19;
    for stopped in [false, true] {
        let container = container();
        let (mut entered, mut out, _err) = enter(&container, shell("echo ready; exec sleep 1000"));
        assert_eq!((line(&mut out).as_str(), next_word(&mut entered)), ("ready\n", Word::Started));
        let joiner = entered.joiner().unwrap().pid().unwrap();
        if stopped {
            assert!(kill(joiner as i32, STOP));
        }
        end(container);
        if stopped {
            entered.joiner().unwrap().signal(18).unwrap();
        }
        assert_eq!(next_word(&mut entered), Word::Lost);
        assert_eq!(entered.wait().unwrap(), None);
        assert!(entered.close(SOON));
    }
    let container = container();
    let (entered, mut out, _err) = enter(&container, shell("echo ready; exec sleep 1000"));
    assert_eq!(line(&mut out), "ready\n");
    entered.joiner().unwrap().signal(9).unwrap();
    assert!(entered.close(SOON));
    end(container);
}

#[test]
fn a_lost_line_hangs_up() {
    let _alone = alone("a lost line");
    let container = container();
    let (entered, mut out, _err) = enter(&container, shell("trap 'echo hung up; exit' HUP; echo ready; while :; do sleep 0.1; done"));
    assert_eq!(line(&mut out), "ready\n");
    let joiner = PidFd::open(entered.joiner().unwrap().pid().unwrap()).unwrap();
    drop(entered);
    assert_eq!(line(&mut out), "hung up\n");
    assert!(joiner.ended_within(SOON));
    joiner.wait().unwrap();
    // The stopped hear it too.
    let (mut entered, mut out, _err) = enter(&container, shell("echo ready; kill -STOP $$; echo on"));
    assert_eq!(line(&mut out), "ready\n");
    assert_eq!(next_word(&mut entered), Word::Started);
    let program = PidFd::open(entered.program().unwrap().pid().unwrap()).unwrap();
    assert!(entered.close(SOON));
    assert!(program.ended_within(SOON));
    end(container);
}

/// As one whose cgroup is frozen before its exec.
#[test]
fn a_joiner_that_does_not_start_is_ended() {
    let alone = alone("a joiner that does not start");
    let container = container();
    let plan = Plan::enter(shell("true"), CONTAINER, kinds()).inside(Scripted::new(1, Act::Stop("for ever"), Shared::new()));
    let began = Instant::now();
    let error = plan.seal().unwrap().enter_within(Fds::new().lend(CONTAINER, container.pidfd()), Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.to_string(), "the program was not started within 200ms: is its cgroup frozen?");
    assert!(began.elapsed() >= Duration::from_millis(190) && began.elapsed() < SOON, "{:?}", began.elapsed());
    end(container);
    alone.nothing_left(&"the joiner");
}

#[test]
fn a_plan_that_does_more_is_refused() {
    let refused = |plan: Plan| {
        let error = plan.seal().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        error.to_string()
    };
    let enter = || Plan::enter(Exec::new("/bin/true").unwrap(), CONTAINER, kinds());
    let why = "plan: what enters a container makes no namespaces, and has no builder";
    assert_eq!(refused(enter().unshare(Namespaces::NET)), why);
    assert_eq!(refused(enter().kept()), why);
    let passed = Exec::new("/bin/true").unwrap().pass(OUT, 5).unwrap();
    assert_eq!(refused(Plan::enter(passed, CONTAINER, kinds()).given(OUT)), "exec: what enters a container is passed 0, 1 and 2 alone");
    let file = Exec::file(OUT, "x").unwrap();
    assert_eq!(refused(Plan::enter(file, CONTAINER, kinds()).given(OUT)), "exec: the stub needs a path to run");
    let other = Exec::new("/a").unwrap().arg("x").unwrap().or("/b").unwrap();
    assert!(refused(Plan::enter(other, CONTAINER, kinds())).ends_with("has the same arguments under every path"));
    let ordinary = Plan::new(Exec::new("/bin/true").unwrap()).seal().unwrap();
    assert_eq!(ordinary.enter(Fds::new()).unwrap_err().to_string(), "enter: the plan is none of Plan::enter");
    let text = enter().seal().unwrap().to_string();
    assert!(text.contains("join the user, mnt, pid, ipc, uts namespaces of container"), "{text}");
    assert!(text.contains("enter the pid namespace, exec /bin/true"), "{text}");
}

#[test]
fn a_container_that_has_gone_is_an_error() {
    let _alone = alone("a container that has gone");
    let container = container();
    let gone = PidFd::open(container.payload().unwrap().pid().unwrap()).unwrap();
    end(container);
    let (_out, out_end) = pipe();
    let fds = Fds::new().lend(CONTAINER, gone.as_fd()).lend(OUT, out_end.as_fd()).lend(ERR, out_end.as_fd());
    let error = plan(shell("true")).enter(fds).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ESRCH), "{error}");
}
