use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use rustix::fs::fcntl_setfl;
use rustix::pipe::{fcntl_setpipe_size, pipe};
use rustix::pty::{grantpt, openpt, unlockpt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::*;

pub(in crate::console) fn pty() -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    (master, slave)
}

fn raw_pty() -> (OwnedFd, OwnedFd) {
    let (master, slave) = pty();
    let mut termios = tcgetattr(&slave).unwrap();
    Termios::make_raw(&mut termios);
    tcsetattr(&slave, OptionalActions::Now, &termios).unwrap();
    (master, slave)
}

fn non_blocking(fd: &OwnedFd) {
    fcntl_setfl(fd, OFlags::NONBLOCK).unwrap();
}

/// One turn of an event loop.
fn turn(pump: &mut Pump, timeout: Duration) -> Vec<Event> {
    let sources = pump.sources();
    let mut polled: Vec<PollFd<'_>> = sources.iter().flatten().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
    poll(&mut polled, Some(&Timespec::try_from(timeout).unwrap())).unwrap();
    let mut happened = polled.iter().map(PollFd::revents);
    let happened = sources.map(|source| source.and_then(|_| happened.next()).unwrap_or(PollFlags::empty()));
    pump.ready(happened, Instant::now())
}

fn turns(pump: &mut Pump) -> Vec<Event> {
    (0..20).flat_map(|_| turn(pump, Duration::from_millis(2))).collect()
}

fn random(seed: &mut u64, below: usize) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed >> 11) as usize % below
}

/// Bytes that are their own position: a lost, doubled or moved one shows.
fn pattern(from: usize, n: usize) -> Vec<u8> {
    (from..from + n).map(|i| (i % 251) as u8).collect()
}

struct Side {
    fd: OwnedFd,
    count: usize,
}

impl Side {
    fn send(&mut self, total: usize, n: usize) {
        let n = n.min(total - self.count);
        if let Ok(n) = rustix::io::write(&self.fd, &pattern(self.count, n)) {
            self.count += n;
        }
    }

    fn receive(&mut self, n: usize) {
        let mut bytes = vec![0; n];
        if let Ok(n) = rustix::io::read(&self.fd, &mut bytes) {
            assert_eq!(bytes[..n], pattern(self.count, n), "at {}", self.count);
            self.count += n;
        }
    }
}

/// Both ways at once, in pieces and pauses of any size.
fn interleave(seed: u64, total: usize, input: (OwnedFd, OwnedFd), output: (OwnedFd, OwnedFd)) {
    let mut seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let (master, slave) = raw_pty();
    let (ours_in, theirs_in) = input;
    let (theirs_out, ours_out) = output;
    let mut pump = Pump::new(master).unwrap().with_input(&ours_in, EndOfInput::Keep).unwrap().with_output(&ours_out).unwrap();
    let payload = slave.try_clone().unwrap();
    [&slave, &theirs_in, &theirs_out].into_iter().for_each(non_blocking);
    let (mut keys, mut screen) = (Side { fd: theirs_in, count: 0 }, Side { fd: theirs_out, count: 0 });
    let (mut says, mut hears) = (Side { fd: slave, count: 0 }, Side { fd: payload, count: 0 });
    let started = Instant::now();
    while screen.count < total || hears.count < total {
        assert!(started.elapsed() < Duration::from_secs(60), "stuck at {} and {}", screen.count, hears.count);
        match random(&mut seed, 6) {
            0 => keys.send(total, 1 + random(&mut seed, 9000)),
            1 => says.send(total, 1 + random(&mut seed, 9000)),
            2 => hears.receive(1 + random(&mut seed, 9000)),
            3 => screen.receive(1 + random(&mut seed, 9000)),
            _ => assert_eq!(turn(&mut pump, Duration::from_millis(1)), []),
        }
    }
    assert_eq!((keys.count, says.count, hears.count, screen.count), (total, total, total, total));
}

#[test]
fn bytes_are_conserved_through_pipes() {
    for seed in 1..9 {
        let (in_pipe, out_pipe) = (pipe().unwrap(), pipe().unwrap());
        let _ = fcntl_setpipe_size(&out_pipe.1, 4096).unwrap();
        interleave(seed, 300_000, in_pipe, out_pipe);
    }
}

#[test]
fn bytes_are_conserved_through_sockets() {
    for seed in 11..15 {
        let pair = || std::os::unix::net::UnixStream::pair().map(|(a, b)| (OwnedFd::from(a), OwnedFd::from(b))).unwrap();
        interleave(seed, 300_000, pair(), pair());
    }
}

#[test]
fn bytes_are_conserved_through_a_terminal() {
    for seed in 21..25 {
        let ((keys, ours_in), (screen, ours_out)) = (raw_pty(), raw_pty());
        interleave(seed, 100_000, (ours_in, keys), (screen, ours_out));
    }
}

