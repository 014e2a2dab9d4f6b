//! The exact limit for one-sided noise: the variance of the true posterior.
//!
//! Given exponential delays, the paths of all clocks are Gaussian processes that are cut off by one
//! half-space for each packet: it was not early. (The likelihood's slope cancels between the two
//! packets of an exchange, where floors are known.) No closed form exists, and no Cramér–Rao bound:
//! the support depends on what is estimated. But such a distribution can be sampled exactly, by
//! Hamiltonian Monte Carlo whose trajectories are circles that bounce off the half-spaces (Pakman &
//! Paninski 2014, *J. Comput. Graph. Statist.* 23:518). The mean over many networks of the posterior
//! variance is the least mean squared error of *any* estimator, so Barankin's, Ziv and Zakai's and
//! Weiss and Weinstein's bounds are all below it.
//!
//! - Chains start at the truth, which is itself a draw from the posterior: there is nothing to burn
//!   in.
//! - Only functionals are followed: each packet's lateness, and each clock at the end. A bounce
//!   needs one column of their prior covariance, which integrated random walks have in closed form.
//! - The window is finite. What came before it is replaced by something better: each clock at its
//!   start, known to a few times what is possible. That is more than there is to know: the limit
//!   could only become lower by it, and longer windows show that it does not.
//! - The variance differs from network to network, and so does the one that the assumed-density
//!   filter claims there, in much the same way. Their ratio is what is sampled; the mean of the
//!   latter is cheap ([`filter::run`]).
//! - Packets that are late by many times the error are left out; they say nothing.

use std::f64::consts::{FRAC_PI_2, TAU};

use super::LimitError;
use super::filter::{self, Filter, Update};
use super::problem::{Floors, Natural, Noise, Problem};
use super::world::{Clock, World, deviations};
use crate::sim::Random;

/// Length of the window in memories.
const WINDOW: f64 = 8.0;

/// How well each clock is known at the start of the window, in the errors that are possible.
const START: f64 = 3.0;

/// Packets later than as many errors say nothing.
const SILENT: f64 = 8.0;

/// Rounding of an angle.
const ROUNDING: f64 = 1e-9;

/// The limit as sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exact {
    /// Least root mean square, over hosts and time, of the error of (clock − mean of all clocks),
    /// ns.
    pub rms_ns: f64,
    /// One standard error of that.
    pub uncertain_ns: f64,
    /// The same over what the assumed-density filter of all packets claims.
    pub of_filter: f64,
    /// Root mean square of what the mean of the samples was off the truth, over that of what the
    /// samples say it should be: one, if the sampler is right.
    pub calibration: f64,
}

/// What to sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// Networks, each with a fate of its own.
    pub networks: u64,
    /// Draws from the posterior of each.
    pub draws: usize,
    /// Length of the window, in memories of the best filter.
    pub window: f64,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            networks: 200,
            draws: 24,
            window: WINDOW,
        }
    }
}

/// Samples the limit of `problem`; calls `done` after each network.
///
/// # Errors
/// [`LimitError::NotOneSided`] if delays are not exponential, [`LimitError::FloorsUnknown`].
pub fn sample(
    problem: &Problem,
    effort: Effort,
    seed: u64,
    mut done: impl FnMut(),
) -> Result<Exact, LimitError> {
    problem.check()?;
    let Noise::Exponential(mean) = problem.noise else {
        return Err(LimitError::NotOneSided);
    };
    if problem.floors == Floors::Unknown {
        return Err(LimitError::FloorsUnknown);
    }
    let scale = scale(problem, seed);
    let (mut exact, mut claimed, mut off) = (Vec::new(), 0.0, 0.0);
    for network in 0..effort.networks {
        let fate = Random::new(seed, network).bits();
        let mut chain = Chain::new(problem, mean.0, &scale, effort.window, fate);
        let (variance, error) = chain.spread(effort.draws);
        exact.push((variance, chain.claimed));
        claimed += chain.claimed;
        off += error;
        done();
    }
    let n = exact.len() as f64;
    let sum: f64 = exact.iter().map(|(variance, _)| variance).sum();
    let ratio = sum / claimed;
    let residuals = exact.iter().map(|(v, c)| (v - ratio * c).powi(2));
    let scatter = (residuals.sum::<f64>() / n / (n - 1.0)).sqrt() * n / claimed;
    let reached = filter::run(problem, Update::OneSided, seed);
    // A mean of d draws is off by the spread of the posterior and by its own, 1/d of that.
    let draws = effort.draws as f64;
    Ok(Exact {
        rms_ns: reached.claimed_ns * ratio.sqrt(),
        uncertain_ns: reached.claimed_ns * scatter / (2.0 * ratio.sqrt()),
        of_filter: ratio.sqrt(),
        calibration: (off / (sum * (1.0 + 1.0 / draws))).sqrt(),
    })
}

