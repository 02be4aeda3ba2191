//! A table in Markdown, whose columns also line up as text.

/// The first row is the head; all have as many cells. Columns of numbers, all but the first, are aligned to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0).max(3)).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("| {cell:<width$} "),
            _ => format!("| {cell:>width$} "),
        });
        cells.collect::<String>() + "|\n"
    };
    let rule = widths.iter().enumerate().map(|(column, width)| match column {
        0 => format!("|{}", "-".repeat(width + 2)),
        _ => format!("|{}:", "-".repeat(width + 1)),
    });
    let mut lines = rows.iter().map(|row| line(row));
    let head = lines.next().unwrap_or_default();
    head + &rule.collect::<String>() + "|\n" + &lines.collect::<String>()
}

/// A number as people read it: three digits at least where it has them, thousands apart.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        small if small < 9.995 => 2,
        small if small < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, whole) = whole.split_at(usize::from(whole.starts_with('-')));
    let digits = whole.char_indices().map(|(at, digit)| match (whole.len() - at) % 3 {
        0 if at > 0 => format!(",{digit}"),
        _ => digit.to_string(),
    });
    sign.to_owned() + &digits.collect::<String>() + fraction
}

/// The one in the middle; of an even number the mean of both. 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or(0.0);
    (at(values.len().saturating_sub(1) / 2) + at(values.len() / 2)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_in_the_middle() {
        let rows: [(&[f64], f64); 4] =
            [(&[], 0.0), (&[3.0], 3.0), (&[9.0, 1.0, 5.0], 5.0), (&[4.0, 1.0, 9.0, 2.0], 3.0)];
        for (values, expected) in rows {
            assert_eq!(median(values.iter().copied()), expected, "{values:?}");
        }
    }

    #[test]
    fn a_table_lines_up() {
        let rows = [["server", "MiB"], ["a", "1.5"], ["größer", "1,000"]].map(|row| row.map(String::from).to_vec());
        let expected = "| server |   MiB |\n|--------|------:|\n| a      |   1.5 |\n| größer | 1,000 |\n";
        assert_eq!(table(&rows), expected);
    }

    #[test]
    fn numbers_as_people_read_them() {
        let rows = [
            (0.0, "0.00"),
            (0.123, "0.12"),
            (9.99, "9.99"),
            (9.999, "10.0"),
            (99.94, "99.9"),
            (99.96, "100"),
            (999.6, "1,000"),
            (1_234_567.0, "1,234,567"),
            (-1234.0, "-1,234"),
            (123.0, "123"),
        ];
        for (value, expected) in rows {
            assert_eq!(number(value), expected);
        }
    }
}
