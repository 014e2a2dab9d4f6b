//! Numbers and names as people read them.

use crate::time::Span;
use crate::wire::{ClockState, StampSource};

/// A span with its sign: `+12ns`, `-3.40µs`.
pub(super) fn signed(nanos: f64) -> String {
    let sign = if nanos < 0.0 { "" } else { "+" };
    format!("{sign}{}", Span::from_nanos_f64(nanos))
}

/// A span, or a dash if there is none.
pub(super) fn span_or_dash(nanos: Option<i64>) -> String {
    nanos.map_or_else(|| "-".to_owned(), |n| Span::from_nanos(n).to_string())
}

/// A frequency difference in ppm with its sign, or a dash if there is none.
pub(super) fn ppm_or_dash(ppm: Option<f64>) -> String {
    ppm.map_or_else(|| "-".to_owned(), |ppm| format!("{ppm:+.3}"))
}

/// The state in a word.
pub(super) const fn state(state: ClockState) -> &'static str {
    match state {
        ClockState::Unsynchronized => "unsynchronized",
        ClockState::Joining => "joining",
        ClockState::Synchronized => "synchronized",
        ClockState::Holdover => "holdover",
        ClockState::FreeRunning => "free-running",
    }
}

/// The source of a stamp in at most six letters.
pub(super) const fn stamps(source: StampSource) -> &'static str {
    match source {
        StampSource::User => "user",
        StampSource::Xdp => "xdp",
        StampSource::Kernel => "kernel",
        StampSource::Hardware => "hw",
    }
}

/// Rows of cells as aligned columns with a space between; columns in `right` align right.
pub(super) fn columns(rows: &[Vec<String>], right: &[usize]) -> String {
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
    fn signs_are_always_shown() {
        assert_eq!(signed(12.4), "+12ns");
        assert_eq!(signed(-3_400.0), "-3.40µs");
        assert_eq!(signed(0.0), "+0ns");
    }

    #[test]
    fn columns_align_by_characters() {
        let rows = [
            vec!["a".to_owned(), "1µs".to_owned()],
            vec!["bcd".to_owned(), "10000".to_owned()],
        ];
        assert_eq!(columns(&rows, &[1]), "a     1µs\nbcd 10000\n");
    }
}
