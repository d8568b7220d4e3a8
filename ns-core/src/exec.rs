//! What a payload becomes: `execve(2)`, with its descriptors as rows.

mod child;
mod descriptors;
mod interpreter;

pub(crate) use descriptors::{MAX_ROWS, Row, arrange, close_all_but};

use crate::error::Error;
use crate::step::Slot;
use std::ffi::{CString, OsStr, c_char};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// The program that a payload becomes: ordered alternatives, arguments, environment, directory, descriptors.
///
/// Nothing is inherited: the environment is what [`Exec::env`] says, descriptors are those of [`Exec::pass`]; 0 to 2 are `/dev/null`
/// unless they are passed or [`Exec::inherit_stdio`] is asked for.
///
/// ```
/// use ns_core::Exec;
/// let init = Exec::new("/usr/lib/systemd/systemd")?.or("/lib/systemd/systemd")?.or("/sbin/init")?.env("container", "mine")?;
/// assert_eq!(init.to_string(), "exec /usr/lib/systemd/systemd, else /lib/systemd/systemd, else /sbin/init");
/// # Ok::<(), ns_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Exec {
    programs: Vec<Program>,
    env: Array,
    directory: Option<CString>,
    rows: Vec<Row>,
    runner: Runner,
}

/// Where the joiner's stub finds its caller.
const JOINERS_CALLER: u16 = 3;

/// Who executes the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runner {
    Payload,
    /// The stub, as process 1.
    Init,
    /// The stub, as what enters a running container's pid namespace.
    Joiner,
}

#[derive(Debug)]
struct Program {
    file: File,
    argv: Array,
    /// What the stub init is told: its own name, the path, then `argv`.
    stub_argv: Array,
}

#[derive(Debug)]
enum File {
    Path(CString),
    Slot(Slot),
}

/// A null-terminated array of C strings, as `execve(2)` takes it.
#[derive(Debug)]
struct Array {
    strings: Vec<CString>,
    /// Points at the strings' heap memory, which does not move with them.
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers are to the value's own heap memory, which is only read.
unsafe impl Send for Array {}
// SAFETY: as above.
unsafe impl Sync for Array {}

impl Array {
    fn new(strings: Vec<CString>) -> Array {
        let mut array = Array { strings, pointers: Vec::new() };
        array.point();
        array
    }

    fn push(&mut self, string: CString) {
        self.strings.push(string);
        self.point();
    }

    fn point(&mut self) {
        self.pointers = self.strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
    }
}

fn c_string(what: &str, text: &OsStr) -> Result<CString, Error> {
    CString::new(text.as_bytes()).map_err(|_| Error::refused(format!("{what}: there is a NUL byte in {text:?}")))
}

impl Exec {
    /// Executes `path` as the payload sees it. Its first argument is the path too, unless [`Exec::arg0`] says otherwise.
    pub fn new(path: impl AsRef<OsStr>) -> Result<Exec, Error> {
        let exec = Exec { programs: Vec::new(), env: Array::new(Vec::new()), directory: None, rows: Vec::new(), runner: Runner::Payload };
        exec.or(path)
    }

    /// Executes the file that is open in `slot`, `execveat(2)` with AT_EMPTY_PATH: a static program, or one whose interpreter is in the tree.
    pub fn file(slot: Slot, arg0: impl AsRef<OsStr>) -> Result<Exec, Error> {
        let mut exec =
            Exec { programs: Vec::new(), env: Array::new(Vec::new()), directory: None, rows: Vec::new(), runner: Runner::Payload };
        exec.programs.push(Program::new(File::Slot(slot), c_string("exec", arg0.as_ref())?));
        Ok(exec)
    }

    /// An alternative, tried where the ones before aren't there (`ENOENT`, `ENOTDIR`). Arguments that follow are its own.
    pub fn or(mut self, path: impl AsRef<OsStr>) -> Result<Exec, Error> {
        let path = c_string("exec", path.as_ref())?;
        if path.is_empty() {
            return Err(Error::refused("exec: the path is empty"));
        }
        self.programs.push(Program::new(File::Path(path.clone()), path));
        Ok(self)
    }

