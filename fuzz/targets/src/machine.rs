//! Of ns-machine: its command line.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Arguments separated by NULs: an error is one line.
pub fn command_line(bytes: &[u8]) {
    let words = bytes.split(|byte| *byte == 0).map(OsStr::from_bytes);
    if let Err(e) = nskit_machine::cli::parse(std::iter::once(OsStr::new("ns-machine")).chain(words)) {
        assert!(!e.to_string().chars().any(char::is_control), "{e}");
    }
}
