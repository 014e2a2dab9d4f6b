//! The virtual clock as its owner carries it: a line over the raw clock.

use serde::{Deserialize, Serialize};

use super::{Rate, RawTime, Span, VirtualTime};

/// `virtual = epoch + (1 + rate)·(raw − origin)`, plus a correction that is slewed in until a
/// given instant and then stops by itself, so that a late round cannot overshoot.
///
/// The phase keeps its fraction of a nanosecond: a line that is re-anchored often loses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VirtualLine {
    origin: RawTime,
    epoch: VirtualTime,
    fraction: f64,
    rate: Rate,
    slew: Rate,
    slew_until: RawTime,
}

impl VirtualLine {
    /// A line through (`origin`, `epoch`) with frequency `rate` relative to raw.
    #[inline]
    pub const fn new(origin: RawTime, epoch: VirtualTime, rate: Rate) -> Self {
        Self {
            origin,
            epoch,
            fraction: 0.0,
            rate,
            slew: Rate::ZERO,
            slew_until: origin,
        }
    }

    /// The point the line is anchored at: raw, virtual, and the virtual instant's fraction of a
    /// nanosecond in `[0, 1)`.
    #[inline]
    pub const fn origin(&self) -> (RawTime, VirtualTime, f64) {
        (self.origin, self.epoch, self.fraction)
    }

    /// The same line with `fraction` of a nanosecond at its origin; what is not in `[0, 1)` is
    /// taken as zero.
    pub fn with_fraction(&self, fraction: f64) -> Self {
        let fraction = if (0.0..1.0).contains(&fraction) {
            fraction
        } else {
            0.0
        };
        Self { fraction, ..*self }
    }

    /// The same line with a slew of `slew` from its origin until `until`; none if that is not
    /// after the origin.
    pub fn with_slew_until(&self, slew: Rate, until: RawTime) -> Self {
        let slewing = until > self.origin;
        Self {
            slew: if slewing { slew } else { Rate::ZERO },
            slew_until: if slewing { until } else { self.origin },
            ..*self
        }
    }

    /// The lasting frequency of the virtual clock relative to raw, without any slew in progress.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// The frequency at `raw`, a slew in progress included.
    #[inline]
    pub fn rate_at(&self, raw: RawTime) -> Rate {
        if raw < self.slew_until {
            self.rate + self.slew
        } else {
            self.rate
        }
    }

    /// The slew in progress and its end.
    pub const fn slew(&self) -> (Rate, RawTime) {
        (self.slew, self.slew_until)
    }

    /// The line that this one will be on when its slew is done: where its owner wants it to be.
    #[inline]
    pub fn settled(&self) -> Self {
        let gained = self.fraction + self.slew.over(self.slew_until - self.origin);
        let whole = floor(gained);
        Self {
            epoch: self.epoch + Span::from_nanos(whole as i64),
            fraction: gained - whole,
            slew: Rate::ZERO,
            slew_until: self.origin,
            ..*self
        }
    }

    /// The virtual time at `raw`, and its fraction of a nanosecond in `[0, 1)`.
    #[inline]
    pub fn at_exact(&self, raw: RawTime) -> (VirtualTime, f64) {
        let elapsed = raw - self.origin;
        let slewed = raw.min(self.slew_until) - self.origin;
        let (whole, fraction) =
            split(self.fraction + self.rate.over(elapsed) + self.slew.over(slewed));
        (self.epoch + elapsed + whole, fraction)
    }

    /// The virtual time at `raw`.
    pub fn at(&self, raw: RawTime) -> VirtualTime {
        self.at_exact(raw).0
    }

    /// The same line with its origin moved to `raw`; nothing else changes.
    #[inline]
    pub fn anchored_at(&self, raw: RawTime) -> Self {
        let (epoch, fraction) = self.at_exact(raw);
        let slewing = raw < self.slew_until;
        Self {
            origin: raw,
            epoch,
            fraction,
            rate: self.rate,
            slew: if slewing { self.slew } else { Rate::ZERO },
            slew_until: if slewing { self.slew_until } else { raw },
        }
    }

    /// From `raw` on, run at `rate`. Continuous in phase.
    #[inline]
    pub fn with_rate(&self, raw: RawTime, rate: Rate) -> Self {
        Self {
            rate,
            ..self.anchored_at(raw)
        }
    }

