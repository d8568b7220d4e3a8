//! `SECCOMP_FILTER_FLAG_*`.

bitflags::bitflags! {
    /// `SECCOMP_FILTER_FLAG_*` that concern the calling thread alone.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// Answers other than allow are logged in the audit log. Linux 4.14.
        const LOG = 1 << 1;
        /// Leaves speculative store bypass as it is; from Linux 5.16 on a filter does so anyway. Linux 4.17.
        const SPEC_ALLOW = 1 << 2;
        const _ = !0;
    }
}
