//! A place for systemd-nspawn: with `--keep-unit` it makes cgroups below its own and leaves them, and can't use those of an earlier run.

use std::io;
use std::path::{Path, PathBuf};

/// A cgroup in each hierarchy that systemd-nspawn looks at; dropped, they are gone.
pub struct Place {
    /// In each: ours, and the one that we came from.
    cgroups: Vec<(PathBuf, PathBuf)>,
}

impl Place {
    pub fn make() -> io::Result<Place> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let own = std::fs::read_to_string("/proc/self/cgroup")?;
        let mut place = Place { cgroups: Vec::new() };
        for mount in mounts.lines().filter_map(hierarchy) {
            let now = own.lines().find_map(|line| line.strip_prefix(mount.key)).unwrap_or("/");
            let made = mount.point.join(format!("nskit-bench-{}", std::process::id()));
            std::fs::create_dir(&made)?;
            place.cgroups.push((made, mount.point.join(now.trim_start_matches('/'))));
        }
        Ok(place)
    }

    /// Does something while we are in it: what is started there stays there.
    pub fn inside<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.cgroups.iter().try_for_each(|(ours, _)| enter(ours))?;
        let done = work();
        self.cgroups.iter().try_for_each(|(_, before)| enter(before))?;
        done
    }
}

fn enter(cgroup: &Path) -> io::Result<()> {
    std::fs::write(cgroup.join("cgroup.procs"), "0")
}

struct Hierarchy<'a> {
    /// How its line in /proc/self/cgroup starts, or ends its controllers.
    key: &'a str,
    point: PathBuf,
}

/// A line of mountinfo that mounts cgroup2, or systemd's own hierarchy of version 1.
fn hierarchy(line: &str) -> Option<Hierarchy<'_>> {
    let (mount, fs) = line.split_once(" - ")?;
    let point = || mount.split(' ').nth(4).map(PathBuf::from);
    match fs.split(' ').next()? {
        "cgroup2" => Some(Hierarchy { key: "0::", point: point()? }),
        "cgroup" if fs.ends_with("name=systemd") => Some(Hierarchy { key: "name=systemd:", point: point()? }),
        _ => None,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for (ours, _) in &self.cgroups {
            remove(ours);
        }
    }
}

/// Depth first; the files of a cgroup go with it.
fn remove(cgroup: &Path) {
    let below = std::fs::read_dir(cgroup).into_iter().flatten().flatten();
    below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).for_each(|entry| remove(&entry.path()));
    // A process that is just leaving keeps it busy.
    for _ in 0..200 {
        match std::fs::remove_dir(cgroup) {
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(std::time::Duration::from_millis(5)),
            _ => return,
        }
    }
}