/// What the assumed-density filter knows when it has settled; sets the window's scales.
struct Scale {
    natural: Natural,
    phase: f64,
    rate: f64,
}

fn scale(problem: &Problem, seed: u64) -> Scale {
    let mut filter = Filter::new(problem, Update::OneSided);
    let mut world = World::new(problem, seed);
    let end = 12.0 * problem.memory_s();
    while let Some(exchange) = world.step().filter(|exchange| exchange.at < end) {
        filter.learn(&exchange);
    }
    let (phase, rate) = filter.variances();
    let error_ns = phase.sqrt();
    let time_s = (3f64.sqrt() * error_ns / problem.wander_ns()).powf(2.0 / 3.0);
    Scale {
        natural: Natural { time_s, error_ns },
        phase: START * START * phase,
        rate: START * START * rate,
    }
}

/// One packet: it was not early.
#[derive(Debug, Clone, Copy)]
struct Wall {
    at: f64,
    from: usize,
    to: usize,
}

/// A Markov chain over the paths of the clocks of one network. Coordinates are first the lateness
/// of each packet, then the phase of each clock at the end, ns.
struct Chain<'a> {
    problem: &'a Problem,
    random: Random,
    end: f64,
    /// Prior variance of phase and rate at the start.
    start: (f64, f64),
    walls: Vec<Wall>,
    /// Prior mean.
    mean: Vec<f64>,
    now: Vec<f64>,
    truth: Vec<f64>,
    /// Variance that the assumed-density filter claims, ns².
    claimed: f64,
}

impl<'a> Chain<'a> {
    fn new(problem: &'a Problem, late: f64, scale: &Scale, window: f64, seed: u64) -> Self {
        let mut world = World::new(problem, seed);
        let mut random = Random::new(seed, 0x90571);
        let start = (scale.phase, scale.rate);
        let prior: Vec<Clock> = (0..problem.hosts)
            .map(|_| gaussian(start, &mut random))
            .collect();
        let line = |host: usize, at: f64| prior[host].phase + prior[host].rate * at;
        let end = window * scale.natural.time_s;
        let silent = SILENT * (scale.natural.error_ns + problem.stamp_variance().sqrt());
        // The slope of the likelihood shifts the noise of the stamps.
        let shift = problem.stamp_variance() / late;
        let (mut walls, mut mean, mut now) = (Vec::new(), Vec::new(), Vec::new());
        let mut filter = Filter::new(problem, Update::OneSided);
        while world.next_at().is_some_and(|at| at <= end) {
            let Some(exchange) = world.step() else { break };
            filter.learn(&exchange);
            let (a, b) = exchange.hosts;
            let packets = [
                (a, b, exchange.late.0, exchange.apparent.0),
                (b, a, exchange.late.1, exchange.apparent.1),
            ];
            for (from, to, late, apparent) in packets {
                if late < silent {
                    let at = exchange.at;
                    walls.push(Wall { at, from, to });
                    mean.push(apparent - (line(to, at) - line(from, at)) - shift);
                    now.push(late);
                }
            }
        }
        world.until(end);
        filter.predict(end);
        for host in 0..problem.hosts {
            mean.push(line(host, end));
            now.push(world.clocks[host].phase);
        }
        Self {
            problem,
            random,
            end,
            start,
            walls,
            mean,
            now,
            truth: world.deviations(),
            claimed: filter.variances().0,
        }
    }

    /// Prior covariance of a clock's phase at two instants.
    fn covariance(&self, a: f64, b: f64) -> f64 {
        let (s, t) = if a < b { (a, b) } else { (b, a) };
        let wander = self.problem.wander_ns().powi(2);
        let white = self.problem.white_ns().powi(2);
        self.start.0 + self.start.1 * s * t + wander * s * s * (t / 2.0 - s / 6.0) + white * s
    }

