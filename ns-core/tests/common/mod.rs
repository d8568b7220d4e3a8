//! What the tests of starts share: steps that die, a look at what is left, an end to what hangs.
#![allow(dead_code, reason = "each test uses some of it")]

use ns_core::raw::{self, Errno};
use ns_core::{Child, Exec, Fault, IdMap, Mark, Step, Wires};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

/// A time in which a hang would not be mistaken for slowness, on a machine that is busy with other work.
pub const LONG: Duration = Duration::from_secs(300);

pub fn in_rig() -> bool {
    std::env::var_os("NSKIT_IN_RIG").is_some_and(|value| value == "1")
}

pub fn shell(script: &str) -> Exec {
    Exec::new("/bin/sh").unwrap().args(["-c", script]).unwrap()
}

pub fn ids() -> IdMap {
    IdMap::range(0, 1_000_000, 65536).unwrap()
}

/// Ends the process with a sentence if it isn't dropped in time: a hang in a system call can't be unwound.
pub struct Watchdog(Option<mpsc::Sender<()>>);

impl Watchdog {
    pub fn new(what: &'static str, limit: Duration) -> Watchdog {
        let (stop, stopped) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if stopped.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{what} hangs: not done after {} s", limit.as_secs());
                std::process::abort();
            }
        });
        Watchdog(Some(stop))
    }
}

/// The same for work of many parts: each part has the time, however slow the machine is.
pub struct Progress {
    count: std::sync::Arc<AtomicU32>,
    stop: Option<mpsc::Sender<()>>,
}

impl Progress {
    pub fn new(what: &'static str, limit: Duration) -> Progress {
        let count = std::sync::Arc::new(AtomicU32::new(0));
        let (stop, stopped) = mpsc::channel::<()>();
        let seen = count.clone();
        std::thread::spawn(move || {
            let mut last = seen.load(SeqCst);
            while stopped.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                let now = seen.load(SeqCst);
                if now == last {
                    eprintln!("{what} hangs: part {now} is not done after {} s", limit.as_secs());
                    std::process::abort();
                }
                last = now;
            }
        });
        Progress { count, stop: Some(stop) }
    }

    /// One part is done.
    pub fn done(&self) {
        self.count.fetch_add(1, SeqCst);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop.take();
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.take();
    }
}

/// One test at a time counts the process's children and descriptors; when it is over there are as many as before.
pub struct Alone {
    fds: BTreeSet<String>,
    _watchdog: Watchdog,
    _lock: MutexGuard<'static, ()>,
}

pub fn alone(what: &'static str) -> Alone {
    static LOCK: Mutex<()> = Mutex::new(());
    let lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    Alone { fds: open_fds(), _watchdog: Watchdog::new(what, LONG), _lock: lock }
}

/// A plan's own, as long as there is the plan.
pub const STUB: &str = "memfd:ns-stub";

impl Alone {
    /// No child, and no descriptor that was not there before.
    pub fn nothing_left(&self, what: &dyn fmt::Display) {
        assert_eq!(any_child(), Err(Errno::ECHILD), "{what}: a child is left: {:?}", children());
        let left: Vec<String> = open_fds().difference(&self.fds).filter(|fd| !fd.contains(STUB)).cloned().collect();
        assert!(left.is_empty(), "{what}: descriptors are left: {left:?}");
    }
}

/// "NUMBER -> TARGET" of every descriptor.
pub fn open_fds() -> BTreeSet<String> {
    let dir = std::fs::read_dir("/proc/self/fd").unwrap();
    let name = |entry: std::fs::DirEntry| {
        // The directory's own is gone by now.
        let target = std::fs::read_link(entry.path()).ok()?;
        Some(format!("{} -> {}", entry.file_name().to_str()?, target.display())).filter(|text| !text.contains("/fd"))
    };
    dir.filter_map(Result::ok).filter_map(name).collect()
}

