//! No step of the workspace allocates, frees, or touches thread-local storage in a child: all of them run under an allocator that ends a
//! child which calls it, and in children whose thread-local storage isn't there, while threads hammer the parent.
//!
//! A child is told by a page that the kernel wipes on fork. Its thread-local storage is left out of it (`MADV_DONTFORK`), so that errno,
//! a panic, a contended lock or glibc's `close` is a SIGSEGV, from the child's first instruction on. What neither finds, an uncontended
//! lock, clippy does (child_source.rs).

mod child_steps;

use child_steps::{Everything, Recipe};
use ns_core::raw;
use ns_core::{Child, Error, ErrorKind, Exec, Exit, Fault, Fds, Plan, Side, Step};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// What a child that allocates or frees exits with.
const ALLOCATED: i32 = 99;

/// Holds 1 in the parent, 0 in every child.
static PAGE: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

struct Strict;

fn check() {
    let page = PAGE.load(Relaxed);
    // SAFETY: mapped for good once it is there.
    if !page.is_null() && unsafe { page.read_volatile() } == 0 {
        raw::exit_group(ALLOCATED);
    }
}

// SAFETY: the system's allocator, or the end of the process.
unsafe impl GlobalAlloc for Strict {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        check();
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Strict = Strict;

/// From here on children are told from the parent.
fn watch_children() {
    let size = rustix::param::page_size();
    // SAFETY: a new mapping of its own, which stays.
    unsafe {
        let page = mmap_anonymous(std::ptr::null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE).unwrap();
        madvise(page, size, Advice::LinuxWipeOnFork).unwrap();
        page.cast::<u8>().write(1);
        PAGE.store(page.cast(), Relaxed);
    }
}

/// The address that thread-local storage lies around.
fn thread_pointer() -> usize {
    let at: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the thread control block begins with its own address.
    unsafe {
        std::arch::asm!("mov {}, fs:0", out(reg) at, options(nostack, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads a register.
    unsafe {
        std::arch::asm!("mrs {}, tpidr_el0", out(reg) at, options(nostack, nomem));
    }
    at
}

/// Leaves this thread's thread-local storage out of children: a new thread's lies at the top of its stack.
fn without_thread_local_storage() {
    const AROUND: usize = 16 * 1024;
    let page = rustix::param::page_size();
    let at = thread_pointer();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let ranges = maps.lines().filter_map(|line| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?))
    });
    let (first, last) = ranges.into_iter().find(|(from, to)| (*from..*to).contains(&at)).unwrap();
    let (from, to) = (first.max(at - AROUND) / page * page, last.min((at + AROUND) / page * page));
    // SAFETY: changes nothing in this process.
    unsafe { madvise(from as *mut _, to - from, Advice::LinuxDontFork) }.unwrap();
}

/// Calls it far below the top of the stack: a child needs all of its stack that it still uses.
#[inline(never)]
fn deep_down<T>(work: impl FnOnce() -> T) -> T {
    let gap = [0u8; 128 * 1024];
    std::hint::black_box(&gap);
    let answer = work();
    std::hint::black_box(&gap);
    answer
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Allocator,
    ThreadLocals,
}

const INNER: &str = "NSKIT_TEST_PROOF";

/// Runs the test of this name again, in a process with one arena, `work` there on a thread while others allocate.
fn proof(name: &str, proof: Proof, work: impl FnOnce() + Send + 'static) {
    if std::env::var_os(INNER).is_some() {
        return inside(proof, work);
    }
    let mut inner = Command::new(std::env::current_exe().unwrap());
    inner.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(INNER, "1").env("MALLOC_ARENA_MAX", "1");
    // The kernel writes into what glibc registers of restartable sequences, which lies among what is to be left out.
    inner.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
    let output = inner.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{}\n{text}", output.status);
}

fn inside(proof: Proof, work: impl FnOnce() + Send + 'static) {
    watch_children();
    let stop = Arc::new(AtomicBool::new(false));
    let noise: Vec<_> = (0..3)
        .map(|n| {
            std::thread::spawn({
                let stop = stop.clone();
                move || hammer(n, &stop)
            })
        })
        .collect();
    let worker = std::thread::Builder::new().stack_size(4 << 20).spawn(move || {
        if proof == Proof::ThreadLocals {
            without_thread_local_storage();
        }
        deep_down(work);
    });
    let outcome = worker.unwrap().join();
    stop.store(true, Relaxed);
    noise.into_iter().for_each(|thread| thread.join().unwrap());
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn hammer(n: usize, stop: &AtomicBool) {
    static SHARED: Mutex<Option<HashMap<usize, Vec<u8>>>> = Mutex::new(None);
    let mut round = 0;
    while !stop.load(Relaxed) {
        round += 1;
        let own: Vec<Box<[u8]>> = (0..20).map(|i| vec![0; (round * 37 + i * 100) % 2_000].into_boxed_slice()).collect();
        SHARED.lock().unwrap().get_or_insert_default().insert(n * 10 + round % 10, own.concat());
        if round % 20 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

#[test]
fn every_step_under_the_allocator() {
    proof("every_step_under_the_allocator", Proof::Allocator, || Everything::new().start_often());
}

#[test]
fn every_step_without_thread_local_storage() {
    proof("every_step_without_thread_local_storage", Proof::ThreadLocals, || Everything::new().start_often());
}

#[test]
fn the_launchers_recipe_under_the_allocator() {
    proof("the_launchers_recipe_under_the_allocator", Proof::Allocator, || Recipe::each(Recipe::start_often));
}

#[test]
fn the_launchers_recipe_without_thread_local_storage() {
    proof("the_launchers_recipe_without_thread_local_storage", Proof::ThreadLocals, || Recipe::each(Recipe::start_often));
}

// --- that faults are caught ---------------------------------------------------------------------------------------------------

unsafe extern "C" {
    safe fn close(fd: i32) -> i32;
}

#[derive(Clone, Copy, Debug)]
enum Planted {
    Allocates,
    Frees,
    SetsErrno,
    DropsADescriptor,
    Panics,
    Prints,
    Nothing,
}

/// What the steps below have of the parent's.
struct Bad {
    what: Planted,
    memory: Mutex<Option<Box<u64>>>,
    fd: Mutex<Option<OwnedFd>>,
}

impl Bad {
    fn new(what: Planted) -> Bad {
        let fd = std::fs::File::open("/dev/null").unwrap().into();
        Bad { what, memory: Mutex::new(Some(Box::new(1))), fd: Mutex::new(Some(fd)) }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

// SAFETY: it isn't: that is the test. Whatever it does ends the child.
unsafe impl Step for Bad {
    fn run(&self, _: &mut Child<'_>) -> Result<(), Fault> {
        match self.what {
            Planted::Allocates => std::mem::forget(std::hint::black_box(Box::new(2))),
            Planted::Frees => drop(self.memory.try_lock().unwrap().take()),
            Planted::SetsErrno => drop(std::hint::black_box(close(-1))),
            Planted::DropsADescriptor => drop(self.fd.try_lock().unwrap().take()),
            Planted::Panics => panic!("in a child"),
            Planted::Prints => eprint!(""),
            Planted::Nothing => {}
        }
        Ok(())
    }
}

/// The planted fault first in one of the lists, which are a caller's, kept or not.
fn planted(what: Planted, side: Side, kept: bool) -> Result<Exit, Error> {
    let plan = Plan::new(Exec::new("/bin/true")?);
    let plan = if kept { plan.kept() } else { plan };
    let plan = if side == Side::Outside { plan.outside(Bad::new(what)) } else { plan.inside(Bad::new(what)) };
    plan.seal()?.start(Fds::new())?.wait()
}

fn caught(all: &[Planted], how: &str) {
    for side in [Side::Outside, Side::Inside] {
        for kept in [false, true] {
            assert_eq!(planted(Planted::Nothing, side, kept).unwrap(), Exit::Exited(0));
            for what in all {
                let error = planted(*what, side, kept).expect_err(&format!("{what:?} {side} is not caught"));
                let text = error.to_string();
                assert_eq!((error.kind(), error.place()), (ErrorKind::Died, Some((side, 1))), "{text}");
                assert!(text.ends_with(how), "{text}");
            }
        }
    }
}

#[test]
fn the_allocator_catches_what_is_planted() {
    proof("the_allocator_catches_what_is_planted", Proof::Allocator, || {
        caught(&[Planted::Allocates, Planted::Frees, Planted::Panics], "left with status 99 and no word");
    });
}

#[test]
fn missing_thread_local_storage_catches_what_is_planted() {
    proof("missing_thread_local_storage_catches_what_is_planted", Proof::ThreadLocals, || {
        let all = [Planted::SetsErrno, Planted::DropsADescriptor, Planted::Panics, Planted::Prints];
        caught(&all, "killed by signal 11");
    });
}
