//! How much an oscillator wanders, measured online: the Allan deviation over octaves of τ, and the
//! random walk of the frequency in it.
//!
//! Sources: W. J. Riley, *Handbook of frequency stability analysis*, NIST SP 1065 (2008), sections
//! 5.2.4 (modified Allan deviation) and 5.4; D. W. Allan and J. A. Barnes, *A modified "Allan
//! variance" with increased oscillator characterization ability*, 35th Freq. Control Symp. (1981).
//!
//! The phase is averaged over pauses of τ₀, these averages over pairs, pairs of pairs and so on. At
//! each octave the second differences d of successive averages give the modified Allan variance,
//! `Mod σ²(τ) = ⟨d²⟩/(2τ²)`, without overlap. A walk of the frequency by c per √s and white phase
//! noise with variance A at τ₀ make of it
//!
//! ```text
//! ⟨d²⟩ = 11/20·c²·τ³ + 6·A·τ₀/τ
//! ```
//!
//! (white noise is averaged away, which the plain Allan variance does not do). At short τ only the
//! noise of the measurement shows, at long τ only the walk: both are fitted to all octaves at once,
//! each weighed by how well it is known. Single leaps of the phase count for no more than four sigma.

use std::array;

/// Octaves of τ.
const OCTAVES: usize = 9;
/// The mean squares go back by so many τ₀, so that changes of the oscillator are followed, but by no
/// more second differences than the most and no fewer than the least.
const MEMORY: u32 = 4096;
const MOST_REMEMBERED: u32 = 128;
const FEWEST_REMEMBERED: u32 = 16;
/// Second differences from which on one of them is cut to [`MOST_SIGMAS`].
const FEWEST_TO_CUT: u8 = 12;
/// A second difference counts for at most so many times the deviation.
const MOST_SIGMAS: f32 = 4.0;
/// Pauses without a sample, in τ₀, that are filled in; after longer ones the averages start afresh.
const LONGEST_GAP: f64 = 4.0;
/// No oscillator is this far off, ns/s: the phase was stepped.
const MOST_RATE: f64 = 1e6;
/// Octave at which the rate that is taken out follows the oscillator's.
const RATE_OCTAVE: usize = 4;
/// Second differences of a walk with c² = 1 over averages of length 1.
const WALK: f64 = 11.0 / 20.0;
/// Second differences of white noise with variance 1.
const WHITE: f64 = 6.0;
/// Octaves with at least [`FEWEST_TO_COUNT`] second differences before anything is said.
const FEWEST_OCTAVES: usize = 3;
const FEWEST_TO_COUNT: u8 = 4;

/// Rounds of weighing the octaves by what the round before expects of them.
const ROUNDS: usize = 6;
/// Variance of a squared Gaussian, and of the mean of correlated ones, in squared expectations.
const SPREAD: f64 = 6.5;

/// One octave: averages over τ, as differences from one to the next, so that an f32 holds them.
#[derive(Debug, Clone, Copy, Default)]
struct Octave {
    /// The last difference of successive averages, ns.
    last: f32,
    /// `D₀ + 2·D₁` of the differences that make the next octave's.
    partial: f32,
    /// Mean of the squared second differences, ns².
    mean_square: f32,
    /// Second differences in it.
    count: u8,
    /// Differences since the start, at most 3, then 2 and 3 in turn.
    seen: u8,
}

impl Octave {
    /// Takes in the difference of two successive averages; that of the next octave if it is
    /// complete. With averages x₀ … x₃ it is `(x₂ + x₃ − x₀ − x₁)/2 = (D₀ + 2·D₁ + D₂)/2`, and D₂
    /// is the first of the next but one.
    fn push(&mut self, difference: f32, memory: u8) -> Option<f32> {
        if self.seen > 0 {
            self.learn(difference - self.last, memory);
        }
        self.last = difference;
        self.seen += 1;
        match self.seen {
            1 => {
                self.partial = difference;
                None
            }
            2 => {
                self.partial += 2.0 * difference;
                None
            }
            _ => {
                let next = 0.5 * (self.partial + difference);
                (self.partial, self.seen) = (difference, 1);
                Some(next)
            }
        }
    }