    /// A draw from the prior less its mean, as coordinates.
    fn velocity(&mut self) -> Vec<f64> {
        let mut clocks: Vec<Clock> = (0..self.problem.hosts)
            .map(|_| gaussian(self.start, &mut self.random))
            .collect();
        let stamp = self.problem.stamp_variance().sqrt();
        let mut velocity = Vec::with_capacity(self.mean.len());
        let mut now = 0.0;
        for wall in &self.walls {
            if wall.at > now {
                let dt = wall.at - now;
                for clock in &mut clocks {
                    clock.pass(dt, self.problem, &mut self.random);
                }
                now = wall.at;
            }
            let noise = stamp * self.random.gaussian();
            velocity.push(clocks[wall.from].phase - clocks[wall.to].phase - noise);
        }
        for clock in &mut clocks {
            clock.pass(self.end - now, self.problem, &mut self.random);
            velocity.push(clock.phase);
        }
        velocity
    }

    /// One draw from the posterior: a quarter of a turn.
    fn draw(&mut self) {
        let mut sine = self.velocity();
        let mut cosine: Vec<f64> = self
            .now
            .iter()
            .zip(&self.mean)
            .map(|(q, m)| q - m)
            .collect();
        let walls = self.walls.len();
        let mut hits: Vec<f64> = (0..walls)
            .map(|k| hit(self.mean[k], sine[k], cosine[k], 0.0))
            .collect();
        loop {
            let first = (0..walls).min_by(|a, b| hits[*a].total_cmp(&hits[*b]));
            let Some(wall) = first.filter(|wall| hits[*wall] < FRAC_PI_2) else {
                break;
            };
            let turn = hits[wall];
            let (sin, cos) = turn.sin_cos();
            let speed = sine[wall] * cos - cosine[wall] * sin;
            let Wall { at, from, to } = self.walls[wall];
            let own = 2.0 * self.covariance(at, at) + self.problem.stamp_variance();
            let kick = -2.0 * speed / own;
            for k in 0..walls {
                let other = self.walls[k];
                let same = f64::from(u8::from(other.to == to) + u8::from(other.from == from));
                let crossed = f64::from(u8::from(other.to == from) + u8::from(other.from == to));
                if same == crossed {
                    continue;
                }
                let shared = if k == wall {
                    own
                } else {
                    (same - crossed) * self.covariance(other.at, at)
                };
                sine[k] += kick * shared * cos;
                cosine[k] -= kick * shared * sin;
                hits[k] = hit(self.mean[k], sine[k], cosine[k], turn);
            }
            let last = kick * self.covariance(at, self.end);
            for (host, sign) in [(from, 1.0), (to, -1.0)] {
                sine[walls + host] += sign * last * cos;
                cosine[walls + host] -= sign * last * sin;
            }
        }
        // A quarter of a turn on, only the sines are left.
        for ((now, mean), sine) in self.now.iter_mut().zip(&self.mean).zip(&sine) {
            *now = mean + sine;
        }
    }

    /// Mean over the hosts of the variance of (clock − mean of all) among `draws` draws, and of the
    /// squared distance of their mean from the truth, ns².
    fn spread(&mut self, draws: usize) -> (f64, f64) {
        // The first ones still remember the truth.
        for _ in 0..3 {
            self.draw();
        }
        let hosts = self.problem.hosts;
        let (mut sum, mut squares) = (vec![0.0; hosts], 0.0);
        for _ in 0..draws {
            self.draw();
            let drawn = deviations(self.now[self.walls.len()..].iter().copied());
            for (sum, value) in sum.iter_mut().zip(&drawn) {
                *sum += value;
                squares += value * value;
            }
        }
        let n = draws as f64;
        let middle = sum.iter().map(|s| s / n);
        let of_mean: f64 = middle.clone().map(|m| m * m).sum();
        let off: f64 = middle.zip(&self.truth).map(|(m, t)| (m - t).powi(2)).sum();
        let variance = (squares - n * of_mean) / (n - 1.0);
        (variance / hosts as f64, off / hosts as f64)
    }
}

/// A clock whose phase and rate have these variances.
fn gaussian((phase, rate): (f64, f64), random: &mut Random) -> Clock {
    Clock {
        phase: phase.sqrt() * random.gaussian(),
        rate: rate.sqrt() * random.gaussian(),
    }
}

/// The first angle from `after` on at which mean + sine·sin + cosine·cos falls through zero.
fn hit(mean: f64, sine: f64, cosine: f64, after: f64) -> f64 {
    let reach = sine.hypot(cosine);
    if reach <= mean.abs() {
        return f64::INFINITY;
    }
    let falls = sine.atan2(cosine) + (-mean / reach).acos();
    let ahead = (falls - after).rem_euclid(TAU);
    if ahead < TAU - ROUNDING {
        return after + ahead;
    }
    // At the wall just now: either about to go through, or on the way back from it.
    let (sin, cos) = after.sin_cos();
    if sine * cos - cosine * sin < 0.0 {
        after
    } else {
        after + ahead
    }
}

