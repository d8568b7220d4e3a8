//! What went wrong in a child: inline, `Copy`, made without allocating.

use crate::raw::Errno;
use std::fmt;

/// The kernel's own words about a failure (an fs context's log, netlink's extended answer), cut to 79 bytes.
#[derive(Clone, Copy)]
pub struct Text {
    len: u8,
    bytes: [u8; Text::MAX],
}

impl Text {
    /// Longest text.
    pub const MAX: usize = 79;
    /// No words.
    pub const NONE: Text = Text { len: 0, bytes: [0; Text::MAX] };

    /// The first 79 bytes of `words`.
    pub fn new(words: &[u8]) -> Text {
        let mut text = Text::NONE;
        let mut len = 0;
        for (to, from) in text.bytes.iter_mut().zip(words) {
            *to = *from;
            len += 1;
        }
        text.len = len;
        text
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// What a terminal would obey, or would not show, is a `?`: the words may quote a hostile tree.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for part in self.as_bytes().utf8_chunks() {
            for c in part.valid().chars() {
                f.write_char(if is_shown(c) { c } else { '?' })?;
            }
            if !part.invalid().is_empty() {
                f.write_char('?')?;
            }
        }
        Ok(())
    }
}

fn is_shown(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().eq([c])
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A failed call in a child: its name, its errno, the row of the step's table, the kernel's own words.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The C name of the call; at most 31 bytes of it reach the parent.
    pub call: &'static str,
    /// What the kernel answered.
    pub errno: Errno,
    /// Which row of the step's table, or [`Fault::NO_ROW`].
    pub row: u32,
    /// The kernel's own words, often none.
    pub text: Text,
}

impl Fault {
    /// The fault concerns no row.
    pub const NO_ROW: u32 = u32::MAX;

    /// A failed call.
    pub const fn new(call: &'static str, errno: Errno) -> Fault {
        Fault { call, errno, row: Fault::NO_ROW, text: Text::NONE }
    }

    /// The same, of this row of the step's table.
    #[must_use]
    pub const fn at_row(self, row: u32) -> Fault {
        Fault { row, ..self }
    }

    /// The same, with the kernel's words.
    #[must_use]
    pub fn saying(self, words: &[u8]) -> Fault {
        Fault { text: Text::new(words), ..self }
    }
}

/// "move_mount: No such file or directory: the kernel's words".
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.errno)?;
        if self.text.as_bytes().is_empty() { Ok(()) } else { write!(f, ": {}", self.text) }
    }
}

impl std::error::Error for Fault {}

/// Names the call of a failed result: `openat2(..).call("openat2")?`.
pub trait Call<T> {
    /// The same result with a [`Fault`] that names the call.
    fn call(self, name: &'static str) -> Result<T, Fault>;
}

impl<T> Call<T> for Result<T, Errno> {
    fn call(self, name: &'static str) -> Result<T, Fault> {
        self.map_err(|errno| Fault::new(name, errno))
    }
}

impl<T> Call<T> for rustix::io::Result<T> {
    fn call(self, name: &'static str) -> Result<T, Fault> {
        self.map_err(|e| Fault::new(name, Errno::new(e.raw_os_error())))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "tests run in the parent")]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_and_made_harmless() {
        let long = [b'x'; 200];
        assert_eq!(Text::new(&long).to_string().len(), Text::MAX);
        assert_eq!(Text::new(b"a\x1b[2Jb\xff").to_string(), "a?[2Jb?");
        assert_eq!(Text::new("\u{202e}'\"\\\u{e4}\u{9b}\u{200b}".as_bytes()).to_string(), "?'\"\\\u{e4}??");
    }

    #[test]
    fn a_fault_reads_like_strace() {
        let fault = Fault::new("fsconfig", Errno::EINVAL).saying(b"tmpfs: Bad value for 'size'");
        assert_eq!(fault.to_string(), "fsconfig: Invalid argument: tmpfs: Bad value for 'size'");
    }
}