#[test]
fn a_stalled_reader_stops_the_payload_and_nothing_is_lost() {
    let (master, slave) = raw_pty();
    let (theirs, ours) = pipe().unwrap();
    let mut pump = Pump::new(master).unwrap().with_output(&ours).unwrap();
    non_blocking(&slave);
    let mut says = Side { fd: slave, count: 0 };
    for _ in 0..200 {
        says.send(usize::MAX, 65536);
        turn(&mut pump, Duration::ZERO);
    }
    let written = says.count;
    assert!((65536..400_000).contains(&written), "{written} bytes are buffered at most");
    assert!(pump.sources()[1].is_none(), "a full buffer is not polled for more");
    drop(says);
    drop(ours);
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        let mut all = Vec::new();
        File::from(theirs).read_to_end(&mut all).unwrap();
        all
    });
    assert!(!pump.drain(Some(Instant::now())).unwrap(), "late at once");
    assert!(pump.drain(None).unwrap());
    drop(pump);
    assert_eq!(reader.join().unwrap(), pattern(0, written));
}

#[test]
fn what_a_dead_payload_left_is_shown() {
    for round in 0..30 {
        let (master, slave) = pty();
        let (theirs, ours) = pipe().unwrap();
        let mut pump = Pump::new(master).unwrap().with_output(&ours).unwrap();
        let out = slave.try_clone().unwrap();
        let mut child = std::process::Command::new("seq").arg("500").stdout(out).spawn().unwrap();
        child.wait().unwrap();
        if round % 2 == 0 {
            drop(slave);
        }
        assert!(pump.drain(Some(Instant::now() + Duration::from_secs(10))).unwrap());
        drop((pump, ours));
        let mut text = String::new();
        File::from(theirs).read_to_string(&mut text).unwrap();
        assert!(text.ends_with("499\r\n500\r\n") && text.lines().count() == 500, "{text}");
    }
}

#[test]
fn a_reader_that_leaves_is_told_once_and_the_payload_goes_on() {
    let (master, slave) = raw_pty();
    let (theirs, ours) = pipe().unwrap();
    let mut pump = Pump::new(master).unwrap().with_output(&ours).unwrap();
    drop(theirs);
    let mut says = File::from(slave);
    says.write_all(b"anybody?").unwrap();
    assert_eq!(turns(&mut pump), [Event::OutputEnded(Errno::EPIPE)]);
    non_blocking(&says.try_clone().unwrap().into());
    let mut written = 0;
    for _ in 0..500 {
        written += says.write(&[b'x'; 4096]).unwrap_or(0);
        assert_eq!(turn(&mut pump, Duration::from_millis(5)), []);
    }
    assert!(written > 1_000_000, "{written}");
    assert!(pump.drain(Some(Instant::now() + Duration::from_secs(1))).unwrap());
}

#[test]
fn a_full_disk_is_an_end_of_output() {
    let (master, slave) = raw_pty();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut pump = Pump::new(master).unwrap().with_output(&full).unwrap();
    File::from(slave).write_all(b"x").unwrap();
    assert_eq!(turns(&mut pump), [Event::OutputEnded(Errno::ENOSPC)]);
}

#[test]
fn a_stream_that_ends_is_told_as_a_terminal_tells_it() {
    for (text, heard) in [("date\n", "date\n"), ("date", "date"), ("", ""), ("a\nb", "a\nb")] {
        let (master, slave) = pty();
        let (ours, theirs) = pipe().unwrap();
        let mut pump = Pump::new(master).unwrap().with_input(&ours, EndOfInput::Tell).unwrap();
        File::from(theirs).write_all(text.as_bytes()).unwrap();
        assert_eq!(turns(&mut pump), [Event::InputEnded]);
        assert!(pump.sources()[0].is_none());
        let mut all = String::new();
        File::from(slave).read_to_string(&mut all).unwrap();
        assert_eq!(all, heard);
    }
}

#[test]
fn a_program_that_reads_to_the_end_ends() {
    let (master, slave) = pty();
    let (theirs, ours) = pipe().unwrap();
    let input = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&input, b"echo $((6*7)); exit 3\n", 0).unwrap();
    let mut pump = Pump::new(master).unwrap().with_input(&input, EndOfInput::Tell).unwrap().with_output(&ours).unwrap();
    let mut child = std::process::Command::new("sh")
        .stdin(slave.try_clone().unwrap())
        .stdout(slave)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let status = loop {
        turn(&mut pump, Duration::from_millis(10));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "the shell doesn't end");
    };
    pump.drain(None).unwrap();
    drop((pump, ours));
    let mut text = String::new();
    File::from(theirs).read_to_string(&mut text).unwrap();
    assert!(status.code() == Some(3) && text.contains("42\r\n"), "{text}");
}

