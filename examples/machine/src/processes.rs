//! A machine's own tree of cgroups with the processes in them, drawn as systemctl draws it.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use ns_cgroup::{Cgroup, Name, Tree};
use nskit_launcher::escape::Escaped;
use nskit_launcher::registry::Record;

use crate::machine;

/// A guest may make as many as it likes: what is beyond is left out, and told.
const MOST: usize = 2000;
const DEPTH: usize = 32;
/// Of a command line.
const LONGEST: u64 = 4096;
/// A process's command line is read out of its memory, which it may have made of something that answers slowly.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lines, none for a machine without a cgroup. `all`: empty cgroups too.
pub fn of(record: &Record, all: bool) -> Vec<String> {
    let payload = Name::new("payload").ok().zip(machine::cgroup(record)).and_then(|(name, cgroup)| Cgroup::open(&cgroup, &name).ok());
    let Some(tree) = payload.and_then(|payload| payload.tree(MOST, DEPTH).ok()) else { return Vec::new() };
    let commands = commands(pids(&tree));
    let mut lines = Vec::new();
    draw(&tree, "", &commands, all, &mut lines);
    lines
}

fn pids(tree: &Tree) -> Vec<u32> {
    tree.processes.iter().copied().chain(tree.children.iter().flat_map(pids)).collect()
}

enum Item<'a> {
    Process(u32),
    Cgroup(&'a Tree),
    More,
}

fn draw(tree: &Tree, prefix: &str, commands: &HashMap<u32, String>, all: bool, into: &mut Vec<String>) {
    let children = tree.children.iter().filter(|child| all || !child.is_empty());
    let items = tree.processes.iter().map(|pid| Item::Process(*pid)).chain(children.map(Item::Cgroup));
    let items: Vec<Item<'_>> = items.chain(tree.cut.then_some(Item::More)).collect();
    let digits = tree.processes.iter().max().map_or(0, |pid| pid.to_string().len());
    for (n, item) in items.iter().enumerate() {
        let (branch, below) = if n + 1 == items.len() { ("└─", "  ") } else { ("├─", "│ ") };
        match item {
            Item::Process(pid) => into.push(format!("{prefix}{branch}{pid:digits$} {}", commands.get(pid).map_or("", String::as_str))),
            Item::More => into.push(format!("{prefix}{branch}…")),
            Item::Cgroup(child) => {
                into.push(format!("{prefix}{branch}{}", Escaped::os(&child.name)));
                draw(child, &format!("{prefix}{below}"), commands, all, into);
            }
        }
    }
}

/// What the processes were started as; of one whose memory doesn't answer, and of those after it, only what the kernel calls them.
fn commands(pids: Vec<u32>) -> HashMap<u32, String> {
    let (sender, receiver) = channel();
    let asked = pids.clone();
    // It may wait for ever; it ends with us.
    let reader = std::thread::Builder::new().spawn(move || {
        for pid in asked {
            if sender.send((pid, command_line(pid))).is_err() {
                return;
            }
        }
    });
    let until = Instant::now() + PATIENCE;
    let mut found = HashMap::new();
    while reader.is_ok() {
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok((pid, Some(command))) => drop(found.insert(pid, command)),
            Ok((_, None)) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    for pid in pids {
        found.entry(pid).or_insert_with(|| format!("[{}]", Escaped::text(read(pid, "comm").unwrap_or_default().trim_end())));
    }
    found
}

/// `None` for one without: a kernel's thread, one that has ended.
fn command_line(pid: u32) -> Option<String> {
    let text = read(pid, "cmdline")?;
    let words: Vec<&str> = text.trim_end_matches('\0').split('\0').collect();
    Some(Escaped::text(&words.join(" ")).to_string()).filter(|text| !text.trim().is_empty())
}

fn read(pid: u32, file: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/{file}")).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(name: &str, processes: &[u32], children: Vec<Tree>) -> Tree {
        Tree { name: name.into(), processes: processes.to_vec(), children, cut: false }
    }

    fn drawn(tree: &Tree, all: bool) -> Vec<String> {
        let commands = pids(tree).into_iter().map(|pid| (pid, format!("/bin/p{pid}"))).collect();
        let mut lines = Vec::new();
        draw(tree, "", &commands, all, &mut lines);
        lines
    }

    #[test]
    fn a_tree_as_systemctl_draws_it() {
        let dbus = cgroup("dbus.service", &[27_219], Vec::new());
        let cron = cgroup("cron.service", &[7, 27_220], Vec::new());
        let empty = cgroup("a.mount", &[], vec![cgroup("b", &[], Vec::new())]);
        let slice = cgroup("system.slice", &[], vec![empty, cron, dbus]);
        let tree = cgroup("", &[], vec![cgroup("init.scope", &[27_171], Vec::new()), slice]);
        let lines = [
            "├─init.scope",
            "│ └─27171 /bin/p27171",
            "└─system.slice",
            "  ├─cron.service",
            "  │ ├─    7 /bin/p7",
            "  │ └─27220 /bin/p27220",
            "  └─dbus.service",
            "    └─27219 /bin/p27219",
        ];
        assert_eq!(drawn(&tree, false), lines);
        assert_eq!(drawn(&tree, true)[3..5], ["  ├─a.mount", "  │ └─b"]);
    }

    #[test]
    fn what_was_left_out_is_told() {
        let tree = Tree { cut: true, ..cgroup("", &[5], vec![cgroup("x\x1b[2J", &[6], Vec::new())]) };
        assert_eq!(drawn(&tree, false), ["├─5 /bin/p5", "├─x\\x1b[2J", "│ └─6 /bin/p6", "└─…"]);
        assert_eq!(drawn(&cgroup("", &[], Vec::new()), false), [""; 0]);
    }

    #[test]
    fn command_lines_are_safe_and_bounded() {
        let words = ["-c", "sleep 60 # \x1b[2J\n", &"x".repeat(10_000)];
        let mut child = std::process::Command::new("/bin/sh").args(words).spawn().unwrap();
        // It has one once it was executed, a moment after it is called so.
        while command_line(child.id()).is_none_or(|line| !line.contains("sleep")) {}
        let found = commands(vec![child.id(), 0]);
        let command = &found[&child.id()];
        assert!(command.starts_with("/bin/sh -c sleep 60 # \\x1b[2J\\n x") && command.len() < 4200, "{command}");
        assert_eq!(found[&0], "[]");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(commands(vec![child.id()])[&child.id()], "[]");
    }
}
