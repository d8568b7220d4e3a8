//! What a hostile tree has in a place where something else belongs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// A symbolic link's way.
#[derive(Clone, Copy, Debug)]
pub enum Link {
    /// To the canary, as the host sees it.
    Absolute,
    /// To the canary, by so many `..` that every root is climbed over.
    Relative,
    /// To the canary through a link in the tree, and another.
    Chain,
    /// To the canary through a process's magic link.
    Magic(&'static str),
    /// As it stands.
    To(&'static str),
}

/// Every way out that there is.
pub const LINKS: [Link; 15] = [
    Link::Absolute,
    Link::Relative,
    Link::Chain,
    Link::Magic("/proc/self/root"),
    Link::Magic("/proc/1/root"),
    Link::Magic("/proc/thread-self/root"),
    Link::Magic("/proc/self/cwd/../../../../../../../.."),
    Link::Magic("/proc/self/fd/3/../../../../../../../.."),
    Link::To("/proc/self/exe"),
    Link::To("nowhere"),
    Link::To("/nowhere/below"),
    Link::To("itself"),
    Link::To("/"),
    Link::To("."),
    Link::To(".."),
];

/// What is no link.
#[derive(Clone, Copy, Debug)]
pub enum Node {
    Nothing,
    Empty,
    Text(&'static str),
    /// 4 GiB, of which nothing is on the disk.
    Sparse,
    /// A file of mode 000.
    Closed,
    Directory,
    /// A directory of mode 000.
    ClosedDirectory,
    Fifo,
    Socket,
    Char(u32, u32),
    Block(u32, u32),
}

pub const NODES: [Node; 14] = [
    Node::Nothing,
    Node::Empty,
    Node::Text("\u{1b}[2J\u{7}\u{9b}31m\nID=\u{1b}]0;x\u{7}\nPRETTY_NAME=\"\u{1b}c\u{202e}\"\n"),
    Node::Text("#!/proc/self/exe\n"),
    Node::Sparse,
    Node::Closed,
    Node::Directory,
    Node::ClosedDirectory,
    Node::Fifo,
    Node::Socket,
    // zero, the terminal, one that no driver has, and a disk.
    Node::Char(1, 5),
    Node::Char(5, 0),
    Node::Char(250, 250),
    Node::Block(7, 0),
];

/// What can be planted.
#[derive(Clone, Copy, Debug)]
pub enum What {
    Link(Link),
    Node(Node),
}

/// A place in a tree with something else in it; put back when dropped.
pub struct Planted {
    place: PathBuf,
    aside: PathBuf,
    hops: Vec<PathBuf>,
}

impl Planted {
    /// In `tree`, whose parent directory is the test's too, at `place`; links lead to the canary's file or directory of the same name.
    pub fn new(tree: &Path, canary: &Path, place: &str, what: What) -> Planted {
        let target = canary.join(place);
        let path = tree.join(place);
        let aside = tree.parent().unwrap().join("aside");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::rename(&path, &aside);
        let mut planted = Planted { place: path.clone(), aside, hops: Vec::new() };
        match what {
            What::Link(link) => planted.link(tree, &path, &target, link),
            What::Node(node) => make(&path, node),
        }
        planted
    }

    fn link(&mut self, tree: &Path, at: &Path, target: &Path, link: Link) {
        let to = match link {
            Link::Absolute => target.to_owned(),
            Link::Relative => Path::new("../../../../../../../../../../..").join(target.strip_prefix("/").unwrap()),
            Link::Magic(prefix) => Path::new(prefix).join(target.strip_prefix("/").unwrap()),
            Link::To("itself") => at.file_name().unwrap().into(),
            Link::To(to) => to.into(),
            Link::Chain => {
                self.hops = vec![tree.join("hop"), tree.join("hop2")];
                symlink("hop2", &self.hops[0]).unwrap();
                symlink(target, &self.hops[1]).unwrap();
                "/hop".into()
            }
        };
        symlink(to, at).unwrap();
    }
}

fn make(path: &Path, node: Node) {
    let special = |kind, device| mknodat(CWD, path, kind, Mode::from_raw_mode(0o777), device).unwrap();
    let file = |text: &str, mode| {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    match node {
        Node::Nothing => {}
        Node::Empty => file("", 0o755),
        Node::Text(text) => file(text, 0o755),
        Node::Closed => file("#!/bin/sh\n", 0),
        Node::Sparse => {
            file("", 0o755);
            fs::File::options().write(true).open(path).unwrap().set_len(4 << 30).unwrap();
        }
        Node::Directory => fs::create_dir(path).unwrap(),
        Node::ClosedDirectory => {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        }
        Node::Fifo => special(FileType::Fifo, 0),
        Node::Socket => drop(UnixListener::bind(path).unwrap()),
        Node::Char(major, minor) => special(FileType::CharacterDevice, makedev(major, minor)),
        Node::Block(major, minor) => special(FileType::BlockDevice, makedev(major, minor)),
    }
}

/// Whatever is there, and was made below it.
pub fn remove(path: &Path) {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        remove(&self.place);
        self.hops.iter().for_each(|hop| remove(hop));
        let _ = fs::rename(&self.aside, &self.place);
    }
}
