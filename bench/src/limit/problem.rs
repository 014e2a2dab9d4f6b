//! What there is to estimate: clocks that wander, packets that are late.

use serde::Serialize;

use super::LimitError;
use crate::units::{Fraction, Nanos};

/// A network that keeps time, as far as estimation is concerned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Problem {
    /// How many clocks there are.
    pub hosts: usize,
    /// Who exchanges packets with whom; indices below `hosts`.
    pub pairs: Vec<Pair>,
    /// What comes on top of a packet's least delay.
    pub noise: Noise,
    /// Gaussian noise of one stamp, one sigma.
    pub stamp: Nanos,
    /// Random walk of each clock's frequency, per √s.
    pub wander: Fraction,
    /// White noise of each clock's frequency, per √Hz: a random walk of the phase.
    pub white: Fraction,
    /// What is known of the least delays.
    pub floors: Floors,
}

/// Two hosts that exchange packets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair {
    /// The hosts.
    pub hosts: (usize, usize),
    /// Exchanges a second; each is one packet either way.
    pub exchanges: f64,
}

/// Noise of a packet's delay.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Noise {
    /// Waiting in queues, with this mean.
    Exponential(Nanos),
    /// Many small causes, with this sigma.
    Gaussian(Nanos),
}

/// What is known of the least delay of each path, which is the same both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Floors {
    /// All of it, as after a very long time.
    Known,
    /// That it is constant.
    Unknown,
}

impl Noise {
    /// One standard deviation, ns.
    pub const fn sigma(self) -> f64 {
        match self {
            Self::Exponential(mean) => mean.0,
            Self::Gaussian(sigma) => sigma.0,
        }
    }
}

impl Problem {
    /// `hosts` clocks, each pair of which makes the same share of `exchanges` a second.
    pub fn mesh(hosts: usize, exchanges: f64, noise: Noise, wander: Fraction) -> Self {
        let pairs = hosts * hosts.saturating_sub(1) / 2;
        let each = exchanges / pairs.max(1) as f64;
        let pairs = (1..hosts)
            .flat_map(|b| (0..b).map(move |a| (a, b)))
            .map(|hosts| Pair {
                hosts,
                exchanges: each,
            })
            .collect();
        Self {
            hosts,
            pairs,
            noise,
            stamp: Nanos(0.0),
            wander,
            white: Fraction(0.0),
            floors: Floors::Known,
        }
    }

    /// `hosts` clocks of which each exchanges packets with `neighbours` others (one more if that
    /// cannot be even), `exchanges` a second in all: an overlay with as many short ways as a random
    /// one, the same every time.
    pub fn sparse(
        hosts: usize,
        neighbours: usize,
        exchanges: f64,
        noise: Noise,
        wander: Fraction,
    ) -> Self {
        if neighbours + 1 >= hosts {
            return Self::mesh(hosts, exchanges, noise, wander);
        }
        // A ring with chords whose lengths grow by a constant factor.
        let chords = neighbours.div_ceil(2);
        let mut steps: Vec<usize> = Vec::new();
        for k in 0..chords {
            let far = (hosts as f64 / 2.0).powf(k as f64 / chords as f64) as usize;
            let next = steps.last().map_or(1, |last| last + 1);
            steps.push(far.max(next));
        }
        let mut pairs: Vec<(usize, usize)> = (0..hosts)
            .flat_map(|a| steps.iter().map(move |step| (a, (a + step) % hosts)))
            .map(|(a, b)| (a.min(b), a.max(b)))
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let each = exchanges / pairs.len() as f64;
        let pairs = pairs.into_iter().map(|hosts| Pair {
            hosts,
            exchanges: each,
        });
        Self {
            pairs: pairs.collect(),
            ..Self::mesh(hosts, exchanges, noise, wander)
        }
    }

    /// A network of `hosts` clocks that each have as many neighbours and packets as those of this
    /// one have on average; `None` if this one is no larger.
    pub fn represented(&self, hosts: usize) -> Option<Self> {
        if self.hosts <= hosts {
            return None;
        }
        let neighbours = (2 * self.pairs.len()).div_ceil(self.hosts);
        let exchanges = self.exchanges() * hosts as f64 / self.hosts as f64;
        let smaller = Self::sparse(hosts, neighbours, exchanges, self.noise, self.wander);
        Some(Self {
            stamp: self.stamp,
            white: self.white,
            floors: self.floors,
            ..smaller
        })
    }

    /// Checks that there is something to estimate.
    ///
    /// # Errors
    /// [`LimitError::Problem`] with what is wrong.
    pub fn check(&self) -> Result<(), LimitError> {
        let wrong = |what: &str| Err(LimitError::Problem(what.to_owned()));
        if self.hosts < 2 {
            return wrong("it takes two hosts to have a difference");
        }
        if !(self.wander.0 > 0.0 && self.wander.0.is_finite()) {
            return wrong(
                "the wander must be positive: clocks that never change are known in time",
            );
        }
        if !(self.noise.sigma() > 0.0 && self.noise.sigma().is_finite()) {
            return wrong("the delay noise must be positive");
        }
        if !(self.stamp.0 >= 0.0 && self.white.0 >= 0.0) {
            return wrong("noise is not negative");
        }
        let mut group: Vec<usize> = (0..self.hosts).collect();
        for pair in &self.pairs {
            let (a, b) = pair.hosts;
            if a == b || a.max(b) >= self.hosts {
                return wrong("each pair is two of the hosts");
            }
            if !(pair.exchanges > 0.0 && pair.exchanges.is_finite()) {
                return wrong("each pair exchanges packets");
            }
            let (from, to) = (group[a], group[b]);
            group
                .iter_mut()
                .filter(|g| **g == from)
                .for_each(|g| *g = to);
        }
        if group.iter().any(|g| *g != group[0]) {
            return wrong("some hosts cannot hear of others");
        }
        Ok(())
    }

