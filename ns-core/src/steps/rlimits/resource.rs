//! What can be limited, and what a host limits its first process to.

use crate::error::Error;
use crate::raw::Errno;
use std::fmt;

macro_rules! resources {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $word:literal;)*) => {
        /// What a limit is on: the `RLIMIT_*` numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum Resource { $($(#[$doc])* $name = $number,)* }

        impl Resource {
            /// Every resource, by number.
            pub const ALL: &'static [Resource] = &[$(Resource::$name),*];

            /// The kernel's word: "NOFILE".
            pub const fn name(self) -> &'static str {
                match self { $(Resource::$name => $word,)* }
            }
        }
    };
}

resources! {
    /// `RLIMIT_CPU`, seconds.
    Cpu = 0, "CPU";
    /// `RLIMIT_FSIZE`, bytes.
    FileSize = 1, "FSIZE";
    /// `RLIMIT_DATA`, bytes.
    Data = 2, "DATA";
    /// `RLIMIT_STACK`, bytes.
    Stack = 3, "STACK";
    /// `RLIMIT_CORE`, bytes.
    Core = 4, "CORE";
    /// `RLIMIT_RSS`, bytes; without effect.
    ResidentSet = 5, "RSS";
    /// `RLIMIT_NPROC`, processes of the user in its user namespace.
    Processes = 6, "NPROC";
    /// `RLIMIT_NOFILE`, one more than the highest descriptor.
    OpenFiles = 7, "NOFILE";
    /// `RLIMIT_MEMLOCK`, bytes.
    LockedMemory = 8, "MEMLOCK";
    /// `RLIMIT_AS`, bytes.
    AddressSpace = 9, "AS";
    /// `RLIMIT_LOCKS`; without effect.
    Locks = 10, "LOCKS";
    /// `RLIMIT_SIGPENDING`, signals of the user.
    PendingSignals = 11, "SIGPENDING";
    /// `RLIMIT_MSGQUEUE`, bytes.
    MessageQueues = 12, "MSGQUEUE";
    /// `RLIMIT_NICE`, 20 less the lowest nice value.
    Nice = 13, "NICE";
    /// `RLIMIT_RTPRIO`, highest real-time priority.
    RealtimePriority = 14, "RTPRIO";
    /// `RLIMIT_RTTIME`, microseconds.
    RealtimeTimeout = 15, "RTTIME";
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// "NOFILE", "nofile" or "RLIMIT_NOFILE".
impl std::str::FromStr for Resource {
    type Err = Error;

    fn from_str(s: &str) -> Result<Resource, Error> {
        let upper = s.to_ascii_uppercase();
        let word = upper.strip_prefix("RLIMIT_").unwrap_or(&upper);
        let found = Resource::ALL.iter().find(|resource| resource.name() == word);
        found.copied().ok_or_else(|| Error::refused(format!("no resource limit is called {s:?}")))
    }
}

/// The limits of the kernel's first process that depend on the host: soft and hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLimits {
    /// `RLIMIT_NPROC` of process 1, from the size of memory.
    pub processes: (u64, u64),
    /// `RLIMIT_SIGPENDING` of process 1.
    pub pending_signals: (u64, u64),
    /// `/proc/sys/fs/nr_open`: no hard limit on descriptors may be above it.
    pub max_open_files: u64,
}

impl HostLimits {
    /// Reads `/proc/1/limits` and `/proc/sys/fs/nr_open`.
    pub fn read() -> Result<HostLimits, Error> {
        let limits = read("/proc/1/limits")?;
        let pair = |name| row(&limits, name).ok_or_else(|| Error::refused(format!("/proc/1/limits has no row {name:?}")));
        let max = read("/proc/sys/fs/nr_open")?;
        let max = max.trim().parse().map_err(|_| Error::refused("/proc/sys/fs/nr_open holds no number"))?;
        Ok(HostLimits { processes: pair("Max processes")?, pending_signals: pair("Max pending signals")?, max_open_files: max })
    }
}

fn read(path: &str) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|e| Error::call(format!("read of {path}"), Errno::new(e.raw_os_error().unwrap_or(0))))
}

/// "Max processes   95853   95853   processes", "unlimited" for no limit.
fn row(limits: &str, name: &str) -> Option<(u64, u64)> {
    let number = |word: &str| if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() };
    let mut words = limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace();
    Some((number(words.next()?)?, number(words.next()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for (n, resource) in Resource::ALL.iter().enumerate() {
            assert_eq!((*resource as usize, resource.to_string().parse::<Resource>().unwrap()), (n, *resource));
        }
        assert_eq!("rlimit_nofile".parse::<Resource>().unwrap(), Resource::OpenFiles);
        assert!("FILES".parse::<Resource>().is_err());
    }

    #[test]
    fn rows_are_read() {
        let text = "Limit    Soft Limit  Hard Limit  Units\nMax processes   95853   unlimited   processes\n";
        assert_eq!(row(text, "Max processes"), Some((95853, u64::MAX)));
        assert_eq!(row(text, "Max pending signals"), None);
    }
}
