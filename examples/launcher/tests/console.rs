//! The console and its substitutes: a terminal, pipes, and what of ours a payload gets.

mod support;

use std::fmt::Write as _;
use std::io::Read;
use std::process::Stdio;

use nix::sys::signal::Signal;
use rustix::termios::{LocalModes, OutputModes, Termios};
use support::{Machine, Terminal, in_rig, opened, until, within};

/// `^]`, three times.
const KILL: &str = "\x1d\x1d\x1d";

/// Numbers, a line each: what is lost or doubled shows.
fn numbers(lines: u32) -> String {
    (1..=lines).fold(String::new(), |mut text, n| {
        writeln!(text, "{n}").unwrap();
        text
    })
}

fn same(before: &Termios, after: &Termios) {
    let parts = |t: &Termios| (t.input_modes, t.output_modes, t.control_modes, t.local_modes);
    assert_eq!(parts(before), parts(after), "the terminal's settings");
}

#[test]
fn the_exit_code_is_the_payloads() {
    let machine = Machine::of("busybox");
    let name = machine.name();
    machine.spawn(["true"]).run().expect(0).said(&format!("Container {name} exited successfully."));
    for (code, ours) in [(1, 1), (5, 5), (132, 132), (133, 1), (255, 255)] {
        let ended = machine.spawn(["sh".into(), "-c".into(), format!("exit {code}")]).run().expect(ours);
        ended.said(&format!("Container {name} failed with error code {code}."));
    }
}

#[test]
fn a_signal_is_told() {
    let machine = Machine::of("busybox");
    let mut running = machine.spawn(["sh", "-c", "echo ready; exec sleep 1000"]).start();
    running.expect("ready", within(10));
    running.payload().signal(Signal::SIGKILL);
    let ended = running.finish(within(10)).expect(1);
    ended.said(&format!("Container {} terminated by signal KILL.", machine.name()));
}

#[test]
fn quiet_says_only_what_the_payload_says() {
    let machine = Machine::of("busybox");
    let ended = machine.spawn(["-q", "sh", "-c", "echo out; echo err >&2"]).run().expect(0);
    assert_eq!((ended.text().as_str(), ended.stderr.as_str()), ("out\n", "err\n"));
    let ended = machine.spawn(["-q", "sh", "-c", "exit 3"]).run().expect(3);
    assert_eq!(ended.stderr, format!("Container {} failed with error code 3.\n", machine.name()));
}

