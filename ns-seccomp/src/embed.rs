//! For build scripts: filters that are compiled with the program that installs them.
//!
//! ```no_run
//! // build.rs, with ns-seccomp (no features needed) under [build-dependencies]
//! let policy = ns_seccomp::profile::os().for_arches(&ns_seccomp::embed::target_arches()?);
//! ns_seccomp::embed::write(&policy.compile()?)?;
//! # Ok::<(), ns_seccomp::Error>(())
//! ```
//!
//! ```text
//! // main.rs
//! const OS: ns_seccomp::Program = include!(concat!(env!("OUT_DIR"), "/os.filter.rs"));
//! ```

use crate::error::{Error, Kind};
use crate::{Arch, Program};
use std::fmt::Write;
use std::path::PathBuf;

/// The architectures whose calls the kernel of Cargo's target accepts: a build script runs on the host.
pub fn target_arches() -> Result<Vec<Arch>, Error> {
    let target = variable("CARGO_CFG_TARGET_ARCH")?;
    let arch = Arch::from_name(&target).ok_or_else(|| {
        Error::new(Kind::UnknownName, "embed filters", format_args!("no table of system calls for the architecture \"{target}\""))
    })?;
    Ok(arch.accepted().to_vec())
}

/// Writes `$OUT_DIR/NAME.filter.rs`, an expression of type [`Program`], and returns its path.
pub fn write(program: &Program) -> Result<PathBuf, Error> {
    let path = PathBuf::from(variable("OUT_DIR")?).join(format!("{}.filter.rs", program.name()));
    std::fs::write(&path, source(program)).map_err(|error| Error::io(format_args!("write {}", path.display()), &error))?;
    Ok(path)
}

/// The expression: a call of [`Program::from_static`].
pub fn source(program: &Program) -> String {
    let mut text = format!("::ns_seccomp::Program::from_static({:?}, &[\n", program.name());
    for instruction in program.instructions() {
        let _ = writeln!(text, "    {instruction:?},");
    }
    text + "])\n"
}

fn variable(name: &str) -> Result<String, Error> {
    std::env::var(name).map_err(|_| Error::new(Kind::Io, "embed filters", format_args!("{name} is not set: not a build script?")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_an_expression() {
        let program = Program::from_static("t", &[[6, 0, 0, 0, 0, 0, 255, 127]]);
        assert_eq!(source(&program), "::ns_seccomp::Program::from_static(\"t\", &[\n    [6, 0, 0, 0, 0, 0, 255, 127],\n])\n");
    }

    #[test]
    fn the_numbers_are_the_programs() {
        let program = crate::profile::os().compile().unwrap();
        let text = source(&program);
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("    [")?.strip_suffix("],")).collect();
        let bytes: Vec<u8> = lines.iter().flat_map(|line| line.split(", ").map(|byte| byte.parse::<u8>().unwrap())).collect();
        assert_eq!(Program::from_bytes("os", &bytes).unwrap(), program);
    }
}
