//! Capabilities by name, `capabilities(7)`.

use crate::error::Error;
use std::fmt;

macro_rules! capabilities {
    ($($name:ident = $number:literal, $word:literal;)*) => {
        /// One capability. A kernel newer than this table has more: a [`super::CapSet`] holds those by number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Capability { $(#[doc = concat!("`CAP_", $word, "`")] $name = $number,)* }

        impl Capability {
            /// Every capability, by number.
            pub const ALL: &'static [Capability] = &[$(Capability::$name),*];

            /// The kernel's word without its prefix: "SYS_ADMIN".
            pub const fn name(self) -> &'static str {
                match self { $(Capability::$name => $word,)* }
            }
        }
    };
}

capabilities! {
    Chown = 0, "CHOWN";
    DacOverride = 1, "DAC_OVERRIDE";
    DacReadSearch = 2, "DAC_READ_SEARCH";
    Fowner = 3, "FOWNER";
    Fsetid = 4, "FSETID";
    Kill = 5, "KILL";
    Setgid = 6, "SETGID";
    Setuid = 7, "SETUID";
    Setpcap = 8, "SETPCAP";
    LinuxImmutable = 9, "LINUX_IMMUTABLE";
    NetBindService = 10, "NET_BIND_SERVICE";
    NetBroadcast = 11, "NET_BROADCAST";
    NetAdmin = 12, "NET_ADMIN";
    NetRaw = 13, "NET_RAW";
    IpcLock = 14, "IPC_LOCK";
    IpcOwner = 15, "IPC_OWNER";
    SysModule = 16, "SYS_MODULE";
    SysRawio = 17, "SYS_RAWIO";
    SysChroot = 18, "SYS_CHROOT";
    SysPtrace = 19, "SYS_PTRACE";
    SysPacct = 20, "SYS_PACCT";
    SysAdmin = 21, "SYS_ADMIN";
    SysBoot = 22, "SYS_BOOT";
    SysNice = 23, "SYS_NICE";
    SysResource = 24, "SYS_RESOURCE";
    SysTime = 25, "SYS_TIME";
    SysTtyConfig = 26, "SYS_TTY_CONFIG";
    Mknod = 27, "MKNOD";
    Lease = 28, "LEASE";
    AuditWrite = 29, "AUDIT_WRITE";
    AuditControl = 30, "AUDIT_CONTROL";
    Setfcap = 31, "SETFCAP";
    MacOverride = 32, "MAC_OVERRIDE";
    MacAdmin = 33, "MAC_ADMIN";
    Syslog = 34, "SYSLOG";
    WakeAlarm = 35, "WAKE_ALARM";
    BlockSuspend = 36, "BLOCK_SUSPEND";
    AuditRead = 37, "AUDIT_READ";
    Perfmon = 38, "PERFMON";
    Bpf = 39, "BPF";
    CheckpointRestore = 40, "CHECKPOINT_RESTORE";
}

impl Capability {
    /// Its number: the bit in a set.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// "CAP_SYS_ADMIN"
impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", self.name())
    }
}

/// "CAP_SYS_ADMIN", "SYS_ADMIN", in any case.
impl std::str::FromStr for Capability {
    type Err = Error;

    fn from_str(s: &str) -> Result<Capability, Error> {
        let upper = s.to_ascii_uppercase();
        let word = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let found = Capability::ALL.iter().find(|capability| capability.name() == word);
        found.copied().ok_or_else(|| Error::refused(format!("no capability is called {s:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for (n, capability) in Capability::ALL.iter().enumerate() {
            assert_eq!((usize::from(capability.number()), capability.to_string().parse::<Capability>().unwrap()), (n, *capability));
        }
        assert_eq!("sys_admin".parse::<Capability>().unwrap(), Capability::SysAdmin);
        assert_eq!("cap_Net_Raw".parse::<Capability>().unwrap(), Capability::NetRaw);
        for bad in ["", "CAP_", "CAP_CAP_CHOWN", "SYS ADMIN", "all"] {
            assert!(bad.parse::<Capability>().is_err(), "{bad}");
        }
    }
}
