//! Test trees: private copies of what `.ci/tree` makes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// A copy of a test tree, in a directory that is named like its machine; removed when dropped.
pub struct Tree {
    _parent: TempDir,
    path: PathBuf,
    name: String,
}

impl Tree {
    /// A copy of the tree of this name. A tree that isn't there fails the test.
    pub fn copy(of: &str) -> Tree {
        Tree::copy_in(&base(), of)
    }

    /// The same, in a directory of the test's: another file system.
    pub fn copy_in(base: &Path, of: &str) -> Tree {
        let trees = std::env::var_os("NSKIT_TREES").map_or_else(|| PathBuf::from("/var/cache/nskit/trees"), PathBuf::from);
        let original = trees.join(of);
        assert!(original.is_dir(), "there is no test tree {}: `.ci/tree {of}` makes it", original.display());
        let tree = Tree::empty_in(base);
        fs::remove_dir(&tree.path).unwrap();
        let copied = Command::new("cp").args(["-a", "--reflink=auto", "--"]).args([&original, &tree.path]).status().expect("cp");
        assert!(copied.success(), "{} could not be copied to {}", original.display(), tree.path.display());
        tree
    }

    /// An empty directory.
    pub fn empty() -> Tree {
        Tree::empty_in(&base())
    }

    fn empty_in(base: &Path) -> Tree {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let parent = tempfile::Builder::new().prefix("nskit-tree.").tempdir_in(base).expect("a directory for a test tree");
        // With a prefix of three letters it still is a link's name. The last letter: no name is the beginning of another's.
        let name = format!("t{}-{}x", std::process::id() % 1_000_000, MADE.fetch_add(1, Ordering::Relaxed));
        let path = parent.path().join(&name);
        fs::create_dir(&path).unwrap();
        // So that container root, an ordinary user out here, gets to it through a bind mount of the tests'.
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Tree { _parent: parent, path, name }
    }

    /// The tree that is in a directory of this one, under this one's name.
    pub fn inner(mut self, directory: &str) -> Tree {
        self.path.push(directory);
        self
    }

    /// Its root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its machine's name, which its directory has too: no other test's, nor another run's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path inside it, as the host sees it.
    pub fn join(&self, inside: &str) -> PathBuf {
        self.path.join(inside.trim_start_matches('/'))
    }

    /// Writes a file, and makes the directories above it.
    pub fn write(&self, inside: &str, text: &str) {
        let path = self.join(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
    }

    /// As [`Tree::write`], and may be executed.
    pub fn script(&self, inside: &str, text: &str) {
        self.write(inside, text);
        fs::set_permissions(self.join(inside), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A file's text.
    pub fn read(&self, inside: &str) -> String {
        let path = self.join(inside);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()))
    }
}

fn base() -> PathBuf {
    std::env::var_os("NSKIT_TEST_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}
