//! What can't be: one clear line on standard error, exit code 1, at once, and nothing left of it.

#[path = "support/mounts.rs"]
mod mounts;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mounts::{in_own_mounts, mount, unmount};
use nix::libc;
use support::{Ended, Machine, Spawn, Started, Tree, in_own_network, within};

const WARNING: &str = "Warning: without a user namespace";

/// One line, but for the warnings of what was given up by choice, with these words in it.
#[track_caller]
fn is_refusal(ended: &Ended, about: &str, words: &[&str]) {
    let said = ended.stderr.as_str();
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with("Warning: ")).collect();
    assert_eq!((ended.code, ended.text().as_str()), (Some(1), ""), "{about}: {said}");
    assert!(lines.len() == 1 && said.ends_with('\n'), "{about}: not one line: {said}");
    assert!(lines[0].starts_with("ns-spawn: ") && lines[0].len() < 600, "{about}: {said}");
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{about}: {said:?}");
    for word in words {
        assert!(lines[0].contains(word), "{about}: {word:?} is not in {said}");
    }
}

#[track_caller]
fn refused(spawn: Spawn, words: &[&str]) {
    let began = Instant::now();
    let about = format!("{:?}", spawn.command().get_args().collect::<Vec<_>>());
    let ended = spawn.run();
    let took = began.elapsed();
    is_refusal(&ended, &about, words);
    assert!(took < within(5), "{about} took {took:?}");
}

/// A payload that says when it is there, and stays.
const STAYS: [&str; 3] = ["sh", "-c", "echo ready; exec sleep 1000"];

fn started(spawn: Spawn) -> Started {
    let mut running = spawn.args(STAYS).start();
    running.expect("ready\n", within(20));
    running
}

// ------------------------------------------------------------------------------------------------------------------------- the tree

#[test]
fn trees_that_are_none() {
    let machine = Machine::on(Tree::empty());
    let path = machine.tree.path().display().to_string();
    machine.tree.write("file", "");
    symlink("/", machine.tree.join("root")).unwrap();
    symlink("nowhere", machine.tree.join("dangling")).unwrap();
    let table: [(&str, &[&str], &[&str]); 8] = [
        ("none", &["true"], &["none", "No such file or directory"]),
        ("none/below", &["-b"], &["none/below", "No such file or directory"]),
        ("file", &["true"], &["file is not a directory"]),
        ("dangling", &["true"], &["dangling", "No such file or directory"]),
        ("root", &["true"], &["root directory is not supported"]),
        ("", &["true"], &["doesn't look like it has an OS tree", "/usr directory is missing"]),
        ("", &[], &["doesn't look like it has an OS tree", "/usr directory is missing"]),
        ("", &["-b"], &["doesn't look like it has an OS tree", "os-release file is missing"]),
    ];
    for (below, arguments, words) in table {
        let directory = format!("--directory={path}/{below}");
        refused(machine.plain_spawn([directory.as_str(), "--machine=m"]).args(arguments), words);
    }
    refused(machine.plain_spawn(["-M", "no-such-machine", "true"]), &["No image for machine 'no-such-machine'"]);
}

#[test]
fn trees_without_an_init_or_with_a_strange_file() {
    let machine = Machine::on(Tree::empty());
    machine.tree.write("usr/lib/os-release", "ID=test\n");
    refused(machine.spawn(["-b"]), &["has no init", "/usr/lib/systemd/systemd", "/sbin/init"]);
    machine.tree.write("sbin/init", "#!/bin/sh\n");
    refused(machine.spawn(["-b"]), &["has no init"]);
    machine.tree.script("sbin/init", "#!/no/interpreter\n");
    refused(machine.spawn(["-qb"]), &["/sbin/init", "No such file or directory"]);
    machine.tree.write("etc/os-release", &"A=b\n".repeat(20_000));
    refused(machine.spawn(["-b"]), &["etc/os-release is longer than 65536 bytes"]);
    fs::remove_file(machine.tree.join("etc/os-release")).unwrap();
    let fifo = Command::new("mkfifo").arg(machine.tree.join("etc/os-release")).status().unwrap();
    assert!(fifo.success());
    refused(machine.spawn(["-b"]), &["etc/os-release is not a regular file"]);
}