    fn learn(&mut self, second: f32, memory: u8) {
        let mut square = second * second;
        if self.count >= FEWEST_TO_CUT {
            square = square.min(MOST_SIGMAS * MOST_SIGMAS * self.mean_square);
        }
        self.count = (self.count + 1).min(memory);
        self.mean_square += (square - self.mean_square) / f32::from(self.count);
    }

    /// The averages are interrupted; what was learnt stays.
    fn interrupt(&mut self) {
        self.seen = 0;
    }
}

/// The wander of an oscillator, or of two against each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wander {
    /// Random walk of the frequency, as a fraction per √s: what was measured. Between two like
    /// oscillators it is √2 times that of one.
    pub coefficient: f64,
    /// One sigma of the coefficient: with two of them more it is rarely exceeded.
    pub sigma: f64,
    /// White noise of the phase averaged over τ₀, one sigma, ns.
    pub white: f64,
}

/// The online Allan deviation; see the module's documentation. Fixed size, no allocation.
#[derive(Debug, Clone)]
pub struct Allan {
    /// Seconds.
    tau: f32,
    /// Rate that is taken out of all differences, ns/s.
    rate: f32,
    /// When the average that is being taken began, seconds.
    start: f64,
    /// The average before it: when, and the phase. At first, the first sample.
    last_at: f64,
    last_phase: f64,
    /// Sums over the average: instants since its start, and what the phases are off the line from
    /// the last average on. Samples do not fall on the middle of the average; with the rate taken
    /// out that does not matter, and what is left still adds up to the phase.
    sum_at: f32,
    sum_rest: f32,
    /// Samples in it.
    count: u16,
    /// There is an average before it.
    going: bool,
    octaves: [Octave; OCTAVES],
}

impl Allan {
    /// Nothing measured; the shortest averages last `tau0` seconds. Several samples should fall
    /// into one of them, or one at a steady pace.
    pub fn new(tau0: f64) -> Self {
        Self {
            tau: tau0 as f32,
            rate: 0.0,
            start: 0.0,
            last_at: 0.0,
            last_phase: 0.0,
            sum_at: 0.0,
            sum_rest: 0.0,
            count: 0,
            going: false,
            octaves: [Octave::default(); OCTAVES],
        }
    }

    /// Takes in the phase, ns, at an instant, seconds on the raw clock. Instants that go back are
    /// passed over.
    pub fn push(&mut self, at: f64, phase: f64) {
        if !(at.is_finite() && phase.is_finite()) {
            return;
        }
        if !self.going && self.count == 0 {
            (self.start, self.last_at, self.last_phase) = (at, at, phase);
        }
        let tau = f64::from(self.tau);
        let periods = ((at - self.start) / tau).floor();
        if periods < 0.0 {
            return;
        }
        if periods >= 1.0 {
            self.complete();
            if periods > LONGEST_GAP {
                self.interrupt();
                (self.start, self.last_at, self.last_phase) = (at, at, phase);
            } else {
                self.start += periods * tau;
            }
        }
        self.count = self.count.saturating_add(1);
        self.sum_at += (at - self.start) as f32;
        let expected = self.last_phase + f64::from(self.rate) * (at - self.last_at);
        self.sum_rest += (phase - expected) as f32;
    }

    /// The phase leapt (a clock was stepped): what comes is not compared with what was.
    pub fn interrupt(&mut self) {
        (self.count, self.sum_at, self.sum_rest) = (0, 0.0, 0.0);
        self.going = false;
        self.octaves.iter_mut().for_each(Octave::interrupt);
    }

