//! A machine's pair with its addresses and routes, against the same by two sends of bare messages.

use super::Result;
use super::field::{Machine, addresses, connect, device, host, namespace};
use crate::random::Random;
use crate::statistics::Sample;
use crate::table::{Table, verdict};
use ns_net::message::{Batch, Call, Flags, Message};
use ns_net::{LinkFlags, Socket};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

pub fn run(rounds: usize) -> Result<()> {
    println!("\nlinks: a veth pair, two addresses on each side, two routes, both ends up; {rounds} rounds, µs");
    let mut table = Table::new(&["other machines", "ns-net", "bare messages", "to bare"]);
    for others in [0, 10, 100] {
        let (ours, bare) = measure(others, rounds)?;
        let ratio = ours.ratio(&bare);
        let cell = |sample: &Sample| sample.median().as_micros().to_string();
        table.row(vec![others.to_string(), cell(&ours), cell(&bare), ratio.map_or("-".into(), |r| format!("{r:.2}"))]);
        if others == 100 {
            table.print();
            verdict("ns-net to bare messages, with 100 others", ratio, 1.2, "");
        }
    }
    Ok(())
}

fn measure(others: usize, rounds: usize) -> Result<(Sample, Sample)> {
    let (host_namespace, mut socket) = host()?;
    let _others = (0..others).map(|n| Machine::new(n, &mut socket)).collect::<Result<Vec<_>>>()?;
    let mut samples = [Sample::default(), Sample::default()];
    let mut random = Random::new();
    for round in 0..rounds {
        for way in random.order(2) {
            let number = 1000 + round * 2 + way;
            let inside = namespace()?;
            let mut inner = Socket::open_in(inside.as_fd())?;
            let start = Instant::now();
            if way == 0 {
                connect(number, &mut inner, &mut socket)?;
            } else {
                bare(number, &mut inner, &mut socket, &host_namespace)?;
            }
            samples[way].add(start.elapsed());
        }
    }
    let [ours, bare] = samples;
    Ok((ours, bare))
}

/// As few messages in as few sends as the kernel takes: one for each namespace, with indices that were chosen before.
fn bare(number: usize, inside: &mut Socket, host: &mut Socket, host_namespace: &OwnedFd) -> Result<()> {
    let [host4, guest4, host6, guest6] = addresses(number);
    let (outer, inner) = (10_000 + number as u32, 10_000 + number as u32);
    let mut train = Batch::new();
    train.add("bare", pair(number, inner, outer, host_namespace)?);
    train.add("bare", address(inner, &guest4, 28)?).add("bare", address(inner, &guest6, 64)?);
    train.add("bare", route(inner, &host4)?).add("bare", route(inner, &host6)?);
    inside.run(&train)?;
    let mut train = Batch::new();
    train.add("bare", Message::new(Call::SETLINK, Flags::empty()).fixed(&ifinfomsg(outer, LinkFlags::UP)));
    train.add("bare", address(outer, &host4, 28)?).add("bare", address(outer, &host6, 64)?);
    host.run(&train)?;
    Ok(())
}

/// `struct ifinfomsg`
fn ifinfomsg(index: u32, flags: LinkFlags) -> Vec<u8> {
    [0, index, flags.bits(), LinkFlags::UP.bits()].map(u32::to_ne_bytes).concat()
}

fn pair(number: usize, inner: u32, outer: u32, host: &OwnedFd) -> Result<Message> {
    let name = device(number)?;
    Ok(Message::new(Call::NEWLINK, Flags::CREATE | Flags::EXCL).fixed(&ifinfomsg(inner, LinkFlags::UP)).string(3, b"host0").nest(18, |m| {
        m.string(1, b"veth").nest(2, |m| {
            m.nest_unmarked(1, |m| {
                let m = m.fixed(&[0, outer, 0, 0].map(u32::to_ne_bytes).concat()).string(3, name.as_bytes());
                m.number(28, host.as_raw_fd() as u32)
            })
        })
    }))
}

/// `struct ifaddrmsg`, `IFA_LOCAL`, `IFA_ADDRESS`, `IFA_FLAGS`
fn address(index: u32, ip: &str, prefix: u8) -> Result<Message> {
    let (family, octets) = octets(ip)?;
    let head = [&[family, prefix, 0, 0][..], &index.to_ne_bytes()].concat();
    let message = Message::new(Call::NEWADDR, Flags::CREATE | Flags::EXCL).fixed(&head).attribute(2, &octets).attribute(1, &octets);
    Ok(if family == libc::AF_INET6 as u8 { message.number(8, 2) } else { message })
}

/// `struct rtmsg`, `RTA_GATEWAY`, `RTA_OIF`: the default route.
fn route(index: u32, gateway: &str) -> Result<Message> {
    let (family, octets) = octets(gateway)?;
    let head = [family, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
    Ok(Message::new(Call::NEWROUTE, Flags::CREATE | Flags::EXCL).fixed(&head).attribute(5, &octets).number(4, index))
}

fn octets(ip: &str) -> Result<(u8, Vec<u8>)> {
    Ok(match ip.parse::<Ipv4Addr>() {
        Ok(ip) => (libc::AF_INET as u8, ip.octets().to_vec()),
        Err(_) => (libc::AF_INET6 as u8, ip.parse::<Ipv6Addr>()?.octets().to_vec()),
    })
}
