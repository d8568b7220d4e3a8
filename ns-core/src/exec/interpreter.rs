//! What a program's file makes the kernel execute instead of itself or before it: a script's interpreter, an ELF file's.
//!
//! Both are names in a file that may be hostile, which the kernel follows through magic links: `#!/proc/self/exe` would execute the caller's
//! own program inside the container, and hand its file to whoever is in there.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros, clippy::indexing_slicing)]

use crate::raw::Errno;
use crate::step::{ChildFd, Fault};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::{pread, retry_on_intr};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

/// As the kernel reads of a script's first line, `BINPRM_BUF_SIZE`.
const LINE: usize = 256;
/// With a NUL.
type Name = [u8; LINE + 1];
/// As many scripts the kernel follows.
const DEPTH: u32 = 5;
/// More program headers than a linker makes; the kernel takes 64 KiB of them.
const HEADERS: u64 = 1170;
const PT_INTERP: u32 = 3;

const EXEC: &str = "execve";
/// The call named by a fault about an interpreter.
pub(super) const INTERPRETER: &str = "execve (interpreter)";

/// Refuses (`ELOOP`) a program whose path, or whose interpreter's, leads through a magic link.
///
/// What may be executed but not read is not looked into. Between this and the exec somebody who can write to the tree from outside can put
/// another file there.
pub(super) fn check(path: &CStr) -> Result<(), Fault> {
    follow(path).map(|_| ())
}

/// After an exec that failed with `ENOEXEC`: which of the files has no format that the kernel knows.
pub(super) fn of_no_format(path: &CStr) -> Fault {
    match follow(path) {
        Ok(Some(name)) => Fault::new(INTERPRETER, Errno::ENOEXEC).saying(CStr::from_bytes_until_nul(&name).unwrap_or_default().to_bytes()),
        _ => Fault::new(EXEC, Errno::ENOEXEC),
    }
}

/// Checks each; what interprets the last script, if the file is one.
fn follow(path: &CStr) -> Result<Option<Name>, Fault> {
    let mut name = [0; LINE + 1];
    let mut next = inspect(path, EXEC, &mut name)?;
    let mut last = None;
    let mut depth = 0;
    while next == Next::Script {
        depth += 1;
        let line = name;
        let path = CStr::from_bytes_until_nul(&line).unwrap_or_default();
        if depth > DEPTH {
            return Err(Fault::new(INTERPRETER, Errno::ELOOP).saying(path.to_bytes()));
        }
        next = inspect(path, INTERPRETER, &mut name).map_err(|fault| fault.saying(path.to_bytes()))?;
        last = Some(line);
    }
    if next == Next::Elf {
        let path = CStr::from_bytes_until_nul(&name).unwrap_or_default();
        find(path, OFlags::PATH).map(ChildFd::close).map_err(|errno| Fault::new(INTERPRETER, errno).saying(path.to_bytes()))?;
    }
    Ok(last)
}

/// What comes after a file; its name is then in the buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Nothing,
    Script,
    Elf,
}

fn find(path: &CStr, flags: OFlags) -> Result<ChildFd, Errno> {
    let found = retry_on_intr(|| openat2(CWD, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_MAGICLINKS));
    found.map(ChildFd::from).map_err(|e| Errno::new(e.raw_os_error()))
}

fn inspect(path: &CStr, call: &'static str, name: &mut Name) -> Result<Next, Fault> {
    let fault = |errno| Fault::new(call, errno);
    if call == INTERPRETER {
        // The exec would refuse it too, and name the script.
        let file = find(path, OFlags::PATH).map_err(fault)?;
        let stat = fstat(file.as_fd());
        file.close();
        let mode = stat.map_err(|e| fault(Errno::new(e.raw_os_error())))?.st_mode;
        if FileType::from_raw_mode(mode) != FileType::RegularFile || mode & 0o111 == 0 {
            return Err(fault(Errno::EACCES));
        }
    }
    let file = match find(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
        // It may be executed all the same, or is a socket: then only its path is known to be good.
        Err(Errno::EACCES | Errno::ENXIO) => return find(path, OFlags::PATH).map(ChildFd::close).map(|()| Next::Nothing).map_err(fault),
        found => found.map_err(fault)?,
    };
    let next = read_next(file.as_fd(), name);
    file.close();
    match next {
        // The exec will refuse it, in the usual words.
        Err(Errno::EISDIR | Errno::ESPIPE) if call == EXEC => Ok(Next::Nothing),
        next => next.map_err(|errno| Fault::new(INTERPRETER, errno)),
    }
}

fn read_next(file: BorrowedFd<'_>, name: &mut Name) -> Result<Next, Errno> {
    let mut start = [0; LINE];
    let len = read_at(file, &mut start, 0)?;
    let start = start.get(..len).unwrap_or_default();
    if let Some(line) = start.strip_prefix(b"#!") {
        return Ok(if copy(script_interpreter(line), name) { Next::Script } else { Next::Nothing });
    }
    match elf_interpreter(file, start)? {
        Some((offset, size)) if size <= LINE as u64 => {
            name.fill(0);
            read_at(file, name.get_mut(..size as usize).unwrap_or_default(), offset)?;
            Ok(Next::Elf)
        }
        // A name that long leads nowhere that a distribution has.
        Some(_) => Err(Errno::ENAMETOOLONG),
        None => Ok(Next::Nothing),
    }
}

