//! Raw clocks: oscillators with the noise that real ones have.
//!
//! The frequency is constant over segments of 1/8 s and the reading continuous, so a clock can be
//! read exactly in both directions. True time is in nanoseconds since the start of the simulation,
//! raw time in floating-point nanoseconds (2 × 10⁻⁴ ns of resolution after an hour).

use serde::{Deserialize, Serialize};

use super::random::Random;
use crate::units::Fraction;

/// Length of a segment in ns of true time.
const SEGMENT: i64 = 125_000_000;

const SEGMENT_S: f64 = SEGMENT as f64 / 1e9;

/// Time constants of the processes that add up to flicker noise, seconds; each eight times the one
/// before, which keeps the spectrum within 5 % of 1/f between them.
const FLICKER_TIMES: [f64; 5] = [0.5, 4.0, 32.0, 256.0, 2048.0];

/// What an oscillator is like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OscillatorModel {
    /// Frequencies are uniform within ± this.
    pub drift: Fraction,
    /// Random walk of the frequency, per √s. Allan deviation `wander · √(τ/3)`.
    pub wander: Fraction,
    /// Flicker noise of the frequency: the floor of the Allan deviation.
    pub flicker: Fraction,
    /// White noise of the frequency: the Allan deviation at one second, falling as 1/√τ.
    pub white: Fraction,
}

impl Default for OscillatorModel {
    /// An ordinary crystal in a quiet room.
    fn default() -> Self {
        Self {
            drift: Fraction(50e-6),
            wander: Fraction(1e-9),
            flicker: Fraction(0.0),
            white: Fraction(0.0),
        }
    }
}

/// From true time `begin` on the clock reads `start` and runs at `1 + rate`.
#[derive(Debug, Clone, Copy)]
struct Segment {
    begin: i64,
    start: f64,
    rate: f64,
}

impl Segment {
    fn read(&self, at: i64) -> f64 {
        self.start + (1.0 + self.rate) * (at - self.begin) as f64
    }
}

/// The frequency moves by `shift` between `from` and `until`, evenly; at once if they are the same.
#[derive(Debug, Clone, Copy)]
struct Ramp {
    from: i64,
    until: i64,
    shift: f64,
}

impl Ramp {
    fn at(&self, time: i64) -> f64 {
        let whole = (self.until - self.from).max(1) as f64;
        self.shift * ((time - self.from) as f64 / whole).clamp(0.0, 1.0)
    }
}

/// One raw clock.
#[derive(Debug, Clone)]
pub struct Oscillator {
    model: OscillatorModel,
    base: f64,
    walk: f64,
    flicker: [f64; FLICKER_TIMES.len()],
    ramps: Vec<Ramp>,
    now: Segment,
    /// The one before: events near a boundary look back across it.
    before: Segment,
    random: Random,
}

impl Oscillator {
    /// A clock that reads anything up to a quarter of an hour at true time zero.
    pub fn new(model: &OscillatorModel, mut random: Random) -> Self {
        let first = Segment {
            begin: 0,
            start: 1e12 * random.unit(),
            rate: 0.0,
        };
        let base = random.symmetric(model.drift.0);
        let share = flicker_share(model);
        let flicker = std::array::from_fn(|_| share * random.gaussian());
        let mut oscillator = Self {
            model: model.clone(),
            base,
            walk: 0.0,
            flicker,
            ramps: Vec::new(),
            now: first,
            before: first,
            random,
        };
        oscillator.now.rate = oscillator.frequency();
        oscillator.before = oscillator.now;
        oscillator
    }

    /// The raw reading at true time `at`, ns. Time goes forward: back only within the last segment.
    pub fn read(&mut self, at: i64) -> f64 {
        while at >= self.now.begin + SEGMENT {
            self.next_segment();
        }
        let segment = if at < self.now.begin {
            &self.before
        } else {
            &self.now
        };
        segment.read(at)
    }

    /// The first instant of true time at which the clock reads `raw` or more. Exact in the present
    /// segment; beyond it, as exact as the frequency stays the same.
    pub fn when(&self, raw: f64) -> i64 {
        let segment = if raw < self.now.start {
            &self.before
        } else {
            &self.now
        };
        segment.begin + ((raw - segment.start) / (1.0 + segment.rate)).ceil() as i64
    }

    /// The present frequency against true time, as a fraction.
    pub const fn rate(&self) -> f64 {
        self.now.rate
    }

    /// The temperature moves the frequency by `shift`, evenly over `span` ns from `from` on.
    pub fn drift_by(&mut self, shift: f64, from: i64, span: i64) {
        self.ramps.push(Ramp {
            from,
            until: from + span,
            shift,
        });
    }

    /// The reading jumps by `by` ns: the host slept, or has another clock from now on.
    pub fn jump(&mut self, by: f64) {
        self.now.start += by;
        self.before.start += by;
    }

