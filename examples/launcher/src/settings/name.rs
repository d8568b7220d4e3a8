//! Names of machines: host names of at most 64 letters.

use std::fmt;
use std::path::Path;

use crate::{Error, escape::Escaped};

/// A machine's name, also its host name: labels of letters, digits and inner hyphens, joined by single dots; at most 64 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineName(String);

/// `HOST_NAME_MAX`, what `sethostname(2)` takes.
const MAX: usize = 64;

impl MachineName {
    /// The name, if it is one.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn new(name: &str) -> Result<MachineName, Error> {
        if is_valid(name) {
            return Ok(MachineName(name.to_owned()));
        }
        let hint = "a name has at most 64 letters, digits and hyphens, in labels joined by dots";
        Err(Error::usage(format!("Invalid machine name: '{}'", Escaped::text(name))).hint(hint))
    }

    /// The name of a directory with everything else dropped: `arch_1.` becomes `arch1`.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn of_directory(path: &Path) -> Result<MachineName, Error> {
        let name = path.file_name().map(|name| cleaned(&name.to_string_lossy())).unwrap_or_default();
        match is_valid(&name) {
            true => Ok(MachineName(name)),
            false => Err(Error::usage("Failed to determine machine name automatically, please use -M.")),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `.host` fails too, as every name with an empty label: it means the machine that we are on.
fn is_valid(name: &str) -> bool {
    name.len() <= MAX && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let ends = !label.starts_with('-') && !label.ends_with('-');
    !label.is_empty() && ends && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Keeps what a host name may hold, and no separator at the ends or beside a dot.
fn cleaned(name: &str) -> String {
    let mut kept = String::new();
    for c in name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).take(MAX) {
        let after_dot = kept.is_empty() || kept.ends_with('.');
        match c {
            '.' if after_dot || kept.ends_with('-') => {}
            '-' if after_dot => {}
            c => kept.push(c),
        }
    }
    kept.trim_end_matches(['.', '-']).to_owned()
}

impl fmt::Display for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_names() {
        for name in ["a", "arch1", "a-b.c", "0", "A.B.C", &"a".repeat(64)] {
            assert_eq!(MachineName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn nothing_else_is() {
        let long = "a".repeat(65);
        for name in
            ["", ".", "..", ".host", "a.", ".a", "a..b", "-x", "x-", "a-.b", "a.-b", "bad_name!", "a/b", "a b", "ä", "a\n", "a\0", &long]
        {
            let e = MachineName::new(name).unwrap_err().to_string();
            assert!(e.starts_with("Invalid machine name: '") && !e.contains('\n'), "{e}");
        }
    }

    #[test]
    fn a_directory_gives_its_name() {
        let table = [
            ("/zfspool/arch1", "arch1"),
            ("/x/arch_1.", "arch1"),
            ("/x/root.x86_64/", "root.x8664"),
            ("/x/--a..b-.c--", "a.b-c"),
            ("/x/.hidden", "hidden"),
            ("/x/Zürich", "Zrich"),
        ];
        for (path, name) in table {
            assert_eq!(MachineName::of_directory(path.as_ref()).unwrap().as_str(), name, "{path}");
        }
        let long = format!("/x/{}", "b".repeat(255));
        assert_eq!(MachineName::of_directory(long.as_ref()).unwrap().as_str().len(), 64);
        for path in ["/", "/x/..", "/x/___", "/x/-.-", "", "/x/日本"] {
            assert!(MachineName::of_directory(path.as_ref()).is_err(), "{path}");
        }
    }

    #[test]
    fn what_is_cleaned_is_valid_or_empty() {
        let bytes = b"a-.B_";
        for n in 0..bytes.len().pow(6) {
            let name: String = (0..6)
                .scan(n, |n, _| {
                    let b = bytes[*n % 5];
                    *n /= 5;
                    Some(char::from(b))
                })
                .collect();
            let clean = cleaned(&name);
            assert!(clean.is_empty() || is_valid(&clean), "{name} -> {clean}");
            assert_eq!(cleaned(&clean), clean);
        }
    }
}
