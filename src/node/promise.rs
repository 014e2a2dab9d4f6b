//! The promise that a synchronized node makes with each packet, and how it keeps it.

use serde::{Deserialize, Serialize};

use crate::time::{Rate, RawTime, Span, VirtualLine};
use crate::wire::{MOST_SLACK, Promise};

/// Parts of the time a promise holds; what was told in the oldest is forgotten together.
const PARTS: usize = 8;

/// What is promised is so many times what was needed of late.
const RESERVE: f64 = 2.0;

/// A need is remembered for as long as a promise holds, and for this long at least.
const MEMORY: Span = Span::from_secs(15);

/// Knows what was told to others, and so where the clock may go.
///
/// Who hears a line must know how far its owner may have left it since: that is part of every
/// guaranteed bound. Of the lines that were told in the last `hold`, each part of that time keeps
/// two lines that enclose them all from then on; the clock stays within slack and rate of either.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Keeper {
    /// Phases are relative to this line.
    reference: VirtualLine,
    most: f64,
    /// In force: slack in ns, and rate.
    promised: (f64, f64),
    needed: (f64, f64),
    hold: Span,
    parts: [Told; PARTS],
    since: RawTime,
}

/// What was told in a part of the time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Told {
    /// When the last of it was told.
    at: RawTime,
    /// Least and largest phase then of all these lines, slewing or settled, ns.
    phases: (f64, f64),
    /// The same of their lasting rates, as fractions.
    rates: (f64, f64),
    /// The closest slack (ns) and rate promised with them.
    promised: (f64, f64),
}

const NOTHING: Told = Told {
    at: RawTime::from_nanos(0),
    phases: NONE,
    rates: NONE,
    promised: (f64::INFINITY, f64::INFINITY),
};

/// Least and largest of nothing.
const NONE: (f64, f64) = (f64::INFINITY, f64::NEG_INFINITY);

impl Keeper {
    /// Nothing was told yet, and at first nothing will be but that `line` is left no faster than
    /// `most`.
    pub(super) fn new(now: RawTime, line: &VirtualLine, most: Rate, hold: Span) -> Self {
        let most = most.as_fraction();
        Self {
            reference: line.anchored_at(now).settled(),
            most,
            promised: (0.0, most),
            needed: (0.0, most / RESERVE),
            hold,
            parts: [NOTHING; PARTS],
            since: now,
        }
    }

    /// `line` is about to be told: with what promise, its owner's oscillator wandering by no more
    /// than `wander`.
    pub(super) fn announce(
        &mut self,
        now: RawTime,
        line: &VirtualLine,
        wander: Option<f64>,
    ) -> Promise {
        self.pass(now);
        let (shown, settled) = (self.phase(line, now), self.phase(&line.settled(), now));
        let rate = line.rate().as_fraction();
        // A slew in progress must not break it at once.
        let slack = self.promised.0.max((settled - shown).abs());
        let reference = self.reference.rate().as_fraction();
        let told = &mut self.parts[0];
        told.advance(now, reference);
        told.phases = span(told.phases, [shown, settled]);
        told.rates = span(told.rates, [rate, rate]);
        told.promised.0 = told.promised.0.min(slack);
        told.promised.1 = told.promised.1.min(self.promised.1);
        Promise {
            slack: Span::from_nanos_f64(slack.ceil()),
            rate: Rate::from_fraction(self.promised.1),
            hold: self.hold,
            wander,
        }
    }

    /// The clock, now on `line`, should run at `rate` and gain `slew` ns on top within `period`:
    /// as much of either as was promised. What is promised from now on is what such changes need,
    /// for at least `hold`, but no less slack than `spare` (ns) and no less rate than it takes to
    /// go as far again in that time.
    pub(super) fn keep(
        &mut self,
        now: RawTime,
        line: &VirtualLine,
        (rate, slew): (f64, f64),
        period: Span,
        hold: Span,
        spare: f64,
    ) -> (f64, f64) {
        self.pass(now);
        let phase = self.phase(line, now);
        let reference = self.reference.rate().as_fraction();
        let ahead = period.as_nanos_f64();
        let then = |rate: f64| phase + (rate - reference) * ahead;
        let mut need = (slew.abs(), 0.0_f64);
        let (mut slowest, mut fastest) = (f64::NEG_INFINITY, f64::INFINITY);
        let mut phases = (f64::NEG_INFINITY, f64::INFINITY);
        for told in self.parts.iter().filter(|told| told.rates != NONE) {
            let mut told = *told;
            let age = (now + period - told.at).as_nanos_f64();
            told.advance(now + period, reference);
            let room = told.promised.0 + told.promised.1 * age;
            phases.0 = phases.0.max(told.phases.1 - room);
            phases.1 = phases.1.min(told.phases.0 + room);
            slowest = slowest.max(told.rates.1 - told.promised.1);
            fastest = fastest.min(told.rates.0 + told.promised.1);
            let wanted = then(rate) + slew;
            let off = (wanted - told.phases.0).max(told.phases.1 - wanted);
            need.0 = need.0.max(off);
            need.1 = need.1.max(rate - told.rates.0).max(told.rates.1 - rate);
        }
        let forgotten = period.as_nanos_f64() / self.hold.max(MEMORY).as_nanos_f64();
        let memory = (-forgotten).exp();
        self.needed.0 = (memory * self.needed.0).max(need.0);
        self.needed.1 = (memory * self.needed.1).max(need.1);
        let most = MOST_SLACK.as_nanos_f64();
        self.hold = self.hold.max(hold);
        let spare_rate = spare / self.hold.as_nanos_f64();
        self.promised.0 = (RESERVE * self.needed.0).max(spare).min(most);
        self.promised.1 = (RESERVE * self.needed.1).max(spare_rate).min(self.most);
        let rate = rate.max(slowest).min(fastest);
        let slew = slew.max(phases.0 - then(rate)).min(phases.1 - then(rate));
        (rate, slew)
    }

