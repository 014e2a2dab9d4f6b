//! Kernel stamps on the raw timescale.

use std::fmt;

use super::CrossRead;
use super::relation::Relation;
use crate::stamp::{Domain, Stamp};

/// Cross-reads kept; with [`SPACING`] they reach back some hundred milliseconds at least.
const READS: usize = 16;
/// Reads closer to each other than this replace each other, ns of raw time.
const SPACING: i64 = 10_000_000;
/// Attempts per cross-read.
const TRIES: usize = 3;

/// A stamp on the raw timescale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Converted {
    /// `CLOCK_MONOTONIC_RAW` at the event, ns.
    pub raw: i64,
    /// Half-width of `raw`, ns: holds if the steered clock changed its rate, or jumped, at most once
    /// within the two or three cross-reads around the stamp. Some 100 ns when nothing happens.
    pub error: i64,
}

/// Why a stamp cannot be brought to the raw timescale. Such a stamp must not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvertError {
    /// It is of another clock than this converter is for.
    WrongDomain(Domain),
    /// The clock was stepped between the stamp and its conversion.
    Stepped,
    /// It is older than the oldest cross-read: the converter is new, was not refreshed for long,
    /// or the clock was stepped since.
    TooOld,
    /// The card's clock cannot be read.
    Unreadable,
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongDomain(d) => write!(f, "no conversion for stamps of {d}"),
            Self::Stepped => f.write_str("the clock was stepped around the stamp"),
            Self::TooOld => f.write_str("the stamp is older than all cross-reads"),
            Self::Unreadable => f.write_str("the card's clock cannot be read"),
        }
    }
}

impl std::error::Error for ConvertError {}

/// Converts stamps of a clock that others may steer to `CLOCK_MONOTONIC_RAW`.
///
/// It keeps a few [cross-reads](CrossRead) of both clocks and interpolates between those around a
/// stamp, so that neither slewing nor an unknown offset matters. A step between two reads is
/// detected; stamps that may straddle it are refused. [`refresh`](Self::refresh) it before and
/// after waiting for packets.
#[derive(Debug, Clone)]
pub struct StampConverter {
    from: Domain,
    relation: Relation,
}

impl StampConverter {
    /// A converter for stamps of `from`, with a first cross-read taken now. Card clocks are for
    /// [`PhcConverter`](super::PhcConverter).
    pub fn new(from: Domain) -> Self {
        let mut converter = Self {
            from,
            relation: Relation::new(READS, SPACING),
        };
        converter.refresh();
        converter
    }

    /// Takes a cross-read now (some 300 ns).
    pub fn refresh(&mut self) {
        self.relation
            .push(CrossRead::take(Domain::MonotonicRaw, self.from, TRIES));
    }

    /// Steps of the clock seen so far.
    pub const fn steps(&self) -> u64 {
        self.relation.steps()
    }

    /// The newest cross-read, `a` raw and `b` the steered clock.
    pub fn latest(&self) -> Option<CrossRead> {
        self.relation.latest()
    }

    /// The raw instant of `stamp`. A stamp newer than the last cross-read causes a new one; stamps
    /// of the raw clock pass as they are.
    ///
    /// # Errors
    /// See [`ConvertError`]; the stamp must then not be used.
    pub fn convert(&mut self, stamp: Stamp) -> Result<Converted, ConvertError> {
        if stamp.domain == Domain::MonotonicRaw {
            return Ok(Converted {
                raw: stamp.nanos,
                error: 0,
            });
        }
        if stamp.domain != self.from {
            return Err(ConvertError::WrongDomain(stamp.domain));
        }
        if self.latest().is_none_or(|last| last.b < stamp.nanos) {
            self.refresh();
        }
        self.relation.interpolate(stamp.nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Source;

    fn stamp(nanos: i64) -> Stamp {
        Stamp {
            nanos,
            domain: Domain::Realtime,
            source: Source::Kernel,
        }
    }

    #[test]
    fn real_stamps_convert_to_the_raw_clock() {
        let mut c = StampConverter::new(Domain::Realtime);
        let before = Domain::MonotonicRaw.now();
        let nanos = Domain::Realtime.now();
        let after = Domain::MonotonicRaw.now();
        let got = c.convert(stamp(nanos)).unwrap();
        assert!(got.raw + got.error >= before && got.raw - got.error <= after);
        let raw = Stamp::user_now();
        assert_eq!(
            c.convert(raw),
            Ok(Converted {
                raw: raw.nanos,
                error: 0
            })
        );
        let tai = Stamp {
            domain: Domain::Tai,
            ..stamp(0)
        };
        assert_eq!(c.convert(tai), Err(ConvertError::WrongDomain(Domain::Tai)));
    }
}
