//! The launchers, and how each is told to do the same.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the programs are.
pub struct Programs {
    spawn: PathBuf,
}

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// No launcher at all.
    Host,
    /// The least that is possible (floor/main.rs).
    Floor,
    NsSpawn,
    /// With the file systems that the others have, but for /sys, and nothing masked.
    Bubblewrap,
    /// With every mount that ns-spawn makes: masks and read-only parts of /proc and /sys, each a bind or a tmpfs of its own.
    BubblewrapSame,
    Nspawn,
}

impl Launcher {
    pub fn name(self) -> &'static str {
        match self {
            Launcher::Host => "no container",
            Launcher::Floor => "the floor",
            Launcher::NsSpawn => "ns-spawn",
            Launcher::Bubblewrap => "bubblewrap --unshare-all, no masks",
            Launcher::BubblewrapSame => "bubblewrap --unshare-all, same mounts",
            Launcher::Nspawn => "systemd-nspawn -U --private-network",
        }
    }
}

/// What bubblewrap has to be told for the mounts that ns-spawn makes below /proc and /sys, as far as this kernel has them. The cgroup file
/// system is bound, since bubblewrap mounts none.
fn masks() -> Vec<String> {
    let read_only = |path: &str| vec!["--ro-bind".to_owned(), path.to_owned(), path.to_owned()];
    let mask = |path: &str| match Path::new(path).is_dir() {
        true => vec!["--tmpfs".to_owned(), path.to_owned()],
        false => vec!["--ro-bind".to_owned(), "/dev/null".to_owned(), path.to_owned()],
    };
    let there = |path: &&str| Path::new(path).exists();
    let proc = ["/proc/sys", "/proc/sys/net", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/config.gz"];
    let sys = ["/sys/block", "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices", "/sys/kernel"];
    let cgroup = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].into_iter().find(there).unwrap_or("/sys/fs/cgroup");
    let below_proc = proc.into_iter().filter(there).flat_map(read_only).chain(MASKED_PROC.into_iter().filter(there).flat_map(mask));
    let sys = sys.into_iter().filter(there).flat_map(read_only);
    let skeleton = ["--tmpfs", "/sys"].map(str::to_owned).into_iter().chain(sys);
    let cgroup = ["--ro-bind", cgroup, "/sys/fs/cgroup"].map(str::to_owned);
    below_proc.chain(skeleton).chain(cgroup).chain(MASKED_SYS.into_iter().filter(there).flat_map(mask)).collect()
}

#[rustfmt::skip]
const MASKED_PROC: [&str; 14] = [
    "/proc/kcore", "/proc/keys", "/proc/kallsyms", "/proc/sysrq-trigger", "/proc/timer_list", "/proc/latency_stats", "/proc/sched_debug",
    "/proc/interrupts", "/proc/mtrr", "/proc/acpi", "/proc/asound", "/proc/scsi", "/proc/kmsg", "/proc/sys/kernel/random/boot_id",
];
/// Not /sys/firmware: it is no part of the skeleton.
const MASKED_SYS: [&str; 6] = [
    "/sys/kernel/security",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/kernel/config",
    "/sys/kernel/btf",
    "/sys/devices/virtual/powercap",
];
/// /sys apart.
#[rustfmt::skip]
const BUBBLEWRAP: [&str; 19] = [
    "--unshare-all", "--uid", "0", "--gid", "0", "--proc", "/proc", "--dev", "/dev", "--mqueue", "/dev/mqueue",
    "--tmpfs", "/dev/shm", "--tmpfs", "/tmp", "--tmpfs", "/run", "--tmpfs", "/run/host",
];
const NSPAWN: [&str; 6] =
    ["-q", "--private-users=pick", "--private-users-ownership=map", "--private-network", "--register=no", "--keep-unit"];

impl Programs {
    /// ns-spawn is `NSKIT_SPAWN`, or the one of this build, which is built if cargo runs us.
    pub fn find() -> io::Result<Programs> {
        if let Some(spawn) = std::env::var_os("NSKIT_SPAWN") {
            return Ok(Programs { spawn: spawn.into() });
        }
        if let Some(cargo) = std::env::var_os("CARGO") {
            let profile: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
            let built = Command::new(cargo).args(["build", "-q", "-p", "nskit-launcher"]).args(profile).status()?;
            if !built.success() {
                return Err(io::Error::other("ns-spawn could not be built"));
            }
        }
        let spawn = std::env::current_exe()?.with_file_name("ns-spawn");
        match spawn.is_file() {
            true => Ok(Programs { spawn }),
            false => Err(io::Error::other(format!("there is no {}: name it with NSKIT_SPAWN", spawn.display()))),
        }
    }

    /// Runs a program on a tree, or just runs it.
    pub fn run(&self, launcher: Launcher, tree: &Path, machine: &str, program: &[&str]) -> Command {
        let mut command = match (launcher, program) {
            (Launcher::Host, [program, arguments @ ..]) => with(program.as_ref(), arguments),
            _ => {
                let mut command = self.launch(launcher, tree, machine);
                command.args(program);
                command
            }
        };
        quiet(&mut command);
        command
    }

    fn launch(&self, launcher: Launcher, tree: &Path, machine: &str) -> Command {
        let mut command = match launcher {
            Launcher::Host | Launcher::Floor => with(env!("FLOOR").as_ref(), &[]),
            Launcher::NsSpawn => with(self.spawn.as_os_str(), &["-q", "-M", machine, "-D"]),
            Launcher::Bubblewrap | Launcher::BubblewrapSame => with("bwrap".as_ref(), &["--bind"]),
            Launcher::Nspawn => with("systemd-nspawn".as_ref(), &[&NSPAWN[..], &["-M", machine, "-D"]].concat()),
        };
        command.arg(tree);
        if matches!(launcher, Launcher::Bubblewrap | Launcher::BubblewrapSame) {
            command.arg("/").args(BUBBLEWRAP);
        }
        if launcher == Launcher::BubblewrapSame {
            command.args(masks());
        }
        command
    }

    /// Boots a tree whose word that it is ready is passed on.
    pub fn boot(&self, launcher: Launcher, tree: &Path, machine: &str, notify: &Path) -> Command {
        let mut command = self.launch(launcher, tree, machine);
        command.args(["-b", "--notify-ready=yes", "--console=read-only"]).env("NOTIFY_SOCKET", notify);
        quiet(&mut command);
        // On a host of both versions of cgroups, the guest is to see the same as ns-spawn's.
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
        command
    }
}

fn with(program: &OsStr, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn quiet(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
}

/// What went wrong when a program was started, for its row.
pub fn absent(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => "not run: it is not installed (.ci/install bench)".to_owned(),
        _ => format!("not run: {e}"),
    }
}
