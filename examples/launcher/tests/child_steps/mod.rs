//! Every step of the workspace in a plan that is started: one plan with all types, and the launcher's own recipe in its forms.

use ns_core::credentials::{CapSet, Credentials, Ids};
use ns_core::pty::Pty;
use ns_core::steps::{
    CpuAffinity, Domainname, Dup, HostLimits, Hostname, Keyring, Mkdir, Nice, OomScoreAdj, Open, Personality, Prctl, ProcessGroup, Reached,
    Rlimits, Session, Socket, SocketType, Symlink, Umask, Write,
};
use ns_core::{Exec, Exit, Fds, IdMap, Locked, Mark, Namespaces, Plan, Sealed, Setns, Slot, Step, Unshare};
use ns_mount::{
    Bind, Cgroup2, Devpts, Filesystem, JoinPayload, LeaveHost, Lock, Mount, Mqueue, PTS, PrivateHost, Proc, RUN_HOST, ReadOnlyRoot, Root,
    SealRunHost, Sysfs, detach, open_tree,
};
use ns_net::{LoopbackUp, RouteSocket};
use ns_seccomp::Install;
use nskit_launcher::assemble::{Host, LOCK, NOTIFY, PTY, STDIO, Site, TREE};
use nskit_launcher::guest::Tree;
use nskit_launcher::settings::{ConsoleMode, Parsed, PrivateUsers, Settings, parse};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The id that container root has outside.
const SHIFT: u32 = 900_000;
/// More find what needs luck, fewer end sooner.
fn starts() -> usize {
    if std::env::var_os("NSKIT_IN_RIG").is_some_and(|value| value == "1") { 3 } else { 10 }
}

/// A copy of the smallest test tree.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Scratch {
        let trees = std::env::var_os("NSKIT_TREES").map_or_else(|| PathBuf::from("/var/cache/nskit/trees"), PathBuf::from);
        let from = trees.join("busybox");
        assert!(from.join("bin/busybox").exists(), "no tree in {}: .ci/tree busybox makes it", from.display());
        let scratch = tempfile::Builder::new().prefix("nskit-child-").tempdir_in("/var/tmp").unwrap();
        let copied = Command::new("cp").arg("-a").arg(&from).arg(scratch.path().join("tree")).status().unwrap();
        assert!(copied.success());
        std::fs::create_dir(scratch.path().join("source")).unwrap();
        std::fs::write(scratch.path().join("source/file"), "text").unwrap();
        Scratch(scratch)
    }

    pub fn tree(&self) -> PathBuf {
        self.0.path().join("tree")
    }

    pub fn source(&self) -> PathBuf {
        self.0.path().join("source")
    }
}

fn detached(path: &Path) -> OwnedFd {
    detach(open_tree(path).unwrap().as_fd()).unwrap()
}

/// A plan that remembers the types of its steps.
struct Noted {
    plan: Plan,
    types: Vec<&'static str>,
}

fn name_of<S>() -> &'static str {
    std::any::type_name::<S>().rsplit("::").next().unwrap()
}

impl Noted {
    fn note<S>(mut self, add: impl FnOnce(Plan) -> Plan) -> Noted {
        self.types.push(name_of::<S>());
        self.plan = add(self.plan);
        self
    }

    fn outside<S: Step + 'static>(self, step: S) -> Noted {
        self.note::<S>(|plan| plan.outside(step))
    }

    fn inside<S: Step + 'static>(self, step: S) -> Noted {
        self.note::<S>(|plan| plan.inside(step))
    }
}

const DIR: Slot = Slot::new("directory");
const COPY: Slot = Slot::new("copy");
const FILE: Slot = Slot::new("file");
const MASTER: Slot = Slot::new("master");
const TERMINAL: Slot = Slot::new("terminal");
const ROUTE: Slot = Slot::new("route socket");
const BOUND: Slot = Slot::new("bound socket");
const LISTENING: Slot = Slot::new("listening socket");
const MADE: Mark = Mark("directory made");

/// Every type that is a step, by its name: compared with the sources by child_source.rs, and with what is started.
pub const TYPES: &[&str] = &[
    "Bind",
    "Cgroup2",
    "CpuAffinity",
    "Credentials",
    "Devpts",
    "Domainname",
    "Dup",
    "Hostname",
    "Ids",
    "Install",
    "JoinPayload",
    "Keyring",
    "LeaveHost",
    "Lock",
    "Locked",
    "LoopbackUp",
    "Mkdir",
    "Mount",
    "Mqueue",
    "Nice",
    "OomScoreAdj",
    "Open",
    "Personality",
    "Prctl",
    "PrivateHost",
    "Proc",
    "ProcessGroup",
    "Pty",
    "Reached",
    "ReadOnlyRoot",
    "Rlimits",
    "Root",
    "RouteSocket",
    "SealRunHost",
    "Session",
    "Setns",
    "Socket",
    "Symlink",
    "Sysfs",
    "Tmpfs",
    "Umask",
    "Unshare",
    "Write",
];

