//! One start of a container under `ptrace(2)`: its calls are listed, or something is done at one of them. `strace` counts in each process
//! for itself, and would inject into all of them and into the payload's program; here a call is one of one process, before that program.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Launcher,
    /// The launcher's child, which becomes the keeper.
    Builder,
    /// The builder's first child.
    Payload,
    /// Any other child: on older kernels, the one that is born into the payload's process namespace.
    Helper,
}

/// One call of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub role: Role,
    pub number: u32,
    /// How many calls of this number this process has made before.
    pub nth: u32,
    /// Before the payload's program runs.
    pub starting: bool,
}

impl Call {
    /// Its name.
    pub fn name(&self) -> &'static str {
        ns_seccomp::syscall::name(ns_seccomp::Arch::native(), self.number).unwrap_or("?")
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}'s {} {}", self.role, self.name(), self.nth + 1)
    }
}

impl Call {
    fn is(&self, other: &Call) -> bool {
        (self.role, self.number, self.nth) == (other.role, other.number, other.nth)
    }
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// The call isn't made, and fails.
    Fail(i32),
    /// `SIGKILL` to these, as far as they are there.
    Kill(&'static [Role]),
    /// The process is stopped, for good; after a while the launcher is killed.
    StopThenKillLauncher,
}

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    pub calls: Vec<Call>,
    /// The place was come to.
    pub done: bool,
    /// The payload's program ran.
    pub started: bool,
    /// The launcher's exit code; none where a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<Signal>,
    pub stdout: String,
    pub stderr: String,
    /// It was ended since it did not end by itself.
    pub hung: bool,
    /// From the deed to the end of the last process that was traced.
    pub after: Duration,
    /// Stopped, and no longer traced.
    pub left: Option<i32>,
}

struct Tracee {
    role: Role,
    calls: BTreeMap<u32, u32>,
    /// Its first stop, which is ptrace's own, has been.
    began: bool,
    /// The payload's program, or below it.
    program: bool,
}

impl Tracee {
    fn new(role: Role) -> Tracee {
        Tracee { role, calls: BTreeMap::new(), began: false, program: false }
    }
}

struct Tracer {
    what: Option<(Call, Act)>,
    tracees: BTreeMap<i32, Tracee>,
    /// Children that stopped before their parent's stop told of them.
    early: Vec<i32>,
    /// The same, for the one that ends everything when time is up.
    pids: Arc<Mutex<Vec<i32>>>,
    run: Run,
    deed: Instant,
    launcher: i32,
}

/// Runs it to the end of all that is traced. With a call to do something at, only calls of its number are stopped at, and listed.
pub fn run(command: Command, what: Option<(Call, Act)>, limit: Duration) -> Run {
    let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let launcher = spawn(command, &out, &err, filter(what));
    let run = Run {
        calls: Vec::new(),
        done: false,
        started: false,
        code: None,
        signal: None,
        stdout: String::new(),
        stderr: String::new(),
        hung: false,
        after: Duration::ZERO,
        left: None,
    };
    let pids = Arc::new(Mutex::new(vec![launcher]));
    let tracees = BTreeMap::from([(launcher, Tracee::new(Role::Launcher))]);
    let mut tracer = Tracer { what, tracees, early: Vec::new(), pids: Arc::clone(&pids), run, deed: Instant::now(), launcher };
    let (ended, end) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let late = end.recv_timeout(limit).is_err_and(|e| e == mpsc::RecvTimeoutError::Timeout);
        while late && end.recv_timeout(Duration::from_millis(10)).is_err_and(|e| e == mpsc::RecvTimeoutError::Timeout) {
            pids.lock().unwrap().iter().for_each(|pid| kill_one(*pid));
        }
        late
    });
    tracer.follow();
    drop(ended);
    let mut run = tracer.run;
    run.hung = watch.join().unwrap();
    (run.stdout, run.stderr) = (text(&mut out), text(&mut err));
    run
}

