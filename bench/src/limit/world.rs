//! A run of the network of a problem: true clocks and the packets between them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::problem::{Noise, Problem};
use crate::sim::Random;

/// What an exchange is off its regular time, at most, as a share of the time between two.
const JITTER: f64 = 0.1;

/// One clock: how far it is ahead and how fast it gets there.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Clock {
    /// ns.
    pub phase: f64,
    /// ns/s.
    pub rate: f64,
}

impl Clock {
    /// Lets `dt` seconds pass: the exact step of a random walk and of its integral.
    pub fn pass(&mut self, dt: f64, problem: &Problem, random: &mut Random) {
        let (first, second) = (random.gaussian(), random.gaussian());
        let wander = problem.wander_ns() * dt.sqrt();
        self.phase += dt * (self.rate + wander * (0.5 * first + second / 12f64.sqrt()));
        self.rate += wander * first;
        if problem.white.0 > 0.0 {
            self.phase += problem.white_ns() * dt.sqrt() * random.gaussian();
        }
    }
}

/// One exchange, as a perfect observer sees it.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    /// When, s.
    pub at: f64,
    /// Who with whom.
    pub hosts: (usize, usize),
    /// Index of the pair.
    pub pair: usize,
    /// How much later than possible the packets came, ns: from the first host to the second, and
    /// back.
    pub late: (f64, f64),
    /// What the stamps added to that, ns.
    pub stamps: (f64, f64),
    /// What the hosts see: each packet's arrival by the receiver's clock less its departure by the
    /// sender's, ns.
    pub apparent: (f64, f64),
}

/// An instant as a key: times are positive, so their bits have their order.
type Due = Reverse<(u64, usize)>;

/// The network as it goes on.
#[derive(Debug)]
pub struct World<'a> {
    problem: &'a Problem,
    random: Random,
    now: f64,
    /// The true clocks at the last exchange.
    pub clocks: Vec<Clock>,
    /// Least delay of each pair, ns.
    pub floors: Vec<f64>,
    due: BinaryHeap<Due>,
    /// Start of each pair's schedule, and how many exchanges it had.
    schedule: Vec<(f64, u64)>,
}

impl<'a> World<'a> {
    /// All clocks right, each pair somewhere in its schedule.
    pub fn new(problem: &'a Problem, seed: u64) -> Self {
        let mut random = Random::new(seed, 0x11417);
        let schedule = problem.pairs.iter().map(|_| (random.unit(), 0)).collect();
        let mut floor = || problem.floor_spread() * random.unit();
        let floors = problem.pairs.iter().map(|_| floor()).collect();
        let mut world = Self {
            problem,
            random,
            now: 0.0,
            clocks: vec![Clock::default(); problem.hosts],
            floors,
            due: BinaryHeap::new(),
            schedule,
        };
        for pair in 0..problem.pairs.len() {
            world.plan(pair);
        }
        world
    }

    fn plan(&mut self, pair: usize) {
        let (start, count) = &mut self.schedule[pair];
        let jitter = self.random.symmetric(JITTER);
        let turn = (*start + JITTER + *count as f64 + jitter).max(0.0);
        *count += 1;
        let at = turn / self.problem.pairs[pair].exchanges;
        self.due.push(Reverse((at.to_bits(), pair)));
    }

    /// The next exchange; the clocks are as they are then. `None` if no pair has any.
    pub fn step(&mut self) -> Option<Exchange> {
        let Reverse((bits, pair)) = self.due.pop()?;
        self.plan(pair);
        let at = f64::from_bits(bits);
        self.until(at);
        let stamp = self.problem.stamp_variance().sqrt();
        let mut late = || match self.problem.noise {
            Noise::Exponential(mean) => self.random.exponential(mean.0),
            Noise::Gaussian(sigma) => sigma.0 * self.random.gaussian(),
        };
        let late = (late(), late());
        let mut stamps = || stamp * self.random.gaussian();
        let stamps = (stamps(), stamps());
        let hosts = self.problem.pairs[pair].hosts;
        let ahead = self.clocks[hosts.1].phase - self.clocks[hosts.0].phase;
        let floor = self.floors[pair];
        Some(Exchange {
            at,
            hosts,
            pair,
            late,
            stamps,
            apparent: (
                floor + ahead + late.0 + stamps.0,
                floor - ahead + late.1 + stamps.1,
            ),
        })
    }

    /// When the next exchange is.
    pub fn next_at(&self) -> Option<f64> {
        self.due
            .peek()
            .map(|Reverse((bits, _))| f64::from_bits(*bits))
    }

    /// Lets the clocks go on to the instant `at`.
    pub fn until(&mut self, at: f64) {
        let dt = at - self.now;
        for clock in &mut self.clocks {
            clock.pass(dt, self.problem, &mut self.random);
        }
        self.now = at;
    }

    /// How far each clock is off the mean of all, ns.
    pub fn deviations(&self) -> Vec<f64> {
        deviations(self.clocks.iter().map(|clock| clock.phase))
    }
}

/// The values less their mean.
pub fn deviations(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let values: Vec<f64> = values.collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| value - mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Fraction, Nanos};

    #[test]
    fn clocks_wander_as_specified() {
        let noise = Noise::Gaussian(Nanos(1.0));
        let problem = Problem {
            white: Fraction(3e-9),
            ..Problem::mesh(2, 1.0, noise, Fraction(2e-9))
        };
        let mut random = Random::new(1, 1);
        let (mut phase, mut rate, n) = (0.0, 0.0, 20_000);
        for _ in 0..n {
            let mut clock = Clock::default();
            clock.pass(1.0, &problem, &mut random);
            clock.pass(2.0, &problem, &mut random);
            phase += clock.phase * clock.phase / f64::from(n);
            rate += clock.rate * clock.rate / f64::from(n);
        }
        // w²T and w²T³/3 + white²T, with T = 3 in two steps.
        assert!((rate / 12.0 - 1.0).abs() < 0.04, "{rate}");
        assert!((phase / (36.0 + 27.0) - 1.0).abs() < 0.04, "{phase}");
    }

    #[test]
    fn every_pair_has_its_exchanges_in_order() {
        let noise = Noise::Exponential(Nanos(500.0));
        let problem = Problem::mesh(4, 6.0, noise, Fraction(1e-9));
        let mut world = World::new(&problem, 3);
        let mut counts = [0; 6];
        let (mut last, mut late) = (0.0, 0.0);
        for _ in 0..6000 {
            assert!(world.next_at().unwrap() >= last);
            let exchange = world.step().unwrap();
            assert!(exchange.at >= last && exchange.late.0 >= 0.0);
            last = exchange.at;
            late += exchange.late.1 / 6000.0;
            counts[exchange.pair] += 1;
        }
        assert!(
            counts.iter().all(|c| (998..=1002).contains(c)),
            "{counts:?}"
        );
        assert!((late / 500.0 - 1.0).abs() < 0.05);
    }
}