/// A tree whose name would write to the terminal.
#[test]
fn names_are_printed_harmlessly() {
    let machine = Machine::on(Tree::empty());
    let path = machine.tree.join("a\x1b[31m\nb");
    fs::create_dir(&path).unwrap();
    refused(machine.plain_spawn(["-D"]).args([path.as_os_str()]).args(["true"]), &["\\x1b[31m\\nb"]);
}

// --------------------------------------------------------------------------------------------------------------------- the program

#[test]
fn programs_that_are_none() {
    let machine = Machine::of("busybox");
    machine.tree.script("bad-interpreter", "#!/no/interpreter\n");
    machine.tree.script("empty", "");
    machine.tree.script("not-a-program", "\x7fELF and then nothing");
    machine.tree.write("not-executable", "#!/bin/sh\n");
    fs::create_dir(machine.tree.join("directory")).unwrap();
    symlink("loop", machine.tree.join("loop")).unwrap();
    let table = [
        ("/no/such", "No such file or directory"),
        ("no-such", "No such file or directory"),
        ("/bad-interpreter", "No such file or directory"),
        ("/empty", "Exec format error"),
        ("/not-a-program", "Exec format error"),
        ("/not-executable", "Permission denied"),
        ("/directory", "Permission denied"),
        ("/loop", "Too many levels of symbolic links"),
        ("/bin/busybox/below", "No such file or directory"),
    ];
    for users in ["--private-users=pick", "--private-users=no"] {
        for (program, errno) in table {
            refused(machine.spawn(["-q", users, program]), &[program, "execve", errno]);
        }
    }
}

// ------------------------------------------------------------------------------------------------------------------------ the binds

#[test]
fn binds_that_cannot_be() {
    let machine = Machine::of("busybox");
    machine.tree.write("file", "");
    symlink("loop", machine.tree.join("loop")).unwrap();
    let table: [(&str, &[&str]); 9] = [
        ("/no/such:/x", &["/no/such", "No such file or directory"]),
        ("/etc/passwd/below:/x", &["/etc/passwd/below", "Not a directory"]),
        ("/etc/passwd:/bin", &["/bin", "the target is a directory"]),
        ("/etc:/file", &["/file", "the target is not"]),
        ("/etc:/file/below", &["/file/below"]),
        ("/etc:/loop", &["/loop", "Too many levels of symbolic links"]),
        ("/etc:/proc/x", &["/proc/x"]),
        ("/etc:/sys/x", &["/sys/x"]),
        ("/etc:/x/../y", &["'..'"]),
    ];
    for (bind, words) in table {
        for option in ["--bind=", "--bind-ro="] {
            refused(machine.spawn(["-q", &format!("{option}{bind}"), "true"]), words);
        }
    }
}

// ------------------------------------------------------------------------------------------------------------------------- rights

/// A copy of the launcher that everybody may execute, wherever the tests were built.
fn launcher_for_all() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::Builder::new().prefix("nskit-launcher.").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.path().join("ns-spawn");
    fs::copy(support::launcher(), &path).unwrap();
    (dir, path)
}

