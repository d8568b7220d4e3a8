//! What a figure depends on besides the programs.

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::io;
use std::thread::available_parallelism;

/// A mount namespace of our own with an empty tmpfs on /run, which it is on every host: locks on a disk would be most of what is measured,
/// and what launchers leave there goes with us.
pub fn own_run() -> io::Result<()> {
    // SAFETY: there is one thread, and no descriptors are unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount(c"tmpfs", c"/run", c"tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755")?;
    Ok(())
}

/// One line for the top of the tables.
pub fn describe() -> String {
    let kernel = rustix::system::uname();
    let release = kernel.release().to_string_lossy();
    let cpus = available_parallelism().map_or(0, usize::from);
    format!("Linux {release}, {cpus} x {}; ns-spawn and the floor {}", model(), libc())
}

fn model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = text.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    named.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// The C library that ns-spawn is linked with: this program is built by the same settings.
fn libc() -> String {
    let linked = if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" };
    format!("{linked}, {}", name())
}

#[cfg(target_env = "gnu")]
fn name() -> String {
    // SAFETY: it takes nothing, and answers with a constant string.
    let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
    format!("glibc {}", version.to_string_lossy())
}

#[cfg(not(target_env = "gnu"))]
fn name() -> String {
    if cfg!(target_env = "musl") { "musl".to_owned() } else { "another C library".to_owned() }
}
