//! Numbers and names as people read them.

use crate::export::status::Tracking;
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

/// A probability: `0.33 %`, `1.1e-8`.
pub(super) fn probability(p: f64) -> String {
    match p * 100.0 {
        percent if percent >= 9.95 => format!("{percent:.0} %"),
        percent if percent >= 0.995 => format!("{percent:.1} %"),
        percent if percent >= 0.000_995 => {
            // Two digits that matter.
            let places = 1 - percent.log10().floor() as i32;
            format!("{percent:.0$} %", places.max(2) as usize)
        }
        _ if p > 0.0 => format!("{p:.1e}"),
        _ => "0 %".to_owned(),
    }
}

/// What a guaranteed bound rests on.
pub(super) fn premise(t: &Tracking) -> String {
    let neighbours = match t.sampled {
        1 => "the neighbour sampled".to_owned(),
        n => format!("the {n} neighbours sampled"),
    };
    match t.tolerated_liars {
        0 if t.sampled == 1 => format!("{neighbours} does not lie"),
        0 => format!("none of {neighbours} lies"),
        1 => format!("at most one of {neighbours} lies"),
        most => format!("at most {most} of {neighbours} lie"),
    }
}

/// How likely it is that it does not hold, if that is known.
pub(super) fn risk(t: &Tracking) -> Option<String> {
    let risk = t.liar_risk?;
    let (share, risk) = (probability(t.assumed_liars), probability(risk));
    Some(format!("{risk} that more lie, if {share} of all do"))
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
    fn probabilities_keep_two_digits_that_matter() {
        let shown = [0.34, 0.1, 0.08169, 0.0033, 1.4e-4, 1.1e-8, 0.0].map(probability);
        assert_eq!(
            shown,
            [
                "34 %", "10 %", "8.2 %", "0.33 %", "0.014 %", "1.1e-8", "0 %"
            ]
        );
    }

    #[test]
    fn the_premise_counts_the_neighbours_sampled() {
        let mut t = crate::cli::tests::tracking();
        assert_eq!(premise(&t), "at most 2 of the 8 neighbours sampled lie");
        let risk = risk(&t);
        assert_eq!(
            risk.as_deref(),
            Some("3.8 % that more lie, if 10 % of all do")
        );
        t.tolerated_liars = 0;
        assert_eq!(premise(&t), "none of the 8 neighbours sampled lies");
        t.sampled = 1;
        assert_eq!(premise(&t), "the neighbour sampled does not lie");
        t.tolerated_liars = 1;
        t.sampled = 4;
        assert_eq!(premise(&t), "at most one of the 4 neighbours sampled lies");
    }
}
