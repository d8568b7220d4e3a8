//! Programs run on paper, as the kernel runs them.

use super::{Instruction, JA, LD_ABS, Program, RET_K, instruction};
use crate::{Action, Call};

impl Program {
    /// The answer to a call. Of an embedded program that the kernel would refuse: kills the process.
    pub fn evaluate(&self, call: &Call) -> Action {
        self.run(call).map_or(Action::KillProcess, Action::from_raw)
    }

    /// Jumps go forward, so this ends; `None` where it runs into what the kernel refuses.
    fn run(&self, call: &Call) -> Option<u32> {
        let (mut at, mut a) = (0, 0);
        loop {
            let instruction = Instruction::from_bytes(*self.instructions().get(at)?);
            at += 1;
            match instruction.code {
                LD_ABS => a = call.word(instruction.k)?,
                instruction::LD_IMM => a = instruction.k,
                RET_K => return Some(instruction.k),
                instruction::RET_A => return Some(a),
                JA => at += instruction.k as usize,
                _ => match instruction.compares(a) {
                    Some(holds) => at += usize::from(if holds { instruction.jt } else { instruction.jf }),
                    None if instruction.is_arithmetic() => a = instruction.arithmetic(a)?,
                    None => return None,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::JEQ;
    use super::*;
    use crate::{Arch, ErrorKind};

    fn program(code: &[Instruction]) -> Result<Program, crate::Error> {
        let code: Vec<[u8; 8]> = code.iter().map(|instruction| instruction.to_bytes()).collect();
        Program::from_instructions("t", &code)
    }

    const ALLOW: Instruction = Instruction::plain(RET_K, Action::Allow.to_raw());

    #[test]
    fn runs() {
        let load = Instruction::plain(LD_ABS, 16);
        let shift = Instruction::plain(0x74, 8);
        let ask = Instruction { code: JEQ, jt: 0, jf: 1, k: 2 };
        let program = program(&[load, shift, ask, ALLOW, Instruction::plain(RET_K, 0)]).unwrap();
        assert_eq!(program.evaluate(&Call::new(Arch::X86, 0, [0x2ff, 0, 0, 0, 0, 0])), Action::Allow);
        assert_eq!(program.evaluate(&Call::new(Arch::X86, 0, [0x3ff, 0, 0, 0, 0, 0])), Action::KillThread);
        assert_eq!(Program::from_bytes("t", &program.to_bytes()).unwrap(), program);
    }

    #[test]
    fn what_the_kernel_refuses_is_refused() {
        let bad = [
            vec![],
            vec![Instruction::plain(LD_ABS, 0)],
            vec![Instruction::plain(LD_ABS, 64), ALLOW],
            vec![Instruction::plain(LD_ABS, 2), ALLOW],
            vec![Instruction::plain(JA, 1), ALLOW],
            vec![Instruction { code: JEQ, jt: 0, jf: 1, k: 0 }, ALLOW],
            vec![Instruction::plain(0x34, 0), ALLOW],
            vec![Instruction::plain(0x64, 32), ALLOW],
            vec![Instruction::plain(0x28, 0), ALLOW],
            vec![Instruction::plain(JA, u32::MAX), ALLOW],
        ];
        for code in bad {
            assert_eq!(program(&code).unwrap_err().kind(), ErrorKind::BadProgram, "{code:?}");
        }
        assert_eq!(program(&vec![ALLOW; 4097]).unwrap_err().kind(), ErrorKind::TooLong);
        program(&vec![ALLOW; 4096]).unwrap();
        assert!(Program::from_bytes("t", &[0; 7]).is_err());
        assert_eq!(Program::from_static("t", &[[0; 8]]).evaluate(&Call::new(Arch::X86, 0, [0; 6])), Action::KillProcess);
    }
}
