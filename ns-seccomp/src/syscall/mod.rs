//! Names and numbers of system calls, per architecture.

mod aarch64;
mod arm;
mod x86;
mod x86_64;

use crate::Arch;

fn table(arch: Arch) -> &'static [(u32, &'static str)] {
    match arch {
        Arch::X86_64 => x86_64::TABLE,
        Arch::X86 => x86::TABLE,
        Arch::Aarch64 => aarch64::TABLE,
        Arch::Arm => arm::TABLE,
    }
}

/// The number of a call, `None` where the architecture has none of this name.
pub fn number(arch: Arch, name: &str) -> Option<u32> {
    table(arch).iter().find(|row| row.1 == name).map(|row| row.0)
}

/// The name of a call, `None` for numbers that no call has, as of Linux 6.17.
pub fn name(arch: Arch, number: u32) -> Option<&'static str> {
    let table = table(arch);
    table.binary_search_by_key(&number, |row| row.0).ok().and_then(|at| table.get(at)).map(|row| row.1)
}

/// Every call of an architecture, by number.
pub fn all(arch: Arch) -> impl Iterator<Item = (u32, &'static str)> {
    table(arch).iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_names_are_unique() {
        for arch in Arch::ALL {
            assert!(table(arch).is_sorted_by(|a, b| a.0 < b.0), "{arch}");
            for (number, name) in all(arch) {
                assert_eq!(super::number(arch, name), Some(number), "{arch} {name}");
                assert_eq!(super::name(arch, number), Some(name));
            }
        }
    }

    #[test]
    fn numbers_from_424_on_are_the_same_everywhere() {
        for (number, call) in all(Arch::X86_64).filter(|row| row.0 >= 424) {
            let absent = |arch| name(arch, number).is_none_or(|other| other == call);
            assert!(Arch::ALL.into_iter().all(absent), "{number} {call}");
        }
    }

    #[test]
    fn the_native_numbers_are_the_c_librarys() {
        for (number, call) in [(libc::SYS_read, "read"), (libc::SYS_io_uring_setup, "io_uring_setup"), (libc::SYS_mseal, "mseal")] {
            assert_eq!(super::number(Arch::native(), call).map(i64::from), Some(number), "{call}");
        }
    }
}
