//! The payload's last act.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use super::interpreter::{self, INTERPRETER};
use super::{Exec, File, Program};
use crate::raw::{self, Errno, SigSet};
use crate::step::{Call, ChildFd, Fault};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::retry_on_intr;
use std::ffi::{CStr, c_char};
use std::os::fd::{AsFd, AsRawFd, RawFd};

const AT_EMPTY_PATH: u32 = linux_raw_sys::general::AT_EMPTY_PATH;

impl Exec {
    /// `chdir(2)`, if asked for: by a descriptor that no magic link leads to, since `/proc/self/fd/N` would be a directory of the caller's.
    pub(crate) fn enter_directory(&self) -> Result<(), Fault> {
        // A joiner's is the program's own to enter.
        let Some(path) = self.directory.as_deref().filter(|_| !self.is_by_joiner()) else { return Ok(()) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let found =
            retry_on_intr(|| openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)).map(ChildFd::from).call("chdir")?;
        let entered = retry_on_intr(|| rustix::process::fchdir(found.as_fd())).call("fchdir");
        found.close();
        entered
    }

    /// Signals as a new program expects them: every disposition the default, none blocked.
    pub(crate) fn reset_signals(&self) -> Result<(), Fault> {
        raw::reset_signals().call("rt_sigaction")?;
        raw::sigprocmask(SigSet::EMPTY).map(drop).call("rt_sigprocmask")
    }

    /// The alternatives in order. Only returns on failure, the one of the last that was there, or of the first if none was.
    pub(crate) fn execute(&self, file: RawFd) -> Fault {
        let mut fault = Fault::new("execve", Errno::ENOENT).at_row(0);
        for (n, program) in self.programs.iter().enumerate() {
            let found = program.execute(file, &self.env.pointers).at_row(n as u32);
            match found.errno {
                Errno::ENOENT | Errno::ENOTDIR if !matches!(found.call, INTERPRETER) => {}
                _ => {
                    fault = found;
                    break;
                }
            }
        }
        fault
    }

    /// By the stub that enters the pid namespace, and looks for the program there: nothing here is what a process in there may see.
    pub(crate) fn execute_joiner(&self, stub: RawFd) -> Fault {
        let Some(program) = self.programs.first() else { return Fault::new("execveat", Errno::ENOENT) };
        // SAFETY: both arrays are null-terminated and live as long as `self`.
        let errno = unsafe { raw::execveat(stub, c"", program.stub_argv.pointers.as_ptr(), self.env.pointers.as_ptr(), AT_EMPTY_PATH) };
        Fault::new("execveat", errno)
    }

    /// The same by the stub, which is process 1 and is told the first alternative that is there.
    pub(crate) fn execute_stub(&self, stub: RawFd) -> Fault {
        let mut fault = Fault::new("execve", Errno::ENOENT).at_row(0);
        for (n, program) in self.programs.iter().enumerate() {
            match program.check() {
                Ok(()) => {
                    // SAFETY: both arrays are null-terminated and live as long as `self`.
                    let errno =
                        unsafe { raw::execveat(stub, c"", program.stub_argv.pointers.as_ptr(), self.env.pointers.as_ptr(), AT_EMPTY_PATH) };
                    return Fault::new("execveat", errno).at_row(n as u32);
                }
                Err(found) if matches!(found.errno, Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(found) => {
                    fault = found.at_row(n as u32);
                    break;
                }
            }
        }
        fault
    }
}

impl Program {
    /// The path, and that of what interprets it, lead to their files without a magic link: `/proc/self/exe` would be the caller's program.
    fn check(&self) -> Result<(), Fault> {
        match &self.file {
            File::Path(path) => interpreter::check(path),
            File::Slot(_) => Ok(()),
        }
    }

    fn execute(&self, file: RawFd, env: &[*const c_char]) -> Fault {
        if let Err(fault) = self.check() {
            return fault;
        }
        let (dir, path, flags): (_, &CStr, _) = match &self.file {
            File::Path(path) => (CWD.as_raw_fd(), path, 0),
            File::Slot(_) => (file, c"", AT_EMPTY_PATH),
        };
        // SAFETY: both arrays are null-terminated and live as long as `self`.
        let errno = unsafe { raw::execveat(dir, path, self.argv.pointers.as_ptr(), env.as_ptr(), flags) };
        if errno == Errno::ENOEXEC && flags == 0 { interpreter::of_no_format(path) } else { Fault::new("execve", errno) }
    }
}
