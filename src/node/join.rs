//! How a clock gets to where the others are: by jumps, until nothing is left to jump.

use super::promise::Keeper;
use super::round::{ELSEWHERE, HELD_QUARTERS, LONGEST_ROUND, Readings, STREAK, elsewhere};
use super::{Node, Size};
use crate::consensus::{self, Combine, Target};
use crate::link::LinkEstimator;
use crate::time::{Rate, RawTime};
use crate::wire::ClockState;

/// Joining that takes more than this many times as long as newcomers listen has stalled, from when
/// frequencies were known: until then it cannot end.
const STALLED: i64 = 3;

/// A joining clock this close to the others, and better than four sigma, has arrived.
const ARRIVED: f64 = 2_000.0;

/// Share of what a clock may be off by to have arrived that is worth a jump.
const WORTH: f64 = 0.25;

/// In a network that forms, clocks this share of the scatter from the median stay.
const SCATTERED: f64 = 0.3;

/// A frequency this well known is worth adopting while joining: at least, and where the offset is
/// known so badly that it takes [`RATE_MATTERS`] seconds to notice.
const RATE_KNOWN: (f64, f64) = (0.5e-6, 2e-6);

/// That of one clock alone may be known so many times worse than that of all.
const RATE_MIXED: f64 = 6.0;

/// In ns of offset for each unit of frequency: ten seconds.
const RATE_MATTERS: f64 = 10e9;

/// Joining that takes more than this many times as long as newcomers listen takes the others to be as
/// near as asymmetric paths let them seem.
const AS_IT_SEEMS: i64 = 8;

/// Clocks that are apart by less than this share of what they were apart a round ago are still
/// coming closer.
const MEETING: f64 = 0.8;

/// In a network that forms, a frequency that is off by no more than so many sigma stays.
const NOISE: f64 = 2.0;

/// A joining frequency this close to the others has arrived.
const RATE_ARRIVED: f64 = 0.2e-6;

impl<E: LinkEstimator, C: Combine, S: Size> Node<E, C, S> {
    /// Neighbours are there (again): is our clock still among them?
    pub(super) fn come_back(&mut self, now: RawTime, readings: &Readings) {
        let was_settled = self.clock.view.state == ClockState::Holdover;
        let near = consensus::target(readings.as_slice(), was_settled).is_some_and(|target| {
            target.offset.abs() <= elsewhere(target.sigma.max(target.unknown))
        });
        if was_settled && near {
            self.synchronized(now, ELSEWHERE, RATE_ARRIVED);
        } else {
            self.clock.joining_since = Some(now);
            self.clock.leash = None;
            self.enter(ClockState::Joining);
        }
    }

    /// Jump to the others until nothing is left to jump.
    pub(super) fn join(&mut self, now: RawTime, readings: &Readings) {
        let since = *self.clock.joining_since.get_or_insert(now);
        let knowing = self.clock.knowing_since.map(|known| now - known);
        let stalled = knowing.is_some_and(|span| span > self.config.listen * STALLED);
        let target = if stalled {
            consensus::meeting_point(readings.as_slice())
        } else {
            consensus::target(readings.as_slice(), false)
        };
        let Some(target) = target else {
            return;
        };
        // Asymmetric paths keep clocks that have met apart, as it seems, but not those that are
        // still on their way to each other, nor those that liars with two faces keep apart: the
        // midpoint brings these together first.
        let met = now - since > self.config.listen * AS_IT_SEEMS
            && target.scatter <= target.reach
            && target.scatter >= MEETING * self.clock.scatter;
        self.clock.scatter = target.scatter;
        let mut arrived = ARRIVED.max(4.0 * target.sigma);
        let mut around = arrived;
        if met {
            arrived = arrived.max(4.0 * target.unknown);
            around = arrived.max(target.scatter);
        }
        let known = (target.sigma / RATE_MATTERS).clamp(RATE_KNOWN.0, RATE_KNOWN.1);
        let near = target.offset.abs() <= arrived
            && target.rate.abs() <= RATE_ARRIVED.max(4.0 * target.rate_sigma)
            && target.rate_sigma <= known
            && consensus::majority_within(readings.as_slice(), around);
        if target.rate_sigma <= known {
            self.adopt_rate(now, readings, &target, known);
        }
        self.clock.view.last_offset = target.offset;
        self.clock.streak = if near {
            self.clock.streak.saturating_add(1)
        } else {
            0
        };
        let last = self.clock.streak >= STREAK && now - since >= self.config.listen;
        // On the way a jump must stand out from the noise, or clocks would chase each other's; in a
        // crowd also from what liars who are all on one side do to a median, or they would move it
        // each time. What the last jump leaves is slewed: a second per microsecond.
        let worth = WORTH * arrived;
        let worth = match (last, target.crowd) {
            (true, _) => worth.min(ARRIVED),
            (false, true) => worth.max(SCATTERED * target.scatter),
            (false, false) => worth,
        };
        if target.offset.abs() > worth {
            self.step(now, target.offset);
        }
        self.judge(readings);
        if last {
            self.synchronized(now, arrived, RATE_ARRIVED.max(4.0 * target.rate_sigma));
        }
    }

    /// Run as fast as the others do.
    fn adopt_rate(&mut self, now: RawTime, readings: &Readings, target: &Target, sigma: f64) {
        self.tie_leash(readings);
        let line = self.clock.view.line;
        let begins = self.clock.knowing_since.is_none();
        self.clock.knowing_since.get_or_insert(now);
        let oscillators = consensus::oscillator_centre(readings.as_slice());
        let forming = !consensus::established(readings.as_slice(), false);
        let known = self
            .true_rate(readings, RATE_MIXED * sigma)
            .filter(|_| forming);
        let rate = match (known, oscillators) {
            (Some(known), _) => known,
            // Nobody's clock runs at a frequency that anybody agreed on yet.
            (_, Some(centre)) if begins && target.crowd => Rate::from_fraction(centre.rate),
            // Who takes up what is noise moves with the liars each time.
            _ if target.crowd && target.rate.abs() <= NOISE * target.rate_sigma => return,
            _ => line.rate() + Rate::from_fraction(target.rate),
        };
        self.clock.view.line = line.with_rate(now, self.leashed(rate));
    }

    /// The clock is right to `reach` ns and, in frequency, to `rate_reach`.
    pub(super) fn synchronized(&mut self, now: RawTime, reach: f64, rate_reach: f64) {
        self.clock.settled_rounds = 0;
        self.clock.entered_with = (0.5 * reach, 0.5 * rate_reach);
        let hold = self.config.poll / 4 * HELD_QUARTERS + LONGEST_ROUND;
        let line = &self.clock.view.line;
        self.clock.promise = Keeper::new(now, line, self.config.max_correction, hold);
        self.enter(ClockState::Synchronized);
    }
}
