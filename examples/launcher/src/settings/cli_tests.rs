use std::time::Duration;

use super::*;
use crate::Kind;
use crate::settings::{Attach, IfName, Inner, Network, NetworkNamespace, Zone};

fn run(line: &[&str]) -> Result<Settings, Error> {
    match parse(["ns-spawn"].iter().chain(line), "/cwd/box".as_ref())? {
        Parsed::Run(settings) => Ok(settings),
        Parsed::Print(text) => panic!("printed {text}"),
    }
}

fn good(line: &[&str]) -> Settings {
    run(line).unwrap_or_else(|e| panic!("{line:?}: {e}"))
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

#[test]
fn nothing_is_a_shell_in_the_current_directory() {
    let expected = Settings {
        tree: TreeSource::Directory("/cwd/box".into()),
        machine: MachineName::new("box").unwrap(),
        payload: Payload::Shell,
        users: PrivateUsers::Pick,
        network: Network::default(),
        binds: vec![],
        read_only: false,
        notify_ready: false,
        console: None,
        kill_signal: None,
        stop_timeout: Some(Duration::from_secs(90)),
        quiet: false,
        dry_run: false,
    };
    assert_eq!(good(&[]), expected);
}

#[test]
fn where_the_tree_is() {
    let table: [(&[&str], Option<&str>, &str); 12] = [
        (&["-D", "/srv/a"], Some("/srv/a"), "a"),
        (&["-D/srv/a"], Some("/srv/a"), "a"),
        (&["-D/srv/a//"], Some("/srv/a"), "a"),
        (&["--directory=/srv/a/./"], Some("/srv/a"), "a"),
        (&["--directory", "/srv/a"], Some("/srv/a"), "a"),
        (&["-D", "b_1"], Some("/cwd/box/b_1"), "b1"),
        (&["-D", "."], Some("/cwd/box"), "box"),
        (&["-D", "../x"], Some("/cwd/box/../x"), "x"),
        (&["-D", "..", "-M", "up"], Some("/cwd/box/.."), "up"),
        (&["-M", "m"], None, "m"),
        (&["-Mm", "-D", "/a"], Some("/a"), "m"),
        (&["-D", "/a", "-D", "/b"], Some("/b"), "b"),
    ];
    for (line, path, name) in table {
        let settings = good(line);
        let tree = path.map_or(TreeSource::Image, |path| TreeSource::Directory(path.into()));
        assert_eq!((settings.tree, settings.machine.as_str()), (tree, name), "{line:?}");
    }
}

#[test]
fn options_end_at_the_command() {
    let table: [(&[&str], Payload); 9] = [
        (&["bash", "-c", "echo $$"], Payload::Command(words(&["bash", "-c", "echo $$"]))),
        (&["-q", "ls", "-D", "/x", "--unknown", "--", "-q"], Payload::Command(words(&["ls", "-D", "/x", "--unknown", "--", "-q"]))),
        (&["--", "-x", "y"], Payload::Command(words(&["-x", "y"]))),
        (&["ls", "--help"], Payload::Command(words(&["ls", "--help"]))),
        (&["ls", ""], Payload::Command(words(&["ls", ""]))),
        (&["-b"], Payload::Boot(vec![])),
        (&["-b", "--", "--log-level=debug"], Payload::Boot(words(&["--log-level=debug"]))),
        (&["-bq", "x", "-h"], Payload::Boot(words(&["x", "-h"]))),
        (&["--"], Payload::Shell),
    ];
    for (line, payload) in table {
        assert_eq!(good(line).payload, payload, "{line:?}");
    }
}

#[test]
fn networks() {
    let name = |name: &str| IfName::new(name.as_ref()).unwrap();
    let network = |namespace, veth| Network { namespace, veth, ..Network::default() };
    let own = |veth| network(NetworkNamespace::Own, veth);
    let table: [(&[&str], Network); 9] = [
        (&["-n"], own(Some(Attach::Host))),
        (&["--network-veth", "--private-network"], own(Some(Attach::Host))),
        (&["--private-network"], own(None)),
        (&["--network-bridge=br0"], own(Some(Attach::Bridge(name("br0"))))),
        (&["-n", "--network-bridge", "br0"], own(Some(Attach::Bridge(name("br0"))))),
        (&["--network-zone=web"], own(Some(Attach::Zone(Zone::new("web".as_ref()).unwrap())))),
        (&["--network=host"], network(NetworkNamespace::Host, None)),
        (&["--network", "host"], network(NetworkNamespace::Host, None)),
        (&["--private-network", "--network-namespace-path=ns"], network(NetworkNamespace::Path("/cwd/box/ns".into()), None)),
    ];
    for (line, network) in table {
        assert_eq!(good(line).network, network, "{line:?}");
    }
    let line = ["--network-veth-extra=a:b", "--network-veth-extra=c", "--network-interface=eth0:lan", "--network-macvlan=eth1"];
    let found = good(&line).network;
    let written = |links: &[Inner]| links.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(written(&found.extra), ["a:b", "c"]);
    assert_eq!((written(&found.interfaces), written(&found.macvlans)), (vec!["eth0:lan".to_owned()], vec!["eth1".to_owned()]));
}

#[test]
fn binds_keep_the_order_of_the_line() {
    let settings = good(&["--bind=/a", "--bind-ro", "b:/b", "--bind=/c:/d:norbind", "--bind-ro=/e"]);
    let seen: Vec<_> = settings.binds.iter().map(|b| (b.source.to_str().unwrap(), b.options)).collect();
    let ro = BindOptions::READ_ONLY;
    assert_eq!(seen, [("/a", BindOptions::empty()), ("/cwd/box/b", ro), ("/c", BindOptions::NOT_RECURSIVE), ("/e", ro)]);
}

#[test]
fn the_rest() {
    let settings = good(&["--read-only", "-q", "--quiet", "--dry-run", "--no-pager", "--notify-ready=on", "--stop-timeout=5", "-P"]);
    assert!(settings.read_only && settings.quiet && settings.dry_run && settings.notify_ready);
    assert_eq!((settings.stop_timeout, settings.console), (Some(Duration::from_secs(5)), Some(ConsoleMode::Pipe)));
    for value in ["no", "false", "0", "off"] {
        assert!(!good(&["--notify-ready", value]).notify_ready);
    }
    for (word, mode) in ConsoleMode::WORDS {
        assert_eq!(good(&["--console", word]).console, Some(mode));
    }
    assert_eq!(good(&["--private-users=pick", "--private-users=no"]).users, PrivateUsers::No);
}

/// Each with the words that its one line must hold.
const BAD: [(&[&str], &str); 72] = [
    (&["--unknown"], "'--unknown'"),
    (&["--netwrok=host"], "'--network'"),
    (&["-x"], "'-x'"),
    (&["-qx"], "'-x'"),
    (&["--\u{1b}[2J\n"], "\\x1b[2J\\n"),
    (&["--directory"], "--directory"),
    (&["-D"], "--directory"),
    (&["-D", ""], "--directory"),
    (&["-D="], "--directory"),
    (&["--directory="], "--directory"),
    (&["-D", "/"], "root directory"),
    (&["-D", "//."], "root directory"),
    (&["-D", "/", "-M", "x"], "root directory"),
    (&["-D", ".."], "-M"),
    (&["-D", "/x/___"], "-M"),
    (&["--machine"], "--machine"),
    (&["--machine="], "--machine"),
    (&["-M", "bad_name!"], "Invalid machine name"),
    (&["-M", "-x"], "Invalid machine name"),
    (&["-M", ".host"], "Invalid machine name"),
    (&["--boot=yes"], "--boot"),
    (&["-q=1"], "'-='"),
    (&["--read-only=no"], "--read-only"),
    (&["--private-users"], "--private-users"),
    (&["--private-users="], "--private-users"),
    (&["--private-users=0"], "--private-users"),
    (&["--private-users=-1"], "--private-users"),
    (&["--private-users=maybe"], "'maybe'"),
    (&["--private-users=4294967295"], "4294967294"),
    (&["--network"], "--network"),
    (&["--network="], "--network"),
    (&["--network=none"], "'none'"),
    (&["--network=host", "-n"], "--network-veth"),
    (&["--network=host", "--private-network"], "--private-network"),
    (&["--network=host", "--network-bridge=br0"], "--network-bridge"),
    (&["--network=host", "--network-namespace-path=/x"], "--network-namespace-path"),
    (&["--network-namespace-path="], "--network-namespace-path"),
    (&["--network-namespace-path=/x", "-n"], "--network-veth"),
    (&["--network-namespace-path=/x", "--network-macvlan=a"], "--network-macvlan"),
    (&["--network-bridge=a", "--network-zone=b"], "--network-zone"),
    (&["--network-zone="], "--network-zone"),
    (&["--network-zone=1234567890123"], "zone"),
    (&["--network-interface=:a"], "interface name"),
    (&["--network-veth-extra=a", "--network-veth-extra="], "--network-veth-extra"),
    (&["--network-veth-extra=a", "--network-interface=b:a"], "called a"),
    (&["-n", "--network-interface=eth0:host0"], "host0"),
    (&["--network-interface=a:x", "--network-interface=a:y"], "on the host"),
    (&["--network-bridge"], "--network-bridge"),
    (&["--network-bridge="], "--network-bridge"),
    (&["--network-bridge=a/b"], "'a/b'"),
    (&["--network-bridge=1234567890123456"], "interface name"),
    (&["--bind"], "--bind"),
    (&["--bind="], "--bind"),
    (&["--bind-ro="], "--bind-ro"),
    (&["--bind=/a:b"], "absolute"),
    (&["--bind=/a:/b:wrong"], "norbind"),
    (&["--bind=/a:/b", "--bind="], "--bind"),
    (&["--notify-ready"], "--notify-ready"),
    (&["--notify-ready="], "--notify-ready"),
    (&["--notify-ready=maybe"], "'maybe'"),
    (&["--console"], "--console"),
    (&["--console="], "--console"),
    (&["--console=loud"], "read-only"),
    (&["-P", "--console=passive"], "--pipe"),
    (&["--stop-timeout="], "--stop-timeout"),
    (&["--stop-timeout=0"], "'0'"),
    (&["--stop-timeout=-5"], "'-5'"),
    (&["--stop-timeout=5x"], "'5x'"),
    (&["--kill-signal="], "--kill-signal"),
    (&["--kill-signal=SIGFOO"], "'SIGFOO'; --kill-signal=list"),
    (&["--kill-signal=0"], "'0'"),
    (&[""], "command"),
];

#[test]
fn nonsense_is_one_line() {
    for (line, part) in BAD {
        let e = run(line).map(|s| format!("{s:?}")).unwrap_err();
        let text = e.to_string();
        assert!(text.contains(part), "{line:?}: {text}");
        assert!(!text.contains(|c: char| c.is_control()) && text.len() < 240, "{line:?}: {text}");
        assert_eq!(e.kind(), Kind::Usage, "{line:?}");
    }
}

#[test]
fn bytes_that_are_not_text_are_paths_but_no_words() {
    let bytes = |b: &'static [u8]| OsStr::from_bytes(b).to_owned();
    let parsed = |argument: OsString| parse([bytes(b"ns-spawn"), bytes(b"-M"), bytes(b"m"), argument], "/".as_ref());
    assert!(matches!(parsed(bytes(b"-D/\xff")).unwrap(), Parsed::Run(s) if s.tree == TreeSource::Directory(bytes(b"/\xff").into())));
    for argument in [
        &b"--private-users=\xff"[..],
        b"--console=\xff",
        b"--notify-ready=\xff",
        b"--network=\xff",
        b"--network-bridge=\xff",
        b"--\xff",
        b"-\xff",
    ] {
        let text = parsed(bytes(argument)).unwrap_err().to_string();
        assert!(!text.contains(|c: char| c.is_control()), "{text}");
    }
}

#[test]
fn help_and_version_fit_a_screen() {
    let printed = |option: &str| match parse(["ns-spawn", option], "/".as_ref()).unwrap() {
        Parsed::Print(text) => text,
        Parsed::Run(_) => panic!("{option} ran"),
    };
    assert_eq!(printed("-h"), printed("--help"));
    let help = printed("--help");
    assert!(help.lines().count() <= 48 && help.lines().all(|l| l.chars().count() <= 100), "{help}");
    assert!(help.contains("--network-bridge") && help.ends_with("bridge\n"));
    assert!(printed("--version").contains(env!("CARGO_PKG_VERSION")));
    assert_eq!(printed("--console=help").lines().count(), 5);
}

#[test]
fn settings_read_back_from_their_own_line() {
    let lines: [&[&str]; 9] = [
        &[],
        &["-D", "/srv/a", "-b", "-n", "--", "--unit=x"],
        &["-M", "m", "--network=host", "--private-users=7:9", "ls", "-l"],
        &["--network-bridge=br0", r"--bind=/a\:b:/c", "--bind-ro=/x:/y:norbind,idmap", "--bind=rel"],
        &["--read-only", "-q", "--dry-run", "--console=passive", "--notify-ready=1", "--stop-timeout=7", "--kill-signal=sigrtmin+3"],
        &["--stop-timeout=infinity", "--kill-signal=33", "-b"],
        &["--private-users=identity", "--", "-D"],
        &["--network-zone=z", "--network-veth-extra=a:b", "--network-interface=c", "--network-ipvlan=d:e"],
        &["--network-namespace-path=/run/netns/x"],
    ];
    for line in lines {
        let settings = good(line);
        let again = parse([OsString::from("ns-spawn")].into_iter().chain(settings.to_arguments()), "/elsewhere".as_ref()).unwrap();
        assert_eq!(again, Parsed::Run(settings), "{line:?}");
    }
}
