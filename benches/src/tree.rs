//! Copies of the tree: a boot changes it, and others may use the one that everybody shares.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The tree that all measure on.
pub struct Source(PathBuf);

impl Source {
    pub fn find() -> io::Result<Source> {
        let trees = std::env::var_os("NSKIT_TREES").map_or_else(|| "/var/cache/nskit/trees".into(), PathBuf::from);
        let tree = trees.join("debian");
        match tree.join("usr").is_dir() {
            true => Ok(Source(tree)),
            false => Err(io::Error::other(format!("there is no tree at {}: make it with `.ci/tree debian`", tree.display()))),
        }
    }

    /// Another one like it, in `NSKIT_BENCH_DIR` or /var/tmp, whose file system must be able to map ids.
    pub fn copy(&self) -> io::Result<Copy> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let base = std::env::var_os("NSKIT_BENCH_DIR").map_or_else(|| "/var/tmp".into(), PathBuf::from);
        let name = format!("nskit-bench-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let copy = Copy { path: base.join(&name), name };
        let done = Command::new("cp").args(["-a", "--reflink=auto"]).arg(&self.0).arg(&copy.path).status()?;
        if done.success() { Ok(copy) } else { Err(io::Error::other("cp -a of the tree failed")) }
    }
}

/// A tree of our own; dropped, it is gone.
pub struct Copy {
    path: PathBuf,
    name: String,
}

impl Copy {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A machine's name that nobody else has.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // What is left harms nothing but tidiness, and a panic in a destructor would leave more.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
