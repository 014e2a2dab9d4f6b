//! The promise that a synchronized node makes with each packet, and how it keeps it.

use crate::time::{Rate, RawTime, Span, VirtualLine};
use crate::wire::Promise;

/// Parts of the time a promise holds; what was told in the oldest is forgotten together.
const PARTS: usize = 8;

/// What is promised is so many times what was needed of late.
const RESERVE: f64 = 4.0;

/// A need is remembered for as long as a promise holds, and for this long at least.
const MEMORY: Span = Span::from_secs(30);

/// No closer promise is made.
const CLOSEST: f64 = 20e-9;

/// Knows what was told to others, and so how fast the clock may run.
///
/// Who hears a line must know how far its owner may have left it since: that is part of every
/// guaranteed bound. Rates rather than phases are kept: if at every instant the clock's rate is
/// within `p` of all rates that were told in the last `hold`, it is within `p·age` of every line.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    most: f64,
    promised: f64,
    need: f64,
    hold: Span,
    parts: [Told; PARTS],
    since: RawTime,
}

/// The extremes of what was told in a part of the time, as fractions.
#[derive(Debug, Clone, Copy)]
struct Told {
    least: f64,
    largest: f64,
    promised: f64,
}

const NOTHING: Told = Told {
    least: f64::INFINITY,
    largest: f64::NEG_INFINITY,
    promised: f64::INFINITY,
};

impl Keeper {
    /// Nothing was told yet, and at first nothing closer than `most` will be.
    pub(super) fn new(now: RawTime, most: Rate, hold: Span) -> Self {
        let most = most.as_fraction();
        Self {
            most,
            promised: most,
            need: most / RESERVE,
            hold,
            parts: [NOTHING; PARTS],
            since: now,
        }
    }

    /// `line` is about to be told: with what promise.
    pub(super) fn announce(&mut self, now: RawTime, line: &VirtualLine) -> Promise {
        self.pass(now);
        let (rate, slew) = (line.rate().as_fraction(), line.slew().0.as_fraction());
        let told = &mut self.parts[0];
        told.least = told.least.min(rate.min(rate + slew));
        told.largest = told.largest.max(rate.max(rate + slew));
        told.promised = told.promised.min(self.promised);
        Promise {
            rate: Rate::from_fraction(self.promised),
            hold: self.hold,
        }
    }

    /// Between which rates the clock may run.
    pub(super) fn allowed(&mut self, now: RawTime) -> (f64, f64) {
        self.pass(now);
        let lower = self.parts.iter().map(|told| told.largest - told.promised);
        let upper = self.parts.iter().map(|told| told.least + told.promised);
        (
            lower.fold(f64::NEG_INFINITY, f64::max),
            upper.fold(f64::INFINITY, f64::min),
        )
    }

    /// For `period` the rate is wanted to change by `change`: promise as much as such changes need.
    /// It holds for as long as others may have to do without hearing us.
    pub(super) fn plan(&mut self, change: f64, period: Span, hold: Span) {
        let forgotten = period.as_nanos_f64() / hold.max(MEMORY).as_nanos_f64();
        self.need = (self.need * (-forgotten).exp()).max(change.abs());
        self.promised = (RESERVE * self.need).clamp(CLOSEST, self.most);
        self.hold = hold;
    }

    /// The promise in force.
    pub(super) fn promised(&self) -> Rate {
        Rate::from_fraction(self.promised)
    }

    fn pass(&mut self, now: RawTime) {
        let part = self.hold / (PARTS as i64 - 1);
        while now - self.since >= part {
            self.parts.rotate_right(1);
            self.parts[0] = NOTHING;
            self.since += part;
            if now - self.since > self.hold {
                self.parts = [NOTHING; PARTS];
                self.since = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::VirtualTime;
    use proptest::prelude::*;

    const HOLD: Span = Span::from_secs(8);
    const SECOND: Span = Span::from_secs(1);

    fn line(at: RawTime, rate: f64) -> VirtualLine {
        VirtualLine::new(at, VirtualTime::from_nanos(0), Rate::from_fraction(rate))
    }

    #[test]
    fn what_was_told_binds_until_it_is_forgotten() {
        let at = |s: i64| RawTime::from_nanos(0) + Span::from_secs(s);
        let mut keeper = Keeper::new(at(0), Rate::from_ppm(1.0), HOLD);
        assert_eq!(keeper.allowed(at(0)), (f64::NEG_INFINITY, f64::INFINITY));
        keeper.announce(at(0), &line(at(0), 10e-6));
        let (lower, upper) = keeper.allowed(at(7));
        assert!((lower - 9e-6).abs() < 1e-12 && (upper - 11e-6).abs() < 1e-12);
        keeper.announce(at(7), &line(at(7), 10.5e-6));
        let (lower, upper) = keeper.allowed(at(7));
        assert!((lower - 9.5e-6).abs() < 1e-12 && (upper - 11e-6).abs() < 1e-12);
        let (lower, upper) = keeper.allowed(at(12));
        assert!((lower - 9.5e-6).abs() < 1e-12 && (upper - 11.5e-6).abs() < 1e-12);
        assert_eq!(keeper.allowed(at(40)), (f64::NEG_INFINITY, f64::INFINITY));
    }

    #[test]
    fn calm_clocks_promise_more() {
        let now = RawTime::from_nanos(0);
        let mut keeper = Keeper::new(now, Rate::from_ppm(1.0), HOLD);
        (0..500).for_each(|_| keeper.plan(1e-9, SECOND, HOLD));
        assert_eq!(keeper.promised(), Rate::from_fraction(CLOSEST));
        keeper.plan(0.1e-6, SECOND, HOLD);
        assert!((keeper.promised().as_fraction() - 0.4e-6).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn no_line_is_left_faster_than_promised(
            rounds in prop::collection::vec((-2e-6..2e-6f64, 0.1..3.0f64), 1..80),
        ) {
            let mut now = RawTime::from_nanos(0);
            let mut keeper = Keeper::new(now, Rate::from_ppm(1.0), HOLD);
            let mut told: Vec<(RawTime, f64, f64)> = Vec::new();
            let mut rate = 0.0;
            for (wanted, seconds) in rounds {
                let (lower, upper) = keeper.allowed(now);
                keeper.plan(wanted - rate, HOLD);
                rate = wanted.max(lower).min(upper);
                for (then, said, promised) in &told {
                    if now - *then <= HOLD {
                        prop_assert!((rate - said).abs() <= promised + 1e-15);
                    }
                }
                let promise = keeper.announce(now, &line(now, rate));
                told.push((now, rate, promise.rate.as_fraction()));
                now += Span::from_nanos_f64(1e9 * seconds);
            }
        }
    }
}
