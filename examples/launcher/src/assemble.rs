//! The recipe: what was asked for and what the tree says, made into a plan. The only place that knows every crate.

pub(crate) mod environment;
mod slots;

pub use environment::Host;
pub(crate) use environment::PATH;
pub use slots::{CGROUP, LOCK, NOTIFY, PTY, STDIO, TREE};

use crate::guest::{Login, MachineId, RootUser};
use crate::registry::{Protections, ResourceLimit};
use crate::settings::{Bind, BindOptions, ConsoleMode, NetworkNamespace, Payload, Settings};
use crate::{Error, Kind};
use ns_core::credentials::{CapSet, Capability, Credentials};
use ns_core::pty::Pty;
use ns_core::steps::{HostLimits, Hostname, Keyring, Open, Personality, Rlimits, Session, Socket, SocketType, Umask, Write};
use ns_core::{Exec, IdMap, Locked, Mark, Namespaces, Plan, Sealed, Slot};
use ns_mount::{
    Cgroup2, Devpts, JoinPayload, LeaveHost, Lock, Mqueue, PTS, PrivateHost, Proc, RUN_HOST, ReadOnlyRoot, Root, SealRunHost, Sysfs,
};
use ns_net::LoopbackUp;
use ns_seccomp::{Install, Program};
use slots::TTY;
use std::ffi::CString;

/// What records call it.
const OS_NAME: &str = "os";
/// The filter, compiled when this program was.
pub(crate) const OS: Program = include!(concat!(env!("OUT_DIR"), "/os.filter.rs"));

/// What was found out before a plan can be made: nothing here is looked up again.
#[derive(Debug)]
pub struct Site<'a> {
    /// What the user asked for.
    pub settings: &'a Settings,
    /// The user namespace's ids; `None`: the host's.
    pub ids: Option<IdMap>,
    /// What the payload's standard descriptors are.
    pub console: ConsoleMode,
    /// The machine id that the payload is told.
    pub machine_id: MachineId,
    /// The tree's root user.
    pub root_user: RootUser,
    /// The tree's init candidates, for a boot.
    pub inits: Vec<CString>,
    /// What the payload is told of the host.
    pub host: Host,
    /// Whether the payload gets a cgroup.
    pub cgroup: bool,
    /// How many locks the keeper is to hold: [`LOCK`] and its `nth`.
    pub locks: u16,
}

