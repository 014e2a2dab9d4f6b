//! Durations as people write them: a number and a unit.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::time::Span;

/// A span of time in text, `"500ms"`, `"1us"`, `"2.5s"`: in the configuration, on the command
/// line, and back.
///
/// Units: `ns`, `us` (or `µs`), `ms`, `s`, `min`, `h`, `d`. Never negative, exact to the
/// nanosecond; what is finer is refused rather than rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationText(Span);

/// Every unit with its length in nanoseconds, shortest first.
const UNITS: [(&str, i64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

impl DurationText {
    /// The text form of `span`; a negative span becomes zero.
    pub fn new(span: Span) -> Self {
        Self(span.max(Span::ZERO))
    }

    /// The span of time.
    pub const fn span(self) -> Span {
        self.0
    }

    /// As [`FromStr`], but a number without a unit is seconds: for options such as `-t 60`.
    ///
    /// # Errors
    /// As for [`FromStr`].
    pub fn parse_or_seconds(text: &str) -> Result<Self, ParseDurationError> {
        match text.parse() {
            Err(ParseDurationError::NoUnit) => format!("{}s", text.trim()).parse(),
            other => other,
        }
    }
}

/// The text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    /// It does not begin with a number.
    #[error("expected a number with a unit, such as \"500ms\"")]
    NoNumber,
    /// The unit is missing.
    #[error("say the unit: one of ns, us, ms, s, min, h, d, as in \"500ms\"")]
    NoUnit,
    /// The unit is none we know.
    #[error("unknown unit: use one of ns, us, ms, s, min, h, d")]
    UnknownUnit,
    /// Durations have no sign.
    #[error("a duration cannot be negative")]
    Negative,
    /// Parts of a nanosecond.
    #[error("finer than a nanosecond")]
    TooFine,
    /// More than 2^63 nanoseconds.
    #[error("too long: at most 106751 days")]
    TooLong,
}

impl FromStr for DurationText {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, ParseDurationError> {
        let text = text.trim();
        if text.starts_with('-') {
            return Err(ParseDurationError::Negative);
        }
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || fraction.contains('.') || (fraction.is_empty() && number != whole) {
            return Err(ParseDurationError::NoNumber);
        }
        let unit = match unit.trim_start() {
            "" => return Err(ParseDurationError::NoUnit),
            "µs" | "μs" => "us",
            unit => unit,
        };
        let (_, length) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or(ParseDurationError::UnknownUnit)?;
        scaled(whole, fraction, length).map(|nanos| Self(Span::from_nanos(nanos)))
    }
}

/// `whole.fraction · length` in decimal arithmetic, so that 0.1 s is exactly 10⁸ ns.
fn scaled(whole: &str, fraction: &str, length: i64) -> Result<i64, ParseDurationError> {
    let whole: i64 = whole.parse().map_err(|_| ParseDurationError::TooLong)?;
    let mut nanos = whole
        .checked_mul(length)
        .ok_or(ParseDurationError::TooLong)?;
    let (mut place, mut exact) = (length, true);
    for digit in fraction.bytes().map(|c| i64::from(c - b'0')) {
        if digit == 0 {
            // Trailing zeros must not count as finer than a nanosecond.
            exact &= place % 10 == 0;
            place /= 10;
            continue;
        }
        if !exact || place % 10 != 0 {
            // A minute divided often enough leaves tens of seconds that no longer divide by ten.
            return Err(ParseDurationError::TooFine);
        }
        place /= 10;
        nanos = nanos
            .checked_add(digit * place)
            .ok_or(ParseDurationError::TooLong)?;
    }
    Ok(nanos)
}

/// The longest unit that leaves a whole number.
impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.pad("0s");
        }
        let fitting = UNITS.into_iter().rev().find(|(_, l)| nanos % l == 0);
        let (unit, length) = fitting.unwrap_or(UNITS[0]);
        f.pad(&format!("{}{unit}", nanos / length))
    }
}

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nanos(text: &str) -> Result<i64, ParseDurationError> {
        text.parse::<DurationText>().map(|d| d.span().as_nanos())
    }

    #[test]
    fn every_unit_and_exact_fractions() {
        assert_eq!(nanos("7ns"), Ok(7));
        assert_eq!(nanos("1us"), Ok(1_000));
        assert_eq!(nanos("1.5 µs"), Ok(1_500));
        assert_eq!(nanos("1μs"), Ok(1_000));
        assert_eq!(nanos(" 500ms "), Ok(500_000_000));
        assert_eq!(nanos("0.1s"), Ok(100_000_000));
        assert_eq!(nanos("1.000000001s"), Ok(1_000_000_001));
        assert_eq!(nanos("1.5min"), Ok(90_000_000_000));
        assert_eq!(nanos("2h"), Ok(7_200_000_000_000));
        assert_eq!(nanos("1d"), Ok(86_400_000_000_000));
        assert_eq!(nanos("0s"), Ok(0));
    }

    #[test]
    fn refuses_what_it_cannot_represent_and_says_why() {
        use ParseDurationError::*;
        assert_eq!(nanos(""), Err(NoNumber));
        assert_eq!(nanos("ms"), Err(NoNumber));
        assert_eq!(nanos("1."), Err(NoNumber));
        assert_eq!(nanos(".5s"), Err(NoNumber));
        assert_eq!(nanos("1.2.3s"), Err(NoNumber));
        assert_eq!(nanos("60"), Err(NoUnit));
        assert_eq!(nanos("1 hour"), Err(UnknownUnit));
        assert_eq!(nanos("1M"), Err(UnknownUnit));
        assert_eq!(nanos("-1s"), Err(Negative));
        assert_eq!(nanos("0.5ns"), Err(TooFine));
        assert_eq!(nanos("1.0000000001s"), Err(TooFine));
        assert_eq!(nanos("106752d"), Err(TooLong));
        assert_eq!(nanos("99999999999999999999s"), Err(TooLong));
        assert_eq!(nanos("9223372036.999999999s"), Err(TooLong));
    }

    #[test]
    fn trailing_zeros_are_not_too_fine() {
        assert_eq!(nanos("1.0000000000000000000000000s"), Ok(1_000_000_000));
        assert_eq!(nanos("5.0ns"), Ok(5));
        assert_eq!(nanos("0.000000000010s"), Err(ParseDurationError::TooFine));
    }

    #[test]
    fn bare_numbers_are_seconds_only_where_asked_for() {
        let seconds = DurationText::parse_or_seconds;
        assert_eq!(seconds("60").unwrap().span(), Span::from_secs(60));
        assert_eq!(seconds("0.25").unwrap().span(), Span::from_millis(250));
        assert_eq!(seconds("1us").unwrap().span(), Span::from_micros(1));
        assert_eq!(seconds("x"), Err(ParseDurationError::NoNumber));
    }

    proptest! {
        #[test]
        fn text_form_round_trips(nanos in 0..=i64::MAX) {
            let text = DurationText::new(Span::from_nanos(nanos));
            prop_assert_eq!(text.to_string().parse(), Ok(text));
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".{0,40}") {
            let _ = text.parse::<DurationText>();
        }
    }
}