/// One that has gone is not there any more, and not yet another's: who is traced stays a zombie until it is waited for.
fn kill_one(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Stopped at its exec.
#[allow(clippy::zombie_processes, reason = "waited for with all that is traced")]
fn spawn(mut command: Command, out: &File, err: &File, number: Option<u32>) -> i32 {
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    let prepare = move || {
        number.map_or(Ok(()), stop_at)?;
        Ok(ptrace::traceme()?)
    };
    // SAFETY: system calls alone.
    unsafe { command.pre_exec(prepare) };
    let child = command.spawn().unwrap_or_else(|e| panic!("{:?}: {e}", command.get_program()));
    let pid = Pid::from_raw(child.id() as i32);
    assert_eq!(waitpid(pid, None), Ok(WaitStatus::Stopped(pid, Signal::SIGTRAP)));
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACESECCOMP;
    ptrace::setoptions(pid, options).unwrap();
    pid.as_raw()
}

/// None for one that is let go while it runs: nobody would answer the filter then.
fn filter(what: Option<(Call, Act)>) -> Option<u32> {
    what.filter(|(_, act)| !matches!(act, Act::StopThenKillLauncher)).map(|(call, _)| call.number)
}

/// A filter that stops at calls of this number: a start of a thousand calls takes as long as ever.
fn stop_at(number: u32) -> std::io::Result<()> {
    let word = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let program = [
        word((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0, 0),
        word((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, number, 0, 1),
        word((libc::BPF_RET | libc::BPF_K) as u16, libc::SECCOMP_RET_TRACE, 0, 0),
        word((libc::BPF_RET | libc::BPF_K) as u16, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program during the call.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

impl Tracer {
    fn follow(&mut self) {
        self.tracees.values_mut().for_each(|launcher| launcher.began = true);
        self.go_on(Pid::from_raw(self.launcher), None);
        loop {
            // Of this thread's children alone: other tests have theirs.
            match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Ok(status) => self.react(status),
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        self.run.after = self.deed.elapsed();
    }

    fn react(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::Exited(pid, code) => self.ended(pid.as_raw(), Some(code), None),
            WaitStatus::Signaled(pid, signal, _) => self.ended(pid.as_raw(), None, Some(signal)),
            WaitStatus::PtraceSyscall(pid) => self.at_call(pid),
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC) => self.at_exec(pid),
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_SECCOMP) => self.at_call(pid),
            WaitStatus::PtraceEvent(pid, _, _) => self.at_birth(pid),
            WaitStatus::Stopped(pid, signal) => self.at_signal(pid, signal),
            _ => {}
        }
    }

    fn ended(&mut self, pid: i32, code: Option<i32>, signal: Option<Signal>) {
        self.tracees.remove(&pid);
        self.pids.lock().unwrap().retain(|one| *one != pid);
        if pid == self.launcher {
            (self.run.code, self.run.signal) = (code, signal);
        }
    }

    /// A process that was killed meanwhile can't be told to go on.
    fn go_on(&self, pid: Pid, signal: Option<Signal>) {
        let _ = if filter(self.what).is_some() { ptrace::cont(pid, signal) } else { ptrace::syscall(pid, signal) };
    }

    fn at_birth(&mut self, parent: Pid) {
        if let Ok(child) = ptrace::getevent(parent) {
            let child = child as i32;
            let program = self.tracees.get(&parent.as_raw()).is_some_and(|parent| parent.program);
            self.tracees.insert(child, Tracee { program, ..Tracee::new(self.role_of_child(parent.as_raw())) });
            self.pids.lock().unwrap().push(child);
            if let Some(at) = self.early.iter().position(|pid| *pid == child) {
                self.early.remove(at);
                self.begin(Pid::from_raw(child));
            }
        }
        self.go_on(parent, None);
    }

    fn role_of_child(&self, parent: i32) -> Role {
        let has = |role| self.tracees.values().any(|tracee| tracee.role == role) || self.run.calls.iter().any(|call| call.role == role);
        match self.tracees.get(&parent).map(|tracee| tracee.role) {
            Some(Role::Launcher) if !has(Role::Builder) => Role::Builder,
            Some(Role::Builder) if !has(Role::Payload) => Role::Payload,
            _ => Role::Helper,
        }
    }

    /// The filter goes on to ask for us, so the program isn't let go; a list of calls ends here.
    fn at_exec(&mut self, pid: Pid) {
        if let Some(tracee) = self.tracees.get_mut(&pid.as_raw()).filter(|tracee| tracee.role == Role::Payload) {
            self.run.started = true;
            tracee.program = true;
            if filter(self.what).is_none() {
                return self.let_go(pid);
            }
        }
        self.go_on(pid, None);
    }

    fn let_go(&mut self, pid: Pid) {
        let _ = ptrace::detach(pid, None);
        self.tracees.remove(&pid.as_raw());
        self.pids.lock().unwrap().retain(|one| *one != pid.as_raw());
    }

    fn at_signal(&mut self, pid: Pid, signal: Signal) {
        match self.tracees.get_mut(&pid.as_raw()) {
            None => self.early.push(pid.as_raw()),
            Some(tracee) if signal == Signal::SIGSTOP && !tracee.began => self.begin(pid),
            Some(_) => self.go_on(pid, (signal != Signal::SIGTRAP).then_some(signal)),
        }
    }

    fn begin(&mut self, child: Pid) {
        self.tracees.entry(child.as_raw()).and_modify(|tracee| tracee.began = true);
        self.go_on(child, None);
    }

    fn at_call(&mut self, pid: Pid) {
        let starting = !self.run.started;
        let (Ok(info), Some(tracee)) = (ptrace::syscall_info(pid), self.tracees.get_mut(&pid.as_raw())) else {
            return self.go_on(pid, None);
        };
        let number = match info.op {
            // SAFETY: the kernel has said that this is an entry.
            libc::PTRACE_SYSCALL_INFO_ENTRY => unsafe { info.u.entry }.nr as u32,
            // SAFETY: the kernel has said that a filter has asked for us.
            libc::PTRACE_SYSCALL_INFO_SECCOMP => unsafe { info.u.seccomp }.nr as u32,
            _ => return self.go_on(pid, None),
        };
        if tracee.program {
            return self.go_on(pid, None);
        }
        let nth = tracee.calls.entry(number).or_default();
        let call = Call { role: tracee.role, number, nth: *nth, starting };
        *nth += 1;
        self.run.calls.push(call);
        match self.what {
            Some((at, act)) if !self.run.done && at.is(&call) => self.act(pid, act),
            _ => self.go_on(pid, None),
        }
    }

    fn act(&mut self, pid: Pid, act: Act) {
        self.run.done = true;
        self.deed = Instant::now();
        match act {
            Act::Fail(errno) => {
                let _ = ptrace::write_user(pid, NUMBER as _, -1);
                let _ = ptrace::write_user(pid, RESULT as _, i64::from(-errno));
                self.go_on(pid, None);
            }
            Act::Kill(roles) => {
                let doomed = self.tracees.iter().filter(|(_, tracee)| roles.contains(&tracee.role)).map(|(pid, _)| *pid);
                doomed.for_each(kill_one);
                self.go_on(pid, None);
            }
            Act::StopThenKillLauncher => {
                let _ = kill(pid, Signal::SIGSTOP);
                self.let_go(pid);
                self.run.left = Some(pid.as_raw());
                let launcher = rustix::process::Pid::from_raw(self.launcher).unwrap();
                let launcher = rustix::process::pidfd_open(launcher, rustix::process::PidfdFlags::empty()).unwrap();
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(5));
                    let _ = rustix::process::pidfd_send_signal(launcher, rustix::process::Signal::KILL);
                });
                self.deed = Instant::now() + Duration::from_millis(5);
            }
        }
    }
}

/// Where `ptrace(PTRACE_POKEUSER)` has a call's number and its result.
const NUMBER: usize = std::mem::offset_of!(libc::user_regs_struct, orig_rax);
const RESULT: usize = std::mem::offset_of!(libc::user_regs_struct, rax);