    /// `line` at `at`, ns ahead of the reference.
    fn phase(&self, line: &VirtualLine, at: RawTime) -> f64 {
        let ((there, part), (zero, zero_part)) = (line.at_exact(at), self.reference.at_exact(at));
        (there - zero).as_nanos_f64() + (part - zero_part)
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

impl Told {
    /// The same lines at `now`.
    fn advance(&mut self, now: RawTime, reference: f64) {
        if self.rates != NONE {
            let elapsed = (now - self.at).as_nanos_f64();
            self.phases.0 += (self.rates.0 - reference) * elapsed;
            self.phases.1 += (self.rates.1 - reference) * elapsed;
        }
        self.at = now;
    }
}

fn span((least, largest): (f64, f64), more: [f64; 2]) -> (f64, f64) {
    (
        more.into_iter().fold(least, f64::min),
        more.into_iter().fold(largest, f64::max),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::VirtualTime;
    use proptest::prelude::*;

    const HOLD: Span = Span::from_secs(8);
    const START: RawTime = RawTime::from_nanos(0);

    fn line(rate: f64) -> VirtualLine {
        VirtualLine::new(START, VirtualTime::from_nanos(0), Rate::from_fraction(rate))
    }

    fn keeper() -> Keeper {
        Keeper::new(START, &line(0.0), Rate::from_ppm(1.0), HOLD)
    }

    #[test]
    fn what_was_told_binds_until_it_is_forgotten() {
        let second = Span::from_secs(1);
        let mut keeper = keeper();
        let ask = |keeper: &mut Keeper, at: i64, rate: f64, slew: f64| {
            let now = START + second * at;
            keeper.keep(now, &line(0.0), (rate, slew), second, HOLD, 8.0)
        };
        assert_eq!(ask(&mut keeper, 0, 10e-6, 5.0), (10e-6, 5.0));
        keeper.announce(START, &line(0.0), None);
        // No faster than 1 ppm away, by rate or by slew.
        let (rate, slew) = ask(&mut keeper, 0, 10e-6, 5.0);
        assert!(
            (0.9e-6..=1e-6).contains(&rate) && slew == 5.0,
            "{rate} {slew}"
        );
        let (rate, slew) = ask(&mut keeper, 6, 0.0, -9_000.0);
        assert!(
            rate == 0.0 && (-7_010.0..-6_300.0).contains(&slew),
            "{slew}"
        );
        assert_eq!(ask(&mut keeper, 40, 10e-6, 5.0), (10e-6, 5.0));
    }

    #[test]
    fn calm_clocks_promise_more_and_small_slews_cost_no_rate() {
        let mut keeper = keeper();
        for k in 0..800 {
            let now = START + Span::from_secs(k);
            keeper.announce(now, &line(0.0), Some(1e-9));
            let slew = if k % 2 == 0 { 30.0 } else { -30.0 };
            keeper.keep(now, &line(0.0), (0.0, slew), Span::from_secs(1), HOLD, 8.0);
        }
        let promise = keeper.announce(START + Span::from_secs(800), &line(0.0), Some(1e-9));
        assert_eq!(promise.slack, Span::from_nanos(60));
        assert_eq!(promise.rate, Rate::from_fraction(1e-9));
        assert_eq!((promise.hold, promise.wander), (HOLD, Some(1e-9)));
    }

    proptest! {
        #[test]
        fn every_promise_is_kept_at_every_instant(
            rounds in prop::collection::vec(
                (-3e-7..3e-7f64, -3e3..3e3f64, 0.1..3.0f64, any::<bool>(), 0.3..1.5f64), 1..120),
        ) {
            let mut now = START;
            let mut clock = line(0.0);
            let mut keeper = keeper();
            let mut told: Vec<(RawTime, VirtualLine, Promise)> = Vec::new();
            for (rate, slew, seconds, tells, share) in rounds {
                let calm = if told.len() > 20 { 0.01 } else { 1.0 };
                let period = Span::from_nanos_f64(1e9 * seconds);
                let wanted = (calm * rate, (calm * slew).clamp(-900.0 * seconds, 900.0 * seconds));
                let (rate, slew) = keeper.keep(now, &clock, wanted, period, HOLD, 8.0);
                clock = clock.with_rate(now, Rate::from_fraction(rate)).with_slew(now, slew, period);
                // The next round may come before the slew ends, or late.
                let next = now + Span::from_nanos_f64(1e9 * seconds * share);
                for k in 0..=4 {
                    let at = now + Span::from_nanos_f64((next - now).as_nanos_f64() * f64::from(k) / 4.0);
                    for (then, said, promise) in &told {
                        let age = at - *then;
                        if age > promise.hold {
                            continue;
                        }
                        let ((t, f), (u, g)) = (clock.at_exact(at), said.at_exact(at));
                        let off = ((t - u).as_nanos_f64() + f - g).abs();
                        let room = promise.slack.as_nanos_f64() + promise.rate.over(age);
                        prop_assert!(off <= room + 1e-3, "{off} of {room} after {age:?}");
                    }
                }
                now = next;
                clock = clock.anchored_at(now);
                if tells {
                    told.push((now, clock, keeper.announce(now, &clock, None)));
                }
            }
        }
    }
}
