//! `setfsuid(2)`, `setfsgid(2)`: making files as somebody whom an id map knows.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use linux_raw_sys::general::{__NR_capget, __NR_capset, __NR_prctl, __NR_setfsgid, __NR_setfsuid};
use linux_raw_sys::prctl::{PR_GET_DUMPABLE, PR_SET_DUMPABLE};
use ns_core::raw::{Errno, syscall};
use ns_core::{Call, Fault};
use std::fmt;

/// Who owns what is made: ids as the host sees them. The default is the host's root, or the builder's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl Owner {
    /// Calls `make` with the file system ids of the owner and the capabilities of the caller.
    ///
    /// The host's root creates nothing through an id map that doesn't know it (`EOVERFLOW`), so it becomes the owner. The kernel takes the
    /// file capabilities from a `setfsuid` away from 0: they are put back, since root inside may write into a root directory of mode 0555.
    /// The change makes the memory undumpable; that too is put back, once the ids are.
    pub fn act<T>(self, make: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        if (set_fs_id(__NR_setfsuid, !0), set_fs_id(__NR_setfsgid, !0)) == (self.uid, self.gid) {
            return make();
        }
        let capabilities = capget()?;
        let dumpable = prctl(PR_GET_DUMPABLE, 0).unwrap_or(0);
        let gid = set_fs_id(__NR_setfsgid, self.gid);
        let uid = set_fs_id(__NR_setfsuid, self.uid);
        let made = self.check().and_then(|()| capset(capabilities)).and_then(|()| make());
        set_fs_id(__NR_setfsuid, uid);
        set_fs_id(__NR_setfsgid, gid);
        capset(capabilities)?;
        if dumpable == 1 {
            prctl(PR_SET_DUMPABLE, 1).call("prctl")?;
        }
        made
    }

    /// The calls have no errors: the ids are read back.
    fn check(self) -> Result<(), Fault> {
        let now = (set_fs_id(__NR_setfsuid, !0), set_fs_id(__NR_setfsgid, !0));
        if now == (self.uid, self.gid) { Ok(()) } else { Err(Fault::new("setfsuid", Errno::EPERM)) }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(format_args!("{}:{}", self.uid, self.gid))
    }
}

/// Returns the old id; an invalid one changes nothing.
fn set_fs_id(call: u32, id: u32) -> u32 {
    // SAFETY: no pointer is passed.
    unsafe { syscall(call, [id as usize, 0, 0, 0, 0, 0]) }.unwrap_or(0) as u32
}

fn prctl(option: u32, value: usize) -> Result<usize, Errno> {
    // SAFETY: these options take no pointer.
    unsafe { syscall(__NR_prctl, [option as usize, value, 0, 0, 0, 0]) }
}

/// `struct __user_cap_header_struct`, version 3, of the calling thread.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

const HEADER: Header = Header { version: 0x2008_0522, pid: 0 };

/// Effective, permitted, inheritable, low words and then high ones.
type Sets = [u32; 6];

fn capget() -> Result<Sets, Fault> {
    let mut sets: Sets = [0; 6];
    let mut header = HEADER;
    // SAFETY: header and sets live during the call; version 3 fills two structs of three words.
    unsafe { syscall(__NR_capget, [&raw mut header as usize, sets.as_mut_ptr() as usize, 0, 0, 0, 0]) }.call("capget")?;
    Ok(sets)
}

fn capset(sets: Sets) -> Result<(), Fault> {
    let mut header = HEADER;
    // SAFETY: header and sets live during the call; version 3 reads two structs of three words.
    unsafe { syscall(__NR_capset, [&raw mut header as usize, sets.as_ptr() as usize, 0, 0, 0, 0]) }.map(drop).call("capset")
}
