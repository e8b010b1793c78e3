//! Columns, and numbers that people can compare.

use std::time::Duration;

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table of text: columns as wide as they need, the last one without padding.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Head and rows, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let head: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        std::iter::once(&head).chain(&self.rows).map(|cells| self.line(cells, &widths)).collect()
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(self.columns[column].0.len())
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let padded =
            cells.iter().zip(&self.columns).zip(widths).map(|((cell, (_, align)), &width)| match align {
                Align::Left => format!("{cell:width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }
}

/// `0`, `3.2`, `950`, `12.4k`, `7.1M`: at most six characters.
pub(super) fn number(value: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    for (size, unit) in units {
        if value >= size {
            return format!("{:.1}{unit}", value / size);
        }
    }
    if value == 0.0 || value >= 99.95 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// A count likewise, exact below a thousand.
pub(super) fn count(value: u64) -> String {
    if value < 1000 {
        return value.to_string();
    }
    #[allow(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    number(value as f64)
}

/// `7s`, `4m10s`, `2h15m`, `3d4h`: two units at most.
pub(super) fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let first = units.iter().position(|(_, size)| seconds >= *size).unwrap_or(3);
    let (unit, size) = units[first];
    let rest = units.get(first + 1).map(|(unit, part)| (unit, seconds % size / part));
    match rest {
        Some((smaller, rest)) if rest > 0 => format!("{}{unit}{rest}{smaller}", seconds / size),
        _ => format!("{}{unit}", seconds / size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_short() {
        let shown = [0.0, 0.04, 3.21, 99.9, 950.0, 1_000.0, 12_400.0, 7_123_456.0, 1.5e9, 2.0e12].map(number);
        assert_eq!(shown, ["0", "0.0", "3.2", "99.9", "950", "1.0k", "12.4k", "7.1M", "1.5G", "2.0T"]);
        assert_eq!([count(7), count(999), count(1000), count(u64::MAX)], ["7", "999", "1.0k", "18446744.1T"]);
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let shown = [0, 7, 60, 250, 3_600, 8_100, 86_399, 273_600, 8_640_000]
            .map(|s| duration(Duration::from_secs(s)));
        assert_eq!(shown, ["0s", "7s", "1m", "4m10s", "1h", "2h15m", "23h59m", "3d4h", "100d"]);
    }

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let mut table = Table::new(&[("NAME", Align::Left), ("N", Align::Right), ("NOTE", Align::Left)]);
        table.row(["a".to_owned(), "10".to_owned(), String::new()]);
        table.row(["longer".to_owned(), "7".to_owned(), "here".to_owned()]);
        assert_eq!(table.lines(), ["NAME     N  NOTE", "a       10", "longer   7  here"]);
    }
}