    /// Ends the average that is being taken.
    fn complete(&mut self) {
        if self.count == 0 {
            return;
        }
        let count = f32::from(self.count);
        let at = self.start + f64::from(self.sum_at / count);
        let rest = f64::from(self.sum_rest / count);
        (self.count, self.sum_at, self.sum_rest) = (0, 0.0, 0.0);
        let apart = at - self.last_at;
        let phase = self.last_phase + f64::from(self.rate) * apart + rest;
        if self.going && (phase - self.last_phase).abs() > MOST_RATE * apart {
            self.interrupt();
        }
        if !self.going {
            self.going = true;
        } else if self.rate == 0.0 {
            self.rate = (rest / apart) as f32;
            self.climb(0.0);
        } else {
            // Periods without a sample are filled in evenly.
            let periods = (apart / f64::from(self.tau)).round().max(1.0);
            for _ in 0..periods as u8 {
                self.climb((rest / periods) as f32);
            }
        }
        (self.last_at, self.last_phase) = (at, phase);
    }

    fn climb(&mut self, mut difference: f32) {
        let mut reached = 0;
        for k in 0..OCTAVES {
            let memory = (MEMORY >> k).clamp(FEWEST_REMEMBERED, MOST_REMEMBERED) as u8;
            reached = k;
            match self.octaves[k].push(difference, memory) {
                Some(next) => difference = next,
                None => break,
            }
        }
        if reached >= RATE_OCTAVE {
            let left = self.octaves[RATE_OCTAVE].last / self.tau(RATE_OCTAVE) as f32;
            self.turn_to(self.rate + left);
        }
    }

    /// Takes out this rate from now on, and from what is remembered.
    fn turn_to(&mut self, rate: f32) {
        let turn = f64::from(rate) - f64::from(self.rate);
        self.rate = rate;
        for k in 0..OCTAVES {
            let shift = (turn * self.tau(k)) as f32;
            let octave = &mut self.octaves[k];
            octave.last -= shift;
            octave.partial -= match octave.seen {
                1 => shift,
                2 => 3.0 * shift,
                _ => 0.0,
            };
        }
    }

    fn tau(&self, octave: usize) -> f64 {
        f64::from(self.tau) * f64::from(1_u32 << octave)
    }

    /// τ in seconds, the modified Allan deviation there (a fraction), and the number of second
    /// differences behind it; shortest τ first, as far as any were seen.
    pub fn deviations(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        let seen = self.octaves.iter().enumerate().filter(|(_, o)| o.count > 0);
        seen.map(|(k, octave)| {
            let tau = self.tau(k);
            let deviation = (0.5 * f64::from(octave.mean_square)).sqrt() * 1e-9 / tau;
            (tau, deviation, f64::from(octave.count))
        })
    }

