//! How user 0 is special, or isn't.

bitflags::bitflags! {
    /// The flags of `PR_SET_SECUREBITS(2const)` that an exec keeps; each `_LOCKED` one can't be undone.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct SecureBits: u32 {
        /// `SECBIT_NOROOT`: user 0 gains nothing by exec, nor do set-user-id-root programs.
        const NO_ROOT = 1 << 0;
        /// `SECBIT_NOROOT_LOCKED`
        const NO_ROOT_LOCKED = 1 << 1;
        /// `SECBIT_NO_SETUID_FIXUP`: a change of ids leaves the capability sets alone.
        const NO_SETUID_FIXUP = 1 << 2;
        /// `SECBIT_NO_SETUID_FIXUP_LOCKED`
        const NO_SETUID_FIXUP_LOCKED = 1 << 3;
        /// `SECBIT_KEEP_CAPS_LOCKED`
        const KEEP_CAPS_LOCKED = 1 << 5;
        /// `SECBIT_NO_CAP_AMBIENT_RAISE`. Linux 4.3.
        const NO_AMBIENT_RAISE = 1 << 6;
        /// `SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED`
        const NO_AMBIENT_RAISE_LOCKED = 1 << 7;
        // SECBIT_EXEC_RESTRICT_FILE and what else a newer kernel has.
        const _ = !(1 << 4);
    }
}