/// One plan with every type of step that there is.
pub struct Everything {
    scratch: Scratch,
    sealed: Sealed,
    types: Vec<&'static str>,
}

type Anything<T> = Result<T, Box<dyn std::error::Error>>;

impl Everything {
    pub fn new() -> Everything {
        let scratch = Scratch::new();
        let noted = payload(kernel(files(own(), &scratch.source()).unwrap()).unwrap()).unwrap();
        let sealed = noted.plan.seal().unwrap_or_else(|e| panic!("{e}"));
        let mut types = noted.types;
        types.sort_unstable();
        types.dedup();
        Everything { scratch, sealed, types }
    }

    pub fn start_often(&self) {
        assert_eq!(self.types, TYPES, "every type of step is in the plan");
        for n in 0..starts() {
            let fds = Fds::new().give(TREE, detached(&self.scratch.tree()));
            let fail = |e: ns_core::Error| -> ! { panic!("start {n}: {e}\n{}", self.sealed) };
            let mut held = self.sealed.hold(fds).unwrap_or_else(|e| fail(e));
            // A terminal is only there as long as its master is.
            let _sent = [MASTER, ROUTE, BOUND].map(|slot| held.wait_for(slot).unwrap_or_else(|e| fail(e)));
            let mut running = held.release().unwrap_or_else(|e| fail(e));
            assert_eq!(running.wait().unwrap(), Exit::Exited(0), "start {n}\n{}", self.sealed);
        }
    }
}

fn own() -> Noted {
    let exec = Exec::new("/no/such").unwrap().or("/bin/true").unwrap().env("A", "B").unwrap().stdio(TERMINAL).unwrap();
    let ids = IdMap::range(0, SHIFT, 65_536).unwrap();
    let plan = Plan::new(exec).given(TREE).user(ids).unshare(Namespaces::all()).kept();
    Noted { plan, types: Vec::new() }
}

fn files(noted: Noted, source: &Path) -> Anything<Noted> {
    let root = |tmpfs: ns_mount::Tmpfs| tmpfs.owner(SHIFT, SHIFT);
    let told = root(ns_mount::run_host()).file("os-release", 0o444, *b"ID=test\n")?.random_uuid("id", 0o444)?;
    let nodes = root(ns_mount::tmp()).dir("a", 0o755)?.fifo("a/fifo", 0o600)?.socket("a/socket", 0o600)?;
    let nodes = nodes.char_device("a/char", 0, 0, 0)?.block_device("a/block", 0, 0, 0)?.symlink("a/link", "fifo")?;
    let tmpfs = Filesystem::new("tmpfs")?.param("size", "64k")?;
    Ok(noted
        // Not in the payload: a group's leader can have no session.
        .outside(ProcessGroup)
        .outside(PrivateHost)
        .outside(Root::new(TREE).id_mapped().read_only().nosuid())
        .outside(root(ns_mount::dev()))
        .outside(Devpts::at("/dev/pts")?.gid(SHIFT + 5).max(16))
        .outside(Pty::in_devpts(PTS, MASTER).expecting(0).owned_by(SHIFT, SHIFT + 5).mode(0o620))
        .outside(root(ns_mount::dev_shm()))
        .outside(nodes)
        .outside(root(ns_mount::run()))
        .outside(told)
        .outside(
            Socket::new(SocketType::Datagram, BOUND)
                .bound(RUN_HOST, "notify")?
                .owned_by(SHIFT, SHIFT)
                .mode(0o600)
                .with_credentials()
                .sent(),
        )
        .outside(Socket::new(SocketType::Stream, LISTENING).bound(RUN_HOST, "listens")?.listening(4))
        .outside(Mount::new(tmpfs, "/mnt/own")?.owner(SHIFT, SHIFT))
        .outside(Bind::new(source, "/srv/mapped")?.id_mapped().owner(SHIFT, SHIFT))
        .outside(Bind::new(source, "/srv/read")?.read_only().nosuid().non_recursive().owner(SHIFT, SHIFT))
        .outside(Bind::new("/no/such", "/srv/none")?.optional()))
}

fn kernel(noted: Noted) -> Anything<Noted> {
    Ok(noted
        .outside(Proc::of_payload().owner(SHIFT, SHIFT))
        .outside(Lock::default_proc(true))
        .outside(JoinPayload::ipc_cgroup())
        .outside(Mqueue::at("/dev/mqueue")?)
        .outside(JoinPayload::network())
        .outside(Sysfs::skeleton().owner(SHIFT, SHIFT))
        .outside(Cgroup2::at("/sys/fs/cgroup")?)
        .outside(Lock::default_sys())
        .outside(SealRunHost)
        .outside(ReadOnlyRoot)
        .outside(LeaveHost)
        .outside(Setns::new(Slot::PAYLOAD, Namespaces::UTS))
        .outside(Mkdir::new("/tmp/made", 0o755)?.owned_by(SHIFT, SHIFT).kept_in(DIR))
        .outside(Write::new("text", "bytes")?.in_dir(DIR).create(0o600))
        .outside(Symlink::new("text", "link")?.in_dir(DIR))
        .outside(Open::new("text", FILE)?.in_dir(DIR).read_only().no_follow())
        .outside(Dup::new(FILE, COPY))
        .outside(Reached(MADE)))
}

