//! The flags of a mount, `MOUNT_ATTR_*` of mount_setattr(2).

use linux_raw_sys::general as sys;
use std::fmt;

bitflags::bitflags! {
    /// `MOUNT_ATTR_*`: what a mount refuses, whatever its file system holds.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct MountFlags: u64 {
        /// Nothing is written.
        const RDONLY = sys::MOUNT_ATTR_RDONLY as u64;
        /// Set-uid bits and file capabilities have no effect.
        const NOSUID = sys::MOUNT_ATTR_NOSUID as u64;
        /// Device nodes can't be opened.
        const NODEV = sys::MOUNT_ATTR_NODEV as u64;
        /// Nothing is executed.
        const NOEXEC = sys::MOUNT_ATTR_NOEXEC as u64;
        /// Every access updates the access time.
        const STRICTATIME = sys::MOUNT_ATTR_STRICTATIME as u64;
        /// No access updates the access time.
        const NOATIME = sys::MOUNT_ATTR_NOATIME as u64;
        /// Symbolic links are not followed. Linux 5.14 by `mount_setattr`, 5.16 here.
        const NOSYMFOLLOW = sys::MOUNT_ATTR_NOSYMFOLLOW as u64;
        const _ = !0;
    }
}

impl MountFlags {
    /// `RDONLY|NOSUID|NODEV|NOEXEC`.
    pub const DEAD: MountFlags = MountFlags::RDONLY.union(MountFlags::INERT);
    /// `NOSUID|NODEV|NOEXEC`.
    pub const INERT: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
}

/// "ro nosuid nodev", as mount(8) names them; nothing for no flag.
impl fmt::Display for MountFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WORDS: [(MountFlags, &str); 7] = [
            (MountFlags::RDONLY, "ro"),
            (MountFlags::NOSUID, "nosuid"),
            (MountFlags::NODEV, "nodev"),
            (MountFlags::NOEXEC, "noexec"),
            (MountFlags::STRICTATIME, "strictatime"),
            (MountFlags::NOATIME, "noatime"),
            (MountFlags::NOSYMFOLLOW, "nosymfollow"),
        ];
        let words = WORDS.iter().filter(|(flag, _)| self.contains(*flag));
        words.enumerate().try_for_each(|(n, (_, word))| {
            f.write_str(if n == 0 { "" } else { " " })?;
            f.write_str(word)
        })
    }
}
