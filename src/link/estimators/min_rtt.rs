//! The clock filter of the NTP school: of the last eight exchanges the quickest counts.
//!
//! Source: RFC 5905, section 10 and appendix A.5.2 (the filter is D. L. Mills', *Internet time
//! synchronization: the Network Time Protocol*, IEEE Trans. Communications 39(10), 1991). The
//! register's dispersions grow by φ = 15 ppm of their age; sorted by delay, the peer's dispersion
//! is `Σ ε_i/2^(i+1)` and its jitter `√(Σ (θ_i − θ_0)²/(n − 1))`. A sample is used at most once and
//! none that is older than one used before; one that leaps by more than three times the jitter is a
//! popcorn spike and passed over.
//!
//! The rate is that of a line through the successive minima, since our clocks are free-running;
//! offsets in the register are compared along it.
//!
//! Wins where a few packets find the path empty and most do not (Internet, heavy tails), and costs
//! next to nothing. Fails where the shortest round trip says little: Gaussian noise of the stamps,
//! where it throws seven of eight exchanges away.

use super::fit::STAMP_FLOOR;
use super::window::Window;
use crate::link::{Belief, Exchange, Interval, LinkEstimator, OscillatorSpec};

/// Stages of the shift register (NSTAGE).
const STAGES: usize = 8;
/// Dispersion of an empty stage, ns (MAXDISP).
const MOST_DISPERSION: f64 = 16e9;
/// Growth of the dispersion, ns per second (PHI).
const PHI: f64 = 15e3;
/// A spike leaps by more than so many times the jitter (SGATE).
const SPIKE_GATE: f64 = 3.0;
/// Spikes in a row after which the offset is believed to have moved.
const MOST_SPIKES: u8 = 3;
/// The quickest exchange is typically off by so much of the jitter.
const BEST: f64 = 0.5;
/// Minima that the line goes through.
const MINIMA: usize = 16;
/// Minima that the line goes through at least, however old they are.
const FEWEST_MINIMA: u16 = 6;

#[derive(Debug, Clone, Copy)]
struct Stage {
    at: f64,
    offset: f64,
    half_delay: f64,
    /// Dispersion when it came in, ns.
    error: f64,
}

/// The minimum-RTT filter; see the module's documentation.
#[derive(Debug, Clone)]
pub struct MinRtt {
    register: [Option<Stage>; STAGES],
    minima: Window<MINIMA>,
    /// Jitter when a sample was last used, ns.
    jitter: f64,
    spikes: u8,
}

impl MinRtt {
    /// The peer's dispersion at `at` in nanoseconds as RFC 5905 defines it: a cautious bound on
    /// the error of the filter's choice, 16 s before the first exchange.
    pub fn dispersion(&self, at: f64) -> f64 {
        let mut weight = 1.0;
        self.by_delay().iter().fold(0.0, |sum, stage| {
            weight *= 0.5;
            sum + weight * stage.map_or(MOST_DISPERSION, |s| Self::aged(&s, at))
        })
    }

    fn aged(stage: &Stage, at: f64) -> f64 {
        (stage.error + PHI * (at - stage.at).max(0.0)).min(MOST_DISPERSION)
    }

    /// The stages, quickest first, empty ones last.
    fn by_delay(&self) -> [Option<Stage>; STAGES] {
        let mut sorted = self.register;
        let key = |stage: &Option<Stage>| stage.map_or(f64::INFINITY, |s| s.half_delay);
        sorted.sort_unstable_by(|a, b| key(a).total_cmp(&key(b)));
        sorted
    }

    /// Deviation of the others from the quickest, ns, along the line.
    fn jitter(&self, best: &Stage) -> f64 {
        let rate = self.minima.rate();
        let (mut sum, mut others) = (0.0, -1.0);
        for stage in self.register.iter().flatten() {
            let off = stage.offset - best.offset - rate * (stage.at - best.at);
            sum += off * off;
            others += 1.0;
        }
        (sum / f64::max(others, 1.0)).sqrt()
    }
}

impl LinkEstimator for MinRtt {
    type Kind = ();