fn payload(noted: Noted) -> Anything<Noted> {
    let cpus = rustix::thread::sched_getaffinity(None)?;
    let allowed = (0..u32::try_from(rustix::thread::CpuSet::MAX_CPU)?).filter(|cpu| cpus.is_set(*cpu as usize));
    let limits = Rlimits::boot_defaults(HostLimits::read()?).lowering_only();
    let max = Write::new("sys/user/max_user_namespaces", "100")?.in_dir(Slot::PROC).if_present();
    let noted = noted
        .inside(max)
        .inside(OomScoreAdj::new(100)?)
        .inside(Hostname::new("box")?)
        .inside(Domainname::new("example")?)
        .inside(LoopbackUp)
        .inside(RouteSocket::new(ROUTE))
        .inside(Keyring)
        .inside(limits)
        .inside(Umask::new(0o022))
        .inside(CpuAffinity::new(allowed)?)
        .inside(Nice::new(3)?)
        .inside(Personality::LINUX)
        .inside(Prctl::name("payload")?)
        .inside(Prctl::timer_slack(50_000))
        .inside(Unshare(Namespaces::UTS))
        .inside(Locked)
        .inside(Open::new("/dev/pts/0", TERMINAL)?.no_follow().pseudo_terminal())
        .inside(Session::new().controlling(TERMINAL))
        .inside(Ids::new(0, 0, [5])?)
        .inside(Credentials::root_with(CapSet::OS).build()?);
    let filter = ns_seccomp::profile::os().for_arches(ns_seccomp::Arch::native().accepted()).compile()?;
    Ok(noted.inside(Install::new(filter)))
}

/// The launcher's own recipe, in one of the forms that settings give it.
pub struct Recipe {
    scratch: Scratch,
    settings: Settings,
    console: ConsoleMode,
}

impl Recipe {
    /// With and without a console, a user namespace, a network, binds.
    pub fn each(run: impl Fn(&Recipe)) {
        let forms: [&[&str]; 4] = [
            &["--pipe"],
            &["--pipe", "--private-users=no", "--network=host"],
            &["--console=passive", "--read-only", "--bind=SOURCE:/srv/a:idmap", "--bind-ro=SOURCE:/srv/b"],
            &["--console=passive", "--private-users=no", "--bind-ro=SOURCE:/srv/b"],
        ];
        forms.into_iter().for_each(|form| run(&Recipe::new(form)));
    }

    fn new(options: &[&str]) -> Recipe {
        let scratch = Scratch::new();
        let source = scratch.source().to_str().unwrap().to_owned();
        let options = options.iter().map(|option| option.replace("SOURCE", &source));
        let tree = format!("--directory={}", scratch.tree().display());
        let line = ["ns-spawn".to_owned(), "--quiet".to_owned(), tree].into_iter().chain(options).chain(["/bin/true".to_owned()]);
        let Parsed::Run(settings) = parse(line, "/".as_ref()).unwrap_or_else(|e| panic!("{e}")) else { panic!("no start") };
        let console = settings.console.unwrap();
        Recipe { scratch, settings, console }
    }

    fn plan(&self) -> Sealed {
        let tree = Tree::open(&self.scratch.tree()).unwrap();
        let ids = (self.settings.users != PrivateUsers::No).then(|| IdMap::range(0, SHIFT, 65_536).unwrap());
        let site = Site {
            settings: &self.settings,
            ids,
            console: self.console,
            machine_id: nskit_launcher::guest::MachineId::new([7; 16]).unwrap(),
            root_user: tree.root_user().unwrap(),
            inits: Vec::new(),
            host: Host::read(),
            cgroup: false,
            locks: 1,
        };
        site.plan().unwrap_or_else(|e| panic!("{e}")).0
    }

    pub fn start_often(&self) {
        let sealed = self.plan();
        for n in 0..starts() {
            let null = || OwnedFd::from(std::fs::File::options().read(true).write(true).open("/dev/null").unwrap());
            let fds = Fds::new().give(TREE, detached(&self.scratch.tree())).give(LOCK, null());
            let pipe = self.console == ConsoleMode::Pipe;
            let fds = if pipe { STDIO.into_iter().fold(fds, |fds, slot| fds.give(slot, null())) } else { fds };
            let fail = |e: ns_core::Error| -> ! { panic!("start {n}: {e}\n{sealed}") };
            let mut held = sealed.hold(fds).unwrap_or_else(|e| fail(e));
            held.wait_for(NOTIFY).unwrap_or_else(|e| fail(e));
            let _pty = (!pipe).then(|| held.wait_for(PTY).unwrap_or_else(|e| fail(e)));
            let exit = held.release().unwrap_or_else(|e| fail(e)).wait().unwrap();
            assert_eq!(exit, Exit::Exited(0), "start {n}\n{sealed}");
        }
    }
}
