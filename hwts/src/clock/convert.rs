//! Kernel stamps on the raw timescale.

use std::fmt;

use super::CrossRead;
use crate::stamp::{Domain, Stamp};

/// Cross-reads kept; with [`SPACING`] they reach back some hundred milliseconds at least.
const READS: usize = 16;
/// Reads closer to each other than this replace each other, ns of raw time.
const SPACING: i64 = 10_000_000;
/// A change of rate beyond this between two reads is a step: twice what a kernel's loop can slew.
const STEP_RATE: f64 = 1e-3;
/// Attempts per cross-read.
const TRIES: usize = 3;

/// A stamp on the raw timescale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Converted {
    /// `CLOCK_MONOTONIC_RAW` at the event, ns.
    pub raw: i64,
    /// Guaranteed half-width of `raw`, ns: the cross-reads, and what a change of the steered
    /// clock's rate in between may have done.
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
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongDomain(d) => write!(f, "no conversion for stamps of {d}"),
            Self::Stepped => f.write_str("the clock was stepped around the stamp"),
            Self::TooOld => f.write_str("the stamp is older than all cross-reads"),
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
    /// `a` is raw, `b` the steered clock; oldest first.
    reads: [CrossRead; READS],
    len: usize,
    steps: u64,
}

impl StampConverter {
    /// A converter for stamps of `from`, with a first cross-read taken now.
    pub fn new(from: Domain) -> Self {
        let mut converter = Self::empty(from);
        converter.refresh();
        converter
    }

    fn empty(from: Domain) -> Self {
        let none = CrossRead {
            a: 0,
            b: 0,
            error: 0,
        };
        Self {
            from,
            reads: [none; READS],
            len: 0,
            steps: 0,
        }
    }

    /// Takes a cross-read now (some 300 ns).
    pub fn refresh(&mut self) {
        self.push(CrossRead::take(Domain::MonotonicRaw, self.from, TRIES));
    }

    /// Steps of the clock seen so far.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The newest cross-read, `a` raw and `b` the steered clock.
    pub fn latest(&self) -> Option<CrossRead> {
        self.reads().last().copied()
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
        self.interpolate(stamp.nanos)
    }

    fn reads(&self) -> &[CrossRead] {
        &self.reads[..self.len]
    }

    fn push(&mut self, read: CrossRead) {
        if let [.., before, last] = *self.reads()
            && Rise::between(last, read).jumped(Some(Rise::between(before, last)))
        {
            // Readings from before the step would say nothing about stamps from after it.
            self.steps += 1;
            self.len = 0;
        } else if let [last] = *self.reads()
            && Rise::between(last, read).jumped(None)
        {
            self.steps += 1;
            self.len = 0;
        } else if let [.., before, last] = *self.reads()
            && last.a - before.a < SPACING
        {
            self.len -= 1;
        } else if self.len == READS {
            self.reads.copy_within(1.., 0);
            self.len -= 1;
        }
        self.reads[self.len] = read;
        self.len += 1;
    }

    fn interpolate(&self, nanos: i64) -> Result<Converted, ConvertError> {
        let reads = self.reads();
        let Some(last) = reads.last() else {
            return Err(ConvertError::TooOld);
        };
        if nanos > last.b {
            // The newest read was taken after the stamp, so the clock must have gone back.
            return Err(ConvertError::Stepped);
        }
        let at = reads
            .windows(2)
            .rposition(|pair| pair[0].b <= nanos && nanos <= pair[1].b)
            .ok_or(if self.steps > 0 && self.len == 1 {
                ConvertError::Stepped
            } else {
                ConvertError::TooOld
            })?;
        let (from, to) = (reads[at], reads[at + 1]);
        let rise = Rise::between(from, to);
        let into = (nanos - from.b) as f64;
        let raw = from.a + (into * rise.raw / rise.clock).round() as i64;

        // Had the rate changed once within the pair, from that of the pair before, the straight
        // line between the reads would be off by at most the change of the mean rate times the
        // time from either end.
        let before = at
            .checked_sub(1)
            .map(|i| Rise::between(reads[i], reads[at]));
        let change = before.map_or(0.0, |before| rise.change_since(before));
        let bend = change * into.max(rise.clock - into);
        let error = from.error.max(to.error) as f64 + bend + 1.0;
        Ok(Converted {
            raw,
            error: error.ceil() as i64,
        })
    }
}

/// What both clocks gained between two cross-reads, ns.
#[derive(Clone, Copy)]
struct Rise {
    raw: f64,
    clock: f64,
    noise: f64,
}

impl Rise {
    fn between(from: CrossRead, to: CrossRead) -> Self {
        Self {
            raw: to.a.saturating_sub(from.a).max(1) as f64,
            clock: to.b.saturating_sub(from.b) as f64,
            noise: (from.error + to.error) as f64,
        }
    }

    fn rate(self) -> f64 {
        self.clock / self.raw - 1.0
    }

    /// By how much the mean rate surely differs from that of `before`; 0 if it may be the same.
    fn change_since(self, before: Self) -> f64 {
        let noise = self.noise / self.raw + before.noise / before.raw;
        ((self.rate() - before.rate()).abs() - noise).max(0.0)
    }

    /// Whether no slew explains this. Without a rate before it, nominal ±10 % (the kernel's limit)
    /// is taken for possible.
    fn jumped(self, before: Option<Self>) -> bool {
        match before {
            Some(before) => self.change_since(before) > STEP_RATE,
            None => self.rate().abs() - self.noise / self.raw > 0.101,
        }
    }
}
