//! One short program in all namespaces, from the launcher's start to its end.

use crate::cgroup::Place;
use crate::contestants::{Launcher, Programs, absent};
use crate::random::Random;
use crate::statistics::Sample;
use crate::table::{Table, verdict};
use crate::tree::{Copy, Source};
use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const ALL: [Launcher; 6] =
    [Launcher::Host, Launcher::Floor, Launcher::NsSpawn, Launcher::Bubblewrap, Launcher::BubblewrapSame, Launcher::Nspawn];

/// Measures and prints.
pub fn run(source: &Source, programs: &Programs, rounds: usize) -> io::Result<()> {
    let tree = source.copy()?;
    let field = Field { programs, tree: &tree };
    let mut found: Vec<Result<Sample, String>> = ALL.iter().map(|one| field.try_out(*one).map(|()| Sample::default())).collect();
    let mut random = Random::new();
    for _ in 0..rounds {
        for place in random.order(ALL.len()) {
            if let (Some(launcher), Some(Ok(sample))) = (ALL.get(place), found.get_mut(place)) {
                sample.add(field.time(*launcher)?);
            }
        }
    }
    println!("\nstart: /bin/true on a Debian tree in all namespaces, filter, masks, id map, cgroup and keeper on; {rounds} rounds, µs");
    print(&found);
    Ok(())
}

fn print(found: &[Result<Sample, String>]) {
    let of = |launcher: Launcher| {
        let place = ALL.iter().position(|one| *one == launcher)?;
        found.get(place)?.as_ref().ok()
    };
    let mut table = Table::new(&["", "median", "10 %", "90 %", "to bubblewrap", "without masks", "to the floor"]);
    for (launcher, sample) in ALL.iter().zip(found) {
        let name = launcher.name().to_owned();
        table.row(match sample {
            Err(why) => vec![name, why.clone()],
            Ok(sample) => {
                let figures = [0.5, 0.1, 0.9].map(|share| sample.quantile(share).as_micros().to_string());
                let ratios = [Launcher::BubblewrapSame, Launcher::Bubblewrap, Launcher::Floor]
                    .map(|other| of(other).and_then(|other| sample.ratio(other)));
                let ratios = ratios.map(|ratio| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")));
                [name].into_iter().chain(figures).chain(ratios).collect()
            }
        });
    }
    table.print();
    let ours = of(Launcher::NsSpawn);
    let ratio = |other| ours.and_then(|ours| ours.ratio(of(other)?));
    verdict("ns-spawn to bubblewrap with the same mounts", ratio(Launcher::BubblewrapSame), 0.8, "");
}

struct Field<'a> {
    programs: &'a Programs,
    tree: &'a Copy,
}

impl Field<'_> {
    fn command(&self, launcher: Launcher) -> Command {
        self.programs.run(launcher, self.tree.path(), self.tree.name(), &["/bin/true"])
    }

    /// Once, to see whether it works here, and so that what it reads is in memory.
    fn try_out(&self, launcher: Launcher) -> Result<(), String> {
        let mut command = self.command(launcher);
        command.stderr(Stdio::piped());
        let output = placed(launcher, || command.spawn()?.wait_with_output()).map_err(|e| absent(&e))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().last().unwrap_or_default().to_owned();
        if output.status.success() { Ok(()) } else { Err(format!("not run: {}: {said}", output.status)) }
    }

    fn time(&self, launcher: Launcher) -> io::Result<Duration> {
        let mut command = self.command(launcher);
        let (status, time): (ExitStatus, Duration) = placed(launcher, || {
            let start = Instant::now();
            let status = command.status()?;
            Ok((status, start.elapsed()))
        })?;
        match status.success() {
            true => Ok(time),
            false => Err(io::Error::other(format!("{}, which had worked before: {status}", launcher.name()))),
        }
    }
}

/// In a cgroup of its own where the launcher needs one; making it is not timed.
fn placed<T>(launcher: Launcher, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if launcher != Launcher::Nspawn {
        return work();
    }
    let place = Place::make()?;
    place.inside(work)
}
