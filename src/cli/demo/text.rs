//! Numbers as people read them, and pictures made of characters.

pub(super) use crate::present::text::{count, maybe, percent, plural, ppm, signed, span};

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
