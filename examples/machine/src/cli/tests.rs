use super::*;
use nskit_launcher::report::Signal;

fn run(line: &str) -> (Verb, Options) {
    match parse(std::iter::once("ns-machine").chain(line.split_whitespace())) {
        Ok(Parsed::Run(verb, options)) => (verb, options),
        other => panic!("{line}: {other:?}"),
    }
}

fn error(line: &[&str]) -> String {
    let e = parse(std::iter::once("ns-machine").chain(line.iter().copied())).expect_err("an error");
    assert_eq!(e.kind(), Kind::Usage);
    let text = e.to_string();
    assert!(!text.contains('\n') && !text.contains('\x1b'), "{text}");
    text
}

fn printed(line: &str) -> String {
    match parse(std::iter::once("ns-machine").chain(line.split_whitespace())) {
        Ok(Parsed::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

fn names(all: &[&str]) -> Vec<MachineName> {
    all.iter().map(|name| MachineName::new(name).unwrap()).collect()
}

#[test]
fn no_verb_is_list() {
    assert_eq!(run("").0, Verb::List);
    assert_eq!(run("-a --no-legend").0, Verb::List);
    assert_eq!(run("-q list").0, Verb::List);
}

#[test]
fn verbs_have_names() {
    assert_eq!(run("status arch1 b").0, Verb::Status(names(&["arch1", "b"])));
    assert_eq!(run("show").0, Verb::Show(Vec::new()));
    assert_eq!(run("stop x").0, Verb::PowerOff(names(&["x"])));
    assert_eq!(run("poweroff x").0, run("stop x").0);
    assert_eq!(run("restart x").0, run("reboot x").0);
    assert_eq!(run("gc").0, Verb::Gc);
    for verb in ["status", "poweroff", "reboot", "terminate", "kill"] {
        assert_eq!(error(&[verb]), format!("{verb} needs the NAME of a machine"));
    }
    assert!(error(&["status", "a\x1b[2J"]).starts_with("Invalid machine name: 'a\\x1b[2J'"));
}

#[test]
fn options_stand_before_and_after_the_verb() {
    let (verb, options) = run("-p Name,Id show x -p Leader --value -P State");
    assert_eq!(verb, Verb::Show(names(&["x"])));
    assert_eq!(options.properties.unwrap(), ["Name", "Id", "Leader", "State"]);
    assert!(options.value);
    assert_eq!(run("-s HUP kill -s 9 x").1.signal, Some(Signal(9)));
    assert_eq!(run("kill x -sRTMIN+3 --kill-whom=leader").1.whom, Whom::Leader);
    assert_eq!(run("--kill-who=supervisor kill x").1.whom, Whom::Supervisor);
    assert_eq!(run("kill x").1.whom, Whom::All);
}

#[test]
fn what_follows_a_shells_machine_is_the_commands() {
    let (verb, options) = run("shell -q --uid=u x /bin/ls -l -q --uid=v");
    let command = ["/bin/ls", "-l", "-q", "--uid=v"].map(OsString::from).to_vec();
    assert_eq!(verb, Verb::Shell { target: Some("x".into()), command });
    assert_eq!(options.uid.as_deref(), Some("u"));
    assert!(!options.full);
    assert_eq!(run("shell").0, Verb::Shell { target: None, command: Vec::new() });
    assert_eq!(run("shell x -E A=1 --setenv B").1.environment, ["A=1", "B"].map(OsString::from));
}

#[test]
fn values() {
    assert_eq!(run("list").1.max_addresses, Some(1));
    assert_eq!(run("list -l").1.max_addresses, None);
    assert_eq!(run("list --max-addresses=0").1.max_addresses, Some(0));
    assert_eq!(run("list --max-addresses=all").1.max_addresses, None);
    assert_eq!(run("-o json list").1.output, Output::Json);
    assert_eq!(run("list --output=json-pretty").1.output, Output::JsonPretty);
    assert_eq!(run("status x -o short-iso -n 0").1.lines, 0);
    assert_eq!(run("-M .host list").0, Verb::List);
}

#[test]
fn what_is_wrong_is_named() {
    let table: [(&[&str], &str); 16] = [
        (&["statsu"], "Unknown verb 'statsu'; did you mean 'status'?"),
        (&["a\nb"], "Unknown verb 'a\\nb'"),
        (&["clone", "a", "b"], "ns-machine has no 'clone' yet"),
        (&["list", "x"], "Unexpected argument 'x'"),
        (&["--sginal=9"], "Unknown option '--sginal'; did you mean '--signal'?"),
        (&["kill", "x", "-s", "NO"], "Unknown signal 'NO'; --signal=list shows the names"),
        (&["status", "x", "-n", "-1"], "Invalid value '-1' for --lines; expected a number, from 0 on"),
        (&["status", "x", "-n", ""], "Option --lines needs a value that is not empty"),
        (&["kill", "x", "--kill-whom=me"], "Invalid value 'me' for --kill-whom; it is leader, supervisor or all"),
        (&["-o", "xml"], "Invalid value 'xml' for --output; --output=help lists the modes"),
        (&["--max-addresses=-1"], "Invalid value '-1' for --max-addresses; expected a number or all"),
        (&["-H", "host"], "ns-machine has no --host yet; run it there: ssh HOST ns-machine …"),
        (&["-M", "x", "list"], "ns-machine has no --machine yet; run it in there: ns-machine shell NAME /usr/bin/env ns-machine …"),
        (&["--user"], "ns-machine has no --user yet; machines of ordinary users can't be started yet either"),
        (&["-p"], "Option --property needs a value"),
        (&["--quiet=x"], "Option --quiet takes no value"),
    ];
    for (line, text) in table {
        assert_eq!(error(line), text, "{line:?}");
    }
}

#[test]
fn texts() {
    let help = printed("--help");
    for word in ["status", "terminate", "--kill-whom", "--max-addresses", "ns-machine [OPTIONS…]"] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    for line in ["-h", "status -h", "kill --help", "shell -h"] {
        assert_eq!(printed(line), help);
    }
    assert_eq!(printed("list --version"), format!("ns-machine {}\n", env!("CARGO_PKG_VERSION")));
    for line in ["kill --signal=list", "-s help"] {
        assert!(printed(line).contains("\n     9 SIGKILL\n"), "{}", printed(line));
    }
    assert!(printed("-o help").contains("short-iso\n"));
}