    fn next_segment(&mut self) {
        let model = &self.model;
        self.before = self.now;
        let end = self.now.begin + SEGMENT;
        // White noise of the frequency is a random walk of the phase, here spread over a segment.
        let white = model.white.0 / SEGMENT_S.sqrt();
        self.walk += model.wander.0 * SEGMENT_S.sqrt() * self.random.gaussian();
        let share = flicker_share(model);
        if share > 0.0 {
            for (state, time) in self.flicker.iter_mut().zip(FLICKER_TIMES) {
                let keep = (-SEGMENT_S / time).exp();
                *state =
                    keep * *state + share * (1.0 - keep * keep).sqrt() * self.random.gaussian();
            }
        }
        let noise = if white > 0.0 {
            white * self.random.gaussian()
        } else {
            0.0
        };
        self.now = Segment {
            begin: end,
            start: self.now.read(end),
            rate: 0.0,
        };
        self.now.rate = self.frequency() + noise;
    }

    fn frequency(&self) -> f64 {
        let middle = self.now.begin + SEGMENT / 2;
        let temperature: f64 = self.ramps.iter().map(|ramp| ramp.at(middle)).sum();
        self.base + self.walk + self.flicker.iter().sum::<f64>() + temperature
    }
}

/// One sigma of each process of the flicker noise.
///
/// Processes with the spectrum 4s²τ/(1 + (2πfτ)²), their τ in steps of r, add up to s²/(ln r · f).
/// A spectrum h/f has the Allan variance 2 ln 2 · h.
fn flicker_share(model: &OscillatorModel) -> f64 {
    let step: f64 = FLICKER_TIMES[1] / FLICKER_TIMES[0];
    model.flicker.0 * (step.ln() / (2.0 * std::f64::consts::LN_2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> OscillatorModel {
        OscillatorModel {
            drift: Fraction(0.0),
            wander: Fraction(0.0),
            ..OscillatorModel::default()
        }
    }

    /// Allan deviation at `tau` seconds of the mean of `clocks` clocks over `seconds`.
    fn allan(model: &OscillatorModel, tau: i64, seconds: i64) -> f64 {
        let (mut sum, mut count) = (0.0, 0);
        for seed in 0..8 {
            let mut clock = Oscillator::new(model, Random::new(seed, 0));
            let phases: Vec<f64> = (0..seconds / tau)
                .map(|k| {
                    let at = k * tau * 1_000_000_000;
                    clock.read(at) - at as f64
                })
                .collect();
            for x in phases.windows(3) {
                sum += (x[2] - 2.0 * x[1] + x[0]).powi(2);
                count += 1;
            }
        }
        (sum / (2.0 * f64::from(count))).sqrt() / (tau as f64 * 1e9)
    }

    #[test]
    fn noise_has_the_allan_deviation_it_is_named_for() {
        let wander = OscillatorModel {
            wander: Fraction(1e-9),
            ..quiet()
        };
        for tau in [1, 10, 100] {
            let expected = 1e-9 * (tau as f64 / 3.0).sqrt();
            let ratio = allan(&wander, tau, 20_000) / expected;
            assert!((ratio - 1.0).abs() < 0.1, "wander {tau}: {ratio}");
        }
        let white = OscillatorModel {
            white: Fraction(1e-9),
            ..quiet()
        };
        for tau in [1, 10, 100] {
            let ratio = allan(&white, tau, 20_000) / (1e-9 / (tau as f64).sqrt());
            assert!((ratio - 1.0).abs() < 0.1, "white {tau}: {ratio}");
        }
        let flicker = OscillatorModel {
            flicker: Fraction(1e-10),
            ..quiet()
        };
        for tau in [2, 10, 50, 200] {
            let ratio = allan(&flicker, tau, 20_000) / 1e-10;
            assert!((ratio - 1.0).abs() < 0.15, "flicker {tau}: {ratio}");
        }
    }

    #[test]
    fn reading_and_its_inverse_agree() {
        let mut clock = Oscillator::new(&OscillatorModel::default(), Random::new(3, 0));
        for k in 0..1_000_i64 {
            let at = k * 100_000_007;
            let raw = clock.read(at);
            assert!((clock.when(raw) - at).abs() <= 1, "{k}");
            // A little into the future, across a boundary or not, and back again.
            let ahead = clock.read(at + 10_000);
            assert!((ahead - raw - 10_000.0).abs() < 1.0);
            assert!((clock.read(at) - raw).abs() < 1e-3);
        }
    }

    #[test]
    fn temperature_moves_the_frequency_evenly() {
        let mut clock = Oscillator::new(&quiet(), Random::new(1, 0));
        clock.drift_by(1e-6, 10_000_000_000, 10_000_000_000);
        let start = clock.read(0);
        // Half of 1 ppm on average over ten seconds, then all of it: 5 µs + 10 µs.
        let late = clock.read(30_000_000_000) - start - 30e9;
        assert!((late - 15_000.0).abs() < 1.0, "{late}");
        assert!((clock.rate() - 1e-6).abs() < 1e-15);
    }

    #[test]
    fn a_jump_is_seen_on_both_sides_of_now() {
        let mut clock = Oscillator::new(&quiet(), Random::new(1, 0));
        let raw = clock.read(200_000_000);
        clock.jump(-5e9);
        assert!((clock.read(200_000_000) - raw + 5e9).abs() < 1e-3);
        assert!((clock.read(120_000_000) - raw + 5e9 + 80e6).abs() < 1e-3);
    }
}
