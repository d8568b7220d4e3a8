//! Tables for people.

/// Rows of a name and columns.
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Table {
        Table { head: head.iter().map(|cell| (*cell).to_owned()).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Names to the left, figures to the right; a last cell that is no figure runs on.
    pub fn print(&self) {
        let all = || std::iter::once(&self.head).chain(&self.rows);
        let width =
            |column: usize| all().filter(|row| row.len() > 2).filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let name = all().filter_map(|row| row.first()).map(|cell| cell.chars().count()).max().unwrap_or(0);
        for row in all() {
            let cells = row.iter().enumerate().skip(1);
            let figures = cells.map(|(column, cell)| match row.len() {
                2 => format!("   {cell}"),
                _ => format!("   {cell:>width$}", width = width(column).unwrap_or(0)),
            });
            println!("  {:<name$}{}", row.first().map_or("", String::as_str), figures.collect::<String>());
        }
    }
}

/// How a target was met: `value` is to be at most `target`.
pub fn verdict(what: &str, value: Option<f64>, target: f64, unit: &str) {
    let found = match value {
        Some(value) if value <= target => format!("{value:.2}{unit}, met"),
        Some(value) => format!("{value:.2}{unit}, missed by {:.1} %", (value / target - 1.0) * 100.0),
        None => "could not be measured".to_owned(),
    };
    println!("  target: {what} at most {target:.2}{unit}: {found}");
}
