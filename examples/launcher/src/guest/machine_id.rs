//! `machine-id(5)`

use std::fmt;

/// A machine's id: 128 bits, not all zero. `Display` is 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MachineId([u8; 16]);

impl MachineId {
    /// The id of these bytes; `None` if they are all zero.
    pub fn new(bytes: [u8; 16]) -> Option<MachineId> {
        (bytes != [0; 16]).then_some(MachineId(bytes))
    }

    /// Reads a file's content: 32 hexadecimal digits and at most one newline.
    pub fn parse(text: &[u8]) -> Option<MachineId> {
        let digits = text.strip_suffix(b"\n").unwrap_or(text);
        let hex = std::str::from_utf8(digits).ok().filter(|s| s.len() == 32 && s.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u128::from_str_radix(hex, 16).ok().and_then(|id| MachineId::new(id.to_be_bytes()))
    }

    /// The sixteen bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// As a UUID: `12345678-1234-...`.
    pub fn hyphenated(self) -> String {
        let hex = self.to_string();
        let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        format!("{a}-{b}-{c}-{d}-{e}")
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let id = MachineId::parse(b"0123456789abcdef0123456789ABCDEF\n").unwrap();
        assert_eq!(id.to_string(), "0123456789abcdef0123456789abcdef");
        assert_eq!(id.hyphenated(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(MachineId::parse(id.to_string().as_bytes()), Some(id));
        assert_eq!(MachineId::new(id.to_bytes()), Some(id));
    }

    #[test]
    fn none() {
        let bad: [&[u8]; 9] = [
            b"",
            b"\n",
            b"uninitialized\n",
            b"00000000000000000000000000000000",
            b"0123456789abcdef0123456789abcdeg",
            b"0123456789abcdef0123456789abcdef\n\n",
            b"0123456789abcdef0123456789abcdef0",
            b"+123456789abcdef0123456789abcdef",
            b"\xff",
        ];
        for text in bad {
            assert_eq!(MachineId::parse(text), None, "{}", text.escape_ascii());
        }
    }
}
