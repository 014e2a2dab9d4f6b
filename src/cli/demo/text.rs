//! Numbers as people read them, and pictures made of characters.

use crate::time::Span;

/// A span of `ns` nanoseconds with the unit that fits: `1.25µs`.
pub(super) fn span(ns: f64) -> String {
    minus(&Span::from_nanos_f64(ns).to_string())
}

/// The same with its sign: `+1.25µs`, `−42ns`.
pub(super) fn signed(ns: f64) -> String {
    let sign = if ns.round() > 0.0 { "+" } else { "" };
    format!("{sign}{}", span(ns))
}

/// Parts per million with their sign: `−41.2ppm`.
pub(super) fn ppm(value: f64) -> String {
    minus(&format!("{value:+.1}ppm"))
}

/// A span that may be unknown.
pub(super) fn maybe(ns: Option<impl Into<f64>>) -> String {
    ns.map_or_else(|| "–".to_owned(), |ns| span(ns.into()))
}

/// A count with its thousands apart: `29,680`.
pub(super) fn count(n: u64) -> String {
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
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p > 0.0 && p < 0.01 => "<0.01%".to_owned(),
        p if p < 0.995 => format!("{p:.2}%"),
        p => format!("{p:.1}%"),
    }
}

/// `1 node`, `2 nodes`.
pub(super) fn plural(n: u64, one: &str) -> String {
    format!("{} {one}{}", count(n), if n == 1 { "" } else { "s" })
}

fn minus(text: &str) -> String {
    text.replace('-', "−")
}

/// Decades that the bars of the table span, from 1 ns to 1 s.
const BAR_DECADES: f64 = 9.0;

/// Position of a magnitude on a logarithmic scale of `cells` cells from 1 ns to 1 s.
fn on_scale(ns: f64, cells: usize) -> f64 {
    (ns.abs().max(1.0).log10() / BAR_DECADES).min(1.0) * cells as f64
}

/// The parts of a bar on a logarithmic scale, each with the characters it is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BarPart {
    /// Up to the magnitude shown.
    Filled(String),
    /// The rest of the scale.
    Empty(String),
    /// Where the bound is.
    Mark(String),
}

/// A bar as long as the magnitude of `error`, with a mark at `bound`.
pub(super) fn bar(error: Option<f64>, bound: Option<f64>, cells: usize) -> Vec<BarPart> {
    let halves = error.map_or(0, |ns| (2.0 * on_scale(ns, cells)).round() as usize);
    let mark = bound.map(|ns| (on_scale(ns, cells) as usize).min(cells.saturating_sub(1)));
    let mut parts: Vec<BarPart> = Vec::new();
    for cell in 0..cells {
        match (halves.saturating_sub(2 * cell), parts.last_mut()) {
            _ if mark == Some(cell) => parts.push(BarPart::Mark("│".to_owned())),
            (0, Some(BarPart::Empty(text))) => text.push('·'),
            (0, _) => parts.push(BarPart::Empty("·".to_owned())),
            (filled, Some(BarPart::Filled(text))) => text.push(piece(filled)),
            (filled, _) => parts.push(BarPart::Filled(piece(filled).to_string())),
        }
    }
    parts
}

fn piece(halves: usize) -> char {
    if halves == 1 { '╸' } else { '━' }
}

/// The scale above the bars, `cells` wide.
pub(super) fn scale(cells: usize) -> String {
    let labels: &[(&str, usize)] = if cells >= 18 {
        &[("1ns", 0), ("1µs", cells / 3), ("1ms", 2 * cells / 3)]
    } else {
        &[("1ns", 0)]
    };
    let mut text = String::new();
    for (label, start) in labels {
        while text.chars().count() < *start {
            text.push(' ');
        }
        text.push_str(label);
    }
    let gap = cells.saturating_sub(text.chars().count() + 2);
    text.push_str(&" ".repeat(gap));
    text.push_str("1s");
    text
}

/// One character for a magnitude; each step up is a factor of ten, from below 100 ns to 100 ms
/// and more.
pub(super) fn spark(ns: Option<f64>) -> char {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    ns.map_or(' ', |ns| {
        let decade = ns.max(1.0).log10() as usize;
        STEPS[decade.saturating_sub(1).min(STEPS.len() - 1)]
    })
}

/// Characters `text` takes on the screen; all we print are one cell wide.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
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

    fn drawn(error: Option<f64>, bound: Option<f64>, cells: usize) -> String {
        bar(error, bound, cells)
            .into_iter()
            .map(|part| match part {
                BarPart::Filled(text) | BarPart::Empty(text) | BarPart::Mark(text) => text,
            })
            .collect()
    }

    #[test]
    fn bars_are_logarithmic_and_always_as_wide_as_asked() {
        assert_eq!(drawn(Some(1.0), None, 9), "·········");
        assert_eq!(drawn(Some(1e3), None, 9), "━━━······");
        assert_eq!(drawn(Some(-3.2e3), Some(15e3), 9), "━━━╸│····");
        assert_eq!(drawn(Some(1e9), Some(5e9), 9), "━━━━━━━━│");
        assert_eq!(drawn(None, None, 4), "····");
        assert_eq!(drawn(Some(1e9), Some(1.0), 0), "");
    }

    #[test]
    fn the_scale_fits_its_bar() {
        assert_eq!(scale(18), "1ns   1µs   1ms 1s");
        assert_eq!(scale(9), "1ns    1s");
    }

    #[test]
    fn sparks_step_by_decades() {
        let drawn: String = [50.0, 500.0, 9_999.0, 1e4, 1e6, 9e8, 1e12]
            .map(|ns| spark(Some(ns)))
            .iter()
            .collect();
        assert_eq!(drawn, "▁▂▃▄▆██");
        assert_eq!(spark(None), ' ');
    }
}
