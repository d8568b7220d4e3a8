//! The payload's last act.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use super::{Exec, File, Program};
use crate::raw::{self, Errno, SigSet};
use crate::step::{Call, Child, Fault};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, ResolveFlags, accessat, openat2};
use std::ffi::{CStr, c_char};
use std::os::fd::AsRawFd;

const AT_EMPTY_PATH: u32 = linux_raw_sys::general::AT_EMPTY_PATH;

impl Exec {
    /// `chdir(2)`, if asked for.
    pub(crate) fn enter_directory(&self) -> Result<(), Fault> {
        self.directory.as_deref().map_or(Ok(()), |path| rustix::process::chdir(path).call("chdir"))
    }

    /// Signals as a new program expects them: every disposition the default, none blocked.
    pub(crate) fn reset_signals(&self) -> Result<(), Fault> {
        raw::reset_signals();
        raw::sigprocmask(SigSet::EMPTY).map(drop).call("rt_sigprocmask")
    }

    /// The alternatives in order. Only returns on failure, the one of the last that was there, or of the first if none was.
    pub(crate) fn execute(&self, child: &Child<'_>) -> Fault {
        let mut fault = Fault::new("execve", Errno::ENOENT).at_row(0);
        for (n, program) in self.programs.iter().enumerate() {
            let found = program.execute(child, &self.env.pointers).at_row(n as u32);
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

    /// The same by the stub, which is process 1 and is told the first alternative that is there.
    pub(crate) fn execute_stub(&self, child: &Child<'_>, stub: std::os::fd::RawFd) -> Fault {
        let mut fault = Fault::new("execve", Errno::ENOENT).at_row(0);
        for (n, program) in self.programs.iter().enumerate() {
            match program.check(child) {
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

const INTERPRETER: &str = "execve (interpreter)";

impl Program {
    /// The path leads to a file without a magic link: `/proc/self/exe` would be the caller's own program.
    fn check(&self, _: &Child<'_>) -> Result<(), Fault> {
        let File::Path(path) = &self.file else { return Ok(()) };
        let found = openat2(CWD, path.as_c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
        found.map(crate::step::ChildFd::from).call("execve").map(crate::step::ChildFd::close)
    }

    fn execute(&self, child: &Child<'_>, env: &[*const c_char]) -> Fault {
        let (dir, path, flags): (_, &CStr, _) = match &self.file {
            File::Path(path) => (CWD.as_raw_fd(), path, 0),
            File::Slot(slot) => match child.fd(*slot) {
                Ok(fd) => (fd.as_raw_fd(), c"", AT_EMPTY_PATH),
                Err(fault) => return fault,
            },
        };
        if let Err(fault) = self.check(child) {
            return fault;
        }
        // SAFETY: both arrays are null-terminated and live as long as `self`.
        let errno = unsafe { raw::execveat(dir, path, self.argv.pointers.as_ptr(), env.as_ptr(), flags) };
        if errno == Errno::ENOENT && accessat(CWD, path, Access::EXISTS, AtFlags::empty()).is_ok() {
            return Fault::new(INTERPRETER, errno);
        }
        Fault::new("execve", errno)
    }
}