    fn new((): (), spec: &OscillatorSpec) -> Self {
        Self {
            register: [None; STAGES],
            minima: Window::new(spec, FEWEST_MINIMA),
            jitter: f64::INFINITY,
            spikes: 0,
        }
    }

    fn update(&mut self, exchange: &Exchange) {
        self.register.copy_within(..STAGES - 1, 1);
        self.register[0] = Some(Stage {
            at: exchange.at,
            offset: exchange.offset,
            half_delay: exchange.half_delay,
            error: exchange.stamp_sigma.max(STAMP_FLOOR),
        });
        let [Some(best), ..] = self.by_delay() else {
            return;
        };
        if self.minima.newest().is_some_and(|used| best.at <= used.at) {
            return;
        }
        let leap = self
            .minima
            .fit()
            .map_or(0.0, |fit| fit.residual(best.at, best.offset).abs());
        if leap > SPIKE_GATE * self.jitter.max(best.error) && self.spikes < MOST_SPIKES {
            self.spikes += 1;
            return;
        }
        self.spikes = 0;
        self.jitter = self.jitter(&best);
        let noise = best.error.hypot(BEST * self.jitter);
        self.minima.push(best.at, best.offset, noise, true);
        self.minima.settle();
        self.minima.fit_line();
    }

    fn at(&self, at: f64) -> Option<Belief> {
        self.minima.belief(at)
    }

    fn confine(&mut self, at: f64, interval: &Interval) {
        self.minima.confine(at, interval);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::exchange;
    use super::*;

    #[test]
    fn dispersion_falls_as_that_of_ntp() {
        // A peer's dispersion in ms after each of its first packets, as ntpq shows it: each takes
        // the place of 16 s in a sum that halves the weight from one to the next.
        let mut filter = MinRtt::new((), &OscillatorSpec::default());
        assert_eq!(filter.dispersion(0.0), 16e9 * 255.0 / 256.0);
        for expected in [7_937.5, 3_937.5, 1_937.5, 937.5, 437.5, 187.5, 62.5, 0.0] {
            filter.update(&exchange(0.0, 0.0, 1_000.0));
            let millis = filter.dispersion(0.0) * 1e-6;
            assert!((millis - expected).abs() < 0.01, "{millis} {expected}");
        }
        // 15 ppm of 64 s, weighed by 255/256.
        let aged = filter.dispersion(64.0) - filter.dispersion(0.0);
        assert!((aged - 960_000.0 * 255.0 / 256.0).abs() < 1.0, "{aged}");
    }

    #[test]
    fn the_quickest_of_eight_is_used_once() {
        let mut filter = MinRtt::new((), &OscillatorSpec::default());
        let mut at = 0.0;
        let mut feed = |filter: &mut MinRtt, offset, half_delay| {
            at += 1.0;
            filter.update(&exchange(at, offset, half_delay));
            filter.minima.newest().map(|used| (used.at, used.offset))
        };
        assert_eq!(feed(&mut filter, 5.0, 1_000.0), Some((1.0, 5.0)));
        // Slower ones do not count until the quick one has left the register.
        for k in 1..8_i32 {
            let slow = 2_000.0 + f64::from(k);
            assert_eq!(feed(&mut filter, 900.0, slow), Some((1.0, 5.0)));
        }
        assert_eq!(feed(&mut filter, 7.0, 1_500.0), Some((9.0, 7.0)));
    }

    #[test]
    fn a_popcorn_spike_is_passed_over_but_a_step_is_not() {
        let mut filter = MinRtt::new((), &OscillatorSpec::default());
        for k in 0..40 {
            let wobble = f64::from(k % 3) * 10.0;
            filter.update(&exchange(f64::from(k), wobble, 1_000.0 - f64::from(k)));
        }
        let before = filter.at(40.0).map(|belief| belief.offset);
        filter.update(&exchange(40.0, 500_000.0, 900.0));
        assert_eq!(filter.at(40.0).map(|belief| belief.offset), before);
        for k in 41..80 {
            filter.update(&exchange(f64::from(k), 500_000.0, 900.0 - f64::from(k)));
        }
        let offset = filter.at(80.0).map_or(0.0, |belief| belief.offset);
        assert!((offset - 500_000.0).abs() < 50_000.0, "{offset}");
    }
}
