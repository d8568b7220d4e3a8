//! Giving back what a start needed and waiting doesn't: a machine may run a thousand supervisors.

use rustix::mm::{Advice, madvise};

/// `madvise(2)`, MADV_DONTNEED, on the program's own code: its pages are the file's, and come back when they are needed.
pub fn give_back_code() {
    unsafe extern "C" {
        // Set by the linker: where the program begins in memory, and where its code ends.
        #[link_name = "__executable_start"]
        static START: u8;
        #[link_name = "etext"]
        static END: u8;
    }
    const PAGE: usize = 4096;
    let start = (&raw const START).addr() & !(PAGE - 1);
    let len = (&raw const END).addr().saturating_sub(start) & !(PAGE - 1);
    // SAFETY: the range is the program's read-only, private mapping of its file, which holds what the pages held: nothing writes to code
    // of a program that is linked statically and not relocated. A failure costs memory and nothing else.
    let _ = unsafe { madvise(std::ptr::with_exposed_provenance_mut(start), len, Advice::LinuxDontNeed) };
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_code_comes_back() {
        let before = std::hint::black_box(12_345_u64).to_string();
        super::give_back_code();
        assert_eq!(std::hint::black_box(12_345_u64).to_string(), before);
    }
}