    /// From `raw` on, gain `nanos` nanoseconds over `duration`, replacing any slew in progress.
    /// Continuous in phase; a duration that is not positive leaves the line as it is.
    #[inline]
    pub fn with_slew(&self, raw: RawTime, nanos: f64, duration: Span) -> Self {
        let line = self.anchored_at(raw);
        if duration <= Span::ZERO {
            return line;
        }
        Self {
            slew: Rate::from_fraction(nanos / duration.as_nanos_f64()),
            slew_until: raw + duration,
            ..line
        }
    }

    /// At `raw`, jump by `nanos` nanoseconds and forget any slew in progress.
    pub fn stepped(&self, raw: RawTime, nanos: f64) -> Self {
        let line = self.anchored_at(raw);
        let (whole, fraction) = split(line.fraction + nanos);
        Self {
            epoch: line.epoch + whole,
            fraction,
            slew: Rate::ZERO,
            slew_until: raw,
            ..line
        }
    }
}

/// [`f64::floor`], which is a function call on processors of the first generation.
#[inline]
pub(crate) fn floor(nanos: f64) -> f64 {
    /// From here on all numbers are whole.
    const WHOLE: f64 = (1_i64 << 52) as f64;
    if nanos.abs() < WHOLE {
        let near = nanos as i64 as f64;
        if near > nanos { near - 1.0 } else { near }
    } else {
        nanos
    }
}

/// Whole nanoseconds and the rest, in `[0, 1)`.
#[inline]
fn split(nanos: f64) -> (Span, f64) {
    let whole = floor(nanos);
    let fraction = nanos - whole;
    if fraction < 1.0 {
        (Span::from_nanos(whole as i64), fraction)
    } else {
        // A negative number too small to be told from zero beside one.
        (Span::from_nanos((whole + 1.0) as i64), 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_never_a_whole_nanosecond() {
        assert_eq!(split(2.25), (Span::from_nanos(2), 0.25));
        assert_eq!(split(-0.25), (Span::from_nanos(-1), 0.75));
        assert_eq!(split(-1e-20), (Span::ZERO, 0.0));
    }

    #[test]
    fn the_floor_is_the_floor() {
        for magnitude in [
            0.0,
            0.3,
            1.0,
            2.5,
            1e9 + 0.125,
            2f64.powi(52) - 0.5,
            1e18,
            f64::INFINITY,
        ] {
            for nanos in [magnitude, -magnitude] {
                assert_eq!(floor(nanos), nanos.floor());
            }
        }
        assert!(floor(f64::NAN).is_nan());
    }

    fn raw(ns: i64) -> RawTime {
        RawTime::from_nanos(ns)
    }

    #[test]
    fn slew_is_continuous_and_ends_by_itself() {
        let line = VirtualLine::new(raw(1_000), VirtualTime::from_nanos(5_000), Rate::ZERO);
        let line = line.with_slew(raw(2_000), 100.0, Span::from_nanos(1_000_000));
        assert_eq!(line.at(raw(2_000)).as_nanos(), 6_000);
        assert_eq!(line.at(raw(502_000)).as_nanos(), 506_050);
        assert_eq!(line.at(raw(1_002_000)).as_nanos(), 1_006_100);
        assert_eq!(line.at(raw(9_002_000)).as_nanos(), 9_006_100);
    }

    #[test]
    fn anchoring_often_loses_no_phase() {
        let rate = Rate::from_ppm(33.3);
        let fixed = VirtualLine::new(raw(0), VirtualTime::from_nanos(0), rate);
        let mut moving = fixed;
        for k in 1..=100_000 {
            moving = moving.anchored_at(raw(k * 1_001));
        }
        let at = raw(200_000_000);
        assert!((moving.at(at) - fixed.at(at)).abs() <= Span::from_nanos(1));
    }

    #[test]
    fn a_step_keeps_the_rate_and_drops_the_slew() {
        let line = VirtualLine::new(raw(0), VirtualTime::from_nanos(0), Rate::from_ppm(10.0))
            .with_slew(raw(0), 1e6, Span::from_secs(1))
            .stepped(raw(0), -500.5);
        assert_eq!(line.at_exact(raw(0)), (VirtualTime::from_nanos(-501), 0.5));
        assert_eq!(line.rate_at(raw(1)), Rate::from_ppm(10.0));
    }
}
