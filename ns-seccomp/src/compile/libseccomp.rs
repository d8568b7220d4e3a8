//! The second compiler: libseccomp.

use super::cube::{Cube, MOST, partition};
use super::emitter::Emitter;
use super::{dispatch, finish};
use crate::error::{Error, Kind};
use crate::policy::Policy;
use crate::program::{Instruction, JEQ, Program};
use crate::{Action, Arch};
use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Read, Seek};

impl Policy {
    /// The program as libseccomp makes it: a library that many trust. It answers as that of [`compile`](Policy::compile) does, which a
    /// test shows for every number; it is several times longer and slower to install.
    ///
    /// Refused: what grows over 4096 instructions, and what libseccomp can't express, such as [`Action::Trap`] with a number, and conditions that
    /// only hundreds of its masked comparisons say.
    ///
    /// How libseccomp 2.5 is used, and why: for a foreign architecture it takes a number as one of its own and translates it (i386's 102,
    /// `socketcall`, becomes `getuid`), answers `EFAULT` to those that it has no name for (462 and up), and rewrites the calls that
    /// `socketcall` and `ipc` bundle. So each architecture is compiled alone, by numbers, as if it were this one; then the check of the
    /// architecture is made to ask for the right one.
    pub fn compile_with_libseccomp(&self) -> Result<Program, Error> {
        let programs: Result<Vec<_>, Error> = self.arches().iter().map(|arch| single(self, *arch)).collect();
        let mut programs = programs?;
        let mut code = Emitter::default();
        // Asked for from the last to the first, as they are taken off the list.
        let start = dispatch(self, &mut code, |code, _| code.append(programs.pop().unwrap_or_default()));
        finish(self, code, start)
    }
}

/// The program for one architecture.
fn single(policy: &Policy, arch: Arch) -> Result<Vec<Instruction>, Error> {
    let refused = |object: &str, cause: &dyn std::fmt::Display| {
        let operation = format_args!("compile policy \"{}\": libseccomp: {arch}{object}", policy.name()).to_string();
        Error::new(Kind::Libseccomp, operation, cause)
    };
    let unknown = scmp(policy.unknown_action()).ok_or_else(|| refused("", &"it has no trap with a number"))?;
    let mut filter = open(unknown).map_err(|error| refused("", &error))?;
    for (number, name, verdict) in policy.verdicts(arch) {
        let cubes = partition(&verdict);
        let cubes = cubes.ok_or_else(|| refused(&format!(" {name}"), &format!("its conditions need more than {MOST} rules")))?;
        for (cube, action) in cubes {
            let action = scmp(Action::from_raw(action)).ok_or_else(|| refused(&format!(" {name}"), &"it has no trap with a number"))?;
            // It refuses rules that answer as its default does.
            if action != unknown {
                add(&mut filter, number, &cube, action).map_err(|error| refused(&format!(" {name}"), &error))?;
            }
        }
    }
    let mut program = export(&filter).map_err(|error| refused("", &error))?;
    // The first comparison is that of the architecture; a later one with this value may be an argument's.
    match program.iter_mut().find(|instruction| instruction.code == JEQ) {
        Some(check) if check.k == Arch::native().audit() => check.k = arch.audit(),
        _ => return Err(refused("", &"its program doesn't begin with a check of the architecture")),
    }
    Ok(program)
}

fn open(unknown: ScmpAction) -> Result<ScmpFilterContext, SeccompError> {
    let mut filter = ScmpFilterContext::new(unknown)?;
    filter.set_act_badarch(unknown)?;
    Ok(filter)
}

fn add(filter: &mut ScmpFilterContext, number: u32, cube: &Cube, action: ScmpAction) -> Result<(), SeccompError> {
    let compare = |(index, bits): (u32, super::cube::Bits)| ScmpArgCompare::new(index, ScmpCompareOp::MaskedEqual(bits.mask), bits.value);
    let compares: Vec<ScmpArgCompare> = cube.fixed().map(compare).collect();
    filter.add_rule_conditional_exact(action, ScmpSyscall::from_raw_syscall(number as i32), &compares).map(drop)
}

/// 2.5 exports to a descriptor only.
fn export(filter: &ScmpFilterContext) -> io::Result<Vec<Instruction>> {
    let mut file = File::from(memfd_create(c"filter", MemfdFlags::CLOEXEC)?);
    filter.export_bpf(&file).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok()).map(Instruction::from_bytes).collect())
}

/// libseccomp's word for an action; it has none for a trap with a number.
fn scmp(action: Action) -> Option<ScmpAction> {
    Some(match action {
        Action::KillProcess => ScmpAction::KillProcess,
        Action::KillThread => ScmpAction::KillThread,
        Action::Trap(0) => ScmpAction::Trap,
        Action::Trap(_) => return None,
        Action::Errno(errno) => ScmpAction::Errno(errno.raw_os_error()),
        Action::Notify => ScmpAction::Notify,
        Action::Trace(data) => ScmpAction::Trace(data),
        Action::Log => ScmpAction::Log,
        Action::Allow => ScmpAction::Allow,
    })
}