#[test]
fn an_end_that_is_kept_sends_nothing() {
    let (master, slave) = raw_pty();
    let null = File::open("/dev/null").unwrap();
    let mut pump = Pump::new(master).unwrap().with_input(&null, EndOfInput::Keep).unwrap();
    assert_eq!(turns(&mut pump), [Event::InputEnded]);
    non_blocking(&slave);
    assert_eq!(rustix::io::read(&slave, &mut [0; 1]), Err(rustix::io::Errno::AGAIN));
}

#[test]
fn hotkeys_are_found_on_a_terminal_only() {
    let ((keys, ours), (master, slave)) = (raw_pty(), raw_pty());
    let mut pump = Pump::new(master).unwrap().with_input(&ours, EndOfInput::Tell).unwrap();
    let mut keys = File::from(keys);
    keys.write_all(b"a\x1d\x1dp\x1d\x1drb\x1d\x1d\x1d").unwrap();
    let expected = [Hotkey::PowerOff, Hotkey::Reboot, Hotkey::Kill].map(Event::Hotkey);
    assert_eq!(turns(&mut pump), expected);
    let mut hears = File::from(slave);
    let mut two = [0; 2];
    hears.read_exact(&mut two).unwrap();
    assert_eq!(&two, b"ab");
    keys.write_all(b"\x1d").unwrap();
    assert_eq!(turns(&mut pump), []);
    let deadline = pump.deadline().unwrap();
    assert_eq!(pump.ready([PollFlags::empty(); 3], deadline), []);
    hears.read_exact(&mut two[..1]).unwrap();
    assert_eq!((two[0], pump.deadline()), (0x1d, None));

    let ((ours, theirs), (master, slave)) = (pipe().unwrap(), raw_pty());
    let mut pump = Pump::new(master).unwrap().with_input(&ours, EndOfInput::Keep).unwrap();
    File::from(theirs).write_all(b"\x1d\x1d\x1d").unwrap();
    assert_eq!(turns(&mut pump), [Event::InputEnded]);
    let mut three = [0; 3];
    File::from(slave).read_exact(&mut three).unwrap();
    assert_eq!(three, [0x1d; 3]);
}

#[test]
fn a_console_that_nobody_has_open_is_neither_an_end_nor_a_storm() {
    let (master, slave) = raw_pty();
    let (theirs, ours) = pipe().unwrap();
    let mut pump = Pump::new(master).unwrap().with_output(&ours).unwrap();
    drop(slave);
    let started = Instant::now();
    assert_eq!(turn(&mut pump, Duration::from_millis(100)), []);
    assert!(started.elapsed() >= Duration::from_millis(100), "poll came back at once");
    let again = ioctl_tiocgptpeer(pump.master().unwrap(), OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    File::from(again).write_all(b"hello").unwrap();
    assert_eq!(turns(&mut pump), []);
    let mut five = [0; 5];
    File::from(theirs).read_exact(&mut five).unwrap();
    assert_eq!(&five, b"hello");
}

#[test]
fn after_a_reboot_the_next_pty_is_pumped() {
    let (master, slave) = raw_pty();
    let ((ours_in, theirs_in), (theirs, ours)) = (pipe().unwrap(), pipe().unwrap());
    let mut pump = Pump::new(master).unwrap().with_input(&ours_in, EndOfInput::Keep).unwrap().with_output(&ours).unwrap();
    File::from(slave).write_all(b"first ").unwrap();
    assert!(pump.drain(None).unwrap());
    assert!(pump.is_drained() && pump.sources().iter().all(Option::is_none));
    let (master, slave) = raw_pty();
    pump.replace_master(master).unwrap();
    let mut slave = File::from(slave);
    slave.write_all(b"second").unwrap();
    let mut keys = File::from(theirs_in);
    keys.write_all(b"key").unwrap();
    assert_eq!(turns(&mut pump), []);
    let (mut text, mut key) = ([0; 12], [0; 3]);
    File::from(theirs).read_exact(&mut text).unwrap();
    slave.read_exact(&mut key).unwrap();
    assert_eq!((&text, &key), (b"first second", b"key"));
}

#[test]
fn a_pipe_that_cannot_be_opened_again_is_moved_in_pieces() {
    // A master is such a one: opened again it would be another pty.
    let ((their_master, their_slave), (master, slave)) = (raw_pty(), raw_pty());
    let mut pump = Pump::new(master).unwrap().with_output(&their_master).unwrap();
    let text = pattern(0, 30_000);
    let writer = {
        let text = text.clone();
        std::thread::spawn(move || File::from(slave).write_all(&text).unwrap())
    };
    let mut seen: Vec<u8> = Vec::new();
    non_blocking(&their_slave);
    let started = Instant::now();
    while seen.len() < text.len() {
        assert!(started.elapsed() < Duration::from_secs(20));
        turn(&mut pump, Duration::from_millis(1));
        let mut bytes = [0; 4096];
        let n = rustix::io::read(&their_slave, &mut bytes).unwrap_or(0);
        seen.extend(&bytes[..n]);
    }
    writer.join().unwrap();
    assert_eq!(seen, text);
}
