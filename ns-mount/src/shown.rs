//! Paths in messages: they may come from a hostile tree.

use std::fmt::{self, Write};

/// Bytes printed so that a terminal obeys none of them: control and direction-changing characters and bytes that are no UTF-8 are escaped.
pub(crate) struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.utf8_chunks() {
            for c in part.valid().chars() {
                if c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\\') {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    f.write_char(c)?;
                }
            }
            for byte in part.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_of_a_path() {
        assert_eq!(Shown("/a\x1b[2J/\u{202e}x\n".as_bytes()).to_string(), "/a\\u{1b}[2J/\\u{202e}x\\n");
        assert_eq!(Shown(b"/\xff/\xc3\xa4").to_string(), "/\\xff/\u{e4}");
    }
}