#[cfg(test)]
mod tests {
    use super::super::moments::below;
    use super::*;
    use crate::units::{Fraction, Nanos};

    fn pair() -> Problem {
        let noise = Noise::Exponential(Nanos(1000.0));
        Problem::mesh(2, 10.0, noise, Fraction(1e-9))
    }

    #[test]
    fn trajectories_hit_walls_where_they_should() {
        // 0.5 + cos falls through zero at 120°, 0.5 + sin at 210°, and a full turn later again.
        let close = |a: f64, degrees: f64| assert!((a - degrees.to_radians()).abs() < 1e-12);
        close(hit(0.5, 0.0, 1.0, 0.0), 120.0);
        close(hit(0.5, 1.0, 0.0, 0.0), 210.0);
        close(hit(0.5, 0.0, 1.0, 2.2), 480.0);
        assert_eq!(hit(2.0, 1.0, 1.0, 0.0), f64::INFINITY);
        // Just thrown back from the wall: a long way until the next time. On it and going through:
        // now.
        assert!(hit(0.0, 1.0, 0.0, 0.0) > 3.0);
        assert_eq!(hit(0.0, -1.0, 0.0, 0.0), 0.0);
    }

    #[test]
    fn one_packet_cuts_a_gaussian_off() {
        let problem = pair();
        let mut chain = Chain {
            problem: &problem,
            random: Random::new(1, 1),
            end: 4.0,
            start: (1.0, 0.5),
            walls: vec![Wall {
                at: 2.0,
                from: 0,
                to: 1,
            }],
            mean: vec![1.0, 0.0, 0.0],
            now: vec![1.0, 0.0, 0.0],
            truth: vec![0.0, 0.0],
            claimed: 1.0,
        };
        let n = 40_000;
        let (mut sum, mut square, mut clock) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            chain.draw();
            sum += chain.now[0] / f64::from(n);
            square += chain.now[0] * chain.now[0] / f64::from(n);
            clock += chain.now[2] / f64::from(n);
        }
        // Both clocks: 1 + 0.5·2² and of the walk 2³/3. Lateness is Gaussian around 1, positive.
        let own = 2.0 * (1.0 + 2.0 + 8.0 / 3.0);
        let (mean, variance) = below(0.0, -1.0, own);
        assert!((sum + mean).abs() < 0.05, "{sum} {mean}");
        assert!(((square - sum * sum) / variance - 1.0).abs() < 0.04);
        // What was not late for host 1 moves its clock as regression says:
        // 1 + 0.5·2·4 + 2²·(4/2 − 2/6) shared between the two instants.
        let shared = 1.0 + 4.0 + 4.0 * (2.0 - 1.0 / 3.0);
        let moved = -shared / own * (sum - 1.0);
        assert!((clock - moved).abs() < 0.06, "{clock} {moved}");
    }

    #[test]
    fn the_filter_of_all_packets_is_at_the_limit() {
        let effort = Effort {
            networks: 150,
            ..Effort::default()
        };
        let exact = sample(&pair(), effort, 1, || ()).unwrap();
        // Sampled as well as that, they are the same.
        assert!((exact.of_filter - 1.0).abs() < 0.05, "{exact:?}");
        assert!((exact.calibration - 1.0).abs() < 0.15, "{exact:?}");
        assert!(exact.uncertain_ns < 0.03 * exact.rms_ns, "{exact:?}");
    }

    #[test]
    fn stamp_noise_is_sampled_as_well() {
        let problem = Problem {
            stamp: Nanos(10.0),
            ..pair()
        };
        let effort = Effort {
            networks: 100,
            ..Effort::default()
        };
        let exact = sample(&problem, effort, 1, || ()).unwrap();
        assert!((exact.of_filter - 1.0).abs() < 0.06, "{exact:?}");
        let without = filter::run(&pair(), Update::OneSided, 1).claimed_ns;
        assert!(exact.rms_ns > 1.1 * without, "{exact:?} {without}");
    }

    #[test]
    fn only_what_can_be_sampled_is() {
        let known = Effort::default();
        let gaussian = Problem {
            noise: Noise::Gaussian(Nanos(1.0)),
            ..pair()
        };
        let unknown = Problem {
            floors: Floors::Unknown,
            ..pair()
        };
        let refused = |problem| sample(problem, known, 1, || ()).unwrap_err();
        assert!(matches!(refused(&gaussian), LimitError::NotOneSided));
        assert!(matches!(refused(&unknown), LimitError::FloorsUnknown));
    }
}
