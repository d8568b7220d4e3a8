//! Processes of a running container, as the host sees them.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process by its pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(pub u32);

impl Process {
    fn path(self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.0))
    }

    /// A file of its directory in `/proc`, or nothing where it has gone.
    pub fn read(self, file: &str) -> String {
        fs::read(self.path(file)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Where a link of its directory in `/proc` leads.
    pub fn link(self, file: &str) -> String {
        fs::read_link(self.path(file)).map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// Its environment, sorted.
    pub fn environment(self) -> Vec<String> {
        let text = self.read("environ");
        let mut rows: Vec<_> = text.split_terminator('\0').map(str::to_owned).collect();
        rows.sort();
        rows
    }

    /// Its descriptors: number and what it is.
    pub fn descriptors(self) -> Vec<(u32, String)> {
        let files = fs::read_dir(self.path("fd")).into_iter().flatten().flatten();
        let mut rows: Vec<_> = files
            .filter_map(|file| Some((file.file_name().to_str()?.parse().ok()?, fs::read_link(file.path()).ok()?.display().to_string())))
            .collect();
        rows.sort();
        rows
    }

    /// The value of a row of its `status`.
    pub fn status(self, row: &str) -> Option<String> {
        let text = self.read("status");
        let line = text.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(':').map(str::trim));
        line.map(str::to_owned)
    }

    /// Its children.
    pub fn children(self) -> Vec<Process> {
        let tasks = fs::read_dir(self.path("task")).into_iter().flatten().flatten();
        let lists: String = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default()).collect();
        lists.split_whitespace().filter_map(|pid| pid.parse().ok().map(Process)).collect()
    }

    /// Whether it runs: one that only waits to be reaped doesn't.
    pub fn runs(self) -> bool {
        self.status("State").is_some_and(|state| !state.starts_with(['Z', 'X']))
    }

    /// Sends it a signal.
    pub fn signal(self, signal: Signal) {
        kill(Pid::from_raw(self.0 as i32), signal).unwrap_or_else(|e| panic!("kill({}, {signal}): {e}", self.0));
    }

    /// `kill(2)` with a number that has no name.
    pub fn signal_number(self, signal: i32) {
        let status = std::process::Command::new("kill").args([format!("-{signal}"), self.0.to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{signal} {}", self.0);
    }
}

/// Waits until it is true; fails with these words after the limit.
pub fn until(what: &str, limit: Duration, mut is_true: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
