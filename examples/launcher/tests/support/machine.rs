//! A machine under test, and what of it is left on the host afterwards: nothing may be.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nskit_launcher::registry::{IdRange, Places};
use nskit_launcher::settings::MachineName;
use tempfile::TempDir;

use super::{Guest, Spawn, Terminal, Tree, boot_time};

/// A tree and its machine's name; when dropped it compares the host with what it was, and fails where the test left something.
///
/// Other tests run at the same time: it looks for what carries this machine's name or this tree's path.
pub struct Machine {
    pub tree: Tree,
    run: TempDir,
    /// The lock file of the range of ids that the launcher picks for this name.
    range: PathBuf,
    before: BTreeSet<String>,
}

/// What has ended a moment ago may still be on its way out.
const GRACE: Duration = Duration::from_secs(5);

impl Machine {
    /// A machine on a copy of this tree.
    pub fn of(tree: &str) -> Machine {
        Machine::on(Tree::copy(tree))
    }

    /// A machine on a tree of the test's.
    pub fn on(tree: Tree) -> Machine {
        let run = tempfile::Builder::new().prefix("nskit-run.").tempdir_in("/run").expect("a directory for the launcher's state");
        let places = Places { run: run.path().into(), systemd: "/run/systemd".into(), etc: "/etc".into() };
        let picked = IdRange::pick(&places, &MachineName::new(tree.name()).unwrap()).unwrap().start();
        let range = Path::new("/run/systemd/nspawn-uid").join(picked.to_string());
        let mut machine = Machine { tree, run, range, before: BTreeSet::new() };
        machine.before = machine.fingerprint();
        machine
    }

    /// Its name: the tree's directory's.
    pub fn name(&self) -> &str {
        self.tree.name()
    }

    /// Where the launcher keeps its state in this test.
    pub fn run_dir(&self) -> &Path {
        self.run.path()
    }

    /// `ns-spawn --directory=TREE ARGUMENTS`; with `--machine=NAME` where the directory isn't called so.
    pub fn spawn<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Spawn {
        let directory = format!("--directory={}", self.tree.path().display());
        let spawn = self.plain_spawn([directory]);
        let named = self.tree.path().file_name().is_some_and(|file| file == self.name());
        let spawn = if named { spawn } else { spawn.args([format!("--machine={}", self.name())]) };
        spawn.args(arguments)
    }

    /// `ns-spawn ARGUMENTS`: the tree by another path, or none.
    pub fn plain_spawn<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Spawn {
        Spawn::new(arguments).env("NSKIT_RUN_DIR", self.run.path())
    }

    /// Boots it on a terminal, and logs in.
    pub fn boot<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Guest {
        Guest::log_in(self.spawn(["--boot"]).args_before(arguments).terminal())
    }

    /// Boots it on a terminal, up to the prompt.
    pub fn boot_to_prompt<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Terminal {
        let mut terminal = self.spawn(["--boot"]).args_before(arguments).terminal();
        terminal.expect("login:", boot_time());
        terminal
    }

    /// The machine's cgroup, while there is one.
    pub fn cgroup(&self) -> Option<PathBuf> {
        let mut found = Vec::new();
        walk(&cgroup2(), 3, &mut found);
        found.into_iter().find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(self.name())))
    }

    /// Everything of this machine that is on the host now, a line each.
    pub fn fingerprint(&self) -> BTreeSet<String> {
        let (name, path) = (self.name(), self.tree.path().display().to_string());
        let ours = |text: &str| text.contains(name) || text.contains(&path);
        let mut found = BTreeSet::new();
        let mounts = read("/proc/self/mountinfo");
        found.extend(mounts.lines().filter(|line| ours(line)).map(|line| format!("mount {line}")));
        found.extend(super::network::links().into_iter().filter(|link| ours(link)).map(|link| format!("link {link}")));
        let mut cgroups = Vec::new();
        walk(&cgroup2(), 4, &mut cgroups);
        let cgroups = cgroups.iter().map(|cgroup| cgroup.display().to_string());
        found.extend(cgroups.filter(|cgroup| ours(cgroup)).map(|cgroup| format!("cgroup {cgroup}")));
        found.extend(processes(name, &path));
        for directory in ["/tmp", "/var/tmp", "/run/systemd/nspawn", "/run/nskit"] {
            let files = entries(Path::new(directory)).into_iter().map(|file| file.display().to_string());
            found.extend(files.filter(|file| ours(file)).map(|file| format!("file {file}")));
        }
        found.extend(self.locks());
        found
    }

    /// Lock files, of whichever program.
    fn locks(&self) -> BTreeSet<String> {
        let mut found: BTreeSet<String> = files_below(self.run.path()).into_iter().map(|file| format!("file {}", file.display())).collect();
        if let Ok(tree) = self.tree.path().metadata() {
            let lock = format!("/run/systemd/nspawn/locks/inode-{}:{}", tree.dev(), tree.ino());
            found.extend(Path::new(&lock).exists().then(|| format!("lock {lock}")));
        }
        found.extend(self.range.exists().then(|| format!("lock {}", self.range.display())));
        found
    }

    /// Fails if there is more than there was.
    pub fn check(&self) {
        let began = Instant::now();
        loop {
            let now = self.fingerprint();
            let left: Vec<_> = now.difference(&self.before).cloned().collect();
            if left.is_empty() {
                return;
            }
            assert!(began.elapsed() < GRACE, "machine {} left behind:\n{}", self.name(), left.join("\n"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}

fn read(path: impl AsRef<Path>) -> String {
    let mut bytes = Vec::new();
    let opened = fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    opened.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let (directories, mut files): (Vec<_>, Vec<_>) =
        entries(directory).into_iter().partition(|path| path.symlink_metadata().is_ok_and(|m| m.is_dir()));
    files.extend(directories.iter().flat_map(|directory| files_below(directory)));
    files
}

fn walk(directory: &Path, depth: u32, into: &mut Vec<PathBuf>) {
    for path in entries(directory).into_iter().filter(|path| path.is_dir()) {
        into.push(path.clone());
        if depth > 0 {
            walk(&path, depth - 1, into);
        }
    }
}

/// Where cgroup v2 is, on a pure or a hybrid host.
fn cgroup2() -> PathBuf {
    let hybrid = PathBuf::from("/sys/fs/cgroup/unified");
    if hybrid.is_dir() { hybrid } else { "/sys/fs/cgroup".into() }
}

/// Of this machine, by what they were started with, by their cgroup, or by a mount namespace that has the tree.
fn processes(name: &str, path: &str) -> Vec<String> {
    let own = fs::read_link("/proc/self/ns/mnt").unwrap_or_default();
    let pids =
        entries(Path::new("/proc")).into_iter().filter(|dir| dir.file_name().is_some_and(|n| n.as_encoded_bytes()[0].is_ascii_digit()));
    let is_ours = |dir: &PathBuf| {
        let elsewhere = fs::read_link(dir.join("ns/mnt")).is_ok_and(|ns| ns != own);
        read(dir.join("cmdline")).contains(path)
            || read(dir.join("cgroup")).contains(name)
            || elsewhere && read(dir.join("mountinfo")).contains(path)
    };
    let describe = |dir: PathBuf| format!("process {} {}", dir.display(), read(dir.join("comm")).trim());
    pids.filter(is_ours).map(describe).collect()
}
