//! `--bind=SOURCE[:TARGET[:OPTIONS]]`

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use bitflags::bitflags;

use crate::{Error, escape::Escaped};

/// A file or directory of the host, seen inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// On the host, absolute.
    pub source: PathBuf,
    /// In the container, absolute, below `/`.
    pub target: PathBuf,
    /// How.
    pub options: BindOptions,
}

bitflags! {
    /// How a bind is seen; nothing set is writable, with what is mounted below it, and with the host's ids.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct BindOptions: u8 {
        /// `--bind-ro`, recursively.
        const READ_ONLY = 1;
        /// `norbind`: without what is mounted below the source.
        const NOT_RECURSIVE = 2;
        /// `idmap`: owners are translated as the tree's are.
        const ID_MAPPED = 4;
    }
}

impl Bind {
    /// `value` of `--bind` or, with `READ_ONLY` in `options`, of `--bind-ro`.
    pub(super) fn parse(value: &OsStr, mut options: BindOptions, cwd: &Path) -> Result<Bind, Error> {
        let bad = |why: &str| Error::usage(format!("Invalid bind '{}'", Escaped::os(value))).hint(why);
        let fields = split(value.as_bytes()).map_err(bad)?;
        let (source, target, words) = match fields.as_slice() {
            [source] => (source, source, None),
            [source, target] => (source, target, None),
            [source, target, words] => (source, target, Some(words)),
            _ => return Err(bad("expected SOURCE[:TARGET[:OPTIONS]]; a colon in a path is written '\\:'")),
        };
        if let Some(words) = words {
            apply(&mut options, words.as_bytes()).map_err(bad)?;
        }
        let source = absolute_source(source, cwd).map_err(bad)?;
        let target = match fields.len() {
            1 => source.clone(),
            _ => PathBuf::from(target),
        };
        Ok(Bind { target: checked_target(target).map_err(bad)?, source, options })
    }

    /// The value that gives this bind.
    pub(super) fn to_value(&self) -> OsString {
        let mut value = quote(&self.source);
        value.push(b':');
        value.extend(quote(&self.target));
        let words: &[u8] = match (self.options.contains(BindOptions::NOT_RECURSIVE), self.options.contains(BindOptions::ID_MAPPED)) {
            (false, false) => b"",
            (true, false) => b":norbind",
            (false, true) => b":idmap",
            (true, true) => b":norbind,idmap",
        };
        value.extend(words);
        OsString::from_vec(value)
    }
}

/// At colons; a backslash takes the character after it as it is.
fn split(value: &[u8]) -> Result<Vec<OsString>, &'static str> {
    let mut fields = vec![Vec::new()];
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b':' => {
                fields.push(Vec::new());
                continue;
            }
            b'\\' => bytes.next().ok_or("it ends with a backslash")?,
            byte => byte,
        };
        if let Some(field) = fields.last_mut() {
            field.push(byte);
        }
    }
    Ok(fields.into_iter().map(OsString::from_vec).collect())
}

fn quote(path: &Path) -> Vec<u8> {
    let escaped = |b: &u8| matches!(b, b':' | b'\\');
    path.as_os_str().as_bytes().iter().flat_map(|b| escaped(b).then_some(b'\\').into_iter().chain([*b])).collect()
}

fn apply(options: &mut BindOptions, words: &[u8]) -> Result<(), &'static str> {
    words.split(|b| *b == b',').try_for_each(|word| {
        match word {
            b"rbind" => options.remove(BindOptions::NOT_RECURSIVE),
            b"norbind" => options.insert(BindOptions::NOT_RECURSIVE),
            b"idmap" => options.insert(BindOptions::ID_MAPPED),
            b"noidmap" => options.remove(BindOptions::ID_MAPPED),
            _ => return Err("the options are rbind, norbind, idmap, noidmap"),
        }
        Ok(())
    })
}

