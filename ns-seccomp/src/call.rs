//! One system call as a filter sees it: `struct seccomp_data`.

use crate::Arch;

/// What a filter is asked about. Pointers are numbers to it: it can't look behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The call's number; bit 30 is x32's.
    pub number: u32,
    /// `AUDIT_ARCH_*`.
    pub audit: u32,
    /// Where in the program the call is made.
    pub instruction_pointer: u64,
    /// The arguments; of 32-bit architectures extended with zeros.
    pub args: [u64; 6],
}

impl Call {
    /// This call of this architecture.
    pub const fn new(arch: Arch, number: u32, args: [u64; 6]) -> Call {
        Call { number, audit: arch.audit(), instruction_pointer: 0, args }
    }

    /// The word at a byte offset of the structure (little-endian, as every architecture here), if it is one.
    pub(crate) fn word(&self, offset: u32) -> Option<u32> {
        let half = |value: u64| (value >> (8 * (offset & 4))) as u32;
        match offset {
            NUMBER => Some(self.number),
            ARCH => Some(self.audit),
            8 | 12 => Some(half(self.instruction_pointer)),
            16..64 if offset % 4 == 0 => self.args.get((offset as usize - 16) / 8).map(|arg| half(*arg)),
            _ => None,
        }
    }
}

/// Offset of the number.
pub(crate) const NUMBER: u32 = 0;
/// Offset of the architecture.
pub(crate) const ARCH: u32 = 4;

/// Offset of an argument's low half; the high half is 4 further.
pub(crate) const fn arg(index: u8) -> u32 {
    16 + 8 * index as u32
}
