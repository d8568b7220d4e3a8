//! Conditions on a call's arguments.

use std::fmt;

/// An argument, or some bits of it, to be compared: numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    pub(crate) index: u8,
    pub(crate) mask: u64,
}

impl Arg {
    /// The low 32 bits: what the kernel looks at of an `int` or `unsigned int`. It ignores the rest, so a condition on the whole
    /// register is one that the caller gets around by setting a bit up there.
    pub const fn low(index: u8) -> Arg {
        Arg { index, mask: 0xffff_ffff }
    }

    /// All 64 bits: `long`, `size_t`.
    pub const fn whole(index: u8) -> Arg {
        Arg { index, mask: u64::MAX }
    }

    /// Only these bits of it.
    #[must_use]
    pub const fn masked(self, mask: u64) -> Arg {
        Arg { mask: self.mask & mask, ..self }
    }

    /// `arg & mask == value`
    pub const fn is(self, value: u64) -> Condition {
        self.compare(Op::Is, value)
    }

    /// `arg & mask != value`
    pub const fn is_not(self, value: u64) -> Condition {
        self.compare(Op::IsNot, value)
    }

    /// `arg & mask < value`, unsigned.
    pub const fn below(self, value: u64) -> Condition {
        self.compare(Op::Below, value)
    }

    /// `arg & mask <= value`, unsigned.
    pub const fn at_most(self, value: u64) -> Condition {
        self.compare(Op::AtMost, value)
    }

    /// `arg & mask > value`, unsigned.
    pub const fn above(self, value: u64) -> Condition {
        self.compare(Op::Above, value)
    }

    /// `arg & mask >= value`, unsigned.
    pub const fn at_least(self, value: u64) -> Condition {
        self.compare(Op::AtLeast, value)
    }

    const fn compare(self, op: Op, value: u64) -> Condition {
        Condition { arg: self, op, value }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Is,
    IsNot,
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// A comparison with a number; made by [`Arg`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    pub(crate) arg: Arg,
    pub(crate) op: Op,
    pub(crate) value: u64,
}

impl Condition {
    /// Whether it holds.
    pub(crate) fn holds(&self, args: &[u64; 6]) -> bool {
        let Some(arg) = args.get(usize::from(self.arg.index)) else { return false };
        let bits = arg & self.arg.mask;
        match self.op {
            Op::Is => bits == self.value,
            Op::IsNot => bits != self.value,
            Op::Below => bits < self.value,
            Op::AtMost => bits <= self.value,
            Op::Above => bits > self.value,
            Op::AtLeast => bits >= self.value,
        }
    }

    /// What is wrong with it, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if self.arg.index > 5 {
            Some("a call has arguments 0 to 5")
        } else if self.value & !self.arg.mask != 0 {
            Some("the value has bits that are not compared; Arg::low compares 32")
        } else {
            None
        }
    }
}

/// `arg0 & 0xff != 0x10`; without a mask where it is 32 or 64 bits wide.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            Op::Is => "==",
            Op::IsNot => "!=",
            Op::Below => "<",
            Op::AtMost => "<=",
            Op::Above => ">",
            Op::AtLeast => ">=",
        };
        write!(f, "arg{}", self.arg.index)?;
        match self.arg.mask {
            u64::MAX => f.write_str(" (64 bits)")?,
            0xffff_ffff => {}
            mask => write!(f, " & {mask:#x}")?,
        }
        if self.value < 256 { write!(f, " {op} {}", self.value) } else { write!(f, " {op} {:#x}", self.value) }
    }
}
