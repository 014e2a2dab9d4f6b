//! Raw clocks in few bytes.
//!
//! The same processes as [`crate::sim::Oscillator`] and the same parameters, but one segment a tick
//! for all hosts at the same instants, no list of ramps and no generator of its own: 72 bytes in
//! place of 300. That is why it is not the same code.

use serde::{Deserialize, Serialize};

use super::event::Happening;
use crate::sim::{OscillatorModel, Random};

/// Time constants of the processes that add up to flicker noise, seconds; each sixteen times the
/// one before.
const FLICKER_TIMES: [f64; 4] = [0.5, 8.0, 128.0, 2048.0];

/// From the beginning of a tick on the clock reads `start` and runs at `1 + rate`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Segment {
    /// True time, ns.
    pub(super) begin: i64,
    /// ns.
    pub(super) start: f64,
    pub(super) rate: f64,
}

impl Segment {
    /// The reading at true time `at`, which may be a little before its beginning.
    pub(super) fn read(&self, at: i64) -> f64 {
        let elapsed = (at - self.begin) as f64;
        self.start + elapsed + self.rate * elapsed
    }
}

/// One raw clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Clock {
    pub(super) segment: Segment,
    base: f64,
    walk: f64,
    flicker: [f32; FLICKER_TIMES.len()],
}

impl Clock {
    /// A clock that reads anything up to a quarter of an hour at true time `now`.
    pub(super) fn new(model: &OscillatorModel, now: i64, random: &mut Random) -> Self {
        let share = flicker_share(model);
        let mut clock = Self {
            segment: Segment {
                begin: now,
                start: (1e12 * random.unit()).round(),
                rate: 0.0,
            },
            base: random.symmetric(model.drift.0),
            walk: 0.0,
            flicker: [(); FLICKER_TIMES.len()].map(|()| (share * random.gaussian()) as f32),
        };
        clock.segment.rate = clock.frequency();
        clock
    }

    /// Its frequency without noise, as a fraction.
    pub(super) const fn base(&self) -> f64 {
        self.base
    }

    /// Go on to the tick that begins at `begin` and lasts `seconds`. `warmth`: by how much the
    /// temperature shifts the frequency then.
    pub(super) fn advance(
        &mut self,
        model: &OscillatorModel,
        begin: i64,
        seconds: f64,
        warmth: f64,
        random: &mut Random,
    ) {
        let start = self.segment.read(begin);
        self.walk += model.wander.0 * seconds.sqrt() * random.gaussian();
        let share = flicker_share(model);
        if share > 0.0 {
            for (state, time) in self.flicker.iter_mut().zip(FLICKER_TIMES) {
                let keep = (-seconds / time).exp();
                let fresh = share * (1.0 - keep * keep).sqrt() * random.gaussian();
                *state = (keep * f64::from(*state) + fresh) as f32;
            }
        }
        let mut rate = self.frequency() + warmth;
        if model.white.0 > 0.0 {
            rate += model.white.0 / seconds.sqrt() * random.gaussian();
        }
        self.segment = Segment { begin, start, rate };
    }

    fn frequency(&self) -> f64 {
        self.base + self.walk + self.flicker.iter().map(|f| f64::from(*f)).sum::<f64>()
    }
}

/// By how much the temperature shifts the frequency of host `n` in round `round`.
pub(super) fn warmth(happenings: &[Happening], n: u32, round: f64) -> f64 {
    let shifts = happenings.iter().map(|happening| match happening {
        Happening::Warmth { shift, from, until } => {
            // Not all by the same, nor all the same way.
            let own = super::identity::scatter(u64::from(n) ^ 0x7761_726d) as i32;
            let own = f64::from(own) / f64::from(i32::MAX);
            let part = ((round - from) / (until - from).max(1e-9)).clamp(0.0, 1.0);
            shift.0 * own * part
        }
        _ => 0.0,
    });
    shifts.sum()
}

/// One sigma of each process of the flicker noise; see [`crate::sim::Oscillator`].
fn flicker_share(model: &OscillatorModel) -> f64 {
    let step: f64 = FLICKER_TIMES[1] / FLICKER_TIMES[0];
    model.flicker.0 * (step.ln() / (2.0 * std::f64::consts::LN_2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Fraction;

    #[test]
    fn the_walk_has_the_allan_deviation_of_its_wander() {
        let model = OscillatorModel {
            drift: Fraction(0.0),
            wander: Fraction(1e-9),
            ..OscillatorModel::default()
        };
        // 16 s in ticks of 0.25 s: w·√(τ/3).
        let (mut sum, mut count) = (0.0, 0.0);
        for seed in 0..400 {
            let mut random = Random::new(seed, 0);
            let mut clock = Clock::new(&model, 0, &mut random);
            let mut phases = Vec::new();
            for tick in 0..=128 {
                let begin = tick * 250_000_000;
                clock.advance(&model, begin, 0.25, 0.0, &mut random);
                if tick % 64 == 0 {
                    phases.push(clock.segment.start - begin as f64);
                }
            }
            let second = phases[2] - 2.0 * phases[1] + phases[0];
            sum += second * second;
            count += 1.0;
        }
        let deviation = (sum / count / 2.0_f64).sqrt() / 16e9;
        let expected = 1e-9 * (16.0 / 3.0_f64).sqrt();
        assert!(
            (deviation / expected - 1.0).abs() < 0.15,
            "{deviation} {expected}"
        );
    }

    #[test]
    fn the_temperature_moves_hosts_differently_and_then_stays() {
        let step = [Happening::Warmth {
            shift: Fraction(1e-6),
            from: 10.0,
            until: 20.0,
        }];
        assert_eq!(warmth(&step, 3, 9.0), 0.0);
        assert_eq!(warmth(&step, 3, 20.0), warmth(&step, 3, 99.0));
        assert!(warmth(&step, 3, 20.0).abs() <= 1e-6);
        assert_ne!(warmth(&step, 3, 20.0), warmth(&step, 4, 20.0));
    }
}