/// `waitid(P_ALL, ..., WNOHANG|WNOWAIT|__WALL)`: `ECHILD` when there is no child at all, of any thread.
pub fn any_child() -> Result<usize, Errno> {
    use linux_raw_sys::general::{__NR_waitid, __WALL, P_ALL, WEXITED, WNOHANG, WNOWAIT};
    let options = WEXITED | WNOHANG | WNOWAIT | __WALL;
    // SAFETY: no information is asked for.
    unsafe { raw::syscall(__NR_waitid, [P_ALL as usize, 0, 0, options as usize, 0, 0]) }
}

/// The numbers of this process's children.
pub fn children() -> Vec<i32> {
    children_of("self")
}

/// The numbers of a process's children, those of all its threads.
pub fn children_of(process: impl fmt::Display) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>()).collect()
}

/// `kill(pid, signal)`; the process is a child of a child of the test's.
pub fn kill(pid: i32, signal: i32) -> bool {
    // SAFETY: no pointers.
    unsafe { raw::syscall(linux_raw_sys::general::__NR_kill, [pid as usize, signal as usize, 0, 0, 0, 0]) }.is_ok()
}

pub fn exists(pid: i32) -> bool {
    kill(pid, 0)
}

/// A number that parent and children share.
pub struct Shared(*const AtomicU32);

// SAFETY: the page holds an atomic.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Mapped as long as the process lives: children may look at it at any time.
    pub fn new() -> &'static Shared {
        // SAFETY: a new mapping of its own.
        let page = unsafe { mmap_anonymous(std::ptr::null_mut(), 4096, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED) }.unwrap();
        Box::leak(Box::new(Shared(page.cast())))
    }

    pub fn get(&self) -> &AtomicU32 {
        // SAFETY: mapped for good.
        unsafe { &*self.0 }
    }
}

pub fn pause() {
    let never = linux_raw_sys::general::timespec { tv_sec: 3600, tv_nsec: 0 };
    // SAFETY: the structure lives during the call.
    let _ = unsafe { raw::syscall(linux_raw_sys::general::__NR_nanosleep, [&raw const never as usize, 0, 0, 0, 0, 0]) };
}

/// What a step of [`Script`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Pass,
    /// Says that it is there, and waits to be killed.
    Stop(&'static str),
    /// `kill(getpid(), SIGKILL)`, which the init of a pid namespace survives.
    Kill,
    /// `exit_group(3)`.
    Exit,
    /// An instruction that is none.
    Crash,
    /// Returns a fault.
    Fail,
}

/// A step that does what its number in the list is told to.
pub struct Scripted {
    pub number: u32,
    pub act: Act,
    pub there: &'static Shared,
    pub after: Option<Mark>,
    pub reaches: Option<Mark>,
}

impl Scripted {
    pub fn new(number: u32, act: Act, there: &'static Shared) -> Scripted {
        Scripted { number, act, there, after: None, reaches: None }
    }
}

impl fmt::Display for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.number)
    }
}

// SAFETY: system calls without pointers to anything but the stack, or an end.
unsafe impl Step for Scripted {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        match self.act {
            Act::Pass => Ok(()),
            Act::Fail => Err(Fault::new("scripted", Errno::EPROTO)),
            Act::Exit => raw::exit_group(3),
            Act::Stop(_) => {
                self.there.get().store(1, SeqCst);
                loop {
                    pause();
                }
            }
            Act::Kill => {
                kill(raw::getpid(), 9);
                Ok(())
            }
            Act::Crash => {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: ends the process.
                unsafe {
                    std::arch::asm!("ud2", options(noreturn))
                }
                #[cfg(not(target_arch = "x86_64"))]
                // SAFETY: ends the process.
                unsafe {
                    std::arch::asm!("udf #0", options(noreturn))
                }
            }
        }
    }

    fn wires(&self, wires: &mut Wires) {
        if let Some(mark) = self.after {
            wires.after(mark);
        }
        if let Some(mark) = self.reaches {
            wires.reaches(mark);
        }
    }
}