    /// The wander that the deviations show; `None` before they reach over enough octaves.
    pub fn wander(&self) -> Option<Wander> {
        let known = self.octaves.iter().filter(|o| o.count >= FEWEST_TO_COUNT);
        if known.count() < FEWEST_OCTAVES {
            return None;
        }
        // Mean squares m at the octaves as c²·w + A·a, weighed by their variance, 2·v²/n of the
        // expectation v (that of a mean of n squares, somewhat more for neighbours are correlated).
        let rows: [_; OCTAVES] = array::from_fn(|k| {
            let octave = &self.octaves[k];
            let tau = self.tau(k);
            let walk = WALK * 1e18 * tau * tau * tau;
            let white = WHITE * f64::from(self.tau) / tau;
            let count = if octave.count >= FEWEST_TO_COUNT {
                f64::from(octave.count)
            } else {
                0.0
            };
            (walk, white, f64::from(octave.mean_square), count)
        });
        let (mut walk, mut white, mut variance) = (0.0, 0.0, f64::INFINITY);
        for round in 0..ROUNDS {
            let mut sums = [0.0; 5];
            for (w, a, seen, count) in rows.into_iter().filter(|row| row.3 > 0.0) {
                let expected = if round == 0 {
                    seen
                } else {
                    walk * w + white * a
                };
                let weight = count / (SPREAD * (expected * expected).max(f64::MIN_POSITIVE));
                for (sum, term) in sums
                    .iter_mut()
                    .zip([w * w, w * a, a * a, w * seen, a * seen])
                {
                    *sum += weight * term;
                }
            }
            let [ww, wa, aa, ws, as_] = sums;
            let determinant = ww * aa - wa * wa;
            if determinant <= 0.0 {
                return None;
            }
            walk = (aa * ws - wa * as_) / determinant;
            white = (ww * as_ - wa * ws) / determinant;
            variance = aa / determinant;
            if walk <= 0.0 {
                (walk, white) = (0.0, as_ / aa);
            } else if white <= 0.0 {
                (walk, white) = (ws / ww, 0.0);
                variance = 1.0 / ww;
            }
        }
        let coefficient = walk.sqrt();
        Some(Wander {
            coefficient,
            sigma: 0.5 * ((walk + 2.0 * variance.sqrt()).sqrt() - coefficient),
            white: white.sqrt(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::estimators::testing::Random;
    use super::*;

    #[test]
    fn the_nbs_data_give_the_published_deviations() {
        // NIST SP 1065, section 12.1: nine frequencies, their phases, and their Allan deviation at
        // τ = 1, which the modified one equals.
        const FREQUENCIES: [f64; 9] = [
            892.0, 809.0, 823.0, 798.0, 671.0, 644.0, 883.0, 903.0, 677.0,
        ];
        let mut allan = Allan::new(1.0);
        let mut phase = 0.0;
        allan.push(0.0, phase);
        for (k, frequency) in FREQUENCIES.iter().enumerate() {
            phase += frequency;
            allan.push(k as f64 + 1.0, phase);
        }
        // Another sample completes the last average.
        allan.push(10.0, phase);
        let (tau, deviation, count) = allan.deviations().next().unwrap();
        assert_eq!((tau, count), (1.0, 8.0));
        assert!((deviation * 1e9 - 91.22945).abs() < 1e-3, "{deviation}");
        assert!(allan.wander().is_none());
    }

    #[test]
    fn the_thousand_point_suite_gives_the_published_deviations() {
        // NIST SP 1065, section 12.4: a linear congruential generator, white frequency noise.
        // Mod σ(1) = 0.2922319, overlapping Mod σ(10) = 6.172376e-2, Mod σ(100) = 2.170921e-2. Here
        // at octaves, without overlap and over the last 128, so within their uncertainty.
        let mut allan = Allan::new(1.0);
        let (mut n, mut phase) = (1_234_567_890_u64, 0.0);
        for k in 0..=1_001 {
            allan.push(f64::from(k), phase);
            phase += n as f64 / 2_147_483_647.0;
            n = 16_807 * n % 2_147_483_647;
        }
        let deviations: Vec<_> = allan.deviations().map(|(_, d, _)| d * 1e9).collect();
        assert!(
            (deviations[0] / 0.292_231_9 - 1.0).abs() < 0.1,
            "{deviations:?}"
        );
        // White frequency noise falls with the root of τ.
        let at_eight = 6.172_376e-2 * (10_f64 / 8.0).sqrt();
        assert!(
            (deviations[3] / at_eight - 1.0).abs() < 0.25,
            "{deviations:?}"
        );
    }

    /// An oscillator that wanders, read with white noise, at a pace of its own.
    fn measure(wander: f64, noise: f64, tau: f64, seconds: f64, seed: u64) -> Allan {
        let mut random = Random::new(seed);
        let mut allan = Allan::new(tau);
        let (mut at, mut phase, mut rate) = (1e6, 5e12, 37_000.0);
        while at < 1e6 + seconds {
            let gap = 0.5 + random.uniform();
            let kick = 1e9 * wander * gap.sqrt();
            let (a, b) = (random.gaussian(), random.gaussian());
            phase += gap * (rate + kick * (0.5 * a + b / 12f64.sqrt()));
            rate += kick * a;
            at += gap;
            allan.push(at, phase + noise * random.gaussian());
        }
        allan
    }

    #[test]
    fn pure_wander_has_the_deviation_of_theory() {
        // Mod σ² of a walk is 33/40 of σ² = c²·τ/3.
        let mut squares = [0.0; 6];
        for seed in 0..40 {
            let allan = measure(1e-8, 0.0, 4.0, 4_000.0, seed);
            for (sum, (tau, deviation, _)) in squares.iter_mut().zip(allan.deviations()) {
                *sum += deviation * deviation / (33.0 / 40.0 * 1e-16 * tau / 3.0) / 40.0;
            }
        }
        // The shortest averages are over a few samples only.
        for square in &squares[1..] {
            assert!((0.85..1.15).contains(square), "{squares:?}");
        }
    }

    const SEEDS: u64 = 24;

    #[test]
    fn wander_is_found_below_the_noise_that_hides_it() {
        // The noise of a link, 700 ns: at τ of a few seconds nothing else shows.
        for wander in [1e-10, 1e-9, 1e-8] {
            let seconds = if wander < 5e-10 { 80_000.0 } else { 20_000.0 };
            let (mut mean, mut inside) = (0.0, 0);
            for seed in 0..SEEDS {
                let found = measure(wander, 700.0, 4.0, seconds, seed).wander().unwrap();
                mean += found.coefficient / SEEDS as f64;
                inside += u64::from((found.coefficient - wander).abs() <= 2.0 * found.sigma);
                // Four samples make a sample of the shortest averages.
                assert!(found.sigma < wander, "{found:?}");
            }
            assert!((0.75..1.25).contains(&(mean / wander)), "{wander}: {mean}");
            assert!((20..=SEEDS).contains(&inside), "{wander}: {inside}");
        }
    }

    #[test]
    fn leaps_gaps_and_late_samples_do_not_pass_for_wander() {
        let mut random = Random::new(9);
        let mut allan = Allan::new(4.0);
        for k in 0..20_000 {
            // Every 1000 s the phase is 50 µs off once; 30 s in every 2000 are missing.
            let leap = if k % 1_000 == 500 { 50_000.0 } else { 0.0 };
            if k % 2_000 < 30 {
                continue;
            }
            let at = f64::from(k);
            allan.push(at, 1e4 * at + leap + 100.0 * random.gaussian());
            allan.push(at - 10.0, 0.0);
        }
        let found = allan.wander().unwrap();
        assert!(found.coefficient + 2.0 * found.sigma < 1e-9, "{found:?}");
    }

    #[test]
    fn a_change_of_the_oscillator_is_followed() {
        let mut random = Random::new(2);
        let mut allan = Allan::new(4.0);
        let (mut phase, mut rate) = (0.0, 0.0);
        let mut found = [0.0; 2];
        for (half, wander) in [1e-8, 1e-9].into_iter().enumerate() {
            for k in 0..40_000 {
                rate += 1e9 * wander * random.gaussian();
                phase += rate;
                let at = f64::from(k) + 40_000.0 * half as f64;
                allan.push(at, phase + 100.0 * random.gaussian());
            }
            found[half] = allan.wander().unwrap().coefficient;
        }
        assert!((0.7e-8..1.4e-8).contains(&found[0]), "{found:?}");
        assert!((0.5e-9..3e-9).contains(&found[1]), "{found:?}");
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Allan>() <= 200, "{}", size_of::<Allan>());
    }

    proptest::proptest! {
        #[test]
        fn nothing_leaves_the_finite(
            samples in proptest::collection::vec((-1.0..40.0f64, -1e15..1e15f64), 1..400),
        ) {
            let mut allan = Allan::new(2.0);
            let mut at = 0.0;
            for (gap, phase) in samples {
                at += gap;
                allan.push(at, phase);
                if let Some(Wander { coefficient, sigma, white }) = allan.wander() {
                    let all = [coefficient, sigma, white];
                    proptest::prop_assert!(all.iter().all(|x| x.is_finite() && *x >= 0.0));
                }
            }
        }
    }
}
