//! Spans of time and frequencies as people write them: `"10us"`, `"-2.5ms"`, `"50ppm"`, `"0.1ppb"`.
//!
//! The simulator reckons in floating-point nanoseconds and fractions; these types carry the unit to
//! it. Unlike the daemon's configuration they go below a nanosecond and below zero.

use std::fmt;
use std::str::FromStr;

use parisync::time::{Rate, Span};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span of time in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
pub struct Nanos(pub f64);

/// A frequency, or what changes one, as a fraction of the nominal.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
pub struct Fraction(pub f64);

/// The text is no number with a known unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: write a number and one of {units}, as in {example:?}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    units: String,
    example: &'static str,
}

/// Units with their size, smallest first.
type Units = [(&'static str, f64)];

const TIME: &Units = &[
    ("ns", 1.0),
    ("us", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("min", 60e9),
    ("h", 3600e9),
];

const FREQUENCY: &Units = &[("ppt", 1e-12), ("ppb", 1e-9), ("ppm", 1e-6)];

impl Nanos {
    /// `seconds` of time.
    pub const fn from_secs(seconds: f64) -> Self {
        Self(seconds * 1e9)
    }

    /// In seconds.
    pub const fn as_secs(self) -> f64 {
        self.0 / 1e9
    }

    /// Rounded to whole nanoseconds.
    pub fn span(self) -> Span {
        Span::from_nanos_f64(self.0)
    }
}

impl Fraction {
    /// As the library has it.
    pub const fn rate(self) -> Rate {
        Rate::from_fraction(self.0)
    }
}

fn parse(
    text: &str,
    units: &Units,
    what: &'static str,
    example: &'static str,
) -> Result<f64, UnitError> {
    let trimmed = text.trim();
    let end = trimmed
        .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-' | '+'))
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let unit = unit.trim().replace(['µ', 'μ'], "u");
    let size = units.iter().find(|(name, _)| *name == unit);
    let number = number.parse::<f64>().ok().filter(|n| n.is_finite());
    match (number, size) {
        (Some(number), Some((_, size))) => Ok(number * size),
        // Zero is zero in every unit.
        (Some(0.0), None) if unit.is_empty() => Ok(0.0),
        _ => Err(UnitError {
            text: text.to_owned(),
            what,
            units: units
                .iter()
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
                .join(", "),
            example,
        }),
    }
}

fn write(f: &mut fmt::Formatter<'_>, value: f64, units: &Units) -> fmt::Result {
    let (smallest, size) = units[0];
    let fitting = units.iter().rev().find(|(_, size)| value.abs() >= *size);
    let (unit, size) = fitting.copied().unwrap_or((smallest, size));
    // Twelve digits say all that was meant and hide what binary fractions make of it, if they are read
    // as the same number again.
    let rounded = |value: f64| format!("{value:.11e}").parse().unwrap_or(value);
    let said = |scaled: f64, size: f64| (scaled * size).to_bits() == value.to_bits();
    let all = std::iter::once((unit, size)).chain(units.iter().copied());
    let short = all
        .clone()
        .map(|(unit, size)| (rounded(value / size), unit, size));
    let long = all.flat_map(|(unit, size)| {
        let scaled = value / size;
        [scaled, scaled.next_up(), scaled.next_down()].map(|scaled| (scaled, unit, size))
    });
    let exact = short
        .chain(long)
        .find(|(scaled, _, size)| said(*scaled, *size));
    let (scaled, unit, _) = exact.unwrap_or((rounded(value / size), unit, size));
    f.pad(&format!("{scaled}{unit}"))
}

impl FromStr for Nanos {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text, TIME, "span of time", "10us").map(Self)
    }
}

impl FromStr for Fraction {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text, FREQUENCY, "frequency", "1ppm").map(Self)
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, TIME)
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, FREQUENCY)
    }
}

/// A time of `ns` nanoseconds with three digits and the unit that fits: `8.25ns`, `1.25µs`.
pub fn shown(ns: f64) -> String {
    if !ns.is_finite() {
        return "–".to_owned();
    }
    match ns.abs() {
        small if small < 9.995 => format!("{ns:.2}ns"),
        small if small < 99.95 => format!("{ns:.1}ns"),
        _ => Span::from_nanos_f64(ns).to_string(),
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

as_text!(Nanos);
as_text!(Fraction);

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> Option<f64> {
        text.parse::<Nanos>().ok().map(|n| n.0)
    }

    #[test]
    fn numbers_with_units() {
        assert_eq!(nanos("10us"), Some(10_000.0));
        assert_eq!(nanos("-2.5 ms"), Some(-2_500_000.0));
        assert_eq!(nanos("0.1µs"), Some(100.0));
        assert_eq!(nanos("0.25ns"), Some(0.25));
        assert_eq!(nanos("2min"), Some(120e9));
        assert_eq!(nanos("0"), Some(0.0));
        for wrong in ["10", "us", "1 parsec", "", "1e3us", "nanns", "1ppm"] {
            assert_eq!(nanos(wrong), None, "{wrong}");
        }
        let ppb: Fraction = "0.1ppb".parse().unwrap();
        assert!((ppb.0 - 1e-10).abs() < 1e-24);
    }

    #[test]
    fn what_is_wrong_is_said_with_an_example() {
        let error = "5 parsecs".parse::<Nanos>().unwrap_err().to_string();
        assert_eq!(
            error,
            "\"5 parsecs\" is no span of time: write a number and one of ns, us, ms, s, min, h, \
             as in \"10us\""
        );
    }

    #[test]
    fn results_have_three_digits() {
        for (ns, text) in [
            (8.254, "8.25ns"),
            (47.64, "47.6ns"),
            (150.2, "150ns"),
            (1_250.0, "1.25µs"),
        ] {
            assert_eq!(shown(ns), text);
        }
        assert_eq!(shown(f64::NAN), "–");
    }

    #[test]
    fn text_comes_back_as_it_was() {
        for text in ["10us", "0.1ns", "-500ms", "1.5min", "120ns"] {
            assert_eq!(text.parse::<Nanos>().unwrap().to_string(), text);
        }
        for text in ["50ppm", "0.1ppt", "3ppb"] {
            assert_eq!(text.parse::<Fraction>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn numbers_come_back_to_the_last_bit() {
        for n in 1..5_000 {
            for text in [format!("{}ppb", f64::from(n) / 100.0), format!("{n}ppm")] {
                let read: Fraction = text.parse().unwrap();
                let again: Fraction = read.to_string().parse().unwrap();
                assert_eq!(read.0.to_bits(), again.0.to_bits(), "{text} {read}");
            }
            let read = Nanos(f64::from(n) * 0.37e9);
            let again: Nanos = read.to_string().parse().unwrap();
            assert_eq!(read.0.to_bits(), again.0.to_bits(), "{read}");
        }
    }
}