    /// Exchanges a second in the whole network.
    pub fn exchanges(&self) -> f64 {
        self.pairs.iter().map(|pair| pair.exchanges).sum()
    }

    /// Variance of what the stamps add to a packet's apparent delay, ns².
    pub const fn stamp_variance(&self) -> f64 {
        2.0 * self.stamp.0 * self.stamp.0
    }

    /// Least delays are anything up to this, ns; how much makes no difference to those who do not
    /// know them, as long as it is much.
    pub const fn floor_spread(&self) -> f64 {
        match self.floors {
            Floors::Known => 0.0,
            Floors::Unknown => 30.0 * self.noise.sigma(),
        }
    }

    /// Random walk of the frequency, ns/s per √s.
    pub const fn wander_ns(&self) -> f64 {
        1e9 * self.wander.0
    }

    /// Random walk of the phase, ns per √s.
    pub const fn white_ns(&self) -> f64 {
        1e9 * self.white.0
    }

    /// The scales of one-sided estimation, by which its limit is the same constant for every mean
    /// delay μ, wander w and packet rate λ (one direction, one host):
    /// in a time T there are λT packets, the quickest of which is μ/(λT) late; in the same time a
    /// clock wanders by w·T^(3/2)/√3. Both are the same at T* = (√3·μ/(λw))^(2/5), and are ε* then.
    /// `None` for noise that is not one-sided.
    pub fn natural(&self) -> Option<Natural> {
        let Noise::Exponential(mean) = self.noise else {
            return None;
        };
        let rate = 2.0 * self.exchanges() / self.hosts as f64;
        let time_s = (3f64.sqrt() * mean.0 / (rate * self.wander_ns())).powf(0.4);
        Some(Natural {
            time_s,
            error_ns: mean.0 / (rate * time_s),
        })
    }

    /// The time in which a filter that knows but the variance of the noise forgets, s; that of any
    /// better filter is shorter.
    pub fn memory_s(&self) -> f64 {
        let variance = self.noise.sigma().powi(2) + self.stamp_variance();
        let rate = 2.0 * self.exchanges() / self.hosts as f64;
        let noise = variance / (2.0 * rate);
        let wander = (noise / self.wander_ns().powi(2)).powf(0.25);
        // Not even the best remembers less than the last exchange of each host.
        let spacing = self.hosts as f64 / self.exchanges();
        wander.max(spacing)
    }
}

/// Units in which the limit of one-sided noise is a constant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Natural {
    /// T*, s.
    pub time_s: f64,
    /// ε*, ns.
    pub error_ns: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISE: Noise = Noise::Exponential(Nanos(1000.0));

    #[test]
    fn natural_units_are_where_waiting_and_wandering_meet() {
        let problem = Problem::mesh(8, 7.0, NOISE, Fraction(1e-9));
        let natural = problem.natural().unwrap();
        // 1.75 packets a second each way: (1.732·1000/1.75)^0.4 = 15.78, 1000/(1.75·15.78) = 36.2.
        assert!((natural.time_s - 15.78).abs() < 0.01);
        assert!((natural.error_ns - 36.2).abs() < 0.05);
        let wandered = natural.time_s.powf(1.5) / 3f64.sqrt();
        assert!((wandered - natural.error_ns).abs() < 1e-9);
    }

    #[test]
    fn sparse_networks_hang_together() {
        for (hosts, neighbours) in [(100, 8), (16, 3), (9, 6), (5, 4)] {
            let problem = Problem::sparse(hosts, neighbours, 10.0, NOISE, Fraction(1e-9));
            assert!(problem.check().is_ok());
            let degree = 2 * problem.pairs.len() / hosts;
            assert_eq!(degree, neighbours + neighbours % 2, "{hosts}");
            assert!((problem.exchanges() - 10.0).abs() < 1e-9);
        }
    }

    #[test]
    fn what_cannot_be_estimated_is_refused() {
        let mesh = || Problem::mesh(4, 4.0, NOISE, Fraction(1e-9));
        assert!(mesh().check().is_ok());
        let split = Problem {
            pairs: vec![
                Pair {
                    hosts: (0, 1),
                    exchanges: 1.0,
                },
                Pair {
                    hosts: (2, 3),
                    exchanges: 1.0,
                },
            ],
            ..mesh()
        };
        let calm = Problem {
            wander: Fraction(0.0),
            ..mesh()
        };
        let alone = Problem::mesh(1, 1.0, NOISE, Fraction(1e-9));
        for (problem, word) in [(split, "hear"), (calm, "wander"), (alone, "two")] {
            let error = problem.check().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
