//! Running from a sealed copy of ourselves.
//!
//! Until its exec the payload's program is ours, and a script of a hostile tree may name `/proc/self/exe` as its interpreter: container root
//! then holds our file. Where its ids are the host's root it could write to it (CVE-2019-5736 was this); to a sealed memfd nobody can.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::{Error, Kind};

const NAME: &str = "ns-spawn";

/// Executes this program again from a sealed memfd, unless it is one already.
///
/// # Errors
/// The copy can't be made or executed; a container that could write to our file is not started then.
pub fn run_from_sealed_copy() -> Result<(), Error> {
    let failed = |call: &str, e: &io::Error| {
        let errno = ns_core::Errno::new(e.raw_os_error().unwrap_or_default());
        Error::call(Kind::Host, format!("run from a sealed copy: {call}"), errno)
    };
    let own = std::fs::read_link("/proc/self/exe").map_err(|e| failed("readlink", &e))?;
    if own.as_os_str().as_encoded_bytes().starts_with(b"/memfd:ns-spawn") {
        // A program executed by its descriptor is named after the number.
        let _ = rustix::thread::set_name(c"ns-spawn");
        return Ok(());
    }
    let copy = sealed_copy().map_err(|e| failed("memfd_create", &e))?;
    let strings =
        |all: Vec<std::ffi::OsString>| -> Vec<CString> { all.into_iter().filter_map(|text| CString::new(text.into_vec()).ok()).collect() };
    let arguments = strings(std::env::args_os().collect());
    let environment = strings(std::env::vars_os().map(|(name, value)| [name, "=".into(), value].into_iter().collect()).collect());
    // Only returns on failure.
    let Err(e) = nix::unistd::fexecve(copy, &arguments, &environment);
    Err(failed("fexecve", &io::Error::from_raw_os_error(e as i32)))
}

fn sealed_copy() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // MFD_EXEC is Linux 6.3's; before, every memfd is executable.
    let fd = match memfd_create(NAME, flags | MemfdFlags::EXEC) {
        Err(rustix::io::Errno::INVAL) => memfd_create(NAME, flags)?,
        made => made?,
    };
    let mut copy = File::from(fd);
    io::copy(&mut File::open("/proc/self/exe")?, &mut copy)?;
    fcntl_add_seals(&copy, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(copy)
}