fn read_at(file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    retry_on_intr(|| pread(file, &mut *buffer, offset)).map_err(|e| Errno::new(e.raw_os_error()))
}

/// The first word of the line.
fn script_interpreter(line: &[u8]) -> &[u8] {
    let line = line.split(|byte| matches!(byte, b'\n' | 0)).next().unwrap_or_default();
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    line.split(blank).find(|word| !word.is_empty()).unwrap_or_default()
}

/// With a NUL; false where there is nothing.
fn copy(from: &[u8], name: &mut Name) -> bool {
    name.fill(0);
    for (to, byte) in name.iter_mut().take(LINE).zip(from) {
        *to = *byte;
    }
    !from.is_empty()
}

fn number<const N: usize>(bytes: &[u8], offset: usize) -> u64 {
    let mut number = [0; 8];
    for (to, from) in number.iter_mut().zip(bytes.iter().skip(offset).take(N)) {
        *to = *from;
    }
    u64::from_le_bytes(number)
}

/// Where in the file the name of the interpreter stands, `elf(5)`: offset and size of the segment PT_INTERP. Little-endian, as every
/// architecture of ours.
fn elf_interpreter(file: BorrowedFd<'_>, header: &[u8]) -> Result<Option<(u64, u64)>, Errno> {
    if !header.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    let wide = header.get(4) == Some(&2);
    let (table, size, count) = if wide {
        (number::<8>(header, 32), number::<2>(header, 54), number::<2>(header, 56))
    } else {
        (number::<4>(header, 28), number::<2>(header, 42), number::<2>(header, 44))
    };
    for n in 0..count.min(HEADERS) {
        let mut entry = [0; 56];
        read_at(file, &mut entry, table.saturating_add(n * size))?;
        if number::<4>(&entry, 0) == u64::from(PT_INTERP) {
            let place =
                if wide { (number::<8>(&entry, 8), number::<8>(&entry, 32)) } else { (number::<4>(&entry, 4), number::<4>(&entry, 16)) };
            return Ok(Some(place));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    reason = "tests run in the parent"
)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn checked(content: &[u8]) -> Result<(), (&'static str, Errno)> {
        let path = std::env::temp_dir().join(format!("ns-core-interpreter-{:?}", std::thread::current().id()));
        std::fs::write(&path, content).unwrap();
        let answer = check(&CString::new(path.as_os_str().as_encoded_bytes()).unwrap()).map_err(|fault| (fault.call, fault.errno));
        std::fs::remove_file(&path).unwrap();
        answer
    }

    #[test]
    fn scripts() {
        assert_eq!(checked(b"#!/bin/sh -e\n"), Ok(()));
        assert_eq!(checked(b"#! \t/bin/sh"), Ok(()));
        assert_eq!(checked(b"#!\n"), Ok(()), "the kernel says what it thinks of that");
        assert_eq!(checked(b""), Ok(()));
        assert_eq!(checked(b"#!/proc/self/exe --version\n"), Err((INTERPRETER, Errno::ELOOP)));
        assert_eq!(checked(b"#!/proc/self/root/bin/sh\n"), Err((INTERPRETER, Errno::ELOOP)));
        assert_eq!(checked(b"#!/no/such/interpreter\n"), Err((INTERPRETER, Errno::ENOENT)));
    }

    #[test]
    fn what_the_kernel_has_no_format_for_is_named() {
        let dir = std::env::temp_dir().join(format!("ns-core-format-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let file = |name: &str, content: &str| {
            std::fs::write(dir.join(name), content).unwrap();
            std::fs::set_permissions(dir.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            CString::new(dir.join(name).into_os_string().into_encoded_bytes()).unwrap()
        };
        let empty = file("empty", "");
        let script = file("script", &format!("#!{}\n", empty.to_str().unwrap()));
        let outer = file("outer", &format!("#! {} x\n", script.to_str().unwrap()));
        let told = |path: &CString| {
            let fault = of_no_format(path);
            (fault.call, fault.errno, fault.text.to_string())
        };
        assert_eq!(told(&empty), (EXEC, Errno::ENOEXEC, String::new()));
        for path in [script, outer] {
            assert_eq!(told(&path), (INTERPRETER, Errno::ENOEXEC, empty.to_str().unwrap().to_owned()));
        }
        // What nobody may execute: without the bit, no regular file.
        for other in [dir.join("closed"), dir.clone(), "/dev/null".into()] {
            if other.ends_with("closed") {
                std::fs::write(&other, "").unwrap();
            }
            let script = file("script", &format!("#!{}\n", other.display()));
            let fault = check(&script).unwrap_err();
            assert_eq!((fault.call, fault.errno, fault.text.to_string()), (INTERPRETER, Errno::EACCES, other.display().to_string()));
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn elf_files() {
        assert_eq!(check(c"/bin/sh").map_err(|fault| fault.errno), Ok(()));
        let mut file = std::fs::read("/bin/sh").unwrap();
        let Some(at) = file.windows(5).position(|w| w == b"/lib6" || w == b"/lib/") else { return };
        let name = b"/proc/self/exe\0";
        file[at..at + name.len()].copy_from_slice(name);
        assert_eq!(checked(&file), Err((INTERPRETER, Errno::ELOOP)));
        assert_eq!(checked(b"\x7fELF"), Ok(()));
    }
}
