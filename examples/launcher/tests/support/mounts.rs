//! A mount namespace of a test's own, in which it may mount what it likes.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::ffi::CString;
use std::path::Path;

use nix::libc;
use rustix::thread::UnshareFlags;

/// Runs it in a thread with a mount namespace of its own, private in all its mounts. A launcher started there stays there.
pub fn in_own_mounts<T: Send>(run: impl FnOnce() -> T + Send) -> T {
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

/// The same, where it may fail.
pub fn try_mount(source: &str, target: &Path, kind: &str, flags: u64, data: &str) -> std::io::Result<()> {
    let [source, kind, data] = [source, kind, data].map(|text| CString::new(text).unwrap());
    let target = CString::new(target.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: strings that live during the call.
    match unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// `umount2(2)` with `MNT_DETACH`.
#[track_caller]
pub fn unmount(target: &Path) {
    rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH).unwrap_or_else(|e| panic!("umount {}: {e}", target.display()));
}
