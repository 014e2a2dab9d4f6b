//! How much an oscillator wanders, measured while it is compared.

/// Shortest distance between two samples, s; each level doubles it.
const SHORTEST: f64 = 4.0;

/// Distances of 4 s to 2048 s.
const LEVELS: usize = 10;

/// Second differences before a level is believed.
const ENOUGH: u16 = 6;

/// Second differences that a level remembers.
const REMEMBERED: u16 = 32;

/// The wander must show this clearly above the noise of the comparison, as a ratio of variances.
const CLEAR: f64 = 3.0;

/// Measures the random walk of a frequency from phases, in fixed memory.
///
/// The second difference of the phase over distances of τ, `x(t) − 2x(t−τ) + x(t−2τ)`, has the
/// variance `2τ²·AVAR(τ)`; a frequency that walks by `w` per √s makes `AVAR(τ) = w²τ/3`, and
/// noise of variance `σ²` in the phase adds `6σ²` to that of the difference (D. Allan 1966;
/// W. Riley, *Handbook of Frequency Stability Analysis*, NIST SP 1065, 2008). The shortest τ at
/// which the walk stands out from the noise is the one nearest to what a filter has to follow.
#[derive(Debug, Clone)]
pub struct WanderMeter {
    levels: [Level; LEVELS],
}

#[derive(Debug, Clone, Copy)]
struct Level {
    /// The last two phases, ns, and when they were taken, s; the newer one first.
    phases: [f64; 2],
    times: [f64; 2],
    taken: u8,
    counted: u16,
    /// Mean square of the second differences and of what noise gives to them, ns².
    square: f32,
    noise: f32,
}

const EMPTY: Level = Level {
    phases: [0.0; 2],
    times: [0.0; 2],
    taken: 0,
    counted: 0,
    square: 0.0,
    noise: 0.0,
};

impl Default for WanderMeter {
    fn default() -> Self {
        Self {
            levels: [EMPTY; LEVELS],
        }
    }
}

impl WanderMeter {
    /// At `at` (s) the phase was `phase` (ns), give or take the root of `variance` (ns²).
    pub fn push(&mut self, at: f64, phase: f64, variance: f64) {
        let mut distance = SHORTEST;
        for level in &mut self.levels {
            level.push(at, phase, variance, distance);
            distance *= 2.0;
        }
    }

    /// The phases that follow belong to another line, or the clock was changed: differences across
    /// the change mean nothing.
    pub fn interrupt(&mut self) {
        self.levels.iter_mut().for_each(|level| level.taken = 0);
    }

    /// The wander in ns/s per √s; `None` until it stands out.
    pub fn wander(&self) -> Option<f64> {
        let mut distance = SHORTEST;
        for level in &self.levels {
            let (square, noise) = (f64::from(level.square), f64::from(level.noise));
            if level.counted >= ENOUGH && square > (1.0 + CLEAR) * noise {
                return Some(((square - noise) / (2.0 / 3.0 * distance.powi(3))).sqrt());
            }
            distance *= 2.0;
        }
        None
    }
}

impl Level {
    fn push(&mut self, at: f64, phase: f64, variance: f64, distance: f64) {
        if self.taken > 0 && at - self.times[0] < distance {
            return;
        }
        if self.taken == 2 {
            // Rounds are not evenly spaced: compare slopes.
            let slope = |x: [f64; 2], t: [f64; 2]| (x[0] - x[1]) / (t[0] - t[1]);
            let bend = slope([phase, self.phases[0]], [at, self.times[0]])
                - slope(self.phases, self.times);
            let difference = bend * distance;
            self.counted = (self.counted + 1).min(REMEMBERED);
            let weight = 1.0 / f32::from(self.counted);
            self.square += weight * ((difference * difference) as f32 - self.square);
            self.noise += weight * ((6.0 * variance) as f32 - self.noise);
        }
        (self.phases, self.times) = ([phase, self.phases[0]], [at, self.times[0]]);
        self.taken = (self.taken + 1).min(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gaussian noise from a seed, by the sum of twelve uniforms.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> f64 {
            let uniforms = (0..12).map(|_| {
                self.0 = self
                    .0
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (self.0 >> 11) as f64 / (1u64 << 53) as f64
            });
            uniforms.sum::<f64>() - 6.0
        }
    }

    /// What is measured of an oscillator that wanders by `wander`, through noise of `sigma`.
    fn measured(wander: f64, sigma: f64, seconds: u32) -> Option<f64> {
        let mut noise = Noise(7);
        let mut meter = WanderMeter::default();
        let (mut phase, mut rate) = (0.0, 20_000.0);
        for second in 0..seconds {
            let (a, b) = (noise.next(), noise.next());
            phase += rate + wander * (0.5 * a + b / 12f64.sqrt());
            rate += wander * a;
            let seen = phase + sigma * noise.next();
            meter.push(f64::from(second), seen, sigma * sigma);
        }
        meter.wander()
    }

    #[test]
    fn good_and_bad_oscillators_are_told_apart() {
        for (wander, sigma) in [
            (0.1, 20.0),
            (1.0, 50.0),
            (1.0, 0.1),
            (10.0, 50.0),
            (10.0, 1e3),
        ] {
            let found = measured(wander, sigma, 6_000).unwrap();
            assert!(
                (0.6..1.6).contains(&(found / wander)),
                "{wander} {sigma}: {found}"
            );
        }
    }

    #[test]
    fn noise_alone_is_no_wander() {
        assert_eq!(measured(0.0, 50.0, 3_000), None);
        assert_eq!(measured(1.0, 50.0, 20), None);
    }
}
