//! The stub: one `no_std` file, compiled by the build script with `$RUSTC` and embedded, run from a sealed memfd. Its first argument is its
//! verb: `(ns-keeper)` waits for the caller's or the payload's end, `(ns-init)` is a payload's process 1.

use crate::error::Error;
use crate::raw::Errno;
use rustix::fs::{MemfdFlags, Mode, SealFlags, fchmod, fcntl_add_seals, memfd_create};
use rustix::io::{retry_on_intr, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

/// The program, an ELF file of a few kilobytes.
static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stub"));

/// The descriptor that a sealed plan executes, made at its first start: sealing itself has no effects.
#[derive(Debug, Default)]
pub(crate) struct Stub(OnceLock<OwnedFd>);

impl Stub {
    /// `memfd_create(2)` with every seal, mode 0111: what is exec'd inside a user namespace is then unreadable there.
    pub fn fd(&self) -> Result<BorrowedFd<'_>, Error> {
        if let Some(fd) = self.0.get() {
            return Ok(fd.as_fd());
        }
        let made = make()?;
        Ok(self.0.get_or_init(|| made).as_fd())
    }
}

fn failed(call: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
    move |e| Error::call(format!("make the stub's program: {call}"), Errno::new(e.raw_os_error()))
}

fn make() -> Result<OwnedFd, Error> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // MFD_EXEC is Linux 6.3's, which warns without it; before, every memfd is executable.
    let fd = match retry_on_intr(|| memfd_create(c"ns-stub", flags | MemfdFlags::EXEC)) {
        Err(rustix::io::Errno::INVAL) => retry_on_intr(|| memfd_create(c"ns-stub", flags)),
        answer => answer,
    };
    let fd = crate::spawn::high(fd.map_err(failed("memfd_create"))?)?;
    if retry_on_intr(|| write(&fd, PROGRAM)).map_err(failed("write"))? != PROGRAM.len() {
        return Err(failed("write")(rustix::io::Errno::NOSPC));
    }
    retry_on_intr(|| fchmod(&fd, Mode::from_raw_mode(0o111))).map_err(failed("fchmod"))?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    retry_on_intr(|| fcntl_add_seals(&fd, seals)).map_err(failed("fcntl"))?;
    Ok(fd)
}
