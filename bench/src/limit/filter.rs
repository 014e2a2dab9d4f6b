//! A filter that sees all packets of the network at once.
//!
//! Its state are the phases and frequencies of all clocks, each less the mean of all, and the least
//! delays if they are not known, with one covariance matrix. (Clocks are alike and packets tell only
//! of differences, so the mean is independent of all else, and nobody can know it.) Each packet is one scalar update: with the Kalman filter's
//! moments if only the variance of the noise counts, with those of a truncated Gaussian if packets
//! are never early ([`Update`]). The former is the best there is for Gaussian noise (Kalman 1960).
//! The latter is assumed-density filtering (Maybeck 1982, Minka 2001): of the true posterior only
//! mean and covariance are kept. How little that loses is measured in [`super::posterior`].

use super::moments::below;
use super::problem::{Floors, Noise, Problem};
use super::world::{Exchange, World};

/// Prior deviations are as many times those of a packet: nothing is known at the start.
const IGNORANCE: f64 = 100.0;

/// Memories of the filter until it has settled.
const SETTLED: f64 = 12.0;

/// Estimates that are as good as independent, over hosts and memories: claims differ from run to
/// run by half a per cent then, and errors by two.
const WANTED: f64 = 2000.0;

/// Exchanges after which even a small network has been watched enough.
const ENOUGH: f64 = 400_000.0;

/// What a packet tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// Its delay is Gaussian with this mean and variance.
    Variance,
    /// Its delay is exponential: it was not early.
    OneSided,
}

/// What a filter reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reached {
    /// Root mean square, over hosts and time, of the error of (clock − mean of all clocks), ns.
    pub rms_ns: f64,
    /// What the filter itself takes that to be. It is right, and scatters less.
    pub claimed_ns: f64,
}

/// The filter.
#[derive(Debug, Clone)]
pub struct Filter<'a> {
    problem: &'a Problem,
    update: Update,
    size: usize,
    mean: Vec<f64>,
    /// Covariance, row by row.
    cov: Vec<f64>,
    now: f64,
}

/// Position of the phase of a host; its frequency is the next.
const fn phase(host: usize) -> usize {
    2 * host
}

impl<'a> Filter<'a> {
    /// A filter that knows nothing.
    pub fn new(problem: &'a Problem, update: Update) -> Self {
        let floors = match problem.floors {
            Floors::Known => 0,
            Floors::Unknown => problem.pairs.len(),
        };
        let size = phase(problem.hosts) + floors;
        let mut filter = Self {
            problem,
            update,
            size,
            mean: vec![0.0; size],
            cov: vec![0.0; size * size],
            now: 0.0,
        };
        let sigma = problem.noise.sigma() + problem.stamp_variance().sqrt();
        let rate = IGNORANCE * sigma / problem.memory_s();
        filter.widen((IGNORANCE * sigma).powi(2), 0.0, rate * rate);
        for floor in phase(problem.hosts)..size {
            filter.mean[floor] = problem.floor_spread() / 2.0;
            filter.cov[floor * size + floor] = problem.floor_spread().powi(2);
        }
        filter
    }

    /// What is believed at the instant `at`, s.
    pub fn predict(&mut self, at: f64) {
        let dt = at - self.now;
        self.now = at;
        let size = self.size;
        let wander = self.problem.wander_ns().powi(2);
        let white = self.problem.white_ns().powi(2);
        for x in (0..self.problem.hosts).map(phase) {
            let y = x + 1;
            self.mean[x] += dt * self.mean[y];
            for k in 0..size {
                self.cov[x * size + k] += dt * self.cov[y * size + k];
            }
            for k in 0..size {
                self.cov[k * size + x] += dt * self.cov[k * size + y];
            }
        }
        self.widen(
            wander * dt.powi(3) / 3.0 + white * dt,
            wander * dt * dt / 2.0,
            wander * dt,
        );
    }

    /// Adds independent noise of these variances of phase and rate, and this covariance of the two,
    /// to every clock.
    fn widen(&mut self, phases: f64, both: f64, rates: f64) {
        let mean = 1.0 / self.problem.hosts as f64;
        for a in 0..self.problem.hosts {
            for b in 0..self.problem.hosts {
                let share = if a == b { 1.0 - mean } else { -mean };
                let (row, column) = (phase(a) * self.size, phase(b));
                let next = row + self.size;
                self.cov[row + column] += share * phases;
                self.cov[row + column + 1] += share * both;
                self.cov[next + column] += share * both;
                self.cov[next + column + 1] += share * rates;
            }
        }
    }

    /// Takes in both packets of an exchange.
    pub fn learn(&mut self, exchange: &Exchange) {
        self.predict(exchange.at);
        let (a, b) = exchange.hosts;
        self.packet((a, b), exchange.pair, exchange.apparent.0);
        self.packet((b, a), exchange.pair, exchange.apparent.1);
    }

