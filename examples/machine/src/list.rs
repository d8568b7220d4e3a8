//! `list`

use nskit_launcher::Error;
use nskit_launcher::escape::Escaped;
use nskit_launcher::guest::OsRelease;
use nskit_launcher::registry::{Machine, Machines, Record};
use nskit_launcher::report::{show, tell};

use crate::cli::{Options, Output};
use crate::table::Table;
use crate::{addresses, machine};

/// Prints the machines that run, a row each.
///
/// # Errors
/// The records can't be read, or standard output takes nothing more.
pub fn run(options: &Options) -> Result<(), Error> {
    let machines = Machines::of_host()?.list()?;
    let columns = ["machine", "class", "service", "os", "version", "addresses"];
    let mut table = Table::new(columns.into_iter().take(if options.max_addresses == Some(0) { 5 } else { 6 }));
    let mut add = |mut cells: Vec<String>, addresses: Vec<String>| {
        if options.max_addresses != Some(0) {
            cells.push(shortened(&addresses, options.max_addresses));
        }
        table.row(cells);
    };
    if options.all {
        add(host(), addresses::of_host());
    }
    for machine in &machines {
        match machine {
            Machine::Known(record) => add(row(record), addresses::of(record)),
            Machine::Damaged { name, why, pid } => {
                tell(format_args!("ns-machine: {}", machine::damaged(name, why, *pid)));
                add(vec![name.to_string(), String::new(), String::new(), String::new(), String::new()], Vec::new());
            }
        }
    }
    show(&match options.output {
        Output::Text => text(&table, options.legend),
        Output::Json => table.json(false),
        Output::JsonPretty => table.json(true),
    })
}

fn text(table: &Table, legend: bool) -> String {
    match (legend, table.len()) {
        (false, _) => table.text(false),
        (true, 0) => "No machines.\n".to_owned(),
        (true, n) => format!("{}\n{n} machines listed.\n", table.text(true)),
    }
}

fn row(record: &Record) -> Vec<String> {
    let [os, version] = os(machine::os_release(record));
    vec![record.name.to_string(), Escaped::text(&record.class).to_string(), Escaped::text(&record.service).to_string(), os, version]
}

fn os(release: Option<OsRelease>) -> [String; 2] {
    let release = release.unwrap_or_default();
    [release.id, release.version].map(|value| value.map(|value| Escaped::text(&value).to_string()).unwrap_or_default())
}

/// The machine that we are on.
fn host() -> Vec<String> {
    let text = ["/etc/os-release", "/usr/lib/os-release"].into_iter().find_map(|path| std::fs::read(path).ok());
    let [os, version] = os(text.map(|text| OsRelease::parse(&text)));
    vec![".host".to_owned(), "host".to_owned(), String::new(), os, version]
}

/// So many, one a line, and a sign that there are more.
fn shortened(addresses: &[String], most: Option<usize>) -> String {
    match most {
        Some(most) if addresses.len() > most => format!("{}…", addresses[..most].join("\n")),
        _ => addresses.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_many_as_asked_for() {
        let all = ["10.0.0.2", "fe80::1%3"].map(String::from);
        assert_eq!(shortened(&all, Some(1)), "10.0.0.2…");
        assert_eq!(shortened(&all, Some(2)), "10.0.0.2\nfe80::1%3");
        assert_eq!(shortened(&all, None), "10.0.0.2\nfe80::1%3");
        assert_eq!(shortened(&[], Some(1)), "");
    }

    #[test]
    fn header_and_footer() {
        let mut table = Table::new(["machine", "os"]);
        assert_eq!((text(&table, true), text(&table, false)), ("No machines.\n".to_owned(), String::new()));
        table.row(["a", ""].map(String::from));
        assert_eq!(text(&table, true), "MACHINE OS\na       -\n\n1 machines listed.\n");
        assert_eq!(text(&table, false), "a -\n");
    }

    #[test]
    fn what_a_system_calls_itself_is_printed_safely() {
        let release = OsRelease { id: Some("a\x1b[2J".into()), ..OsRelease::default() };
        assert_eq!(os(Some(release)), ["a\\x1b[2J".to_owned(), String::new()]);
    }
}
