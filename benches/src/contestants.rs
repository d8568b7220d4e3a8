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
    /// With the file systems that the others have, but for /sys.
    Bubblewrap,
    /// And with the host's /sys.
    BubblewrapSys,
    Nspawn,
}

impl Launcher {
    pub fn name(self) -> &'static str {
        match self {
            Launcher::Host => "no container",
            Launcher::Floor => "the floor",
            Launcher::NsSpawn => "ns-spawn",
            Launcher::Bubblewrap => "bubblewrap --unshare-all",
            Launcher::BubblewrapSys => "bubblewrap --unshare-all, /sys too",
            Launcher::Nspawn => "systemd-nspawn -U --private-network",
        }
    }
}

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
            Launcher::Bubblewrap | Launcher::BubblewrapSys => with("bwrap".as_ref(), &["--bind"]),
            Launcher::Nspawn => with("systemd-nspawn".as_ref(), &[&NSPAWN[..], &["-M", machine, "-D"]].concat()),
        };
        command.arg(tree);
        if matches!(launcher, Launcher::Bubblewrap | Launcher::BubblewrapSys) {
            command.arg("/").args(BUBBLEWRAP);
        }
        if launcher == Launcher::BubblewrapSys {
            command.args(["--ro-bind", "/sys", "/sys"]);
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