#[test]
fn pipes_carry_every_byte_and_end() {
    let machine = Machine::of("busybox");
    let bytes: Vec<u8> = (0u32..10 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let ended = machine.spawn(["cat"]).input(bytes.clone()).run().expect(0);
    assert!(ended.stdout == bytes, "{} bytes of {} came back, or others", ended.stdout.len(), bytes.len());
    assert_eq!(machine.spawn(["cat"]).run().expect(0).text(), "", "/dev/null ends at once");
    assert_eq!(machine.spawn(["sh"]).input("echo one\necho two\n").run().expect(0).text(), "one\ntwo\n");
}

#[test]
fn a_reader_that_leaves_ends_it() {
    let machine = Machine::of("busybox");
    let mut child = machine.spawn(["yes"]).command().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut some = [0; 1000];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    until("yes without a reader ends", within(10), || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn the_terminal_has_our_size_and_follows() {
    let machine = Machine::of("busybox");
    let script = "trap 'stty size; echo told' WINCH; stty size; echo ready; while :; do sleep 0.1; done";
    let mut terminal = machine.spawn(["sh", "-c", script]).terminal();
    terminal.expect(&format!("Spawning container {} on {}.", machine.name(), machine.tree.path().display()), within(10));
    terminal.expect("Press ^] three times within 1s to kill container.", within(10));
    terminal.expect("24 80", within(10));
    terminal.expect("ready", within(10));
    terminal.resize(50, 132);
    terminal.expect("50 132\ntold", within(10));
    terminal.send(KILL);
    assert_eq!(terminal.finish(within(10)), Some(1));
}

#[test]
fn three_keys_kill_and_the_terminal_is_as_before() {
    let machine = Machine::of("busybox");
    let mut terminal = machine.spawn(["sh", "-c", "echo ready; exec sleep 1000"]).terminal();
    let before = terminal.settings();
    terminal.expect("ready", within(10));
    let raw = terminal.settings();
    assert!(!raw.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG), "{raw:?}");
    assert!(!raw.output_modes.contains(OutputModes::OPOST), "{raw:?}");
    terminal.send(KILL);
    terminal.expect(&format!("Container {} terminated by signal KILL.\n", machine.name()), within(10));
    assert_eq!(terminal.finish(within(10)), Some(1));
    same(&before, &terminal.settings());
}

#[test]
fn the_terminal_is_as_before_after_every_end() {
    let machine = Machine::of("busybox");
    let mut terminal = machine.spawn(["sh", "-c", "stty raw -echo; exit 7"]).terminal();
    let before = terminal.settings();
    assert_eq!(terminal.finish(within(10)), Some(7));
    same(&before, &terminal.settings());

    let mut terminal = machine.spawn(["sh", "-c", "echo ready; exec sleep 1000"]).terminal();
    terminal.expect("ready", within(10));
    terminal.process().signal(Signal::SIGTERM);
    assert_eq!(terminal.finish(within(10)), Some(1), "{}", terminal.text());
    same(&before, &terminal.settings());

    let mut terminal = machine.spawn(["/no/such/program"]).terminal();
    assert_eq!(terminal.finish(within(10)), Some(1));
    assert!(terminal.text().contains("/no/such/program"), "{}", terminal.text());
    same(&before, &terminal.settings());

    let mut terminal = machine.spawn(["sh", "-c", "echo ready; exec sleep 1000"]).terminal();
    terminal.expect("ready", within(10));
    terminal.keeper().signal(Signal::SIGKILL);
    assert_eq!(terminal.finish(within(10)), Some(1));
    same(&before, &terminal.settings());
}

#[test]
fn keys_reach_the_payload() {
    let machine = Machine::of("busybox");
    let script =
        "echo ready; read line; echo \"got <$line>\"; trap 'echo interrupted; exit 9' INT; echo waiting; while :; do sleep 0.1; done";
    let mut terminal = machine.spawn(["sh", "-c", script]).terminal();
    terminal.expect("ready", within(10));
    terminal.send("hello\n");
    terminal.expect("got <hello>", within(10));
    terminal.expect("waiting", within(10));
    // One key is not three: it is passed on when a second has gone, or with the next that isn't one.
    terminal.send("\x1d");
    terminal.send("\x03");
    terminal.expect("interrupted", within(10));
    assert_eq!(terminal.finish(within(10)), Some(9));
}

/// A reader that waits first, then takes all: nothing is lost, and what waits is not in the launcher's memory.
#[test]
fn a_flood_waits_for_a_slow_reader() {
    let machine = Machine::of("busybox");
    let lines = if in_rig() { 200_000 } else { 2_000_000 };
    let script = format!("stty -opost; echo BEGIN; seq 1 {lines}; echo END");
    let mut terminal = machine.spawn(["sh", "-c", &script]).terminal();
    std::thread::sleep(within(1));
    let resident: u64 = terminal.process().status("VmRSS").unwrap().trim_end_matches(" kB").parse().unwrap();
    assert!(resident < 64 << 10, "the launcher has {resident} kB");
    assert_eq!(terminal.finish(within(60)), Some(0));
    let whole = format!("BEGIN\n{}END\n", numbers(lines));
    let raw = terminal.raw();
    let at = raw.windows(6).position(|w| w == b"BEGIN\n").expect("its beginning");
    assert!(raw[at..].starts_with(whole.as_bytes()), "{} bytes of {} came, or others", raw.len() - at, whole.len());
}

#[test]
fn a_terminal_that_goes_away_ends_it() {
    let machine = Machine::of("busybox");
    let mut terminal = machine.spawn(["sh", "-c", "echo ready; exec sleep 1000"]).terminal();
    terminal.expect("ready", within(10));
    assert_eq!(terminal.hang_up(within(10)), Some(1));
}

/// Where our terminal would be the payload's, it could push keys into it and read ours.
#[test]
fn our_terminal_is_never_a_descriptor_of_the_payloads() {
    let machine = Machine::of("busybox");
    let script = "for n in 0 1 2; do readlink /proc/self/fd/$n; done; cut -d' ' -f5-7 /proc/1/stat; echo x >/dev/tty || echo 'no terminal'; \
                  echo error >&2; ls /proc/1/fd | wc -l";
    let mut terminal = machine.spawn(["--pipe", "sh", "-c", script]).terminal();
    assert_eq!(terminal.finish(within(10)), Some(0), "{}", terminal.text());
    let text = terminal.text();
    assert!(!text.contains("pts") && !text.contains("/dev/tty\n"), "{text}");
    assert!(text.contains("/dev/null\n") && text.contains("pipe:"), "{text}");
    assert!(text.contains("\n1 1 0\n"), "session, group and terminal of the payload: {text}");
    assert!(text.contains("no terminal\n") && text.contains("error\n"), "{text}");

    // Standard input from a file, output on the terminal: pipes by itself.
    let file = machine.tree.join("input");
    std::fs::write(&file, "from a file\n").unwrap();
    let command = machine.spawn(["sh", "-c", "cat; readlink /proc/self/fd/1"]).command();
    let mut terminal = Terminal::start_with(command, |command| {
        command.stdin(opened(file.to_str().unwrap()));
    });
    assert_eq!(terminal.finish(within(10)), Some(0), "{}", terminal.text());
    assert!(terminal.text().contains("from a file\npipe:"), "{}", terminal.text());
}

#[test]
fn the_console_is_the_payloads_own() {
    let machine = Machine::of("busybox");
    let script = "cut -d' ' -f5-7 /proc/1/stat; tty; readlink /proc/1/fd/0; echo to the console >/dev/console; echo to tty >/dev/tty; \
                  stat -L -c %t:%T /dev/pts/0 /dev/console; ls -1 /dev/pts";
    let mut terminal = machine.spawn(["sh", "-c", script]).terminal();
    assert_eq!(terminal.finish(within(10)), Some(0));
    let text = terminal.text();
    assert!(text.contains("\n1 1 "), "session and group of the payload: {text}");
    assert!(!text.contains("\n1 1 0\n"), "it has a controlling terminal: {text}");
    assert!(text.contains("to the console\nto tty\n"), "{text}");
    assert!(text.contains("88:0\n88:0\n0\nptmx\n"), "one pty, which the console is: {text}");
}

#[test]
fn a_pipe_of_relays_loses_nothing() {
    let machine = Machine::of("busybox");
    let lines = if in_rig() { 100_000 } else { 1_000_000 };
    let mut terminal = machine.spawn(["-q", "--pipe", "sh", "-c", &format!("seq 1 {lines}")]).terminal();
    assert_eq!(terminal.finish(within(60)), Some(0));
    let wanted = numbers(lines);
    let text = terminal.text();
    assert!(text == wanted, "{} bytes of {} came, or others", text.len(), wanted.len());
}

#[test]
fn consoles_that_take_no_input() {
    let machine = Machine::of("busybox");
    let ended = machine.spawn(["-q", "--console=read-only", "sh", "-c", "tty; stty -g >/dev/null; echo shown"]).run().expect(0);
    assert!(ended.text().replace('\r', "").contains("/dev/pts/0\nshown\n"), "{}", ended.text());
    let ended = machine.spawn(["-q", "--console=passive", "sh", "-c", "tty >/tty; seq 1 100000; exit 4"]).run().expect(4);
    assert_eq!(ended.text(), "");
    assert_eq!(machine.tree.read("tty"), "/dev/pts/0\n");
    // On pipes, as somebody asks who wants a terminal's behaviour there.
    let ended = machine.spawn(["-q", "--console=interactive", "sh", "-c", "read a; echo got $a; read b || echo end"]).input("line\n").run();
    let ended = ended.expect(0);
    assert!(ended.text().contains("got line") && ended.text().contains("end"), "{}", ended.text());
}

/// Of the launcher and of its caller: a shell that has more open, ignored and set than it should.
#[test]
fn nothing_else_is_inherited() {
    let machine = Machine::of("busybox");
    let script = "trap '' INT HUP PIPE USR1; umask 0; ulimit -c 0; cd /usr; exec 7</etc/passwd 9>/dev/null; exec \"$@\"";
    let running = machine.spawn(["sleep", "1000"]).env("SECRET", "of the caller").under(["sh", "-c", script, "sh"]).start();
    let payload = running.payload();
    until("the payload executes", within(10), || payload.read("comm") == "sleep\n");
    let numbers: Vec<u32> = payload.descriptors().into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [0, 1, 2], "{:?}", payload.descriptors());
    for (row, value) in [("SigBlk", "0000000000000000"), ("SigIgn", "0000000000000000"), ("Umask", "0022"), ("Threads", "1")] {
        assert_eq!(payload.status(row).as_deref(), Some(value), "{row}");
    }
    assert_eq!(payload.link("cwd"), "/");
    assert!(payload.environment().iter().all(|row| !row.contains("SECRET")), "{:?}", payload.environment());
    let (ours, theirs) = (running.process().status("NSpid"), payload.status("NSpid").unwrap());
    assert!(theirs.split_whitespace().count() == ours.unwrap().split_whitespace().count() + 2, "{theirs}: nested in its keeper's");
    running.process().signal(Signal::SIGTERM);
    running.finish(within(5)).expect(1);
}
