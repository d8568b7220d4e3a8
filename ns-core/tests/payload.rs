//! What a payload is given before its exec, in one plan: a terminal of its own devpts, a session, names, limits, credentials.

use ns_core::credentials::{CapSet, Capability, Credentials};
use ns_core::pty::{self, Pty};
use ns_core::steps::{Hostname, Keyring, Resource, Rlimits, Session, Umask, Write};
use ns_core::{Exec, Exit, Fds, IdMap, Locked, Namespaces, Plan, Slot, Stepped};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

const DEVPTS: Slot = Slot::new("devpts");
const MASTER: Slot = Slot::new("the console's master");
const CONSOLE: Slot = Slot::new("the console");

/// A devpts that is attached nowhere.
fn devpts() -> OwnedFd {
    let context = fsopen(c"devpts", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    fsconfig_set_string(context.as_fd(), c"ptmxmode", c"0666").unwrap();
    fsconfig_create(context.as_fd()).unwrap();
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap()
}

fn read_all(master: OwnedFd) -> String {
    let mut text = Vec::new();
    // The master's reads end with EIO when nobody holds the slave any more.
    let _ = std::fs::File::from(master).read_to_end(&mut text);
    String::from_utf8(text).unwrap().replace('\r', "")
}

#[test]
fn a_payload_with_a_console() {
    // Only a session that a terminal controls can open /dev/tty.
    let script = "uname -n; umask; ulimit -n; id -u; grep -E '^Cap(Eff|Bnd|Amb)' /proc/self/status; test -t 0 && : </dev/tty";
    let exec = Exec::new("/bin/sh").unwrap().args(["-c", script]).unwrap().env("PATH", "/usr/bin:/bin").unwrap().stdio(CONSOLE).unwrap();
    let all = Namespaces::USER | Namespaces::UTS | Namespaces::IPC | Namespaces::MOUNT;
    let plan = Plan::new(exec)
        .given(DEVPTS)
        .user(IdMap::range(0, 1_000_000, 65536).unwrap())
        .unshare(all)
        .inside(Hostname::new("payload").unwrap())
        .inside(Keyring)
        .inside(Umask::new(0o027))
        .inside(Rlimits::new().set(Resource::OpenFiles, 100, 200).unwrap())
        .inside(Locked)
        .inside(Pty::in_devpts(DEVPTS, MASTER).slave(CONSOLE).expecting(0))
        .inside(Session::new().controlling(CONSOLE))
        .inside(Credentials::root_with(CapSet::OS).build().unwrap())
        .seal()
        .unwrap();
    let devpts = devpts();
    let mut running = plan.start(Fds::new().lend(DEVPTS, devpts.as_fd())).unwrap();
    let master = running.take(MASTER).expect("the master was sent");
    assert_eq!(pty::number(&master).unwrap(), 0);
    let text = read_all(master);
    assert_eq!(running.wait().unwrap(), Exit::Exited(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..4], ["payload", "0027", "100", "0"], "{text}");
    let os = format!("{:016x}", CapSet::OS.bits());
    assert_eq!(lines[4..], [format!("CapEff:\t{os}"), format!("CapBnd:\t{os}"), format!("CapAmb:\t{:016x}", 0)], "{text}");
}

fn status_of(credentials: Credentials) -> String {
    let mut command = std::process::Command::new("/bin/grep");
    command.args(["-E", "^(Uid|Cap|NoNewPrivs)", "/proc/self/status"]);
    let run = move || credentials.apply().map_err(|fault| std::io::Error::from_raw_os_error(fault.errno.raw_os_error()));
    use std::os::unix::process::CommandExt;
    // SAFETY: applying credentials keeps to the rules of a step, which are those of pre_exec.
    let output = unsafe { command.pre_exec(run) }.output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn credentials_outlive_exec() {
    let bind = CapSet::from(Capability::NetBindService);
    let status = status_of(Credentials::user(33, 33, []).keeping(bind).no_new_privs().build().unwrap());
    for line in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{line}:\t{:016x}\n", bind.bits())), "{status}");
    }
    assert!(status.contains("Uid:\t33\t33\t33\t33\n") && status.contains("NoNewPrivs:\t1\n"), "{status}");

    let own = CapSet::own_bounding().unwrap();
    let status = status_of(Credentials::user(33, 33, []).bounding(CapSet::OS).build().unwrap());
    assert!(status.contains("CapEff:\t0000000000000000\n"), "{status}");
    assert!(status.contains(&format!("CapBnd:\t{:016x}\n", (CapSet::OS & own).bits())), "{status}");
}

#[test]
fn steps_without_wires_serve_a_command() {
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "umask; ulimit -c"]);
    let core = Rlimits::new().set(Resource::Core, 0, 0).unwrap();
    let output = command.step(Umask::new(0o077)).unwrap().step(core).unwrap().output().unwrap();
    assert_eq!(output.stdout, b"0077\n0\n");
    assert!(command.step(Write::new("x", "y").unwrap().in_dir(DEVPTS)).is_err());
}
