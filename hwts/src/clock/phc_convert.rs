//! A network card's stamps on the raw timescale.

use super::convert::{ConvertError, Converted};
use super::relation::{ROOM, Relation};
use super::{CrossRead, Phc, PhcError};
use crate::stamp::Domain;

/// Cross-reads lie at least so far apart, ns of raw time: with [`ROOM`] of them some three seconds.
const SPACING: i64 = 100_000_000;
/// A line through fewer reads says no more than the reads themselves.
const LEAST: usize = 4;

/// Converts stamps of one card to `CLOCK_MONOTONIC_RAW`.
///
/// A reading of the card over its bus brackets the instant by a microsecond or so; where within it
/// the register was read nobody knows, but it is nearly the same place each time. So the readings
/// of the last seconds scatter much less about their common line than they are wide, and stamps are
/// converted by that line for as long as all of them agree with one. When somebody changes the
/// card's rate, older readings are left out until they do; a step is noticed, and stamps that may
/// straddle it are refused.
#[derive(Debug)]
pub struct PhcConverter {
    phc: Phc,
    relation: Relation,
    line: Option<Line>,
}

impl PhcConverter {
    /// Opens `/dev/ptp` number `index` and reads it once.
    ///
    /// # Errors
    /// See [`PhcError`].
    pub fn open(index: u32) -> Result<Self, PhcError> {
        Self::over(Phc::open_index(index)?)
    }

    /// Takes over an open clock and reads it once.
    ///
    /// # Errors
    /// See [`PhcError`].
    pub fn over(phc: Phc) -> Result<Self, PhcError> {
        let mut converter = Self {
            phc,
            relation: Relation::new(ROOM, SPACING),
            line: None,
        };
        converter.read()?;
        Ok(converter)
    }

    /// The clock within.
    pub const fn phc(&self) -> &Phc {
        &self.phc
    }

    /// Steps of the card's clock seen so far.
    pub const fn steps(&self) -> u64 {
        self.relation.steps()
    }

    /// How far all conversions together may be off one way, ns: half the width of the narrowest
    /// reading. Differences of stamps of this card do not know it; comparing them with anything
    /// else does.
    pub fn asymmetry(&self) -> i64 {
        let errors = self.relation.reads().iter().map(|read| read.error);
        errors.min().unwrap_or(0)
    }

    /// The card over raw time by its readings; at `usual`, a fraction, as long as they have no line.
    pub(super) fn inverse(&self, usual: f64) -> Inverse {
        let last = self.relation.latest().unwrap_or(CrossRead {
            a: 0,
            b: 0,
            error: i64::MAX,
        });
        let read = Inverse {
            mono: last.a,
            card: last.b,
            phase: 0.0,
            rate: usual,
            scatter: last.error,
        };
        self.line.map_or(read, |line| line.inverse())
    }

    /// Reads the card if the last reading is some time ago (a reading takes 10 to 50 µs). Call it
    /// around every wait for packets.
    ///
    /// # Errors
    /// See [`PhcError`]: the card may be gone.
    pub fn refresh(&mut self) -> Result<(), PhcError> {
        let now = Domain::MonotonicRaw.now();
        match self.relation.latest() {
            Some(last) if now - last.a < SPACING / 2 => Ok(()),
            _ => self.read(),
        }
    }

    /// Reads the card now, for whoever steers it: `a` is the raw clock, `b` the card. The error is
    /// as that of [`convert`](Self::convert): what readings scatter, if they have a line.
    ///
    /// # Errors
    /// See [`PhcError`].
    pub fn reading(&mut self) -> Result<CrossRead, PhcError> {
        self.read()?;
        let last = self.relation.latest().unwrap_or(CrossRead {
            a: 0,
            b: 0,
            error: i64::MAX,
        });
        let scatter = self.line.map_or(last.error, |line| line.scatter);
        Ok(CrossRead {
            error: last.error.min(scatter),
            ..last
        })
    }

    fn read(&mut self) -> Result<(), PhcError> {
        let read = self.phc.raw_read()?;
        self.take(read);
        Ok(())
    }

    fn take(&mut self, read: CrossRead) {
        self.relation.push(read);
        self.line = Line::through(self.relation.reads());
    }

    /// The raw instant of a stamp of this card. A stamp newer than the last reading causes a new
    /// one, so that a step in between is noticed. The error is what the readings scatter about their
    /// line, or all of their width while they have none; [`asymmetry`](Self::asymmetry) comes on
    /// top.
    ///
    /// # Errors
    /// See [`ConvertError`]; the stamp must then not be used.
    pub fn convert(&mut self, nanos: i64) -> Result<Converted, ConvertError> {
        if self.relation.latest().is_none_or(|last| last.b < nanos) {
            self.read().map_err(|_| ConvertError::Unreadable)?;
        }
        self.at(nanos)
    }

    fn at(&self, nanos: i64) -> Result<Converted, ConvertError> {
        let between = self.relation.interpolate(nanos)?;
        let line = self.line.filter(|line| nanos >= line.from);
        Ok(line.map_or(between, |line| Converted {
            raw: line.at(nanos),
            error: line.scatter.min(between.error),
        }))
    }
}

/// A card's clock over raw time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Inverse {
    /// The last reading.
    pub(super) mono: i64,
    pub(super) card: i64,
    /// What the card is beyond that by the line, ns, and the fraction that it is faster by.
    pub(super) phase: f64,
    pub(super) rate: f64,
    pub(super) scatter: i64,
}

