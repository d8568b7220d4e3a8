//! Names and values that a terminal would obey, in every place where the launcher reads one: nothing of them reaches a terminal.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::sys::signal::Signal;

use super::links::machine;
use super::outcome::{SAYS, harmless, no_controls};
use super::probe;
use super::support::{Machine, Spawn, in_rig, within};

/// C0, DEL and C1; what turns text around, what hides or breaks a line; bytes that are C1 to a terminal: each between letters.
const WORDS: [&[u8]; 3] = [
    "x\x1b[2J\x1b]0;y\x07y\x08y\ry\x0cy\x7fy\u{9b}31my\u{85}x".as_bytes(),
    "x\u{202e}y\u{2066}y\u{61c}y\u{200b}y\u{feff}y\u{ad}y\u{2028}y\u{e0041}x".as_bytes(),
    b"x\x9b31my\xffx",
];

fn words() -> impl Iterator<Item = &'static [u8]> {
    WORDS.into_iter().step_by(if in_rig() { 2 } else { 1 })
}

/// The word in each place of the text that is marked with a `%`.
fn filled(text: &str, word: &[u8]) -> Vec<u8> {
    text.as_bytes().split(|b| *b == b'%').collect::<Vec<_>>().join(word)
}

/// Files of a tree and what they say.
const FILES: [(&str, &str); 8] = [
    ("etc/passwd", "root:x:0:0:%:/root:/bin/%\n"),
    ("etc/passwd", "root:x:0:0::/%:/bin/sh\n"),
    ("etc/passwd", "%:x:0:0::/root:/bin/sh\n"),
    ("etc/group", "%:x:0:\nroot:%:0:%\n"),
    ("etc/machine-id", "%\n"),
    ("etc/os-release", "ID=%\nVERSION_ID=%\nPRETTY_NAME=\"%\"\nNAME=%\nBUILD_ID=%\n"),
    ("etc/hostname", "%\n"),
    ("sbin/init", "#!/%\n"),
];

/// Runs it with this file in the place of the tree's.
fn with_file(machine: &Machine, file: &str, bytes: &[u8], test: impl FnOnce()) {
    let (place, aside) = (machine.tree.join(file), machine.tree.path().parent().unwrap().join("aside"));
    let was_there = fs::rename(&place, &aside).is_ok();
    fs::write(&place, bytes).unwrap();
    fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    test();
    fs::remove_file(&place).unwrap();
    if was_there {
        fs::rename(&aside, &place).unwrap();
    }
}

#[track_caller]
fn clean(spawn: Spawn, about: &str) {
    let ended = spawn.limit(within(20)).run();
    harmless(&ended, about);
    assert!(matches!(ended.code, Some(0 | 1)), "{about}: {:?} {}", ended.code, ended.stderr);
    assert!(ended.code == Some(0) || !ended.stderr.is_empty(), "{about}: nothing was said");
}

/// Not quiet, so that everything is told.
fn starts(machine: &Machine) -> [Spawn; 3] {
    [machine.spawn(["/bin/busybox", "echo", SAYS]), machine.spawn(["--boot"]), machine.spawn([""; 0]).input("exit 0\n")]
}

#[test]
fn words_in_a_trees_files() {
    let machine = machine();
    for word in words() {
        for (file, text) in FILES {
            with_file(&machine, file, &filled(text, word), || {
                let about = format!("{} in {file} as {text:?}", word.escape_ascii());
                let of_init = file.ends_with("init");
                let spawns = starts(&machine).into_iter().skip(usize::from(of_init)).take(if of_init { 1 } else { 3 });
                spawns.for_each(|spawn| clean(spawn, &about));
            });
        }
    }
}

/// Options, after which a command follows.
const OPTIONS: [&str; 18] = [
    "--machine=%",
    "--directory=/%",
    "--directory=%",
    "--bind=/%",
    "--bind-ro=/%/%:/x",
    "--bind=SOURCE:/etc/passwd/%",
    "--bind=SOURCE:/made-%",
    "--bind=SOURCE:/x:%",
    "--private-users=%",
    "--network-bridge=%",
    "--network-zone=%",
    "--network-macvlan=%",
    "--network-namespace-path=/%",
    "--kill-signal=%",
    "--stop-timeout=%",
    "--console=%",
    "--notify-ready=%",
    "--%",
];

fn os(bytes: Vec<u8>) -> OsString {
    OsString::from_vec(bytes)
}