impl Site<'_> {
    /// The whole start, as a value; and what the payload is held by, for those who join it.
    ///
    /// # Errors
    /// A path or name that no system call takes.
    pub fn plan(&self) -> Result<(Sealed, Protections), Error> {
        let limits = Rlimits::boot_defaults(HostLimits::read().map_err(Error::host)?).lowering_only();
        let credentials = self.credentials()?;
        let protections = self.protections(&credentials, &limits)?;
        let plan = self.namespaces(self.locked(Plan::new(self.exec()?).given(TREE).kept()));
        let plan = self.file_systems(plan)?;
        let plan = self.kernel_file_systems(plan)?;
        // Last: nothing that is bound covers what locks were made of.
        let plan = self.settings.binds.iter().try_fold(plan, |plan, bind| Ok::<_, Error>(plan.outside(self.bind(bind)?)))?;
        let plan = if self.settings.read_only { plan.outside(ReadOnlyRoot) } else { plan };
        let plan = plan.outside(LeaveHost);
        // Inside: first what needs the host's view, then the lock, then what has no way back.
        let plan = self.limits_of_namespaces(plan)?;
        let plan = plan.inside(Hostname::new(self.settings.machine.as_str()).map_err(Error::host)?);
        let plan = if self.has_own_network() { plan.inside(LoopbackUp) } else { plan };
        let plan = plan.inside(Personality::LINUX).inside(limits.clone()).inside(Umask::new(0o022));
        // While the builder mounts, and not after: what is kept is enough for the rest, and the filter allows it. The keyring comes after
        // the ids: it is then the container root's, and counts against its quota.
        let plan = plan.inside(credentials.after(Mark::JOINED)).inside(Keyring).inside(Install::new(OS));
        let sealed = self.terminal(plan.inside(Locked))?.seal().map_err(Error::host)?;
        Ok((sealed, protections))
    }

    /// The keeper holds every lock until the payload is gone.
    fn locked(&self, plan: Plan) -> Plan {
        (0..self.locks).map(|n| LOCK.nth(n)).fold(plan, |plan, lock| plan.given(lock).holding(lock))
    }

    fn is_private(&self) -> bool {
        self.settings.network.is_private()
    }

    /// One that is made with the container, and not one that was there and is the builder's too.
    fn has_own_network(&self) -> bool {
        self.settings.network.namespace == NetworkNamespace::Own
    }

    fn has_pty(&self) -> bool {
        self.console != ConsoleMode::Pipe
    }

    /// The container's root, as the host sees it.
    fn root(&self) -> (u32, u32) {
        self.ids.as_ref().map_or((0, 0), |ids| (ids.outside_uid(0).unwrap_or(0), ids.outside_gid(0).unwrap_or(0)))
    }

    fn namespaces(&self, plan: Plan) -> Plan {
        let own = Namespaces::MOUNT | Namespaces::PID | Namespaces::IPC | Namespaces::UTS;
        let plan = match &self.ids {
            Some(ids) => plan.user(ids.clone()),
            None => plan,
        };
        let plan = if self.cgroup { plan.given(CGROUP).into_cgroup(CGROUP) } else { plan };
        let network = if self.has_own_network() { Namespaces::NET } else { Namespaces::empty() };
        plan.unshare(own | Namespaces::CGROUP | network)
    }

    /// The tree, and the file systems of ours on it.
    fn file_systems(&self, plan: Plan) -> Result<Plan, Error> {
        let (uid, gid) = self.root();
        let mut tree = Root::new(TREE);
        if self.ids.is_some() {
            tree = tree.id_mapped();
        }
        if self.settings.read_only {
            tree = tree.read_only();
        }
        let dev = if self.has_pty() { ns_mount::dev() } else { ns_mount::dev_without_console() };
        let tty_group = self.ids.as_ref().map_or(Some(5), |ids| ids.outside_gid(5)).unwrap_or(gid);
        let devpts = Devpts::at("/dev/pts").map_err(Error::host)?.gid(tty_group).max(1024);
        let mut plan = plan.outside(PrivateHost).outside(tree).outside(dev.owner(uid, gid)).outside(devpts);
        if self.has_pty() {
            plan = plan.outside(Pty::in_devpts(PTS, PTY).owned_by(uid, tty_group));
        }
        Ok(plan
            .outside(ns_mount::dev_shm().owner(uid, gid))
            .outside(ns_mount::tmp().owner(uid, gid))
            .outside(ns_mount::run().owner(uid, gid))
            .outside(self.run_host()?)
            .outside(self.notify_socket()?))
    }

    /// What the guest is told of its container.
    fn run_host(&self) -> Result<ns_mount::Tmpfs, Error> {
        let (uid, gid) = self.root();
        let tmpfs = ns_mount::run_host().owner(uid, gid);
        let tmpfs = tmpfs.file("container-manager", 0o444, environment::MANAGER.to_owned() + "\n").map_err(Error::host)?;
        let tmpfs = tmpfs.file("container-uuid", 0o444, self.machine_id.hyphenated() + "\n").map_err(Error::host)?;
        tmpfs.file("os-release", 0o444, self.host.os_release.clone()).map_err(Error::host)
    }

    fn notify_socket(&self) -> Result<Socket, Error> {
        let (uid, gid) = self.root();
        let socket = Socket::new(SocketType::Datagram, NOTIFY).bound(RUN_HOST, "notify").map_err(Error::host)?;
        Ok(socket.owned_by(uid, gid).mode(0o600).with_credentials().sent())
    }

    fn bind(&self, bind: &Bind) -> Result<ns_mount::Bind, Error> {
        let (uid, gid) = self.root();
        let mut step = ns_mount::Bind::new(&bind.source, &bind.target).map_err(Error::host)?.owner(uid, gid);
        if bind.options.contains(BindOptions::READ_ONLY) {
            step = step.read_only();
        }
        if bind.options.contains(BindOptions::NOT_RECURSIVE) {
            step = step.non_recursive();
        }
        if bind.options.contains(BindOptions::ID_MAPPED) && self.ids.is_some() {
            step = step.id_mapped();
        }
        Ok(step)
    }

    /// The kernel's own file systems, as the payload's namespaces show them, and what of them is locked. The network namespace is the dearest
    /// part, which the payload makes meanwhile: what needs it comes last.
    fn kernel_file_systems(&self, plan: Plan) -> Result<Plan, Error> {
        let (uid, gid) = self.root();
        let plan = plan
            .outside(self.joined())
            .outside(Mqueue::at("/dev/mqueue").map_err(Error::host)?)
            .outside(Proc::of_payload().owner(uid, gid))
            .outside(Lock::default_proc(self.is_private()))
            .outside(SealRunHost);
        let plan = if self.has_own_network() { plan.outside(JoinPayload::network().last()) } else { plan };
        let sysfs = if self.is_private() { Sysfs::skeleton() } else { Sysfs::whole() };
        let plan = plan.outside(sysfs.owner(uid, gid));
        Ok(plan.outside(Cgroup2::at("/sys/fs/cgroup").map_err(Error::host)?).outside(Lock::default_sys()))
    }

    fn joined(&self) -> JoinPayload {
        if self.has_own_network() { JoinPayload::ipc_cgroup() } else { JoinPayload::ipc_cgroup().last() }
    }

    /// A payload may make namespaces of its own, but not so many that the kernel suffers.
    fn limits_of_namespaces(&self, plan: Plan) -> Result<Plan, Error> {
        if self.ids.is_none() {
            return Ok(plan);
        }
        let kinds =
            [("user", 256), ("cgroup", 1024), ("ipc", 1024), ("mnt", 1024), ("net", 1024), ("pid", 1024), ("time", 1024), ("uts", 1024)];
        kinds.into_iter().try_fold(plan, |plan, (kind, most)| {
            let write = Write::new(format!("sys/user/max_{kind}_namespaces"), most.to_string()).map_err(Error::host)?;
            // Time namespaces can be left out of a kernel, and there is nothing to limit then.
            let write = write.in_dir(Slot::PROC);
            Ok(plan.inside(if kind == "time" { write.if_present() } else { write }))
        })
    }

    /// A session of its own, on the container's console where it has one.
    fn terminal(&self, plan: Plan) -> Result<Plan, Error> {
        if !self.has_pty() {
            let plan = STDIO.into_iter().fold(plan, Plan::given);
            return Ok(plan.inside(Session::new()));
        }
        let open = Open::new("/dev/pts/0", TTY).map_err(Error::host)?.no_follow().pseudo_terminal();
        Ok(plan.inside(open).inside(Session::new().controlling(TTY)))
    }

    /// Without a user namespace a payload has no capability that the launcher's own bounding set lacks.
    fn protections(&self, credentials: &Credentials, limits: &Rlimits) -> Result<Protections, Error> {
        let limits = limits.resolved().map_err(Error::host)?;
        let there = if self.ids.is_some() { CapSet::all() } else { CapSet::own_bounding().map_err(Error::host)? };
        Ok(Protections {
            capabilities: credentials.bounding() & there,
            no_new_privileges: credentials.has_no_new_privs(),
            securebits: credentials.secure_bits(),
            filter: Some(OS_NAME.to_owned()),
            limits: limits.rows().map(|(resource, soft, hard)| ResourceLimit { resource, soft, hard }).collect(),
        })
    }

    fn credentials(&self) -> Result<Credentials, Error> {
        let kept = CapSet::OS;
        let kept = if self.is_private() { kept } else { kept - CapSet::of(&[Capability::NetAdmin]) };
        Credentials::root_with(kept).build().map_err(Error::host)
    }

    fn exec(&self) -> Result<Exec, Error> {
        let exec = match &self.settings.payload {
            Payload::Boot(arguments) => self.alternatives(&self.inits, arguments)?,
            Payload::Command(words) => command(words)?,
            Payload::Shell => shell(&self.root_user.logins())?.directory(&self.root_user.home).map_err(Error::host)?,
        };
        let exec = if self.has_pty() {
            exec.stdio(TTY).map_err(Error::host)?
        } else {
            STDIO.into_iter().zip(0..).try_fold(exec, |exec, (slot, number)| exec.pass(slot, number)).map_err(Error::host)?
        };
        environment::set(self, exec)
    }

    fn alternatives(&self, paths: &[CString], arguments: &[std::ffi::OsString]) -> Result<Exec, Error> {
        let mut exec: Option<Exec> = None;
        for path in paths {
            let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path.to_bytes());
            let next = exec.map_or_else(|| Exec::new(path), |exec| exec.or(path)).map_err(Error::host)?;
            exec = Some(next.args(arguments).map_err(Error::host)?);
        }
        exec.ok_or_else(|| Error::new(Kind::Tree, "The tree has no init"))
    }
}

