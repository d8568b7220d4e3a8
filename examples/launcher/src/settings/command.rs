//! The command line as clap knows it: which options there are, and what help says of them. What values mean is told elsewhere.

use clap::{Arg, ArgAction, Command, builder::OsStringValueParser};

const EXAMPLES: &str = "\
Examples:
  ns-spawn -D /var/lib/machines/debian -b                          boot it, to a login prompt
  ns-spawn -D /srv/tree --bind-ro=/usr/src sh -c 'ls /usr/src'     run one command in it
  ns-spawn --directory=/srv/arch1 --network-bridge=br0 --boot      boot it on a bridge
";

/// Name, letter, the value's name, heading and help of each option; without a value's name it is a switch.
type Row = (&'static str, Option<char>, Option<&'static str>, &'static str, &'static str);

const IMAGE: &str = "Image";
const EXEC: &str = "Execution";
const IDENTITY: &str = "Identity and users";
const NETWORK: &str = "Network";
const MOUNTS: &str = "Mounts";
const OUTPUT: &str = "Input and output";

const ROWS: [Row; 27] = [
    ("directory", Some('D'), Some("PATH"), IMAGE, "The tree's directory; default: the current one"),
    ("read-only", None, None, IMAGE, "Mount the tree read-only"),
    ("boot", Some('b'), None, EXEC, "Boot: run the tree's init, ARGS are its arguments"),
    ("notify-ready", None, Some("BOOL"), EXEC, "Ready is when the payload says so"),
    ("kill-signal", None, Some("SIGNAL"), EXEC, "Ask the payload to stop by this; default: by its init"),
    ("stop-timeout", None, Some("TIME"), EXEC, "Kill a payload that takes longer to stop (90)"),
    ("dry-run", None, None, EXEC, "Print what would be done, do nothing"),
    ("machine", Some('M'), Some("NAME"), IDENTITY, "The machine's name; default: the directory's"),
    ("private-users", None, Some("VALUE"), IDENTITY, "yes, pick (default), no, identity, START[:LEN]"),
    ("private-network", None, None, NETWORK, "A network of its own with lo only (default)"),
    ("network-veth", Some('n'), None, NETWORK, "And a link to the host, host0 inside"),
    ("network-bridge", None, Some("BRIDGE"), NETWORK, "And that link's outer end on a bridge"),
    ("network-zone", None, Some("NAME"), NETWORK, "Or on the bridge of a zone, made with its first member"),
    ("network-veth-extra", None, Some("HOST[:CONT]"), NETWORK, "One more such link, of these names (repeat)"),
    ("network-interface", None, Some("HOST[:CONT]"), NETWORK, "A link of the host's, while it runs (repeat)"),
    ("network-macvlan", None, Some("HOST[:CONT]"), NETWORK, "A macvlan on a link of the host's (repeat)"),
    ("network-ipvlan", None, Some("HOST[:CONT]"), NETWORK, "An ipvlan on one (repeat)"),
    ("network-namespace-path", None, Some("PATH"), NETWORK, "The network namespace that is bound there"),
    ("network", None, Some("host"), NETWORK, "Share the host's network"),
    ("bind", None, Some("SRC[:DST[:OPTS]]"), MOUNTS, "Show a file or directory of the host (repeat)"),
    ("bind-ro", None, Some("SRC[:DST[:OPTS]]"), MOUNTS, "The same, read-only (repeat)"),
    ("console", None, Some("MODE"), OUTPUT, "interactive, read-only, passive, pipe, autopipe"),
    ("pipe", Some('P'), None, OUTPUT, "--console=pipe"),
    ("quiet", Some('q'), None, OUTPUT, "No line about what goes well"),
    ("no-pager", None, None, OUTPUT, "Accepted for compatibility"),
    ("help", Some('h'), None, OUTPUT, "Print this"),
    ("version", None, None, OUTPUT, "Print the version"),
];

/// Whose values add up; of all others the last one counts, as with `getopt`.
const REPEATED: [&str; 6] = ["bind", "bind-ro", "network-veth-extra", "network-interface", "network-macvlan", "network-ipvlan"];

pub(super) fn command() -> Command {
    let payload =
        Arg::new("command").value_name("COMMAND [ARGS").num_args(1..).trailing_var_arg(true).value_parser(OsStringValueParser::new());
    Command::new("ns-spawn")
        .about("Boot a distribution, or run one command, from a directory, locked in.")
        .version(env!("CARGO_PKG_VERSION"))
        .override_usage("ns-spawn [OPTIONS…] [COMMAND [ARGS…]]")
        .after_help(EXAMPLES)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .args(ROWS.iter().map(argument))
        .arg(payload.hide(true))
}

fn argument(row: &Row) -> Arg {
    let (name, letter, value, heading, help) = *row;
    let arg = Arg::new(name).long(name).help(help).help_heading(heading);
    let arg = match letter {
        Some(letter) => arg.short(letter),
        None => arg,
    };
    match (value, name) {
        (_, "help") => arg.action(ArgAction::Help),
        (_, "version") => arg.action(ArgAction::Version),
        (None, _) => arg.action(ArgAction::SetTrue),
        (Some(value), name) => {
            let action = if REPEATED.contains(&name) { ArgAction::Append } else { ArgAction::Set };
            arg.value_name(value).action(action).value_parser(OsStringValueParser::new()).allow_hyphen_values(true)
        }
    }
}
