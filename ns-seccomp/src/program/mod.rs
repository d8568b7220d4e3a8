//! A compiled filter.

mod check;
mod evaluate;
mod instruction;

pub(crate) use instruction::{ALU, AND, Instruction, JA, JEQ, JGE, JGT, LD_ABS, RET_K};

use crate::error::Error;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A filter program in the form that the kernel takes: classic BPF, `struct sock_filter`s as 8-byte values in native order.
#[derive(Clone, Debug)]
pub struct Program {
    name: Cow<'static, str>,
    code: Code,
}

#[derive(Clone, Debug)]
enum Code {
    Embedded(&'static [[u8; 8]]),
    Made(Arc<[[u8; 8]]>),
}

impl Program {
    /// The kernel's limit, `BPF_MAXINSNS`.
    pub const MAX: usize = 4096;

    /// A program that was compiled when the caller was built ([`crate::embed`]). It is not checked: the kernel does that again anyway.
    pub const fn from_static(name: &'static str, instructions: &'static [[u8; 8]]) -> Program {
        Program { name: Cow::Borrowed(name), code: Code::Embedded(instructions) }
    }

    /// A program of another compiler, if the kernel would take it.
    ///
    /// Refused as by `seccomp(2)`: no instruction or more than 4096, jumps out of the program, words that aren't of `seccomp_data`, a
    /// last instruction that doesn't return. Refused although the kernel takes them, since no compiler of filters writes them: the X
    /// register and scratch memory.
    pub fn from_instructions(name: &str, instructions: &[[u8; 8]]) -> Result<Program, Error> {
        check::check(instructions).map_err(|(kind, cause)| Error::new(kind, format_args!("program \"{name}\""), cause))?;
        Ok(Program { name: Cow::Owned(name.to_owned()), code: Code::Made(instructions.into()) })
    }

    /// The same from [`to_bytes`](Program::to_bytes)' form.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Program, Error> {
        let chunks = bytes.chunks_exact(8);
        if !chunks.remainder().is_empty() {
            return Err(Error::new(crate::ErrorKind::BadProgram, format_args!("program \"{name}\""), "not a whole number of instructions"));
        }
        let instructions: Vec<[u8; 8]> = chunks.filter_map(|chunk| chunk.try_into().ok()).collect();
        Program::from_instructions(name, &instructions)
    }

    /// The policy's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the kernel is given.
    pub fn instructions(&self) -> &[[u8; 8]] {
        match &self.code {
            Code::Embedded(code) => code,
            Code::Made(code) => code,
        }
    }

    /// The instructions one after the other, to be stored for this architecture.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.instructions().concat()
    }
}

/// Equal in name and instructions, wherever they came from.
impl PartialEq for Program {
    fn eq(&self, other: &Program) -> bool {
        self.name == other.name && self.instructions() == other.instructions()
    }
}

impl Eq for Program {}

/// `"os" system call filter, 107 instructions`
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" system call filter, {} instructions", self.name, self.instructions().len())
    }
}
