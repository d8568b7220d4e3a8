//! Columns of text, and the same as JSON.

use serde_json::{Map, Value};
use unicode_width::UnicodeWidthStr;

/// Rows of cells below a header; a cell may have several lines, and an empty one is shown as `-`.
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

const EMPTY: &str = "-";

impl Table {
    /// No rows yet. The names are lower-case, as in JSON.
    pub fn new(header: impl IntoIterator<Item = &'static str>) -> Table {
        Table { header: header.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row, whose cells are safe to print.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// In columns, each as wide as its widest line and one space from the next.
    pub fn text(&self, legend: bool) -> String {
        let header: Vec<String> = self.header.iter().map(|name| name.to_uppercase()).collect();
        let rows: Vec<&[String]> = legend.then_some(header.as_slice()).into_iter().chain(self.rows.iter().map(Vec::as_slice)).collect();
        let widths: Vec<usize> =
            (0..self.header.len()).map(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0)).collect();
        rows.iter().map(|row| lines(row, &widths)).collect()
    }

    /// An array of objects; an empty cell is `null`.
    pub fn json(&self, pretty: bool) -> String {
        let value = |cell: &String| if cell.is_empty() { Value::Null } else { Value::String(cell.clone()) };
        let object = |row: &Vec<String>| {
            Value::Object(self.header.iter().map(|name| (*name).to_owned()).zip(row.iter().map(value)).collect::<Map<_, _>>())
        };
        let all = Value::Array(self.rows.iter().map(object).collect());
        let text = if pretty { format!("{all:#}") } else { all.to_string() };
        format!("{text}\n")
    }
}

fn shown(cell: &str) -> impl Iterator<Item = &str> {
    if cell.is_empty() { EMPTY } else { cell }.lines()
}

fn width(cell: &str) -> usize {
    shown(cell).map(UnicodeWidthStr::width).max().unwrap_or(0)
}

fn lines(row: &[String], widths: &[usize]) -> String {
    let height = row.iter().map(|cell| shown(cell).count()).max().unwrap_or(0);
    let line = |n: usize| {
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            let text = shown(cell).nth(n).unwrap_or_default();
            format!("{text}{:1$} ", "", width - text.width())
        });
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    (0..height).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["machine", "os", "addresses"]);
        table.row(["arch1", "arch", "10.0.3.149\nfe80::1%3"].map(String::from));
        table.row(["b", "", ""].map(String::from));
        table.row(["日本", "x y", "::1…"].map(String::from));
        table
    }

    #[test]
    fn columns() {
        let text = "MACHINE OS   ADDRESSES\narch1   arch 10.0.3.149\n             fe80::1%3\nb       -    -\n日本    x y  ::1…\n";
        assert_eq!(table().text(true), text);
        assert_eq!(Table::new(["a", "b"]).text(true), "A B\n");
        assert!(Table::new(["a"]).text(false).is_empty());
        assert!(table().text(false).starts_with("arch1 arch 10.0.3.149\n"));
    }

    #[test]
    fn json() {
        let value: Value = serde_json::from_str(&table().json(false)).unwrap();
        assert_eq!(value[0]["addresses"], "10.0.3.149\nfe80::1%3");
        assert_eq!((&value[1]["machine"], &value[1]["os"]), (&Value::from("b"), &Value::Null));
        assert_eq!(serde_json::from_str::<Value>(&table().json(true)).unwrap(), value);
        assert_eq!(table().json(false).lines().count(), 1);
        assert_eq!(Table::new(["a"]).json(false), "[]\n");
    }
}
