//! One machine's rules, against the same by `nft -f` (its `-j` takes no map to an address and port), alone and beside a hundred others'.

use super::Result;
use super::field::{Machine, host, inside};
use crate::random::Random;
use crate::statistics::Sample;
use crate::table::Table;
use ns_net::nft::Transaction;
use ns_net::{HeldRules, Netfilter};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Instant;

pub fn run(rounds: usize) -> Result<()> {
    println!("\nrules: one machine's table, 4 chains, one port of each protocol; {rounds} rounds, µs");
    let mut table = Table::new(&["other tables", "ns-net", "nft -f", "to nft"]);
    let mut worst: Option<f64> = None;
    for others in [0, 100] {
        let (ours, theirs) = match measure(others, rounds) {
            Ok(found) => found,
            Err(e) => {
                println!("  not run: {e}");
                return Ok(());
            }
        };
        let ratio = theirs.ratio(&ours);
        worst = worst.into_iter().chain(ratio).reduce(f64::min);
        let cell = |sample: &Sample| sample.median().as_micros().to_string();
        table.row(vec![others.to_string(), cell(&ours), cell(&theirs), ratio.map_or("-".into(), |r| format!("1/{r:.0}"))]);
    }
    table.print();
    let told = worst.map_or("could not be measured".to_owned(), |w| format!("{w:.0} times, {}", if w >= 10.0 { "met" } else { "missed" }));
    println!("  target: at least 10 times as fast as nft: {told}");
    Ok(())
}

fn measure(others: usize, rounds: usize) -> Result<(Sample, Sample)> {
    let (namespace, mut socket) = host()?;
    let _others = held(others, &namespace, &mut socket)?;
    let machine = Machine::new(999, &mut socket)?;
    let table = machine.rules()?.forward("8080:80".parse()?).forward("udp:8080:80".parse()?).table()?;
    let mut netfilter = Netfilter::open_in(namespace.as_fd())?;
    let delete = Transaction::new().delete_table(table.family(), table.name());
    let text = table.to_string();

    let mut samples = [Sample::default(), Sample::default()];
    let mut random = Random::new();
    for _ in 0..rounds {
        for way in random.order(2) {
            let start = Instant::now();
            if way == 0 {
                table.apply(&mut netfilter)?
            } else {
                nft(&namespace, &["-f", "-"], &text).map(drop)?
            }
            samples[way].add(start.elapsed());
            delete.apply(&mut netfilter)?;
        }
    }
    let [ours, theirs] = samples;
    Ok((ours, theirs))
}

/// This many machines' tables, of one device.
pub fn held(count: usize, namespace: &OwnedFd, socket: &mut ns_net::Socket) -> Result<Vec<(Machine, HeldRules)>> {
    let one = |n: usize| {
        let machine = Machine::new(n, socket)?;
        let rules = machine.rules()?.forward(format!("{}", 20_000 + n).parse()?);
        Ok((machine, rules.hold(Netfilter::open_in(namespace.as_fd())?)?))
    };
    (0..count).map(one).collect()
}

fn nft(namespace: &OwnedFd, arguments: &[&str], input: &str) -> Result<String> {
    let run = || {
        let mut command = Command::new("nft");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()))?;
        child.wait_with_output()
    };
    let output = inside(namespace, run)?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}