/// The same command line, run by another launcher.
fn by(launcher: &Path, spawn: &Spawn) -> Command {
    let told = spawn.command();
    let mut command = Command::new(launcher);
    command.args(told.get_args()).envs(told.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    Ended { code: output.status.code(), stdout: output.stdout, stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
}

#[test]
fn an_ordinary_user_is_told_so() {
    let machine = Machine::of("busybox");
    let (_dir, launcher) = launcher_for_all();
    let runtime = tempfile::Builder::new().prefix("nskit-runtime.").tempdir_in("/var/tmp").unwrap();
    std::os::unix::fs::chown(runtime.path(), Some(65534), Some(65534)).unwrap();
    for users in ["--private-users=pick", "--private-users=identity", "--private-users=no"] {
        let spawn = machine.spawn(["-q", users, "true"]).env("NSKIT_RUN_DIR", runtime.path());
        let mut command = by(&launcher, &spawn);
        command.uid(65534).gid(65534);
        is_refusal(&ended(command), users, &["root"]);
    }
    fs::set_permissions(machine.tree.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = by(&launcher, &machine.spawn(["-q", "true"]).env("NSKIT_RUN_DIR", runtime.path()));
    command.uid(65534).gid(65534);
    is_refusal(&ended(command), "a tree of mode 700", &["Permission denied"]);
}

/// Root of a user namespace in which no other can be made: what `user.max_user_namespaces=0` is on a host.
#[test]
fn without_user_namespaces_it_names_the_sysctl() {
    let machine = Machine::of("busybox");
    let mut command = by(&support::launcher(), &machine.spawn(["-q", "true"]));
    // SAFETY: after fork, system calls alone but for paths that are written by a process of one thread.
    unsafe { command.pre_exec(enter_without_user_namespaces) };
    is_refusal(&ended(command), "max_user_namespaces=0", &["user namespaces are turned off", "user.max_user_namespaces"]);
}

/// Of a fork of ours, the child writes the id maps of the parent, which goes on in the new namespace.
fn enter_without_user_namespaces() -> std::io::Result<()> {
    let (mut from_parent, mut to_child) = pipe()?;
    let (mut from_child, mut to_parent) = pipe()?;
    let own = std::process::id();
    // SAFETY: one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let _ = from_parent.read_exact(&mut [0]);
        let maps = ["uid_map", "gid_map"].map(|map| fs::write(format!("/proc/{own}/{map}"), "0 0 4294967295"));
        let _ = to_parent.write_all(&[u8::from(maps.iter().all(Result::is_ok))]);
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    drop(to_parent);
    // SAFETY: namespaces of our own, before exec.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    to_child.write_all(&[1])?;
    let mut mapped = [0];
    from_child.read_exact(&mut mapped)?;
    // SAFETY: our child.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    if mapped == [0] {
        return Err(std::io::Error::other("the id maps"));
    }
    fs::write("/proc/sys/user/max_user_namespaces", "0")
}

fn pipe() -> std::io::Result<(fs::File, fs::File)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((read.into(), write.into()))
}

/// A host without cgroup v2: no device program, so no container with the host's ids. With ids of its own a command runs.
#[test]
fn without_a_device_program_there_is_no_start_with_the_hosts_ids() {
    in_own_mounts(|| {
        let machine = Machine::of("busybox");
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let cgroup2 = table.lines().filter(|line| line.contains(" - cgroup2 ")).map(|line| line.split(' ').nth(4).unwrap());
        cgroup2.for_each(|point| unmount(Path::new(point)));
        refused(machine.spawn(["-q", "--private-users=no", "true"]), &["cgroup2"]);
        refused(machine.spawn(["-q", "-b"]), &["cgroup2"]);
        machine.spawn(["true"]).run().expect(0).said("No cgroup: ");
    });
}

#[test]
fn a_run_that_is_read_only_is_named() {
    // Made and dropped outside: what it has in /run is covered in here.
    let machine = Machine::of("busybox");
    in_own_mounts(|| {
        mount("tmpfs", Path::new("/run"), "tmpfs", libc::MS_RDONLY, "size=64k");
        let spawn = Spawn::new([format!("--directory={}", machine.tree.path().display())]).args(["-q", "true"]);
        refused(spawn, &["/run/nskit", "Read-only file system"]);
    });
}

// --------------------------------------------------------------------------------------------------------------------- the network

#[test]
fn bridges_that_are_none() {
    let machine = Machine::of("busybox");
    in_own_network("br0", || {
        refused(machine.spawn(["-q", "--network-bridge=no-such", "true"]), &["no-such", "there is no bridge"]);
        refused(machine.spawn(["-q", "--network-bridge=lo", "true"]), &["lo", "not a bridge"]);
    });
}

#[test]
fn a_link_of_the_machines_name_is_in_the_way() {
    let machine = Machine::of("busybox");
    in_own_network("br0", || {
        let name = format!("vb-{}", machine.name());
        let mut socket = ns_net::Socket::open().unwrap();
        ns_net::Bridge::new(ns_net::IfName::new(&name).unwrap()).apply(&mut socket).unwrap();
        refused(machine.spawn(["-q", "--network-bridge=br0", "true"]), &[&name]);
        assert!(support::link(&name).is_some());
    });
}

// ----------------------------------------------------------------------------------------------------------------- what is in use

#[test]
fn a_tree_that_runs_is_busy_by_any_path() {
    let machine = Machine::of("busybox");
    let running = started(machine.spawn(["-q"]));
    let link = tempfile::tempdir().unwrap();
    symlink(machine.tree.path(), link.path().join("other")).unwrap();
    let busy = format!("busy: container {}, pid {}", machine.name(), running.process().0);
    refused(machine.spawn(["true"]), &[&busy]);
    refused(machine.spawn(["--private-users=no", "true"]), &[&busy]);
    refused(machine.spawn(["--read-only", "-M", "other", "true"]), &[&busy]);
    let other = format!("--directory={}", link.path().join("other").display());
    refused(machine.plain_spawn([&other, "true"]), &[&busy]);
    in_own_mounts(|| {
        let place = link.path().join("place");
        fs::create_dir(&place).unwrap();
        mount(&machine.tree.path().display().to_string(), &place, "", libc::MS_BIND, "");
        refused(machine.plain_spawn([&format!("--directory={}", place.display()), "true"]), &[&busy]);
    });
    assert!(running.payload().runs());
    end(running);
    machine.spawn(["-q", "true"]).run().expect(0);
}

fn end(running: Started) {
    running.process().signal(nix::sys::signal::Signal::SIGTERM);
    running.finish(within(20)).expect(1);
}

/// One's own range of ids, and every part of it.
#[test]
fn a_range_of_ids_that_is_taken() {
    let (machine, other) = (Machine::of("busybox"), Machine::of("busybox"));
    let start = 0x7000_0000u32 + (std::process::id() % 0x800) * 0x2_0000;
    let running = started(machine.spawn(["-q", &format!("--private-users={start}")]));
    for range in [format!("{start}"), format!("{}:1", start + 65_535), format!("{}:65537", start - 65_536), format!("{}", start + 1)] {
        refused(other.spawn(["-q", &format!("--private-users={range}"), "true"]), &["is in use"]);
    }
    other.spawn(["-q", &format!("--private-users={}", start + 65_536), "true"]).run().expect(0);
    refused(other.spawn(["-q", &format!("--private-users={start}:16000000"), "true"]), &["too large"]);
    end(running);
}

/// Two trees, one name: the second must not touch the first one's cgroup.
#[test]
fn a_name_that_runs_is_taken() {
    let (machine, other) = (Machine::of("busybox"), Machine::of("busybox"));
    let running = started(machine.spawn(["-q"]));
    for arguments in [["--private-users=pick", "-q"], ["--private-users=no", "-q"]] {
        refused(other.spawn(arguments).args(["-M", machine.name(), "true"]), &[machine.name()]);
    }
    std::thread::sleep(Duration::from_millis(100));
    assert!(running.payload().runs());
    end(running);
}

// ------------------------------------------------------------------------------------------------------------------ the command line

/// Each with what its one line has to hold. What is read in the end is told by the tests of the settings; here it is the whole program.
const NONSENSE: [(&[&str], &str); 60] = [
    (&["--unknown"], "'--unknown'"),
    (&["--netwrok=host"], "'--network'"),
    (&["-x"], "'-x'"),
    (&["-qx"], "'-x'"),
    (&["--\u{1b}[2J\n"], "\\x1b[2J\\n"),
    (&["--directory"], "--directory"),
    (&["-D"], "--directory"),
    (&["-D", ""], "--directory"),
    (&["--directory="], "--directory"),
    (&["-D", "/"], "root directory"),
    (&["-D", "//."], "root directory"),
    (&["-D", "/x/___", "true"], "-M"),
    (&["--machine"], "--machine"),
    (&["--machine="], "--machine"),
    (&["-M", "bad_name!"], "Invalid machine name"),
    (&["-M", "-x"], "Invalid machine name"),
    (&["-M", ".host"], "Invalid machine name"),
    (&["-M", "a/b"], "Invalid machine name"),
    (&["-M", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"], "Invalid machine name"),
    (&["--boot=yes"], "--boot"),
    (&["--quiet=1"], "--quiet"),
    (&["--read-only=no"], "--read-only"),
    (&["--dry-run=no"], "--dry-run"),
    (&["--private-users"], "--private-users"),
    (&["--private-users="], "--private-users"),
    (&["--private-users=0"], "--private-users"),
    (&["--private-users=-1"], "--private-users"),
    (&["--private-users=5:"], "--private-users"),
    (&["--private-users=5:0"], "--private-users"),
    (&["--private-users=maybe"], "'maybe'"),
    (&["--private-users=4294967295"], "--private-users"),
    (&["--private-users=99999999999999999999"], "--private-users"),
    (&["--private-network=yes"], "--private-network"),
    (&["--network-veth=yes"], "--network-veth"),
    (&["--network"], "--network"),
    (&["--network="], "--network"),
    (&["--network=none"], "'none'"),
    (&["--network=host", "-n"], "--network-veth"),
    (&["--network=host", "--private-network"], "--private-network"),
    (&["--network=host", "--network-bridge=br0"], "--network-bridge"),
    (&["--network-bridge"], "--network-bridge"),
    (&["--network-bridge="], "--network-bridge"),
    (&["--network-bridge=a/b"], "'a/b'"),
    (&["--network-bridge=1234567890123456"], "interface name"),
    (&["--bind"], "--bind"),
    (&["--bind="], "--bind"),
    (&["--bind-ro"], "--bind-ro"),
    (&["--bind-ro="], "--bind-ro"),
    (&["--bind=/a:b"], "absolute"),
    (&["--bind=/a:/"], "root"),
    (&["--bind=/a:/b:wrong"], "norbind"),
    (&["--bind=/a\\"], "backslash"),
    (&["--notify-ready"], "--notify-ready"),
    (&["--notify-ready=maybe"], "'maybe'"),
    (&["--console"], "--console"),
    (&["--console=loud"], "read-only"),
    (&["-P", "--console=passive"], "--pipe"),
    (&["--stop-timeout=0"], "'0'"),
    (&["--stop-timeout=5x"], "'5x'"),
    (&[""], "command"),
];

#[test]
fn every_option_with_nonsense() {
    let machine = Machine::of("busybox");
    for (arguments, words) in NONSENSE {
        refused(machine.spawn(arguments), &[words]);
    }
}

#[test]
fn help_is_no_refusal() {
    for arguments in [&["--help"][..], &["-h"], &["--version"], &["--console=help"]] {
        let ended = Spawn::new(arguments).run().expect(0);
        assert!(!ended.stdout.is_empty() && ended.stderr.is_empty(), "{arguments:?}: {}", ended.stderr);
    }
}

/// The warning of the host's ids is one line, and is said even to the quiet.
#[test]
fn giving_up_the_user_namespace_is_said_once() {
    let ended = Machine::of("busybox").spawn(["-q", "--private-users=no", "true"]).run().expect(0);
    assert!(ended.stderr.starts_with(WARNING) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
}
