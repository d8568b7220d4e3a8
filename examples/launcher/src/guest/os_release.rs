//! `os-release(5)`

/// What the operating system calls itself. The strings are the tree's: they are printed through [`crate::escape`] only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// `ID`
    pub id: Option<String>,
    /// `NAME`
    pub name: Option<String>,
    /// `VERSION_ID`
    pub version: Option<String>,
    /// `PRETTY_NAME`
    pub pretty: Option<String>,
    /// `BUILD_ID`
    pub build: Option<String>,
    /// `VARIANT_ID`
    pub variant: Option<String>,
}

impl OsRelease {
    /// Reads the assignments, quoted as a shell would; lines that are none are passed over, and the last of several counts.
    pub fn parse(text: &[u8]) -> OsRelease {
        let mut release = OsRelease::default();
        for line in String::from_utf8_lossy(text).lines() {
            let Some((key, value)) = line.trim().split_once('=') else { continue };
            let field = match key {
                "ID" => &mut release.id,
                "NAME" => &mut release.name,
                "VERSION_ID" => &mut release.version,
                "PRETTY_NAME" => &mut release.pretty,
                "BUILD_ID" => &mut release.build,
                "VARIANT_ID" => &mut release.variant,
                _ => continue,
            };
            if let Some(value) = unquoted(value) {
                *field = Some(value).filter(|value| !value.is_empty());
            }
        }
        release
    }

    /// How to call it in a sentence.
    pub fn title(&self) -> &str {
        [&self.pretty, &self.name, &self.id].into_iter().flatten().next().map_or("Linux", String::as_str)
    }
}

/// One word of a shell: bare, or in single or double quotes, with backslashes; `None` if a quote doesn't end.
fn unquoted(value: &str) -> Option<String> {
    let mut word = String::new();
    let mut quote = None;
    let mut letters = value.chars();
    while let Some(c) = letters.next() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => word.push(letters.next()?),
            (c, None) if c.is_whitespace() => return None,
            (c, _) => word.push(c),
        }
    }
    quote.is_none().then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments() {
        let text =
            b"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n# ID=no\nID=debian\n\n NAME='Debian \\n'\nVERSION_ID=\"1\\\"2\"\nX=1\n";
        let release = OsRelease::parse(text);
        assert_eq!(release.pretty.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!((release.id.as_deref(), release.name.as_deref()), (Some("debian"), Some("Debian \\n")));
        assert_eq!(release.version.as_deref(), Some("1\"2"));
        assert_eq!(release.title(), "Debian GNU/Linux 12 (bookworm)");
    }

    #[test]
    fn what_is_no_assignment_is_passed_over() {
        let cases: [&[u8]; 8] = [b"", b"ID", b"ID=\"open", b"ID=a b", b"ID=\\", b"=x", b"\xff\xfe\0", b"ID=\n"];
        for text in cases {
            assert_eq!(OsRelease::parse(text), OsRelease::default(), "{}", text.escape_ascii());
        }
        assert_eq!(OsRelease::default().title(), "Linux");
        assert_eq!(OsRelease::parse(b"ID=a\nID=b\nID='c").id.as_deref(), Some("b"));
    }
}