/// A name without a slash is looked for where the payload's own PATH would.
pub(crate) fn command(words: &[std::ffi::OsString]) -> Result<Exec, Error> {
    let Some((program, arguments)) = words.split_first() else { return Err(Error::new(Kind::Usage, "The command is empty")) };
    let bytes = program.as_encoded_bytes();
    if bytes.contains(&b'/') {
        return Exec::new(program).and_then(|exec| exec.args(arguments)).map_err(Error::host);
    }
    let mut exec: Option<Exec> = None;
    for directory in environment::PATH.split(':') {
        let path = std::path::Path::new(directory).join(program);
        let next = exec.map_or_else(|| Exec::new(&path), |exec| exec.or(&path)).map_err(Error::host)?;
        exec = Some(next.arg0(program).and_then(|exec| exec.args(arguments)).map_err(Error::host)?);
    }
    exec.ok_or_else(|| Error::new(Kind::Usage, "The command is empty"))
}

fn shell(logins: &[Login]) -> Result<Exec, Error> {
    let mut exec: Option<Exec> = None;
    for login in logins {
        let text = |c: &CString| -> std::ffi::OsString { std::os::unix::ffi::OsStringExt::from_vec(c.to_bytes().to_vec()) };
        let path = text(&login.path);
        let next = exec.map_or_else(|| Exec::new(&path), |exec| exec.or(&path)).map_err(Error::host)?;
        exec = Some(next.arg0(text(&login.arg0)).map_err(Error::host)?);
    }
    exec.ok_or_else(|| Error::new(Kind::Tree, "The tree has no shell"))
}
