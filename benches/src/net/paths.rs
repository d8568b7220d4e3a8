//! A forwarded port's round trip, connect and throughput, against the machine's own address over its veth pair.

use super::Result;
use super::field::{Machine, addresses, host, inside};
use super::rules::held;
use crate::random::Random;
use crate::statistics::Sample;
use crate::table::{Table, verdict};
use ns_net::HeldRules;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

const PORT: u16 = 7;
/// Bytes of one measurement of throughput.
const LOAD: usize = 64 << 20;
const TRIPS: u32 = 200;

pub fn run(rounds: usize) -> Result<()> {
    let [few, many] = measure_all(rounds)?;
    println!("\nports: TCP through one machine's rules, against its own address; {rounds} rounds");
    let mut table = Table::new(&["way", "round trip, µs", "to direct", "connect, µs", "to direct", "throughput to direct"]);
    for (n, way) in few.iter().enumerate() {
        let micros = |sample: &Sample| format!("{:.1}", sample.median().as_secs_f64() * 1e6);
        let ratio = |of: fn(&Way) -> &Sample| format!("{:.2}", of(way).ratio(of(&few[0])).unwrap_or(0.0));
        let speed = format!("{:.2}", few[0].load.ratio(&way.load).unwrap_or(0.0));
        let cells = [WAYS[n].to_owned(), micros(&way.trip), ratio(|w| &w.trip), micros(&way.connect), ratio(|w| &w.connect), speed];
        table.row(cells.into());
    }
    table.print();
    for (n, name) in WAYS.iter().enumerate().skip(1) {
        verdict(&format!("round trip by {name} to direct"), few[n].trip.ratio(&few[0].trip), 1.25, "");
        verdict(&format!("time for 64 MiB by {name} to direct"), few[n].load.ratio(&few[0].load), 1.0 / 0.85, "");
    }
    let worst = (1..WAYS.len()).filter_map(|n| many[n].trip.ratio(&few[n].trip)).reduce(f64::max);
    verdict("round trip with 100 tables to that with one", worst, 1.05, "");
    Ok(())
}

const WAYS: [&str; 4] = ["direct", "the host's own address", "127.0.0.1", "::1"];

/// What was measured of one way.
#[derive(Default)]
struct Way {
    trip: Sample,
    connect: Sample,
    load: Sample,
}

/// Beside no other machine's table, and beside 99, in turns.
fn measure_all(rounds: usize) -> Result<[Vec<Way>; 2]> {
    let fields = [Field::new(1)?, Field::new(100)?];
    let ways = || WAYS.iter().map(|_| Way::default()).collect::<Vec<_>>();
    let mut found = [ways(), ways()];
    let mut random = Random::new();
    for _ in 0..rounds {
        for place in random.order(2 * WAYS.len()) {
            let (field, way) = (place % 2, place / 2);
            measure(&fields[field].host, fields[field].targets[way], &mut found[field][way])?;
        }
    }
    Ok(found)
}

/// A host with this many tables, the last one that of the machine which is measured.
struct Field {
    host: OwnedFd,
    targets: Vec<SocketAddr>,
    _held: (Vec<(Machine, HeldRules)>, Machine, HeldRules),
}

impl Field {
    fn new(tables: usize) -> Result<Field> {
        let (host, mut socket) = host()?;
        let others = held(tables - 1, &host, &mut socket)?;
        let machine = Machine::new(500, &mut socket)?;
        let rules = machine.forward(PORT, &host, &mut socket)?;
        let [own, guest, ..] = addresses(500);
        serve(inside(&machine.namespace, || TcpListener::bind(("::", PORT)))?);
        let targets = [&guest, &own, "127.0.0.1", "::1"].into_iter().map(|ip| Ok(SocketAddr::new(ip.parse()?, PORT)));
        Ok(Field { host, targets: targets.collect::<Result<_>>()?, _held: (others, machine, rules) })
    }
}

/// One connection: how long it took, a round trip of one byte, then the load.
fn measure(host: &OwnedFd, to: SocketAddr, way: &mut Way) -> Result<()> {
    let (connected, mut stream) = inside(host, || {
        let start = Instant::now();
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
        Ok((start.elapsed(), stream))
    })?;
    way.connect.add(connected);
    stream.set_nodelay(true)?;
    let start = Instant::now();
    for _ in 0..TRIPS {
        stream.write_all(b"t")?;
        stream.read_exact(&mut [0])?;
    }
    way.trip.add(start.elapsed() / TRIPS);
    let block = vec![b'l'; 1 << 17];
    let start = Instant::now();
    (0..LOAD / block.len()).try_for_each(|_| stream.write_all(&block))?;
    stream.read_exact(&mut [0])?;
    way.load.add(start.elapsed());
    Ok(())
}

/// Answers each `t` at once, and the load when it is there.
fn serve(listener: TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that has gone ends its connection only.
            thread::spawn(move || drop(answer(stream)));
        }
    });
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut block = vec![0; 1 << 17];
    let mut load = 0;
    loop {
        let len = stream.read(&mut block)?;
        match block.first() {
            _ if len == 0 => return Ok(()),
            Some(b't') => stream.write_all(b"t")?,
            _ => load += len,
        }
        if load == LOAD {
            stream.write_all(b"l")?;
            load = 0;
        }
    }
}
