//! A whole distribution: from the launcher's start until the guest says it is ready, and from a request to stop to the launcher's end.

use crate::cgroup::Place;
use crate::contestants::{Launcher, Programs, absent};
use crate::notify::Listener;
use crate::random::Random;
use crate::statistics::Sample;
use crate::table::{Table, verdict};
use crate::tree::{Copy, Source};
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

const ALL: [Launcher; 2] = [Launcher::NsSpawn, Launcher::Nspawn];
/// A boot takes half a second to a few.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Default)]
struct Times {
    ready: Sample,
    stop: Sample,
}

/// Measures and prints. Each boots a copy of its own, for the first time before it is measured.
pub fn run(source: &Source, programs: &Programs, rounds: usize) -> io::Result<()> {
    let trees = ALL.iter().map(|_| source.copy()).collect::<io::Result<Vec<Copy>>>()?;
    let once = |launcher: Launcher, tree: &Copy| boot(programs, launcher, tree);
    let first = ALL.iter().zip(&trees).map(|(launcher, tree)| once(*launcher, tree));
    let mut found: Vec<Result<Times, String>> = first.map(|done| done.map(|_| Times::default()).map_err(|e| absent(&e))).collect();
    let mut random = Random::new();
    for _ in 0..rounds {
        for place in random.order(ALL.len()) {
            if let (Some(launcher), Some(tree), Some(Ok(times))) = (ALL.get(place), trees.get(place), found.get_mut(place)) {
                let (ready, stop) = once(*launcher, tree)?;
                times.ready.add(ready);
                times.stop.add(stop);
            }
        }
    }
    println!("\nboot: Debian's own systemd to READY=1, and SIGTERM to the launcher's end; {rounds} rounds, ms");
    print(&found);
    Ok(())
}

fn print(found: &[Result<Times, String>]) {
    let mut table = Table::new(&["", "ready", "10 %", "90 %", "stop", "10 %", "90 %"]);
    for (launcher, times) in ALL.iter().zip(found) {
        let name = launcher.name().to_owned();
        table.row(match times {
            Err(why) => vec![name, why.clone()],
            Ok(times) => {
                let figures =
                    [&times.ready, &times.stop].into_iter().flat_map(|sample| [0.5, 0.1, 0.9].map(|share| sample.quantile(share)));
                [name].into_iter().chain(figures.map(|time| time.as_millis().to_string())).collect()
            }
        });
    }
    table.print();
    let ratio = |what: fn(&Times) -> &Sample| match found {
        [Ok(ours), Ok(theirs)] => what(ours).ratio(what(theirs)),
        _ => None,
    };
    verdict("ready, ns-spawn to systemd-nspawn", ratio(|times| &times.ready), 0.8, "");
    verdict("stop, ns-spawn to systemd-nspawn", ratio(|times| &times.stop), 0.8, "");
}

fn boot(programs: &Programs, launcher: Launcher, tree: &Copy) -> io::Result<(Duration, Duration)> {
    let place = if launcher == Launcher::Nspawn { Some(Place::make()?) } else { None };
    let listener = Listener::bind(tree.path().with_file_name(format!("{}.notify", tree.name())))?;
    let mut command = programs.boot(launcher, tree.path(), tree.name(), listener.path());
    let start = Instant::now();
    let mut child = match &place {
        Some(place) => place.inside(|| command.spawn())?,
        None => command.spawn()?,
    };
    let ready = listener.ready(LIMIT).map(|()| start.elapsed());
    let start = Instant::now();
    let status = stop(&mut child)?;
    let stopped = start.elapsed();
    match status.success() {
        true => Ok((ready?, stopped)),
        false => Err(io::Error::other(format!("{} ended with {status}", launcher.name()))),
    }
}

/// As an administrator does it; what does not end by that is killed.
pub fn stop(child: &mut Child) -> io::Result<ExitStatus> {
    let end = Instant::now() + LIMIT;
    kill_process(Pid::from_child(child), Signal::TERM)?;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    child.wait()
}
