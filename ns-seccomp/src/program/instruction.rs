//! Classic BPF: `struct sock_filter`.

/// One instruction:
///
/// ```text
/// byte  0 1     2    3    4 .. 7
///       code    jt   jf   k         (native order; little-endian here)
/// ```
///
/// Jumps go forward only, by the number of instructions to skip: `jt` and `jf` of a comparison are one byte, `k` of `ja` is 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jt: u8,
    pub(crate) jf: u8,
    pub(crate) k: u32,
}

/// `A = word of seccomp_data at k`
pub(crate) const LD_ABS: u16 = 0x20;
/// `A = k`
pub(crate) const LD_IMM: u16 = 0x00;
/// `A = A op k`: the class of arithmetic, with the operation in the high half.
pub(crate) const ALU: u16 = 0x04;
pub(crate) const AND: u16 = 0x50;
/// Skip `k`.
pub(crate) const JA: u16 = 0x05;
pub(crate) const JEQ: u16 = 0x15;
pub(crate) const JGT: u16 = 0x25;
pub(crate) const JGE: u16 = 0x35;
pub(crate) const JSET: u16 = 0x45;
/// `return k`
pub(crate) const RET_K: u16 = 0x06;
/// `return A`
pub(crate) const RET_A: u16 = 0x16;

impl Instruction {
    pub(crate) const fn plain(code: u16, k: u32) -> Instruction {
        Instruction { code, jt: 0, jf: 0, k }
    }

    pub(crate) const fn from_bytes(bytes: [u8; 8]) -> Instruction {
        let [c0, c1, jt, jf, k0, k1, k2, k3] = bytes;
        Instruction { code: u16::from_ne_bytes([c0, c1]), jt, jf, k: u32::from_ne_bytes([k0, k1, k2, k3]) }
    }

    pub(crate) const fn to_bytes(self) -> [u8; 8] {
        let ([c0, c1], [k0, k1, k2, k3]) = (self.code.to_ne_bytes(), self.k.to_ne_bytes());
        [c0, c1, self.jt, self.jf, k0, k1, k2, k3]
    }

    /// `A op k` of an arithmetic instruction; `None` where the kernel's checker refuses it.
    pub(crate) fn arithmetic(self, a: u32) -> Option<u32> {
        let k = self.k;
        match self.code & 0xf0 {
            0x00 => Some(a.wrapping_add(k)),
            0x10 => Some(a.wrapping_sub(k)),
            0x20 => Some(a.wrapping_mul(k)),
            0x30 => a.checked_div(k),
            0x40 => Some(a | k),
            AND => Some(a & k),
            0x60 => a.checked_shl(k),
            0x70 => a.checked_shr(k),
            0x80 => Some(a.wrapping_neg()),
            0xa0 => Some(a ^ k),
            _ => None,
        }
    }

    /// Whether a comparison holds; `None` for other instructions.
    pub(crate) fn compares(self, a: u32) -> Option<bool> {
        match self.code {
            JEQ => Some(a == self.k),
            JGT => Some(a > self.k),
            JGE => Some(a >= self.k),
            JSET => Some(a & self.k != 0),
            _ => None,
        }
    }

    pub(crate) fn is_arithmetic(self) -> bool {
        self.code & !0xf0 == ALU && self.arithmetic(1).is_some()
    }
}
