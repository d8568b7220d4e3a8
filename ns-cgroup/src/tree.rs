//! What is in a cgroup, as a value.

use crate::cgroup::Cgroup;
use crate::dir::{self, present};
use crate::errno::Errno;
use crate::error::{Error, Result};
use crate::procs::pids_of;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;

/// A cgroup with its processes and the cgroups below it. The names are those that a container gave, and may hold any byte but a slash and a newline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Its directory's name; empty for the one that was asked.
    pub name: OsString,
    /// Its own processes: pids in the caller's pid namespace, in order. By now they may be others'.
    pub processes: Vec<u32>,
    /// The cgroups in it, by name.
    pub children: Vec<Tree>,
    /// Whether something in it was left out, because there is more than was asked for.
    pub cut: bool,
}

impl Tree {
    /// Whether no process is in it, as far as it was looked at.
    pub fn is_empty(&self) -> bool {
        !self.cut && self.processes.is_empty() && self.children.iter().all(Tree::is_empty)
    }
}

impl Cgroup {
    /// The processes in this cgroup and the cgroups below it, at most `most` of both together and `depth` levels: what a container made
    /// has no bounds of its own. What is removed meanwhile is left out.
    pub fn tree(&self, most: usize, depth: usize) -> Result<Tree> {
        let mut left = most;
        let tree = read(self.as_fd(), &mut left, depth).map_err(|e| Error::call("look into", self.path(), "read", e))?;
        Ok(tree.unwrap_or_default())
    }
}

/// `None` where it has gone.
fn read(here: BorrowedFd<'_>, left: &mut usize, depth: usize) -> std::result::Result<Option<Tree>, Errno> {
    let Some(mut processes) = present(pids_of(here))? else { return Ok(None) };
    processes.sort_unstable();
    let mut tree = Tree { cut: processes.len() > *left, ..Tree::default() };
    processes.truncate(*left);
    *left -= processes.len();
    tree.processes = processes;
    let mut names = dir::first_children(here, left.saturating_add(1))?;
    tree.cut |= names.len() > *left || (depth == 0 && !names.is_empty());
    names.sort();
    if depth > 0 {
        tree.children = children(here, names, left, depth - 1)?;
        tree.cut |= *left == 0 && !tree.children.is_empty();
    }
    Ok(Some(tree))
}

fn children(here: BorrowedFd<'_>, names: Vec<CString>, left: &mut usize, depth: usize) -> std::result::Result<Vec<Tree>, Errno> {
    let mut all = Vec::new();
    for name in names {
        if *left == 0 {
            break;
        }
        *left -= 1;
        let Some(below) = present(dir::open(here, &*name))? else { continue };
        if let Some(tree) = read(below.as_fd(), left, depth)? {
            all.push(Tree { name: OsString::from_vec(name.into_bytes()), ..tree });
        }
    }
    Ok(all)
}
