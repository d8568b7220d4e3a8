//! Paths in messages: they may come from a hostile tree.

use std::fmt::{self, Write};

/// Bytes printed so that a terminal obeys none of them: characters that control, turn text around or hide, and bytes that are no UTF-8, are
/// escaped.
pub(crate) struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.utf8_chunks() {
            for c in part.valid().chars() {
                match c {
                    '"' | '\'' => f.write_char(c)?,
                    // Escapes what is not printable in Unicode's sense, of which format characters are a part.
                    c => write!(f, "{}", c.escape_debug())?,
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
        assert_eq!(
            Shown("/a\u{61c}\u{200b}\u{ad}\u{feff}\u{2028}\u{9b}".as_bytes()).to_string(),
            "/a\\u{61c}\\u{200b}\\u{ad}\\u{feff}\\u{2028}\\u{9b}"
        );
        assert_eq!(Shown(b"/it's \"\xe6\x97\xa5\"").to_string(), "/it's \"\u{65e5}\"");
        assert_eq!(Shown(b"/\xff/\xc3\xa4").to_string(), "/\\xff/\u{e4}");
    }
}
