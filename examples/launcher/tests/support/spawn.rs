//! The launcher, run with arguments: on pipes to its end, on pipes to be looked at, or on a terminal.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Process, Terminal, launcher, until, within};

/// A command line, not yet run. The environment is the test's, but for TERM.
pub struct Spawn {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    input: Option<Vec<u8>>,
    limit: Duration,
}

/// How a run ended, and what it said.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Spawn {
    /// `ns-spawn ARGUMENTS`
    pub fn new<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Spawn {
        let environment = vec![("TERM".into(), "vt220".into())];
        Spawn { program: launcher().into(), arguments: Vec::new(), environment, input: None, limit: within(60) }.args(arguments)
    }

    /// Another program.
    pub fn program<S: AsRef<OsStr>>(program: impl Into<OsString>, arguments: impl IntoIterator<Item = S>) -> Spawn {
        Spawn { program: program.into(), ..Spawn::new(arguments) }
    }

    /// More arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Spawn {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Arguments in front of those that are there.
    pub fn args_before<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Spawn {
        let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
        self.arguments.splice(0..0, arguments);
        self
    }

    /// A row of the launcher's environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Spawn {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// What the launcher's standard input has, and then ends; without it, it is `/dev/null`.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Spawn {
        self.input = Some(bytes.into());
        self
    }

    /// Behind a program that executes the rest of its line, as `unshare` and a shell's `exec "$@"` do.
    pub fn under<S: AsRef<OsStr>>(mut self, line: impl IntoIterator<Item = S>) -> Spawn {
        let mut line = line.into_iter().map(|word| word.as_ref().to_owned());
        let program = std::mem::replace(&mut self.program, line.next().expect("a program"));
        self.arguments.splice(0..0, line.chain([program]));
        self
    }

    /// How long [`Spawn::run`] waits.
    pub fn limit(mut self, limit: Duration) -> Spawn {
        self.limit = limit;
        self
    }

    /// As a command, for what this doesn't do.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        command
    }

    /// Runs it to its end, on pipes. One that doesn't end is killed, and fails the test with what it said.
    pub fn run(self) -> Ended {
        let limit = self.limit;
        self.start().finish(limit)
    }

    /// Starts it on pipes.
    pub fn start(self) -> Started {
        let input = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut command = self.command();
        let child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|e| panic!("{:?}: {e}", self.program));
        if let (Some(bytes), Some(mut stdin)) = (self.input, child.stdin.take()) {
            // A payload that doesn't read it all is the test's business.
            std::thread::spawn(move || drop(stdin.write_all(&bytes)));
        }
        let (stdout, stderr) = (Reader::new(child.stdout.take().unwrap()), Reader::new(child.stderr.take().unwrap()));
        Started { child, stdout, stderr }
    }

    /// Starts it on a terminal of 24 rows and 80 columns.
    pub fn terminal(self) -> Terminal {
        Terminal::start(self.command())
    }
}

/// A launcher that runs, on pipes; killed when dropped.
pub struct Started {
    child: Child,
    stdout: Reader,
    stderr: Reader,
}

impl Started {
    /// The launcher.
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Builder and keeper.
    pub fn keeper(&self) -> Process {
        keeper(self.process())
    }

    /// The container's first process.
    pub fn payload(&self) -> Process {
        payload(self.process())
    }

    /// What it has said on standard output.
    pub fn stdout(&self) -> Vec<u8> {
        self.stdout.so_far()
    }

    /// What it has said on standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.so_far()).into_owned()
    }

    /// Waits until it has said so, on standard output or error.
    pub fn expect(&mut self, text: &str, limit: Duration) {
        let began = Instant::now();
        loop {
            let said = format!("{}{}", String::from_utf8_lossy(&self.stdout()), self.stderr());
            if said.contains(text) {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            let hopeless = began.elapsed() > limit || ended.is_some();
            assert!(!hopeless, "{text:?} was not said within {limit:?} (ended: {ended:?}); it said:\n{said}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end.
    pub fn finish(mut self, limit: Duration) -> Ended {
        let Some(status) = wait(&mut self.child, limit) else {
            let tree = tree_of(self.process(), 0);
            let _ = self.child.kill();
            let said = format!("{}{}", String::from_utf8_lossy(&self.stdout()), self.stderr());
            panic!("the launcher did not end within {limit:?}; it said:\n{said}\nrunning:\n{tree}");
        };
        let (stdout, stderr) = (self.stdout.whole(limit), self.stderr.whole(limit));
        Ended { code: status.code(), stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
    }

    /// `SIGKILL`, and how it ended then.
    pub fn kill(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Ended {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Fails unless it ended with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.text(), self.stderr);
        self
    }

    /// Fails unless it said this on standard error.
    #[track_caller]
    pub fn said(self, text: &str) -> Ended {
        assert!(self.stderr.contains(text), "{text:?} is not in\n{}", self.stderr);
        self
    }
}

/// Builder and keeper of the container that this launcher runs.
pub(super) fn keeper(launcher: Process) -> Process {
    let mut found = None;
    until("the launcher has a keeper", within(10), || {
        found = launcher.children().first().copied();
        found.is_some()
    });
    found.unwrap()
}

/// The first process of the container that this launcher runs.
pub(super) fn payload(launcher: Process) -> Process {
    let mut found = None;
    until("the keeper has a payload", within(10), || {
        found = launcher.children().iter().flat_map(|keeper| keeper.children()).next();
        found.is_some()
    });
    found.unwrap()
}

/// A process and all below it, for the words of a failure.
pub(super) fn tree_of(process: Process, depth: usize) -> String {
    let line = format!(
        "{:1$}{2} {3} {4} {5}\n",
        "",
        depth * 2,
        process.0,
        process.read("comm").trim(),
        process.status("State").unwrap_or_default(),
        process.read("wchan"),
    );
    process.children().into_iter().fold(line, |text, child| text + &tree_of(child, depth + 1))
}

/// Ends a launcher whose test has failed: in its own way, so that nothing of it is in the way of other tests, or by force.
pub(super) fn end(child: &mut Child) {
    let running = |child: &mut Child| child.try_wait().is_ok_and(|status| status.is_none());
    for _ in 0..2 {
        if running(child) {
            Process(child.id()).signal(Signal::SIGTERM);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let _ = wait(child, within(5));
    let _ = child.kill();
    let _ = child.wait();
}

/// Waits for a child, but not for ever.
pub(super) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        match child.try_wait().unwrap() {
            None if began.elapsed() < limit => std::thread::sleep(Duration::from_millis(2)),
            status => return status,
        }
    }
}

/// A pipe, read by a thread as it fills.
struct Reader {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn new(mut from: impl Read + Send + 'static) -> Reader {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut space = [0; 65536];
            while let Ok(n) = from.read(&mut space) {
                if n == 0 {
                    return;
                }
                into.lock().unwrap().extend_from_slice(&space[..n]);
            }
        });
        Reader { bytes, thread }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    /// All of it: whoever has the pipe open has to close it.
    fn whole(&self, limit: Duration) -> Vec<u8> {
        until("the launcher has ended, and the end of its output", limit, || self.thread.is_finished());
        self.so_far()
    }
}

/// Whether this is the status of one that a signal ended.
pub fn killed_by(status: ExitStatus) -> Option<i32> {
    status.signal()
}
