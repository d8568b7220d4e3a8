//! `status`

use nskit_launcher::Error;
use nskit_launcher::escape::Escaped;
use nskit_launcher::registry::{ProcessId, Record};
use nskit_launcher::report::show;
use nskit_launcher::settings::MachineName;
use rustix::termios::tcgetwinsize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::cli::Options;
use crate::{addresses, machine, processes, time};

/// Prints what is known of each machine, with the processes in it.
///
/// There are no log lines: a machine's console belongs to whoever started it, and nobody keeps what it says.
///
/// # Errors
/// One of them isn't known; those before it are printed.
pub fn run(names: &[MachineName], options: &Options) -> Result<(), Error> {
    let width = if options.full { None } else { terminal_width() };
    for (n, name) in names.iter().enumerate() {
        let text = text(&machine::find(name)?, options.all, width);
        show(&if n > 0 { format!("\n{text}") } else { text })?;
    }
    Ok(())
}

/// A name, and what is said below each other.
type Field = (&'static str, Vec<String>);

/// Where the colons stand.
const LABEL: usize = 16;

fn text(record: &Record, all: bool, width: Option<usize>) -> String {
    let title = format!("{}({})", record.name, record.machine_id);
    let lines = std::iter::once(title).chain(layout(&fields(record, all)));
    lines.map(|line| format!("{}\n", width.map_or_else(|| line.clone(), |width| cut(&line, width)))).collect()
}

fn fields(record: &Record, all: bool) -> Vec<Field> {
    let one = |text: Option<String>| text.into_iter().collect::<Vec<_>>();
    let os = machine::os_release(record).map(|release| Escaped::text(release.title()).to_string());
    let shift = record.ids.iter().find(|row| row.inside == 0 && row.outside != 0).map(|row| row.outside.to_string());
    let links: Vec<String> = addresses::interfaces(record).into_iter().map(|link| link.name.to_string()).collect();
    let (class, service) = (Escaped::text(&record.class), Escaped::text(&record.service));
    vec![
        ("Since", vec![format!("{}; {}", time::moment(record.since), time::ago(record.since))]),
        ("Leader", one(record.leader.map(process))),
        ("Superv.", vec![process(record.supervisor)]),
        ("Service", vec![format!("{service}; class {class}")]),
        ("Root", vec![Escaped::path(&record.root).to_string()]),
        ("Iface", one(Some(links.join(" ")).filter(|links| !links.is_empty()))),
        ("Address", addresses::of(record)),
        ("OS", one(os)),
        ("ID Shift", one(shift)),
        ("Unit", unit(record).into_iter().chain(processes::of(record, all)).collect()),
    ]
}

/// `27171 (systemd)`
fn process(id: ProcessId) -> String {
    match machine::comm(id) {
        comm if comm.is_empty() => id.pid.to_string(),
        comm => format!("{} ({comm})", id.pid),
    }
}

/// The machine's cgroup, by the path that it has in the hierarchy.
fn unit(record: &Record) -> Option<String> {
    let path = machine::unit(record)?;
    Some(Escaped::path(&path).to_string())
}

/// Names to the right, what they are to the left; a field without anything isn't there.
fn layout(fields: &[Field]) -> Vec<String> {
    let of = |(label, values): &Field| {
        let label = *label;
        let line = move |(n, value): (usize, &String)| match n {
            0 => format!("{label:>LABEL$}: {value}"),
            _ => format!("{:LABEL$}  {value}", ""),
        };
        values.iter().enumerate().map(line).collect::<Vec<_>>()
    };
    fields.iter().flat_map(of).collect()
}

fn terminal_width() -> Option<usize> {
    let size = tcgetwinsize(rustix::stdio::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Not wider than the terminal.
fn cut(line: &str, width: usize) -> String {
    if line.width() <= width {
        return line.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |c: &char| {
        let wide = c.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    let kept: String = line.chars().take_while(fits).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_where_colons_stand() {
        let fields: [Field; 4] = [
            ("Since", vec!["Wed 2016-02-10 07:42:52 UTC; 33min ago".into()]),
            ("Iface", Vec::new()),
            ("Address", vec!["10.0.3.149".into(), "fe80::1%3".into()]),
            ("Unit", vec!["nskit/arch1".into(), "├─init.scope".into(), "│ └─27171 /sbin/init".into()]),
        ];
        let lines = [
            "           Since: Wed 2016-02-10 07:42:52 UTC; 33min ago",
            "         Address: 10.0.3.149",
            "                  fe80::1%3",
            "            Unit: nskit/arch1",
            "                  ├─init.scope",
            "                  │ └─27171 /sbin/init",
        ];
        assert_eq!(layout(&fields), lines);
    }

    #[test]
    fn lines_are_cut_at_the_terminals_edge() {
        assert_eq!(cut("12345", 5), "12345");
        assert_eq!(cut("123456", 5), "1234…");
        assert_eq!(cut("日本日本", 5), "日本…");
        assert_eq!(cut("日本日本", 4), "日…");
        assert_eq!(cut("12", 1), "…");
    }
}
