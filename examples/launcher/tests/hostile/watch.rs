//! Every access to a file system, as the kernel tells of it: `fanotify(7)`.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;

use nix::libc;

/// Of everything on one file system: opened, read, written, executed, made, removed, renamed, its attributes changed. Linux 5.9.
pub struct Watch(File);

const ALL: u64 = libc::FAN_OPEN
    | libc::FAN_OPEN_EXEC
    | libc::FAN_ACCESS
    | libc::FAN_MODIFY
    | libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MOVED_FROM
    | libc::FAN_MOVED_TO
    | libc::FAN_ATTRIB
    | libc::FAN_ONDIR;

impl Watch {
    /// From now on, of the file system that this path is on.
    pub fn on(path: &Path) -> Watch {
        let flags = libc::FAN_CLASS_NOTIF | libc::FAN_REPORT_DFID_NAME | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
        // SAFETY: no pointer is passed.
        let fd = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as u32) };
        assert!(fd >= 0, "fanotify_init: {}", std::io::Error::last_os_error());
        // SAFETY: just made, owned by nobody else.
        let file = unsafe { File::from_raw_fd(fd) };
        let path = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        let how = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
        // SAFETY: the string lives during the call.
        let marked = unsafe { libc::fanotify_mark(file.as_raw_fd(), how, ALL, libc::AT_FDCWD, path.as_ptr()) };
        assert_eq!(marked, 0, "fanotify_mark: {}", std::io::Error::last_os_error());
        Watch(file)
    }

    /// What has happened since the last call, a line each: what, by whom, the name if the kernel says one.
    pub fn events(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        let mut space = vec![0; 65536];
        while let Ok(n @ 1..) = self.0.read(&mut space) {
            let mut rest = &space[..n];
            while rest.len() >= size_of::<libc::fanotify_event_metadata>() {
                // SAFETY: the kernel wrote at least the metadata, which is plain data.
                let event = unsafe { rest.as_ptr().cast::<libc::fanotify_event_metadata>().read_unaligned() };
                let (this, others) = rest.split_at(event.event_len as usize);
                found.push(format!("{:#x} by {} {}", event.mask, who(event.pid), words(this)));
                rest = others;
            }
        }
        found
    }
}

fn who(pid: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{pid} ({})", name.trim())
}

/// The letters of an event's end, where the name of the file is.
fn words(event: &[u8]) -> String {
    let tail = event.get(event.len().saturating_sub(32)..).unwrap_or_default();
    tail.iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)).collect()
}
