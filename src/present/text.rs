//! Numbers and tables as people read them.

use crate::time::Span;

/// A span of `ns` nanoseconds with the unit that fits: `1.25µs`.
pub fn span(ns: f64) -> String {
    minus(&Span::from_nanos_f64(ns).to_string())
}

/// The same with its sign: `+1.25µs`, `−42ns`.
pub fn signed(ns: f64) -> String {
    let sign = if ns.round() > 0.0 { "+" } else { "" };
    format!("{sign}{}", span(ns))
}

/// Parts per million with their sign: `−41.2ppm`.
pub fn ppm(value: f64) -> String {
    minus(&format!("{value:+.1}ppm"))
}

/// A span that may be unknown.
pub fn maybe(ns: Option<impl Into<f64>>) -> String {
    ns.map_or_else(|| "–".to_owned(), |ns| span(ns.into()))
}

/// A count with its thousands apart: `29,680`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share of one: `0.09%`.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p > 0.0 && p < 0.01 => "<0.01%".to_owned(),
        p if p < 0.995 => format!("{p:.2}%"),
        p => format!("{p:.1}%"),
    }
}

/// `1 node`, `2 nodes`.
pub fn plural(n: u64, one: &str) -> String {
    format!("{} {one}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A span of `ns` nanoseconds to three digits, below a nanosecond too: `0.42ns`, `12.3ns`.
pub fn fine(ns: f64) -> String {
    match ns.abs() {
        0.0 => "0ns".to_owned(),
        a if a < 0.01 => minus(&format!("{ns:.1e}ns")),
        a if a < 9.995 => minus(&format!("{ns:.2}ns")),
        a if a < 99.95 => minus(&format!("{ns:.1}ns")),
        _ => span(ns),
    }
}

/// A span of `ns` nanoseconds that is a round number: `10µs`, not `10.0µs`.
pub fn round(ns: f64) -> String {
    let text = span(ns);
    let (number, unit) = text.split_at(
        text.len()
            - text
                .trim_start_matches(|c: char| c.is_ascii_digit() || ".−".contains(c))
                .len(),
    );
    match number.contains('.') {
        true => format!(
            "{}{unit}",
            number.trim_end_matches('0').trim_end_matches('.')
        ),
        false => text,
    }
}

/// A decade of nanoseconds: `1ns`, `10ns`, `100µs`, `1000s`, `0.01ns`.
pub fn decade(exponent: i32) -> String {
    let Ok(exponent) = usize::try_from(exponent) else {
        let places = exponent.unsigned_abs() as usize;
        return format!("{:.places$}ns", 10_f64.powi(exponent));
    };
    let unit = (exponent / 3).min(3);
    let zeros = "0".repeat(exponent - 3 * unit);
    format!("1{zeros}{}", ["ns", "µs", "ms", "s"][unit])
}

/// A power of ten without a unit: `10⁻⁹`.
pub fn power(exponent: i32) -> String {
    let superscript = |c: char| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        // The others follow each other.
        c => char::from_u32(0x2070 + (c as u32 - '0' as u32)).unwrap_or(c),
    };
    let digits: String = exponent.to_string().chars().map(superscript).collect();
    format!("10{digits}")
}

fn minus(text: &str) -> String {
    text.replace('-', "−")
}

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
    fn numbers_read_well() {
        assert_eq!(signed(-1250.0), "−1.25µs");
        assert_eq!(signed(42.4), "+42ns");
        assert_eq!(signed(0.2), "0ns");
        assert_eq!(ppm(-41.23), "−41.2ppm");
        assert_eq!(maybe(None::<f64>), "–");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        let shares = [0.0, 1e-5, 0.0009, 0.123].map(percent);
        assert_eq!(shares, ["0.00%", "<0.01%", "0.09%", "12.3%"]);
        assert_eq!(plural(1, "violation"), "1 violation");
        assert_eq!(plural(0, "violation"), "0 violations");
    }

    #[test]
    fn small_spans_keep_their_digits() {
        let all = [0.0, 0.001_23, 0.42, -5.0, 9.996, 12.34, 99.96, 1250.0].map(fine);
        let expected = [
            "0ns",
            "1.2e−3ns",
            "0.42ns",
            "−5.00ns",
            "10.0ns",
            "12.3ns",
            "100ns",
            "1.25µs",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn round_spans_have_no_digits_for_nothing() {
        let all = [10_000.0, 100.0, 1_500.0, -2.5e7, 1e9, 0.0].map(round);
        assert_eq!(all, ["10µs", "100ns", "1.5µs", "−25ms", "1s", "0ns"]);
    }

    #[test]
    fn decades_read_as_people_write_them() {
        let labels: Vec<String> = (-2..=12).map(decade).collect();
        let expected = [
            "0.01ns", "0.1ns", "1ns", "10ns", "100ns", "1µs", "10µs", "100µs", "1ms", "10ms",
            "100ms", "1s", "10s", "100s", "1000s",
        ];
        assert_eq!(labels, expected);
        assert_eq!([-12, 0, 10].map(power), ["10⁻¹²", "10⁰", "10¹⁰"]);
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