    /// What the last alternative is told that it is called: `-bash` makes a login shell.
    pub fn arg0(mut self, name: impl AsRef<OsStr>) -> Result<Exec, Error> {
        let name = c_string("exec", name.as_ref())?;
        if let Some(program) = self.programs.last_mut() {
            let mut strings = std::mem::take(&mut program.argv.strings);
            if let Some(first) = strings.first_mut() {
                *first = name;
            }
            program.argv = Array::new(strings);
        }
        Ok(self)
    }

    /// One more argument of the last alternative.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Result<Exec, Error> {
        let argument = c_string("exec", argument.as_ref())?;
        if let Some(program) = self.programs.last_mut() {
            program.argv.push(argument);
        }
        Ok(self)
    }

    /// Several more arguments of the last alternative.
    pub fn args<S: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = S>) -> Result<Exec, Error> {
        arguments.into_iter().try_fold(self, |exec, argument| exec.arg(argument))
    }

    /// Sets an environment variable; the last value of a name counts.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Result<Exec, Error> {
        let name = name.as_ref().as_bytes();
        if name.is_empty() || name.contains(&b'=') {
            return Err(Error::refused(format!("exec: {:?} is no name of a variable", OsStr::from_bytes(name))));
        }
        let start = [name, b"="].concat();
        let text = [&start, value.as_ref().as_bytes()].concat();
        let mut strings = std::mem::take(&mut self.env.strings);
        strings.retain(|old| !old.as_bytes().starts_with(&start));
        strings.push(c_string("exec", OsStr::from_bytes(&text))?);
        self.env = Array::new(strings);
        Ok(self)
    }

    /// `chdir(2)` to `path` as the payload sees it, right before.
    pub fn directory(mut self, path: impl AsRef<OsStr>) -> Result<Exec, Error> {
        self.directory = Some(c_string("chdir", path.as_ref())?);
        Ok(self)
    }

    /// The descriptor in `slot` is the payload's `number`.
    pub fn pass(mut self, slot: Slot, number: u16) -> Result<Exec, Error> {
        if self.rows.iter().any(|row| row.number() == i32::from(number)) {
            return Err(Error::refused(format!("exec: descriptor {number} is passed twice")));
        }
        self.rows.push(Row::slot(slot, number));
        Ok(self)
    }

    /// The descriptor in `slot` is 0, 1 and 2: a terminal.
    pub fn stdio(self, slot: Slot) -> Result<Exec, Error> {
        self.pass(slot, 0)?.pass(slot, 1)?.pass(slot, 2)
    }

    /// The caller's own 0, 1 and 2.
    pub fn inherit_stdio(mut self) -> Exec {
        self.rows.retain(|row| row.number() > 2);
        self.rows.extend((0..3).map(Row::inherited));
        self
    }

    /// The payload is not process 1 but 2: the stub init runs it, reaps what is orphaned, and turns a manager's signals into a reboot
    /// or power-off. The payload's exit status is the stub's; 255 where it was killed by a signal.
    pub fn as_pid2(mut self) -> Exec {
        self.runner = Runner::Init;
        self
    }

    /// By the stub that enters a container, which tells of it on `caller`: see `Plan::enter`.
    pub(crate) fn by_joiner(&mut self, caller: Slot) {
        self.runner = Runner::Joiner;
        self.rows.push(Row::slot(caller, JOINERS_CALLER));
    }

    /// Prepares what the child will need, once nothing changes any more.
    pub(crate) fn seal(&mut self) -> Result<(), Error> {
        // 0 to 2 are there in any case.
        let others = self.rows.iter().filter(|row| row.number() > 2).count();
        if others + 3 > MAX_ROWS {
            return Err(Error::refused(format!("exec: {others} descriptors are passed beside stdio: at most {}", MAX_ROWS - 3)));
        }
        match self.runner {
            Runner::Payload => Ok(()),
            Runner::Init => self.seal_for_init(),
            Runner::Joiner => self.seal_for_joiner(),
        }
    }

    fn seal_for_init(&mut self) -> Result<(), Error> {
        for program in &mut self.programs {
            let head = [c"(ns-init)".to_owned(), program.path()?.clone()];
            program.stub_argv = Array::new(head.into_iter().chain(program.argv.strings.iter().cloned()).collect());
        }
        Ok(())
    }

    /// The directory, the paths, an empty word, the arguments.
    fn seal_for_joiner(&mut self) -> Result<(), Error> {
        if self.rows.iter().filter(|row| row.number() > 2).count() > 1 {
            return Err(Error::refused("exec: what enters a container is passed 0, 1 and 2 alone"));
        }
        let directory = self.directory.clone().unwrap_or_else(|| c"/".to_owned());
        let paths: Vec<CString> = self.programs.iter().map(|program| program.path().cloned()).collect::<Result<_, _>>()?;
        let arguments = self.programs.first().map(|program| program.argv.strings.clone()).unwrap_or_default();
        if self.programs.iter().any(|program| program.argv.strings != arguments) {
            return Err(Error::refused("exec: what enters a container has the same arguments under every path"));
        }
        let words = [c"(ns-join)".to_owned(), directory].into_iter().chain(paths).chain([c"".to_owned()]).chain(arguments);
        let words = Array::new(words.collect());
        if let Some(program) = self.programs.first_mut() {
            program.stub_argv = words;
        }
        Ok(())
    }

    pub(crate) fn is_as_pid2(&self) -> bool {
        self.runner == Runner::Init
    }

    pub(crate) fn is_by_joiner(&self) -> bool {
        self.runner == Runner::Joiner
    }

    /// Whether it isn't the payload that executes the program.
    pub(crate) fn needs_stub(&self) -> bool {
        self.runner != Runner::Payload
    }

    /// Slots that the payload needs for this.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let files = self.programs.iter().filter_map(|program| match program.file {
            File::Slot(slot) => Some(slot),
            File::Path(_) => None,
        });
        self.rows.iter().filter_map(|row| row.slot_name()).chain(files).collect()
    }

    /// The descriptor that is executed, where it is one.
    pub(crate) fn file_slot(&self) -> Option<Slot> {
        self.programs.iter().find_map(|program| match program.file {
            File::Slot(slot) => Some(slot),
            File::Path(_) => None,
        })
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The words for an alternative, which a fault names by number.
    pub(crate) fn alternative(&self, n: u32) -> Option<String> {
        let program = self.programs.get(n as usize)?;
        Some(program.to_string())
    }

    pub(crate) fn alternatives(&self) -> usize {
        self.programs.len()
    }
}

