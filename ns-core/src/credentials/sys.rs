//! The calls about credentials, each for the calling thread alone: glibc's signal every thread, and hang in a child of a threaded parent.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::raw::{Errno, syscall};
use crate::steps::prctl::prctl;
use linux_raw_sys::general::{
    __NR_capget, __NR_capset, __NR_getgroups, __NR_getresgid, __NR_getresuid, __NR_setgroups, __NR_setresgid, __NR_setresuid,
};
use linux_raw_sys::prctl as pr;

/// Permitted, effective and inheritable, as 64 bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Caps {
    pub permitted: u64,
    pub effective: u64,
    pub inheritable: u64,
}

/// `struct __user_cap_header_struct`, of the calling thread, `_LINUX_CAPABILITY_VERSION_3`.
const HEADER: [u32; 2] = [0x2008_0522, 0];

/// `struct __user_cap_data_struct`: effective, permitted, inheritable, of which the low halves come first.
type Data = [[u32; 3]; 2];

/// `capget(2)`
pub(super) fn capget() -> Result<Caps, Errno> {
    let mut data: Data = [[0; 3]; 2];
    let mut header = HEADER;
    // SAFETY: version 3 writes two structures; the header may be written too.
    unsafe { syscall(__NR_capget, [&raw mut header as usize, &raw mut data as usize, 0, 0, 0, 0]) }?;
    let [[effective, permitted, inheritable], [effective_high, permitted_high, inheritable_high]] = data;
    let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    Ok(Caps {
        permitted: join(permitted, permitted_high),
        effective: join(effective, effective_high),
        inheritable: join(inheritable, inheritable_high),
    })
}

/// `capset(2)`
pub(super) fn capset(caps: &Caps) -> Result<(), Errno> {
    let half = |shift: u32| [(caps.effective >> shift) as u32, (caps.permitted >> shift) as u32, (caps.inheritable >> shift) as u32];
    let data: Data = [half(0), half(32)];
    let mut header = HEADER;
    // SAFETY: version 3 reads two structures; the header may be written too.
    unsafe { syscall(__NR_capset, [&raw mut header as usize, &raw const data as usize, 0, 0, 0, 0]) }.map(drop)
}

/// `prctl` of an option that takes numbers.
fn number(option: u32, first: u32, second: u32) -> Result<usize, Errno> {
    // SAFETY: the options of this file take no pointers.
    unsafe { prctl(option, [first as usize, second as usize, 0, 0]) }
}

/// `PR_CAPBSET_READ`: `EINVAL` past the kernel's last capability.
fn bounding_has(number_of: u32) -> Result<bool, Errno> {
    number(pr::PR_CAPBSET_READ, number_of, 0).map(|answer| answer == 1)
}

/// The bounding set: bits.
pub(super) fn bounding() -> Result<u64, Errno> {
    collect(bounding_has)
}

/// `PR_CAP_AMBIENT_IS_SET` of each: bits.
pub(super) fn ambient() -> Result<u64, Errno> {
    collect(|n| number(pr::PR_CAP_AMBIENT, pr::PR_CAP_AMBIENT_IS_SET, n).map(|answer| answer == 1))
}

fn collect(has: impl Fn(u32) -> Result<bool, Errno>) -> Result<u64, Errno> {
    let mut bits = 0;
    for n in 0..64 {
        match has(n) {
            Ok(true) => bits |= 1 << n,
            Ok(false) => {}
            Err(Errno::EINVAL) if n > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(bits)
}

/// The number of the kernel's last capability.
pub(super) fn last_capability() -> Result<u32, Errno> {
    for n in 1..64 {
        match bounding_has(n) {
            Err(Errno::EINVAL) => return Ok(n - 1),
            answer => answer?,
        };
    }
    Ok(63)
}

pub(super) fn drop_bounding(n: u32) -> Result<(), Errno> {
    number(pr::PR_CAPBSET_DROP, n, 0).map(drop)
}

pub(super) fn clear_ambient() -> Result<(), Errno> {
    number(pr::PR_CAP_AMBIENT, pr::PR_CAP_AMBIENT_CLEAR_ALL, 0).map(drop)
}

pub(super) fn raise_ambient(n: u32) -> Result<(), Errno> {
    number(pr::PR_CAP_AMBIENT, pr::PR_CAP_AMBIENT_RAISE, n).map(drop)
}

pub(super) fn set_keep_caps(on: bool) -> Result<(), Errno> {
    number(pr::PR_SET_KEEPCAPS, on.into(), 0).map(drop)
}

pub(super) fn securebits() -> Result<u32, Errno> {
    number(pr::PR_GET_SECUREBITS, 0, 0).map(|bits| bits as u32)
}

pub(super) fn set_securebits(bits: u32) -> Result<(), Errno> {
    number(pr::PR_SET_SECUREBITS, bits, 0).map(drop)
}

pub(super) fn no_new_privs() -> Result<bool, Errno> {
    number(pr::PR_GET_NO_NEW_PRIVS, 0, 0).map(|answer| answer == 1)
}

pub(super) fn set_no_new_privs() -> Result<(), Errno> {
    number(pr::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// `setgroups(2)`
pub(super) fn setgroups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the kernel reads the slice.
    unsafe { syscall(__NR_setgroups, [groups.len(), groups.as_ptr() as usize, 0, 0, 0, 0]) }.map(drop)
}

/// `getgroups(2)`: how many were written; `EINVAL` where there are more than fit.
pub(super) fn getgroups(groups: &mut [u32]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most the slice's length of numbers; a length of 0 only asks, but ours is never that.
    unsafe { syscall(__NR_getgroups, [groups.len(), groups.as_mut_ptr() as usize, 0, 0, 0, 0]) }
}

/// `setresgid(gid, gid, gid)`
pub(super) fn setresgid(gid: u32) -> Result<(), Errno> {
    // SAFETY: no pointer is passed.
    unsafe { syscall(__NR_setresgid, [gid as usize, gid as usize, gid as usize, 0, 0, 0]) }.map(drop)
}

/// `setresuid(uid, uid, uid)`
pub(super) fn setresuid(uid: u32) -> Result<(), Errno> {
    // SAFETY: no pointer is passed.
    unsafe { syscall(__NR_setresuid, [uid as usize, uid as usize, uid as usize, 0, 0, 0]) }.map(drop)
}

/// `getresgid(2)`: real, effective, saved.
pub(super) fn getresgid() -> Result<[u32; 3], Errno> {
    three(__NR_getresgid)
}

/// `getresuid(2)`: real, effective, saved.
pub(super) fn getresuid() -> Result<[u32; 3], Errno> {
    three(__NR_getresuid)
}

fn three(call: u32) -> Result<[u32; 3], Errno> {
    let (mut real, mut effective, mut saved) = (0u32, 0u32, 0u32);
    let args = [&raw mut real as usize, &raw mut effective as usize, &raw mut saved as usize, 0, 0, 0];
    // SAFETY: both calls write three numbers.
    unsafe { syscall(call, args) }?;
    Ok([real, effective, saved])
}
