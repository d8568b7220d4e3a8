//! The command line as clap knows it: which verbs and options there are, and what help says of them.

use clap::{Arg, ArgAction, Command, builder::OsStringValueParser};

const EXAMPLES: &str = "\
Examples:
  ns-machine                                what runs
  ns-machine status arch1                   one machine, with the processes in it
  ns-machine show -P Leader arch1           its first process, for a script
  ns-machine poweroff --wait arch1          ask it to shut down, and wait until it has
  ns-machine kill -s HUP --kill-whom=leader arch1
";

/// Verb, another name for it, its operands, help.
type Verb = (&'static str, Option<&'static str>, &'static str, &'static str);

const VERBS: [Verb; 9] = [
    ("list", None, "", "List the machines that run (default)"),
    ("status", None, "NAME…", "Show machines, with the processes in them"),
    ("show", None, "[NAME…]", "Show properties of machines, for programs"),
    ("shell", None, "[[USER@]NAME [PATH [ARGS…]]]", "Run a shell, or a command, in a machine"),
    ("poweroff", Some("stop"), "NAME…", "Ask machines to power off"),
    ("reboot", Some("restart"), "NAME…", "Ask machines to reboot"),
    ("terminate", None, "NAME…", "End machines now, without asking"),
    ("kill", None, "NAME…", "Send a signal to processes of machines"),
    ("gc", None, "", "Remove what machines left that are gone"),
];

/// Verbs of machinectl and importctl that have no counterpart here so far.
pub(super) const ABSENT: [&str; 29] = [
    "start",
    "login",
    "enable",
    "disable",
    "pause",
    "resume",
    "copy-to",
    "copy-from",
    "bind",
    "list-images",
    "image-status",
    "show-image",
    "clone",
    "rename",
    "read-only",
    "remove",
    "set-limit",
    "clean",
    "edit",
    "cat",
    "pull-tar",
    "pull-raw",
    "pull-dkr",
    "import-tar",
    "import-raw",
    "import-fs",
    "export-tar",
    "export-raw",
    "list-transfers",
];

/// Name, letter, the value's name, heading and help of each option; without a value's name it is a switch.
type Row = (&'static str, Option<char>, Option<&'static str>, &'static str, &'static str);

const SHOWN: &str = "What is shown";
const SIGNALS: &str = "Signals";
const SHELL: &str = "Shell";
const GENERAL: &str = "General";

const ROWS: [Row; 27] = [
    ("property", Some('p'), Some("NAME[,NAME…]"), SHOWN, "show: these properties only (repeat)"),
    ("value", None, None, SHOWN, "show: values without their names"),
    ("value-of", Some('P'), Some("NAME"), SHOWN, "show: --value --property=NAME"),
    ("all", Some('a'), None, SHOWN, "Empty properties, the host itself, empty cgroups too"),
    ("full", Some('l'), None, SHOWN, "Don't shorten, and list all addresses"),
    ("max-addresses", None, Some("N|all"), SHOWN, "list: addresses of each machine (1)"),
    ("lines", Some('n'), Some("N"), SHOWN, "status: lines of its log (10)"),
    ("output", Some('o'), Some("MODE"), SHOWN, "list: json, json-pretty; help lists all modes"),
    ("no-legend", None, None, SHOWN, "No header and footer"),
    ("signal", Some('s'), Some("SIGNAL"), SIGNALS, "Name or number (TERM); list lists them"),
    ("kill-whom", None, Some("WHOM"), SIGNALS, "kill: leader, supervisor or all (default)"),
    ("kill-who", None, Some("WHOM"), SIGNALS, "The same, as it was once called"),
    ("wait", None, None, SIGNALS, "poweroff, reboot: until it has"),
    ("uid", None, Some("USER"), SHELL, "As this user, root by default"),
    ("setenv", Some('E'), Some("NAME[=VALUE]"), SHELL, "A row of its environment (repeat)"),
    ("quiet", Some('q'), None, GENERAL, "No line about what goes well"),
    ("help", Some('h'), None, GENERAL, "Print this"),
    ("version", None, None, GENERAL, "Print the version"),
    ("no-pager", None, None, GENERAL, "Accepted for compatibility"),
    ("no-ask-password", None, None, GENERAL, "Accepted for compatibility"),
    ("system", None, None, GENERAL, "Accepted for compatibility"),
    ("user", None, None, HIDDEN, ""),
    ("host", Some('H'), Some("HOST"), HIDDEN, ""),
    ("machine", Some('M'), Some("NAME"), HIDDEN, ""),
    ("runner", None, Some("RUNNER"), HIDDEN, ""),
    ("now", None, None, HIDDEN, ""),
    ("force", None, None, HIDDEN, ""),
];

/// Options of machinectl's that are known only to be refused with a sentence.
const HIDDEN: &str = "";

/// Whose values add up; of all others the last one counts, as with `getopt`.
pub(super) const REPEATED: [&str; 2] = ["property", "setenv"];

/// Options may stand before and after the verb: each level has all of them.
pub(super) fn command() -> Command {
    with_options(Command::new("ns-machine"))
        .about("Look after the machines that ns-spawn runs.")
        .override_usage("ns-machine [OPTIONS…] [VERB [NAME…]]")
        .after_help(EXAMPLES)
        .subcommand_help_heading("Verbs")
        .disable_help_subcommand(true)
        .subcommands(VERBS.iter().map(verb))
}

fn with_options(command: Command) -> Command {
    command.disable_help_flag(true).disable_version_flag(true).args_override_self(true).args(ROWS.iter().map(option))
}

fn verb(row: &Verb) -> Command {
    let (name, alias, operands, help) = *row;
    let command = with_options(Command::new(name)).about(format!("{operands}{}{help}", if operands.is_empty() { "" } else { ": " }));
    let command = match alias {
        Some(alias) => command.visible_alias(alias),
        None => command,
    };
    let words = |name| Arg::new(name).value_parser(OsStringValueParser::new()).hide(true);
    match name {
        "list" | "gc" => command,
        // What follows the machine's name is the command's, options too.
        "shell" => command.arg(words("name")).arg(words("command").num_args(1..).trailing_var_arg(true)),
        _ => command.arg(words("names").num_args(1..)),
    }
}

fn option(row: &Row) -> Arg {
    let (name, letter, value, heading, help) = *row;
    let arg = Arg::new(name).long(name).help(help).help_heading(heading).hide(heading == HIDDEN || name == "kill-who");
    let arg = match letter {
        Some(letter) => arg.short(letter),
        None => arg,
    };
    // Its letter is all that it has.
    let arg = if name == "value-of" { arg.long(None) } else { arg };
    match value {
        None => arg.action(ArgAction::SetTrue),
        Some(value) => {
            let action = if REPEATED.contains(&name) { ArgAction::Append } else { ArgAction::Set };
            arg.value_name(value).action(action).value_parser(OsStringValueParser::new()).allow_hyphen_values(true)
        }
    }
}