fn absolute_source(source: &OsStr, cwd: &Path) -> Result<PathBuf, &'static str> {
    match source.as_bytes() {
        [] => Err("the source is empty"),
        [b'+', ..] => Err("a source inside the tree ('+') can't be bound; write './+' for a name that begins so"),
        _ => Ok(cwd.join(source)),
    }
}

fn checked_target(target: PathBuf) -> Result<PathBuf, &'static str> {
    let mut parts = target.components();
    match parts.next() {
        Some(Component::RootDir) => {}
        _ => return Err("the target must be an absolute path"),
    }
    match (target.components().any(|c| c == Component::ParentDir), parts.next()) {
        (true, _) => Err("the target must not contain '..'"),
        (false, None) => Err("the target can't be the root"),
        (false, Some(_)) => Ok(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<Bind, Error> {
        Bind::parse(value.as_ref(), BindOptions::empty(), "/cwd".as_ref())
    }

    #[test]
    fn values() {
        use BindOptions as O;
        let none = O::empty();
        let table = [
            ("/a", "/a", "/a", none),
            ("/a:/b", "/a", "/b", none),
            ("a/c:/b", "/cwd/a/c", "/b", none),
            ("a", "/cwd/a", "/cwd/a", none),
            (".:/b", "/cwd/.", "/b", none),
            ("./+x:/b", "/cwd/./+x", "/b", none),
            (r"/a\:b:/c\\d", "/a:b", r"/c\d", none),
            (r"/a\b", "/ab", "/ab", none),
            ("/a:/b:norbind", "/a", "/b", O::NOT_RECURSIVE),
            ("/a:/b:idmap,norbind", "/a", "/b", O::NOT_RECURSIVE.union(O::ID_MAPPED)),
            ("/a:/b:norbind,rbind,idmap,noidmap", "/a", "/b", none),
            ("/a/../b:/c", "/a/../b", "/c", none),
            ("/:/host", "/", "/host", none),
        ];
        for (value, source, target, options) in table {
            let bind = parse(value).unwrap();
            assert_eq!(bind, Bind { source: source.into(), target: target.into(), options }, "{value}");
            assert_eq!(Bind::parse(&bind.to_value(), none, "/other".as_ref()).unwrap(), bind, "{value}");
        }
        let read_only = Bind::parse("/a:/b:idmap".as_ref(), O::READ_ONLY, "/".as_ref()).unwrap();
        assert_eq!(read_only.options, O::READ_ONLY | O::ID_MAPPED);
    }

    #[test]
    fn nonsense() {
        let table = [
            "",
            ":",
            ":/b",
            "/a:",
            "/a:b",
            "/a:./b",
            "/a:/b:",
            "/a:/b:ro",
            "/a:/b:rbind,",
            "/a:/b:rbind:",
            "/a:/b:c:d",
            "/a\\",
            "/a:/",
            "/a://",
            "/",
            "/a:/b/../c",
            "/a:/..",
            "+/a",
            "+/a:/b",
            "..",
        ];
        for value in table {
            let e = parse(value).map(|b| format!("{b:?}")).unwrap_err().to_string();
            assert!(e.starts_with(&format!("Invalid bind '{}'; ", Escaped::text(value))), "{value}: {e}");
        }
    }

    #[test]
    fn any_bytes_make_a_bind_that_reads_back_or_an_error() {
        let alphabet = b"/:\\a+.,\xff";
        for n in 0..alphabet.len().pow(6) {
            let value: Vec<u8> = (0..6)
                .scan(n, |n, _| {
                    let b = alphabet[*n % 8];
                    *n /= 8;
                    Some(b)
                })
                .collect();
            if let Ok(bind) = Bind::parse(OsStr::from_bytes(&value), BindOptions::empty(), "/".as_ref()) {
                assert_eq!(Bind::parse(&bind.to_value(), BindOptions::empty(), "/".as_ref()).unwrap(), bind);
            }
        }
    }
}
