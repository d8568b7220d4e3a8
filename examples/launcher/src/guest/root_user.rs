//! `etc/passwd`, as far as it is about root.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What the tree says of its user with id 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootUser {
    /// Absolute, in the tree; `/root` if the tree doesn't say.
    pub home: PathBuf,
    /// Absolute, in the tree.
    pub shell: Option<PathBuf>,
}

/// `PATH_MAX` with its end.
const MAX_PATH: usize = 4096;

impl Default for RootUser {
    fn default() -> Self {
        RootUser { home: "/root".into(), shell: None }
    }
}

impl RootUser {
    /// Reads the first whole line of `passwd(5)` whose id is 0; paths that aren't absolute, too long or hold controls count as absent.
    pub fn parse(passwd: &[u8]) -> RootUser {
        let lines = passwd.split(|b| *b == b'\n').map(|line| line.split(|b| *b == b':').collect::<Vec<_>>());
        let root = lines.into_iter().find_map(|fields| match fields.as_slice() {
            [name, _, b"0", _, _, home, shell] if !name.is_empty() => Some((path(home), path(shell))),
            _ => None,
        });
        let (home, shell) = root.unwrap_or_default();
        RootUser { home: home.unwrap_or_else(|| RootUser::default().home), shell }
    }
}

/// An absolute path that can be printed and executed.
pub(super) fn path(bytes: &[u8]) -> Option<PathBuf> {
    let sound = bytes.starts_with(b"/") && bytes.len() < MAX_PATH && !bytes.iter().any(u8::is_ascii_control);
    sound.then(|| OsStr::from_bytes(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(home: &str, shell: Option<&str>) -> RootUser {
        RootUser { home: home.into(), shell: shell.map(PathBuf::from) }
    }

    #[test]
    fn lines() {
        let table: [(&[u8], RootUser); 12] = [
            (b"root:x:0:0:root:/root:/bin/bash\n", user("/root", Some("/bin/bash"))),
            (b"daemon:x:1:1::/:/x\nroot:x:0:0::/home/r:/bin/zsh", user("/home/r", Some("/bin/zsh"))),
            (b"toor:x:0:0::/a:/bin/sh\nroot:x:0:0::/b:/bin/sh", user("/a", Some("/bin/sh"))),
            (b"root:x:0:0:::", user("/root", None)),
            (b"root:x:0:0::relative:sh", user("/root", None)),
            (b"root:x:0:0::/a\x1b[2J:/b\x01", user("/root", None)),
            (b"root:x:0:0::/a\0b:/bin/sh", user("/root", Some("/bin/sh"))),
            (b"root:x:0:0:/root:/bin/sh", user("/root", None)),
            (b"root:x:0:0::/a:/b:/c", user("/root", None)),
            (b":x:0:0::/a:/b", user("/root", None)),
            (b"", user("/root", None)),
            (b"\n\n::::::\n\xff\xfe", user("/root", None)),
        ];
        for (passwd, expected) in table {
            assert_eq!(RootUser::parse(passwd), expected, "{}", passwd.escape_ascii());
        }
    }

    #[test]
    fn logins_begin_with_roots_own() {
        let paths = |user: RootUser| {
            user.logins().iter().map(|l| format!("{}={}", l.path.to_str().unwrap(), l.arg0.to_str().unwrap())).collect::<Vec<_>>()
        };
        let usual = ["/bin/bash=-bash", "/usr/bin/bash=-bash", "/bin/sh=-sh"];
        assert_eq!(paths(user("/", None)), usual);
        assert_eq!(paths(user("/", Some("/usr/sbin/nologin"))), usual);
        assert_eq!(paths(user("/", Some("/bin/sh"))), ["/bin/sh=-sh", "/bin/bash=-bash", "/usr/bin/bash=-bash"]);
        assert_eq!(paths(user("/", Some("/usr/bin/fish")))[0], "/usr/bin/fish=-fish");
    }
}
