//! What the kernel's checker wants of a program: `bpf_check_classic` and `seccomp_check_filter`.

use super::{Instruction, JA, LD_ABS, Program, RET_K, instruction};
use crate::ErrorKind;

pub(super) fn check(code: &[[u8; 8]]) -> Result<(), (ErrorKind, String)> {
    if code.len() > Program::MAX {
        return Err((ErrorKind::TooLong, format!("{} instructions, the kernel takes {}", code.len(), Program::MAX)));
    }
    let bad = |cause: String| (ErrorKind::BadProgram, cause);
    for (at, bytes) in code.iter().enumerate() {
        let instruction = Instruction::from_bytes(*bytes);
        let left = code.len() - at - 1;
        one(instruction, left).map_err(|cause| bad(format!("instruction {at}, {instruction:x?}: {cause}")))?;
    }
    match code.last().map(|bytes| Instruction::from_bytes(*bytes).code) {
        Some(RET_K | instruction::RET_A) => Ok(()),
        Some(_) => Err(bad("the last instruction does not return".to_owned())),
        None => Err(bad("no instructions".to_owned())),
    }
}

fn one(instruction: Instruction, left: usize) -> Result<(), &'static str> {
    let reaches = |skip: usize| if skip < left { Ok(()) } else { Err("jumps out of the program") };
    match instruction.code {
        LD_ABS if instruction.k % 4 == 0 && instruction.k < 64 => Ok(()),
        LD_ABS => Err("not a word of seccomp_data"),
        instruction::LD_IMM | RET_K | instruction::RET_A => Ok(()),
        JA => reaches(instruction.k as usize),
        _ if instruction.compares(0).is_some() => reaches(instruction.jt.max(instruction.jf).into()),
        _ if instruction.is_arithmetic() => Ok(()),
        _ => Err("not an instruction of filters"),
    }
}
