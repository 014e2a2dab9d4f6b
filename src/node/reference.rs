//! What hosts that know the true frequency tell of it.
//!
//! A *reference* has an oscillator that is right, or knows by how much it is not. It sees how much
//! faster than true time the virtual clock moves, and tells that in place of what its neighbours say
//! ([`super::anchor`]); hosts that are configured to trust it pass it on and lean accordingly. So
//! colluders cannot drag the common frequency away, whose median oscillator nobody else knows to better
//! than some ppm.
//!
//! References are believed to the last bit, so the sum of what they saw counts as well: whatever
//! pushes all clocks for ever is outweighed in the end without anything left (a controller with
//! proportional and integral part, critically damped).

use serde::{Deserialize, Serialize};

use super::anchor::{MOST, RETURN};
use crate::time::{RawTime, VirtualLine, VirtualTime};

/// Polls over which it averages what it sees.
const AVERAGED: f64 = 10.0;

/// What a reference sees of the virtual clock.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Witness {
    /// Where its line was when it last looked.
    seen: Option<(RawTime, (VirtualTime, f64))>,
    /// How much faster than true time it moves, as a fraction.
    excess: Option<f64>,
    /// Sum of that over the polls.
    ahead: f64,
}

impl Witness {
    /// What it tells, as soon as it knows.
    pub(super) fn told(self) -> Option<f64> {
        let told = self.excess? + self.ahead / (4.0 * RETURN);
        Some(told.clamp(-MOST, MOST))
    }

    /// How much faster than true time the clock moves.
    pub(super) const fn seen(self) -> Option<f64> {
        self.excess
    }

    /// Look at `line` at `now`; the raw clock is slower than true time by `truth` of it. A part of a
    /// poll, `share`, will have passed until the next time.
    ///
    /// How fast a clock really moves is seen from where it is: what slews add for ever is not in its
    /// rate.
    pub(super) fn look(&mut self, now: RawTime, line: &VirtualLine, truth: f64, share: f64) {
        let at = line.settled().at_exact(now);
        let seen = self.seen.replace((now, at));
        let Some((then, (whole, part))) = seen.filter(|(then, _)| *then < now) else {
            return;
        };
        let elapsed = now - then;
        let moved = (at.0 - whole - elapsed).as_nanos_f64() + (at.1 - part);
        let excess = moved / elapsed.as_nanos_f64() - truth;
        let before = self.excess.unwrap_or(line.rate().as_fraction() - truth);
        let averaged = before + (share / AVERAGED).min(1.0) * (excess - before);
        self.excess = Some(averaged);
        // Beyond what all would correct, a sum would only grow.
        if self.told().is_some_and(|told| told.abs() < MOST) {
            self.ahead += share * averaged;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Rate, Span};

    /// A reference whose raw clock is 3 ppm slow, in a network that starts at `start` ppm, is pushed by
    /// `push` ppm a poll, and leans as it tells. How fast it runs, ppm, after so many polls each.
    fn after(start: f64, push: f64, polls: &[usize]) -> Vec<f64> {
        let mut witness = Witness::default();
        let second = Span::from_secs(1);
        let mut now = RawTime::from_nanos(0);
        let mut line = VirtualLine::new(now, VirtualTime::from_nanos(0), Rate::ZERO);
        let mut excess = 1e-6 * start;
        let mut all = Vec::new();
        for poll in 0..=polls[polls.len() - 1] {
            line = line.with_rate(now, Rate::from_fraction(excess + 3e-6));
            witness.look(now, &line, 3e-6, 1.0);
            excess += 1e-6 * push - witness.told().unwrap_or(0.0) / RETURN;
            if polls.contains(&poll) {
                all.push(1e6 * excess);
            }
            now += second;
        }
        all
    }

    #[test]
    fn a_network_comes_to_run_at_the_true_frequency() {
        let rates = after(10.0, 0.0, &[0, 200, 400, 1_500]);
        assert!(rates[0] > 9.8 && rates[1].abs() < 1.5, "{rates:?}");
        assert!((-2.5..0.0).contains(&rates[2]), "{rates:?}");
        assert!(rates[3].abs() < 0.05, "{rates:?}");
    }

    #[test]
    fn what_pushes_for_ever_leaves_nothing() {
        let rates = after(0.0, 0.05, &[200, 2_000]);
        assert!((1.0..5.0).contains(&rates[0]), "{rates:?}");
        assert!(rates[1].abs() < 0.01, "{rates:?}");
    }
}
