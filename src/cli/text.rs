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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_always_shown() {
        assert_eq!(signed(12.4), "+12ns");
        assert_eq!(signed(-3_400.0), "-3.40µs");
        assert_eq!(signed(0.0), "+0ns");
    }
}
