//! What the launcher's own processes take while a program runs, each page shared among those who map it: `/proc/PID/smaps_rollup`.

use crate::boot::stop;
use crate::cgroup::Place;
use crate::contestants::{Launcher, Programs, absent};
use crate::table::{Table, verdict};
use crate::tree::{Copy, Source};
use std::io::{self, Read};
use std::process::{Child, Stdio};

const ALL: [Launcher; 3] = [Launcher::NsSpawn, Launcher::Bubblewrap, Launcher::Nspawn];

/// kB of one process.
#[derive(Clone, Copy, Default)]
struct Size {
    proportional: u64,
    anonymous: u64,
}

/// The launcher, and the processes of it that stay between it and the payload.
struct Sizes {
    launcher: Size,
    others: Vec<(String, Size)>,
}

/// Measures and prints the median of `rounds`.
pub fn run(source: &Source, programs: &Programs, rounds: usize) -> io::Result<()> {
    let tree = source.copy()?;
    println!("\nmemory: proportional set size 1.5 s into a sleep, median of {rounds}, kB");
    let mut table = Table::new(&["", "all", "anonymous"]);
    let mut ours = None;
    for launcher in ALL {
        let found: io::Result<Vec<Sizes>> = (0..rounds).map(|_| once(programs, launcher, &tree)).collect();
        let mut found = match found {
            Ok(found) => found,
            Err(e) => {
                table.row(vec![launcher.name().to_owned(), absent(&e)]);
                continue;
            }
        };
        found.sort_by_key(|sizes| sizes.launcher.proportional);
        let Some(median) = found.get(rounds / 2) else { continue };
        if launcher == Launcher::NsSpawn {
            ours = Some(median.launcher.proportional as f64 / 1024.0);
        }
        table.row(cells(launcher.name(), median.launcher));
        median.others.iter().for_each(|(name, size)| table.row(cells(&format!("  its {name}"), *size)));
    }
    table.print();
    verdict("ns-spawn", ours, 1.6, " MiB");
    Ok(())
}

fn cells(name: &str, size: Size) -> Vec<String> {
    vec![name.to_owned(), size.proportional.to_string(), size.anonymous.to_string()]
}

fn once(programs: &Programs, launcher: Launcher, tree: &Copy) -> io::Result<Sizes> {
    let place = if launcher == Launcher::Nspawn { Some(Place::make()?) } else { None };
    let mut command = programs.run(launcher, tree.path(), tree.name(), &["/bin/sh", "-c", "echo; exec sleep 60"]);
    command.stdout(Stdio::piped());
    let mut child = match &place {
        Some(place) => place.inside(|| command.spawn())?,
        None => command.spawn()?,
    };
    // What a launcher needs while a machine runs, not while it starts: ours gives its code back after a second.
    let sizes = running(&mut child).and_then(|()| {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        sizes(child.id())
    });
    let stopped = stop(&mut child);
    stopped.and(sizes)
}

/// Waits for the payload's first word.
fn running(child: &mut Child) -> io::Result<()> {
    let mut output = child.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
    match output.read(&mut [0])? {
        0 => Err(io::Error::other("it ended before its program ran")),
        _ => Ok(()),
    }
}

fn sizes(launcher: u32) -> io::Result<Sizes> {
    let mut sizes = Sizes { launcher: size(launcher)?, others: Vec::new() };
    let mut parents = vec![launcher];
    while let Some(parent) = parents.pop() {
        for (pid, name) in children(parent)? {
            // The payload is what all have in common.
            if name != "sleep" && name != "sh" {
                sizes.others.push((name, size(pid)?));
                parents.push(pid);
            }
        }
    }
    Ok(sizes)
}

fn children(parent: u32) -> io::Result<Vec<(u32, String)>> {
    let all = std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Ok(all.filter_map(|pid| Some((pid, child_of(pid, parent)?))).collect())
}

/// Its name, if that is its parent: `proc_pid_stat(5)`.
fn child_of(pid: u32, parent: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (start, rest) = stat.rsplit_once(") ")?;
    let its: u32 = rest.split(' ').nth(1)?.parse().ok()?;
    (its == parent).then(|| start.split_once('(').map(|(_, name)| name.to_owned()))?
}

fn size(pid: u32) -> io::Result<Size> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let of = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    Ok(Size { proportional: of("Pss:"), anonymous: of("Pss_Anon:") })
}
