//! A mount namespace of a test's own, in which it may mount what it likes.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::cell::RefCell;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::Once;

use nix::libc;
use rustix::thread::UnshareFlags;

thread_local! {
    /// What this thread has mounted and not unmounted.
    static MOUNTED: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
}

/// A test that fails unmounts what it has mounted before anything is dropped: a temporary directory removes all that is below it, and what
/// is bound there is the host's.
fn unmount_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // The thread may be ending, or its list in use.
            let mounted = MOUNTED.try_with(|list| list.try_borrow_mut().map(|mut list| std::mem::take(&mut *list)));
            for target in mounted.ok().and_then(Result::ok).unwrap_or_default().iter().rev() {
                if let Err(e) = rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH) {
                    eprintln!("{} stays mounted, nothing may be removed: {e}", target.display());
                    std::process::abort();
                }
            }
            before(info);
        }));
    });
}

/// Runs it in a thread with a mount namespace of its own, private in all its mounts. A launcher started there stays there.
pub fn in_own_mounts<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    unmount_on_panic();
    let inside = || {
        // SAFETY: a mount namespace and what CLONE_FS shares are this thread's alone; no memory and no descriptor is shared by them.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.expect("a mount namespace of the test's own");
        mount("", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "");
        run()
    };
    match std::thread::scope(|scope| scope.spawn(inside).join()) {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// `mount(2)`, in [`in_own_mounts`].
#[track_caller]
pub fn mount(source: &str, target: &Path, kind: &str, flags: u64, data: &str) {
    if let Err(e) = try_mount(source, target, kind, flags, data) {
        panic!("mount {source} at {} as {kind:?}, {data:?}: {e}", target.display());
    }
}

/// The same, where it may fail. Nothing but a test's own directories is bound: whatever removes a directory would go on there.
pub fn try_mount(source: &str, target: &Path, kind: &str, flags: u64, data: &str) -> std::io::Result<()> {
    let binds = flags & libc::MS_BIND != 0 && flags & libc::MS_REMOUNT == 0;
    assert!(!binds || is_a_tests(Path::new(source)), "{source} is the host's: not to be bound");
    let new = flags & (libc::MS_REMOUNT | libc::MS_PRIVATE) == 0;
    let place = target.to_owned();
    let [source, kind, data] = [source, kind, data].map(|text| CString::new(text).unwrap());
    let target = CString::new(target.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: strings that live during the call.
    match unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) } {
        0 => {
            MOUNTED.with_borrow_mut(|list| list.extend(new.then_some(place)));
            Ok(())
        }
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// A temporary directory of these tests, all of which are called so, or below one.
fn is_a_tests(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path.iter().any(|name| name.as_encoded_bytes().starts_with(b"nskit-")))
}

/// What was mounted otherwise is unmounted too when the test fails.
pub fn remember(target: &Path) {
    MOUNTED.with_borrow_mut(|list| list.push(target.to_owned()));
}

/// `umount2(2)` with `MNT_DETACH`.
#[track_caller]
pub fn unmount(target: &Path) {
    MOUNTED.with_borrow_mut(|list| {
        let at = list.iter().rposition(|place| place == target);
        at.map(|at| list.remove(at))
    });
    rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH).unwrap_or_else(|e| panic!("umount {}: {e}", target.display()));
}
