//! FAULTS.md: its tables are written by the whole runs, where `NSKIT_FAULTS=table` asks for it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::{Counts, callers, kills, verdict};

/// The parts of the page, each between comments of its name, and the kinds of points in it.
pub fn parts() -> Vec<(&'static str, Vec<String>)> {
    let victims = || kills::VICTIMS.iter().map(|(name, _)| (*name).to_owned()).collect();
    vec![
        ("calls", verdict::ERRNOS.iter().map(|errno| verdict::name(*errno)).collect()),
        ("deaths-at-calls", kills::AT_CALLS.iter().map(|(name, _)| (*name).to_owned()).collect()),
        ("deaths-at-times", victims()),
        ("deaths-in-a-boot", victims()),
        ("callers", callers::kinds()),
    ]
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("FAULTS.md")
}

/// What stands between the comments of a part.
fn find<'a>(page: &'a str, part: &str) -> (&'a str, &'a str, &'a str) {
    let (open, close) = (format!("<!-- {part} -->\n"), format!("<!-- /{part} -->"));
    let begin = page.find(&open).unwrap_or_else(|| panic!("FAULTS.md has no {open}")) + open.len();
    let end = page[begin..].find(&close).unwrap_or_else(|| panic!("FAULTS.md has no {close}")) + begin;
    (&page[..begin], &page[begin..end], &page[end..])
}

/// Shows what a whole run found, and writes it where that is asked for.
pub fn record(part: &str, counts: &Counts) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let (_, kinds) = parts().into_iter().find(|(name, _)| *name == part).expect("a part of the page");
    let table = table(&kinds, counts);
    println!("{table}");
    if std::env::var_os("NSKIT_FAULTS").is_some_and(|asked| asked == "table") {
        let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let page = std::fs::read_to_string(path()).unwrap();
        let (before, _, after) = find(&page, part);
        std::fs::write(path(), format!("{before}{table}{after}")).unwrap();
    }
}

fn table(kinds: &[String], counts: &Counts) -> String {
    let mut text = "| | points | what came of them |\n|---|---|---|\n".to_owned();
    for kind in kinds {
        let outcomes: BTreeMap<&String, u32> = counts.0.iter().filter(|((of, _), _)| of == kind).map(|((_, what), n)| (what, *n)).collect();
        let words: Vec<String> = outcomes.iter().map(|(what, n)| format!("{n} {what}")).collect();
        writeln!(text, "| {kind} | {} | {} |", outcomes.values().sum::<u32>(), words.join("; ")).unwrap();
    }
    text
}

/// The page has a row for each kind that the harness tries, with points in it, and no other.
pub fn check() {
    let page = std::fs::read_to_string(path()).unwrap();
    for (part, kinds) in parts() {
        let rows: Vec<Vec<&str>> = find(&page, part).1.lines().skip(2).map(|row| row.split('|').map(str::trim).collect()).collect();
        let shown: Vec<&str> = rows.iter().map(|row| row[1]).collect();
        assert_eq!(shown, kinds, "{part}: run the whole with NSKIT_FAULTS=table");
        assert!(rows.iter().all(|row| row[2].parse::<u32>().is_ok_and(|points| points > 0)), "{part}: a kind without points");
    }
}