    /// A packet whose apparent delay is that of its path, the difference of the clocks, and noise.
    fn packet(&mut self, (from, to): (usize, usize), pair: usize, apparent: f64) {
        let mut parts = [(phase(to), 1.0), (phase(from), -1.0), (0, 0.0)];
        if self.problem.floors == Floors::Unknown {
            parts[2] = (phase(self.problem.hosts) + pair, 1.0);
        }
        let size = self.size;
        let mut with = vec![0.0; size];
        let mut expected = 0.0;
        for (part, sign) in parts {
            expected += sign * self.mean[part];
            let row = &self.cov[part * size..(part + 1) * size];
            with.iter_mut().zip(row).for_each(|(w, c)| *w += sign * c);
        }
        let variance: f64 = parts.iter().map(|(part, sign)| sign * with[*part]).sum();
        let (total, mean, left) = match (self.update, self.problem.noise) {
            (Update::OneSided, Noise::Exponential(late)) => {
                // Stamps are Gaussian: together with them the prior is wider. An exponential
                // likelihood shifts a Gaussian by variance/mean and cuts it off.
                let total = variance + self.problem.stamp_variance();
                let (mean, left) = below(apparent, expected + total / late.0, total);
                (total, mean, left)
            }
            (_, noise) => {
                let usual = match noise {
                    Noise::Exponential(late) => late.0,
                    Noise::Gaussian(_) => 0.0,
                };
                let around = noise.sigma().powi(2) + self.problem.stamp_variance();
                (variance + around, apparent - usual, 0.0)
            }
        };
        let gain = (mean - expected) / total;
        let shrink = (left - total) / (total * total);
        for i in 0..size {
            self.mean[i] += gain * with[i];
            let scaled = shrink * with[i];
            let row = &mut self.cov[i * size..(i + 1) * size];
            row.iter_mut()
                .zip(&with)
                .for_each(|(c, w)| *c += scaled * w);
        }
    }

    /// Mean over the hosts of the variance of (clock − mean of all), of phase and of frequency.
    pub fn variances(&self) -> (f64, f64) {
        let hosts = 0..self.problem.hosts;
        let of = |offset: usize| {
            let own = |host: usize| self.cov[(phase(host) + offset) * (self.size + 1)];
            hosts.clone().map(own).sum::<f64>() / self.problem.hosts as f64
        };
        (of(0), of(1))
    }

    /// Mean over the hosts of the squared error of (clock − mean of all), ns².
    pub fn error(&self, truth: &[f64]) -> f64 {
        let hosts = 0..self.problem.hosts;
        let off = hosts.map(|host| self.mean[phase(host)] - truth[host]);
        off.map(|off| off * off).sum::<f64>() / self.problem.hosts as f64
    }
}

/// Lets the filter watch the network for long enough; `seed` makes the network's fate.
pub fn run(problem: &Problem, update: Update, seed: u64) -> Reached {
    let memory = problem.memory_s();
    let start = SETTLED * memory;
    let watch = memory * WANTED / (problem.hosts - 1) as f64;
    let end = start + watch.min(ENOUGH / problem.exchanges()).max(memory);
    let mut world = World::new(problem, seed);
    let mut filter = Filter::new(problem, update);
    // Between two exchanges errors go from the one value to the other; time weighs them.
    let (mut error, mut claim, mut time) = (0.0, 0.0, 0.0);
    let mut before: Option<(f64, f64, f64)> = None;
    while let Some(exchange) = world.step().filter(|exchange| exchange.at < end) {
        filter.predict(exchange.at);
        let truth = world.deviations();
        if let Some((at, was, claimed)) = before {
            let dt = exchange.at - at;
            error += dt * (was + filter.error(&truth)) / 2.0;
            claim += dt * (claimed + filter.variances().0) / 2.0;
            time += dt;
        }
        filter.learn(&exchange);
        if exchange.at >= start {
            before = Some((exchange.at, filter.error(&truth), filter.variances().0));
        }
    }
    Reached {
        rms_ns: (error / time).sqrt(),
        claimed_ns: (claim / time).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::closed;
    use crate::units::{Fraction, Nanos};

    fn within(share: f64, a: f64, b: f64) {
        assert!((a / b - 1.0).abs() < share, "{a} {b}");
    }

    #[test]
    fn the_kalman_filter_of_a_mesh_is_as_worked_out_by_hand() {
        let noise = Noise::Gaussian(Nanos(1000.0));
        let problem = Problem::mesh(4, 20.0, noise, Fraction(1e-9));
        let reached = run(&problem, Update::Variance, 1);
        within(0.01, reached.claimed_ns, closed::mesh(&problem));
        within(0.05, reached.rms_ns, reached.claimed_ns);
    }

    #[test]
    fn white_frequency_noise_counts() {
        let noise = Noise::Gaussian(Nanos(100.0));
        let problem = Problem {
            white: Fraction(5e-9),
            ..Problem::mesh(3, 20.0, noise, Fraction(1e-9))
        };
        let reached = run(&problem, Update::Variance, 1);
        within(0.015, reached.claimed_ns, closed::mesh(&problem));
        within(0.05, reached.rms_ns, reached.claimed_ns);
    }

    #[test]
    fn one_sided_noise_is_worth_more_than_its_variance() {
        let noise = Noise::Exponential(Nanos(1000.0));
        let mut problem = Problem::mesh(4, 6.0, noise, Fraction(1e-9));
        let variance = run(&problem, Update::Variance, 1);
        let known = run(&problem, Update::OneSided, 1);
        assert!(
            known.rms_ns < 0.4 * variance.rms_ns,
            "{known:?} {variance:?}"
        );
        within(0.06, known.rms_ns, known.claimed_ns);
        problem.floors = Floors::Unknown;
        let unknown = run(&problem, Update::OneSided, 1);
        assert!(unknown.rms_ns > known.rms_ns);
        within(0.05, unknown.rms_ns, known.rms_ns);
    }

    #[test]
    fn noisy_stamps_end_in_the_kalman_filter() {
        // Packets are a nanosecond late, stamps a thousand off: Gaussian noise.
        let of = |stamp, late| Problem {
            stamp: Nanos(stamp),
            ..Problem::mesh(2, 2.0, Noise::Exponential(Nanos(late)), Fraction(1e-9))
        };
        let noisy = of(1000.0, 1.0);
        let one_sided = run(&noisy, Update::OneSided, 1);
        let variance = run(&noisy, Update::Variance, 1);
        within(0.01, one_sided.rms_ns, variance.rms_ns);
        within(0.01, one_sided.claimed_ns, variance.claimed_ns);
    }
}
