//! Numbers and tables as people read them.

/// Rows of cells as aligned columns with a space between; columns in `right` align right.
pub fn columns(rows: &[Vec<String>], right: &[usize]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |text: &String| text.chars().count();
    let widths: Vec<usize> = (0..count)
        .map(|i| {
            rows.iter()
                .filter_map(|row| row.get(i))
                .map(width)
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[i] - width(cell));
            let cell = if right.contains(&i) {
                pad + cell
            } else {
                cell.clone() + &pad
            };
            line += &cell;
            line += " ";
        }
        text += line.trim_end();
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_characters() {
        let rows = [
            vec!["a".to_owned(), "1µs".to_owned()],
            vec!["bcd".to_owned(), "10000".to_owned()],
        ];
        assert_eq!(columns(&rows, &[1]), "a     1µs\nbcd 10000\n");
    }
}