impl Program {
    fn new(file: File, arg0: CString) -> Program {
        Program { file, argv: Array::new(vec![arg0]), stub_argv: Array::new(Vec::new()) }
    }

    fn path(&self) -> Result<&CString, Error> {
        match &self.file {
            File::Path(path) => Ok(path),
            File::Slot(_) => Err(Error::refused("exec: the stub needs a path to run")),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            File::Path(path) => write!(f, "{}", path.to_string_lossy().escape_debug())?,
            File::Slot(slot) => write!(f, "<{slot}>")?,
        }
        self.argv.strings.iter().skip(1).try_for_each(|a| write!(f, " {}", a.to_string_lossy().escape_debug()))
    }
}

impl fmt::Display for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.runner {
            Runner::Payload => "exec ",
            Runner::Init => "stub init, exec ",
            Runner::Joiner => "enter the pid namespace, exec ",
        })?;
        self.programs.iter().enumerate().try_for_each(|(n, p)| write!(f, "{}{p}", if n > 0 { ", else " } else { "" }))?;
        match &self.directory {
            Some(path) => write!(f, ", in {}", path.to_string_lossy().escape_debug()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_execve_cannot_take() {
        assert!(Exec::new("").is_err());
        assert!(Exec::new("/a\0b").is_err());
        assert!(Exec::new("/a").unwrap().env("a=b", "").is_err());
        const TTY: Slot = Slot::new("tty");
        assert!(Exec::new("/a").unwrap().stdio(TTY).unwrap().pass(TTY, 2).is_err());
    }

    #[test]
    fn the_last_value_of_a_variable_counts() {
        let exec = Exec::new("/a").unwrap().env("A", "1").unwrap().env("AB", "2").unwrap().env("A", "3").unwrap();
        assert_eq!(exec.env.strings, [c"AB=2".to_owned(), c"A=3".to_owned()]);
        assert_eq!(exec.env.pointers.len(), 3);
    }
}
