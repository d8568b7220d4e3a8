//! Strings of others, made safe to print: one escaper for everything that came from a tree, a peer, a container or the user.
//!
//! A name that carries terminal controls must not reach a terminal, nor one that reorders the text around it, nor one that hides.
//! Escaped text holds none of C0, DEL, C1, the controls of bidirectional text, line separators, invisible characters and bytes that
//! aren't UTF-8; what is escaped stays as it is when escaped again.

use std::ffi::{CStr, OsStr};
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A string of others; its `Display` is safe.
#[derive(Clone, Copy)]
pub struct Escaped<'a>(&'a [u8]);

impl<'a> Escaped<'a> {
    /// Bytes of any origin.
    pub fn bytes(bytes: &'a [u8]) -> Self {
        Escaped(bytes)
    }

    /// A string.
    pub fn text(text: &'a str) -> Self {
        Escaped(text.as_bytes())
    }

    /// An argument or a variable's value.
    pub fn os(text: &'a OsStr) -> Self {
        Escaped(text.as_bytes())
    }

    /// A path.
    pub fn path(path: &'a Path) -> Self {
        Escaped(path.as_os_str().as_bytes())
    }

    /// A C string.
    pub fn c(text: &'a CStr) -> Self {
        Escaped(text.to_bytes())
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            chunk.valid().chars().try_for_each(|c| character(f, c))?;
            chunk.invalid().iter().try_for_each(|b| write!(f, "\\x{b:02x}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

fn character(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '\n' => f.write_str("\\n"),
        '\t' => f.write_str("\\t"),
        '\0'..='\x1f' | '\x7f' => write!(f, "\\x{:02x}", u32::from(c)),
        c if deceives(c) => write!(f, "\\u{{{:x}}}", u32::from(c)),
        c => f.write_char(c),
    }
}

/// Changes how the text around it is shown, or isn't shown at all.
fn deceives(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}'                                              // C1
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // bidi
        | '\u{2028}' | '\u{2029}'                                        // line and paragraph separators
        | '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}') // invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        Escaped::bytes(bytes).to_string()
    }

    #[test]
    fn ordinary_text_stays() {
        for text in ["/var/lib/machines/debian", "Zürich", "日本", "a\\b", "😀"] {
            assert_eq!(shown(text.as_bytes()), text);
        }
    }

    #[test]
    fn controls_are_spelled() {
        assert_eq!(shown(b"\x1b[2Jx\n\t\0\x7f"), "\\x1b[2Jx\\n\\t\\x00\\x7f");
        assert_eq!(shown("a\u{9b}31m\u{202e}b\u{200b}".as_bytes()), "a\\u{9b}31m\\u{202e}b\\u{200b}");
        assert_eq!(shown(b"a\xff\xc3("), "a\\xff\\xc3(");
        assert_eq!(shown("\u{e0041}\u{2028}".as_bytes()), "\\u{e0041}\\u{2028}");
    }

    #[test]
    fn every_pair_of_bytes_is_safe_and_stays_when_escaped_again() {
        for n in 0..=u16::MAX {
            let once = shown(&n.to_be_bytes());
            assert!(!once.chars().any(|c| c.is_control() || deceives(c)), "{n:#x}");
            assert_eq!(shown(once.as_bytes()), once);
        }
    }
}
