//! A cgroup's files: small, read whole and written in one call.

use crate::cgroup::Cgroup;
use crate::errno::{Errno, errno};
use crate::error::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::retry_on_intr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// No cgroup file but `cgroup.procs` comes near this.
const LONGEST: usize = 256 << 10;
/// `cgroup.procs` of four million processes, the kernel's own limit on pids, with their newlines.
pub(crate) const LONGEST_LIST: usize = 32 << 20;

impl Cgroup {
    /// Reads a file of this cgroup, `memory.current`, by `openat(2)` and `read(2)`.
    ///
    /// Fails with the kernel's errno: ENOENT for a file whose controller isn't enabled here or that this kernel doesn't have, ENODEV for
    /// a cgroup that was removed, EOPNOTSUPP for what a threaded cgroup doesn't have. EFBIG above 256 KiB.
    pub fn read(&self, file: &str) -> Result<String> {
        self.read_up_to(file, LONGEST)
    }

    pub(crate) fn read_list(&self, file: &str) -> Result<String> {
        self.read_up_to(file, LONGEST_LIST)
    }

    fn read_up_to(&self, file: &str, longest: usize) -> Result<String> {
        let fd = self.open_file(file, OFlags::RDONLY, "read")?;
        text(fd.as_fd(), longest).map_err(|e| hinted(Error::call(format!("read {file} of"), self.path(), "read", e), file, e))
    }

    /// `None` where the file isn't there, because its controller isn't enabled in this cgroup or the kernel is older than the file.
    pub fn read_if_present(&self, file: &str) -> Result<Option<String>> {
        match self.read(file) {
            Ok(text) => Ok(Some(text)),
            Err(e) if matches!(e.errno(), Some(Errno::ENOENT | Errno::EOPNOTSUPP)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Writes a file of this cgroup in one `write(2)`: `write("memory.max", "max")`.
    ///
    /// Fails with the kernel's errno: those of [`Cgroup::read`], EINVAL or ERANGE for a value that the file doesn't take, EBUSY where
    /// processes are in the way, EACCES, EPERM and EROFS for lack of rights.
    pub fn write(&self, file: &str, value: &str) -> Result<()> {
        let operation = || format!("write {value:?} to {file} of");
        let fd = self.open_file(file, OFlags::WRONLY, "write")?;
        let wrote = retry_on_intr(|| rustix::io::write(&fd, value.as_bytes()));
        match wrote {
            Ok(n) if n == value.len() => Ok(()),
            Ok(n) => Err(Error::call(operation(), self.path(), "write", Errno::EIO).saying(format!("{n} bytes taken"))),
            Err(e) => Err(hinted(Error::call(operation(), self.path(), "write", errno(e)), file, errno(e))),
        }
    }

    pub(crate) fn open_file(&self, file: &str, mode: OFlags, verb: &'static str) -> Result<OwnedFd> {
        if file.contains('/') {
            return Err(Error::refused(ErrorKind::Invalid, format!("{verb} {file} of"), self.path(), "not the name of a file"));
        }
        retry_on_intr(|| openat(self, file, mode | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()))
            .map_err(|e| hinted(Error::call(format!("{verb} {file} of"), self.path(), "openat", errno(e)), file, errno(e)))
    }
}

/// The whole of a file, from its beginning, whatever was read before.
pub(crate) fn whole(fd: BorrowedFd<'_>, longest: usize) -> std::result::Result<Vec<u8>, Errno> {
    let mut text = vec![0; 4096];
    let mut end = 0;
    loop {
        match retry_on_intr(|| rustix::io::pread(fd, &mut text[end..], end as u64)).map_err(errno)? {
            0 => break,
            n => end += n,
        }
        if end > longest {
            return Err(Errno::EFBIG);
        }
        text.resize((end * 2).max(4096), 0);
    }
    text.truncate(end);
    Ok(text)
}

/// The whole of a text file. What the kernel writes there is ASCII.
pub(crate) fn text(fd: BorrowedFd<'_>, longest: usize) -> std::result::Result<String, Errno> {
    whole(fd, longest).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

pub(crate) const INTERNAL_PROCESSES: &str = "processes are in this cgroup itself; move them into one below it";

fn hinted(e: Error, file: &str, errno: Errno) -> Error {
    let hint = match (errno, file) {
        (Errno::ENOENT, f) if f.starts_with("cgroup.") => "the cgroup was removed, or this kernel doesn't have the file".into(),
        (Errno::ENOENT, f) => format!(
            "the controller {} isn't enabled in this cgroup, or this kernel doesn't have the file",
            f.split('.').next().unwrap_or(f)
        )
        .into(),
        (Errno::ENODEV, _) => "the cgroup was removed".into(),
        (Errno::EBUSY, "cgroup.subtree_control") => INTERNAL_PROCESSES.into(),
        (Errno::EBUSY, "cgroup.procs") => "this cgroup passes controllers on, so processes must be in one below it".into(),
        (Errno::EOPNOTSUPP, _) => "the cgroup is threaded, or stands below one that is".into(),
        (Errno::EACCES | Errno::EPERM | Errno::EROFS, _) => crate::cgroup::right_hint(errno),
        _ => return e,
    };
    e.hinted(hint)
}
