//! A machine's record as a file: written whole or not at all, read with bounds.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ns_core::Errno;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use super::{Places, Record};
use crate::interrupted::again;
use crate::settings::MachineName;
use crate::{Error, Kind, escape::Escaped};

/// A record has one or two thousand bytes.
const MAX: u64 = 64 * 1024;

/// Where a machine's record is. Only who holds the machine's name may write or remove it.
#[derive(Debug)]
pub struct RecordFile {
    path: PathBuf,
    /// Beside it, hidden; of the same name at each write, since there is one writer, so that a crash leaves one at most.
    temporary: PathBuf,
}

impl RecordFile {
    /// `/run/nskit/machines/NAME.json`; makes the directory if it is missing.
    ///
    /// # Errors
    /// The directory can't be made.
    pub fn new(places: &Places, name: &MachineName) -> Result<RecordFile, Error> {
        Ok(RecordFile::below(&places.records()?, name))
    }

    pub(super) fn below(directory: &Path, name: &MachineName) -> RecordFile {
        RecordFile { path: directory.join(format!("{name}.json")), temporary: directory.join(format!(".{name}.json")) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it: readers see the old one or the new one, whole.
    ///
    /// # Errors
    /// It can't be written, as on a full file system; the old one is there as it was.
    pub fn write(&self, record: &Record) -> Result<(), Error> {
        let written = self.write_temporary(&record.to_json()).and_then(|()| {
            again(|| std::fs::rename(&self.temporary, &self.path)).map_err(|e| failed("write the record", &self.path, "rename", number(&e)))
        });
        if written.is_err() {
            // The first error is the one to tell; what stays is taken over by the next start.
            let _ = std::fs::remove_file(&self.temporary);
        }
        written.map_err(|e| e.hint("without its record nobody could find the machine"))
    }

    fn write_temporary(&self, json: &[u8]) -> Result<(), Error> {
        let failed = |call: &str, errno| failed("write the record", &self.path, call, errno);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = again(|| open(&self.temporary, flags, Mode::from_raw_mode(0o644))).map_err(|e| failed("open", e.into()))?;
        let mut file = File::from(fd);
        file.write_all(json).map_err(|e| failed("write", number(&e)))?;
        // Whatever the caller's umask is.
        again(|| file.set_permissions(Permissions::from_mode(0o644))).map_err(|e| failed("fchmod", number(&e)))
    }

    /// Reads it; `None`: there is none.
    ///
    /// # Errors
    /// [`Kind::Damaged`]: it is no record of this machine. Another kind: it can't be read.
    pub fn read(&self) -> Result<Option<Record>, Error> {
        let Some(json) = self.bytes()? else { return Ok(None) };
        let record = Record::from_json(&json).map_err(|e| Error::new(Kind::Damaged, format!("{}: {e}", Escaped::path(&self.path))))?;
        match self.path.file_stem().is_some_and(|stem| stem == record.name.as_str()) {
            true => Ok(Some(record)),
            false => Err(self.damaged(format!("it is about machine '{}'", record.name))),
        }
    }

    fn bytes(&self) -> Result<Option<Vec<u8>>, Error> {
        let failed = |call: &str, errno| failed("read the record", &self.path, call, errno);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match again(|| open(&self.path, flags, Mode::empty())) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP) => return Err(self.damaged("it is a symbolic link")),
            Err(e) => return Err(failed("open", e.into())),
        };
        let stat = again(|| fstat(&fd)).map_err(|e| failed("fstat", e.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.damaged("it is no regular file"));
        }
        let mut json = Vec::new();
        File::from(fd).take(MAX + 1).read_to_end(&mut json).map_err(|e| failed("read", number(&e)))?;
        match json.len() as u64 > MAX {
            true => Err(self.damaged(format!("it is longer than {MAX} bytes"))),
            false => Ok(Some(json)),
        }
    }

    /// Removes it, and what a crash left beside it; whether anything was there.
    ///
    /// # Errors
    /// It is there and can't be removed.
    pub fn remove(&self) -> Result<bool, Error> {
        let mut there = false;
        for path in [&self.temporary, &self.path] {
            match again(|| std::fs::remove_file(path)) {
                Ok(()) => there = true,
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(failed("remove the record", path, "unlink", number(&e))),
            }
        }
        Ok(there)
    }

    fn damaged(&self, what: impl std::fmt::Display) -> Error {
        Error::new(Kind::Damaged, format!("{}: {what}", Escaped::path(&self.path)))
    }
}

fn failed(doing: &str, path: &Path, call: &str, errno: Errno) -> Error {
    Error::call(Kind::Host, format!("{doing} {}: {call}", Escaped::path(path)), errno)
}

fn number(e: &std::io::Error) -> Errno {
    Errno::new(e.raw_os_error().unwrap_or_default())
}