#[test]
fn words_in_arguments() {
    let machine = machine();
    let source = super::links::source(&machine, "directory");
    for word in words() {
        for option in OPTIONS {
            let option = os(filled(&option.replace("SOURCE", &source), word));
            let about = format!("{option:?}");
            clean(machine.spawn([&option, OsStr::new("true")]), &about);
            if option.as_bytes().starts_with(b"--bind") {
                clean(machine.spawn([&option, OsStr::new("--dry-run"), OsStr::new("true")]), &about);
            }
        }
        for command in ["%", "/%", "/bin/%", "/etc/passwd/%"] {
            let command = os(filled(command, word));
            clean(machine.spawn([OsStr::new("--"), &command, &command]), &format!("{command:?}"));
            clean(machine.spawn([OsStr::new("--dry-run"), OsStr::new("--boot"), OsStr::new("--"), &command]), "an init's argument");
        }
        let made = machine.tree.join("/").join(os(filled("made-%", word)));
        assert!(fs::remove_dir(&made).is_ok(), "{made:?} was a target");
    }
}

#[test]
fn words_in_the_environment() {
    let machine = machine();
    for word in words() {
        let word = OsStr::from_bytes(word);
        for (name, value) in [
            ("TERM", word.to_owned()),
            ("NOTIFY_SOCKET", word.to_owned()),
            ("NOTIFY_SOCKET", Path::new("/").join(word).into()),
            ("NSKIT_RUN_DIR", Path::new("/dev/null").join(word).into()),
            ("TMPDIR", word.to_owned()),
            ("LANG", word.to_owned()),
            ("COLUMNS", word.to_owned()),
        ] {
            clean(machine.spawn(["true"]).env(name, &value), &format!("{name}={value:?}"));
        }
    }
}

/// On a terminal everything is shown that is shown on pipes.
#[test]
fn words_on_a_terminal() {
    let machine = machine();
    for word in words() {
        for (file, text) in FILES.into_iter().filter(|(file, _)| ["etc/passwd", "etc/os-release", "sbin/init"].contains(file)) {
            with_file(&machine, file, &filled(text, word), || {
                let spawn = if file.ends_with("init") { machine.spawn(["--boot"]) } else { machine.spawn(["/bin/busybox", "true"]) };
                on_a_terminal(spawn, file);
            });
        }
        let command = os(filled("/%", word));
        on_a_terminal(machine.spawn([&command]).env("TERM", OsStr::from_bytes(word)), "a command");
        on_a_terminal(machine.spawn([os(filled("--machine=%", word))]), "a name");
    }
}

#[track_caller]
fn on_a_terminal(spawn: Spawn, about: &str) {
    let mut terminal = spawn.terminal();
    terminal.finish(within(20));
    // Bytes that are no UTF-8 are C1 to a terminal.
    let shown = std::str::from_utf8(terminal.raw()).unwrap_or_else(|_| panic!("{about}: {}", terminal.raw().escape_ascii()));
    no_controls(&shown.replace("\r\n", "\n"), about);
}

/// What the guest says of itself goes on to whoever started us.
#[test]
fn words_in_a_guests_status() {
    let machine = machine();
    let address = machine.tree.path().with_extension("notify");
    let listener = UnixDatagram::bind(&address).unwrap();
    listener.set_read_timeout(Some(within(10))).unwrap();
    let own = std::env::current_exe().unwrap();
    let program = format!("/run/{}", probe::NAME);
    let bind = format!("--bind-ro={}:{program}", own.display());
    for word in words().filter_map(|word| std::str::from_utf8(word).ok()) {
        let text = format!("text=STATUS={word}\nX_{word}={word}\n{word}");
        let spawn = machine.spawn(["--notify-ready=yes", &bind, &program, "tell", &text]);
        let running = spawn.env("NOTIFY_SOCKET", &address).start();
        let mut heard = String::new();
        while !heard.contains("Container running: x") {
            let mut space = [0; 4096];
            let size = listener.recv(&mut space).unwrap_or_else(|e| panic!("{e}; heard {heard:?}"));
            heard += &(String::from_utf8_lossy(&space[..size]) + "\n");
        }
        no_controls(&heard, "what was heard");
        running.process().signal(Signal::SIGTERM);
        harmless(&running.finish(within(20)).expect(1), "what was shown");
    }
    fs::remove_file(&address).unwrap();
}