/// A line that all readings since some time lie on to within their widths.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    /// The card's clock at the first of these readings.
    from: i64,
    /// The last of them.
    last: CrossRead,
    /// Raw minus card at the last reading, beyond its own, ns; and how that changes.
    offset: f64,
    rate: f64,
    /// The most a reading is off the line, ns, rounded up.
    scatter: i64,
}

impl Line {
    /// Through as many of the newest readings as agree.
    fn through(reads: &[CrossRead]) -> Option<Self> {
        let mut from = 0;
        while reads.len() - from >= LEAST {
            if let Some(line) = Self::fit(&reads[from..]) {
                return Some(line);
            }
            from += (reads.len() - from).div_ceil(2);
        }
        None
    }

    /// Least squares; none if a reading disagrees.
    fn fit(reads: &[CrossRead]) -> Option<Self> {
        let (first, last) = (reads.first()?, *reads.last()?);
        let points = || {
            reads.iter().map(|read| {
                let x = (read.b - last.b) as f64;
                (x, (read.a - last.a) as f64 - x)
            })
        };
        let n = reads.len() as f64;
        let (mean_x, mean_y) = points().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
        let (xx, xy) = points().fold((0.0, 0.0), |(xx, xy), (x, y)| {
            let x = x - mean_x;
            (xx + x * x, xy + x * (y - mean_y))
        });
        if xx <= 0.0 {
            return None;
        }
        let rate = xy / xx;
        let offset = mean_y - rate * mean_x;
        let mut scatter = 0.0_f64;
        for ((x, y), read) in points().zip(reads) {
            let off = (y - offset - rate * x).abs();
            if off > read.error as f64 {
                return None;
            }
            scatter = scatter.max(off);
        }
        Some(Self {
            from: first.b,
            last,
            offset,
            rate,
            // One for the digits of the stamp.
            scatter: scatter.ceil() as i64 + 1,
        })
    }

    fn at(&self, nanos: i64) -> i64 {
        let since = nanos - self.last.b;
        self.last.a + since + (self.offset + self.rate * since as f64).round() as i64
    }

    fn inverse(&self) -> Inverse {
        let slope = 1.0 / (1.0 + self.rate);
        Inverse {
            mono: self.last.a,
            card: self.last.b,
            phase: -self.offset * slope,
            rate: slope - 1.0,
            scatter: self.scatter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_700_000_000_000_000_000;

    /// A card that is 20 ppm fast (and later 20 ppm more), read with a width of ±800 ns, always
    /// 300 ns late and with up to 40 ns of scatter.
    fn card(raw: i64) -> i64 {
        START + raw + raw / 50_000 + (raw - 10_000_000_000).max(0) / 50_000
    }

    fn read(k: i64) -> CrossRead {
        let raw = k * SPACING;
        let scatter = [13, -40, 5, 38, -21, 0, 27][(k % 7) as usize];
        CrossRead {
            a: raw + 300 + scatter,
            b: card(raw),
            error: 800,
        }
    }

    fn taught(reads: std::ops::Range<i64>) -> (Relation, Option<Line>) {
        let mut relation = Relation::new(ROOM, SPACING / 2);
        let mut line = None;
        for k in reads {
            relation.push(read(k));
            line = Line::through(relation.reads());
        }
        (relation, line)
    }

    #[test]
    fn a_line_is_better_than_its_readings() {
        let (relation, line) = taught(0..60);
        let line = line.unwrap();
        assert_eq!(relation.reads().len(), ROOM);
        assert!((40..=80).contains(&line.scatter), "{line:?}");
        for raw in [3_000_000_000, 5_123_456_789, 5_899_999_999] {
            let off = line.at(card(raw)) - raw - 300;
            assert!(off.abs() <= 20, "{off} at {raw}");
        }
    }

    #[test]
    fn a_new_rate_leaves_the_old_readings_out() {
        // The bend is at 10 s.
        let (relation, line) = taught(70..108);
        let line = line.unwrap();
        assert!(line.from >= card(9_700_000_000), "{line:?}");
        let at = 10_650_000_000;
        assert!((line.at(card(at)) - at - 300).abs() <= 900);
        // Before the line there are still the readings themselves.
        let between = relation.interpolate(card(9_000_000_000)).unwrap();
        assert!(
            (between.raw - 9_000_000_000 - 300).abs() < 100,
            "{between:?}"
        );
        let (_, settled) = taught(70..140);
        assert!((settled.unwrap().at(card(13_850_000_000)) - 13_850_000_300).abs() <= 40);
    }

    #[test]
    fn a_line_goes_both_ways() {
        let line = taught(0..60).1.unwrap();
        let inverse = line.inverse();
        for raw in [5_000_000_000_i64, 5_900_000_000, 6_000_000_000] {
            let since = raw - inverse.mono;
            let beyond = inverse.phase + inverse.rate * since as f64;
            let card = inverse.card + since + beyond.round() as i64;
            assert!((line.at(card) - raw).abs() <= 2, "{raw}");
        }
    }

    #[test]
    fn too_few_readings_make_no_line() {
        assert_eq!(taught(0..3).1, None);
        assert!(taught(0..4).1.is_some());
    }

    #[test]
    fn a_missing_card_is_an_error() {
        assert!(matches!(
            PhcConverter::open(4_000_000),
            Err(PhcError::Missing(_))
        ));
    }
}
