//! Architectures of system calls, as `struct seccomp_data` names them: `AUDIT_ARCH_*`.

use std::fmt;

/// A system call interface of the kernel. x32 has none of its own: it is x86_64's with bit 30 of the number set, and is never allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Arch {
    /// 64-bit calls of x86-64: the `syscall` instruction.
    X86_64,
    /// 32-bit calls of i386: `int 0x80` and `sysenter`, which a 64-bit process may use too.
    X86,
    /// 64-bit calls of ARM.
    Aarch64,
    /// 32-bit calls of ARM (EABI).
    Arm,
}

impl Arch {
    /// Every architecture that has a table here.
    pub const ALL: [Arch; 4] = [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm];

    /// The architecture that this was compiled for.
    pub const fn native() -> Arch {
        if cfg!(target_arch = "x86_64") {
            Arch::X86_64
        } else if cfg!(target_arch = "x86") {
            Arch::X86
        } else if cfg!(target_arch = "aarch64") {
            Arch::Aarch64
        } else {
            Arch::Arm
        }
    }

    /// The architecture of this name, as `CARGO_CFG_TARGET_ARCH` and [`Display`](fmt::Display) write it.
    pub fn from_name(name: &str) -> Option<Arch> {
        Arch::ALL.into_iter().find(|arch| arch.name() == name)
    }

    /// All that a kernel of this architecture accepts calls of: a filter that leaves one out leaves a door beside itself.
    pub const fn accepted(self) -> &'static [Arch] {
        match self {
            Arch::X86_64 => &[Arch::X86_64, Arch::X86],
            Arch::X86 => &[Arch::X86],
            Arch::Aarch64 => &[Arch::Aarch64, Arch::Arm],
            Arch::Arm => &[Arch::Arm],
        }
    }

    /// `AUDIT_ARCH_*` of `linux/audit.h`.
    pub const fn audit(self) -> u32 {
        match self {
            Arch::X86_64 => 0xC000_003E,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xC000_00B7,
            Arch::Arm => 0x4000_0028,
        }
    }

    /// Rust's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::X86 => "x86",
            Arch::Aarch64 => "aarch64",
            Arch::Arm => "arm",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
