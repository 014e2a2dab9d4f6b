//! What the clocks show, against the truth.

use serde::{Deserialize, Serialize};

use super::attack::Honest;
use super::body::Shown;
use super::identity::scatter;
use super::paths::Paths;
use super::result::{Bound, Quantiles, Reached, Round, Skew};
use crate::sim::Random;
use crate::stats::quantile;

/// Pairs drawn for the skew of any two hosts.
const PAIRS: usize = 1_000_000;

/// A host is captured if it is so many times farther from the median than the median host.
const CAPTURED: f64 = 10.0;

/// The part of the honest hosts that has to be close, for the network to count as having met.
const MOST: f64 = 0.99;

/// Of a normal distribution, the median distance from the median is this share of a sigma.
const TYPICAL: f64 = 0.674_5;

/// Everything measured so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) rounds: Vec<Round>,
    pub(super) digest: u64,
    looks: u64,
    overwhelmed: u64,
    #[serde(skip)]
    last: Last,
}

/// Of the last round.
#[derive(Debug, Clone, Default)]
struct Last {
    skew: Skew,
    bounds: (f64, f64),
}

impl Measured {
    /// Take in all hosts after a round; `None` for those that are malicious or away. In the
    /// `last` one distributions are worked out as well.
    pub(super) fn round(&mut self, shown: &[Option<Shown>], last: Option<&Paths>, seed: u64) {
        let honest = || shown.iter().flatten();
        let settled = || honest().filter(|s| s.synchronized);
        let mut errors: Vec<f64> = settled().map(|s| s.error).collect();
        let mut all: Vec<f64> = honest().map(|s| s.error).collect();
        let of = if errors.is_empty() {
            &mut all
        } else {
            &mut errors
        };
        let median = ranked(of, 0.5);
        let away =
            |errors: &[f64]| -> Vec<f64> { errors.iter().map(|e| (e - median).abs()).collect() };
        let mut distances = away(&errors);
        let typical = ranked(&mut distances, 0.5);
        let captured = distances.iter().filter(|d| **d > CAPTURED * typical);
        let captured = captured.count() as f64;
        let count = errors.len().max(1) as f64;
        let mut violations = 0;
        for shown in settled() {
            if let Some(bound) = shown.bound {
                if shown.overwhelmed {
                    self.overwhelmed += 1;
                    continue;
                }
                self.looks += 1;
                violations += u64::from((shown.error - median).abs() > bound);
            }
        }
        self.rounds.push(Round {
            round: self.rounds.len() as u32 + 1,
            honest: all.len() as u32,
            synchronized: errors.len() as u32,
            median_ns: median,
            sigma_ns: (distances.iter().map(|d| d * d).sum::<f64>() / count).sqrt(),
            worst_ns: distances.iter().copied().fold(0.0, f64::max),
            p99_ns: ranked(&mut away(&all), MOST),
            captured: captured / count,
            violations,
        });
        for shown in honest() {
            self.digest = scatter(self.digest ^ shown.error.to_bits());
        }
        if let Some(paths) = last {
            errors.sort_unstable_by(f64::total_cmp);
            let mut bounds: Vec<f64> = settled().filter_map(|s| s.bound).collect();
            bounds.sort_unstable_by(f64::total_cmp);
            let bound = |p| quantile(&bounds, p).unwrap_or(0.0);
            self.last = Last {
                skew: Skew {
                    any_pair: any_pair(&errors, seed),
                    neighbours: neighbours(shown),
                    near: nearby(shown, paths),
                },
                bounds: (bound(0.5), bound(0.99)),
            };
        }
    }

    pub(super) fn skew(&self) -> Skew {
        self.last.skew
    }

    pub(super) fn bound(&self) -> Bound {
        Bound {
            violations: self.rounds.iter().map(|r| r.violations).sum(),
            looks: self.looks,
            overwhelmed: self.overwhelmed,
            p50: self.last.bounds.0,
            p99: self.last.bounds.1,
        }
    }

    /// When the network had met.
    pub(super) fn reached(&self) -> Reached {
        let within = |limit: f64| {
            let beyond = self.rounds.iter().rposition(|r| r.p99_ns > limit);
            let first = beyond.map_or(0, |k| k + 1);
            self.rounds.get(first).map(|r| r.round)
        };
        Reached {
            ten_ms: within(10e6),
            one_ms: within(1e6),
            hundred_us: within(100e3),
        }
    }

    /// The rate of the median over the second half of the rounds of `seconds` each, ppm: the slope
    /// of a line through all of them. `None` if in one of them less than half of the honest were
    /// synchronized: clocks that still jump have no common rate.
    pub(super) fn rate_ppm(&self, seconds: f64) -> Option<f64> {
        let rounds = &self.rounds[self.rounds.len() / 2..];
        if rounds.iter().any(|r| 2 * r.synchronized < r.honest) {
            return None;
        }
        let count = rounds.len() as f64;
        let middle = 0.5 * (count - 1.0);
        let (mut xy, mut xx) = (0.0, 0.0);
        for (k, round) in rounds.iter().enumerate() {
            let x = k as f64 - middle;
            xy += x * round.median_ns;
            xx += x * x;
        }
        (xx > 0.0).then(|| xy / xx / seconds * 1e-3)
    }

    /// The worst of the last quarter of the rounds, ns.
    pub(super) fn worst(&self) -> f64 {
        let late = &self.rounds[self.rounds.len() * 3 / 4..];
        late.iter().map(|r| r.worst_ns).fold(0.0, f64::max)
    }
}

/// What liars know of the honest clocks, from some of them.
pub(super) fn honest(sample: &[Shown], before: &Honest, now: i64) -> Honest {
    let mut errors: Vec<f64> = sample
        .iter()
        .filter(|s| s.synchronized)
        .map(|s| s.error)
        .collect();
    if errors.is_empty() {
        errors = sample.iter().map(|s| s.error).collect();
    }
    let median = ranked(&mut errors, 0.5);
    let mut distances: Vec<f64> = errors.iter().map(|e| (e - median).abs()).collect();
    let elapsed = (now - before.at).max(1) as f64;
    let moved = ((median - before.median) / elapsed).clamp(-200e-6, 200e-6);
    Honest {
        median,
        spread: ranked(&mut distances, 0.5) / TYPICAL,
        rate: 0.9 * before.rate + 0.1 * moved,
        at: now,
    }
}

/// [`quantile`] without sorting; 0 of nothing.
fn ranked(values: &mut [f64], q: f64) -> f64 {
    let rank = (values.len() as f64 * q - 1e-9).ceil().max(1.0) as usize;
    if rank > values.len() {
        return 0.0;
    }
    *values.select_nth_unstable_by(rank - 1, f64::total_cmp).1
}

fn any_pair(errors: &[f64], seed: u64) -> Quantiles {
    let (Some(least), Some(most)) = (errors.first(), errors.last()) else {
        return Quantiles::default();
    };
    let mut random = Random::new(seed, 0x5 << 56);
    let mut draw = || errors[(random.unit() * errors.len() as f64) as usize];
    let pairs = (0..PAIRS).map(|_| (draw() - draw()).abs()).collect();
    Quantiles {
        max: most - least,
        ..quantiles(pairs)
    }
}

fn neighbours(shown: &[Option<Shown>]) -> Quantiles {
    let settled = shown.iter().flatten().filter(|s| s.synchronized);
    let apart = settled.filter_map(|s| {
        let other = shown[s.neighbour as usize].filter(|o| o.synchronized)?;
        Some((s.error - other.error).abs())
    });
    quantiles(apart.collect())
}

fn nearby(shown: &[Option<Shown>], paths: &Paths) -> Option<Quantiles> {
    let error = |host: u32| {
        let shown = shown[host as usize].filter(|s| s.synchronized);
        shown.map(|s| s.error)
    };
    let mut apart = Vec::new();
    for host in 0..shown.len() as u32 {
        for other in paths.site(host).filter(|other| *other < host) {
            if let (Some(a), Some(b)) = (error(host), error(other)) {
                apart.push((a - b).abs());
            }
        }
    }
    (!apart.is_empty()).then(|| quantiles(apart))
}

fn quantiles(mut values: Vec<f64>) -> Quantiles {
    values.sort_unstable_by(f64::total_cmp);
    let of = |p| quantile(&values, p).unwrap_or(0.0);
    Quantiles {
        p50: of(0.5),
        p99: of(0.99),
        p999: of(0.999),
        p9999: of(0.9999),
        max: values.last().copied().unwrap_or(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::plan::Plan;

    fn shown(error: f64, bound: f64) -> Option<Shown> {
        Some(Shown {
            error,
            bound: Some(bound),
            synchronized: true,
            neighbour: 0,
            oscillator: 0.0,
            overwhelmed: false,
        })
    }

    #[test]
    fn a_round_worked_out_by_hand() {
        let mut hosts = vec![shown(100.0, 50.0); 9];
        hosts[0] = shown(90.0, 50.0);
        hosts[1] = shown(110.0, 50.0);
        hosts[2] = shown(1_100.0, 500.0);
        hosts.push(None);
        let mut measured = Measured::default();
        measured.round(&hosts, Some(&Paths::new(&Plan::default())), 1);
        let round = measured.rounds[0];
        assert_eq!(
            (round.honest, round.median_ns, round.worst_ns),
            (9, 100.0, 1_000.0)
        );
        assert_eq!((round.violations, measured.bound().looks), (1, 9));
        assert_eq!(measured.skew().any_pair.max, 1_010.0);
        assert_eq!(measured.skew().neighbours.max, 1_010.0);
    }

    #[test]
    fn meeting_counts_from_when_it_lasts() {
        let mut measured = Measured::default();
        for p99_ns in [1e9, 5e6, 2e7, 5e6, 5e5, 5e5] {
            measured.rounds.push(Round {
                round: measured.rounds.len() as u32 + 1,
                p99_ns,
                ..Round::default()
            });
        }
        let reached = measured.reached();
        assert_eq!(
            (reached.ten_ms, reached.one_ms, reached.hundred_us),
            (Some(4), Some(5), None)
        );
    }

    #[test]
    fn the_rate_is_that_of_the_median() {
        let mut measured = Measured::default();
        for k in 0..10 {
            measured.rounds.push(Round {
                median_ns: 2_000.0 * f64::from(k),
                ..Round::default()
            });
        }
        // 2 µs every two seconds.
        assert!((measured.rate_ppm(2.0).unwrap() - 1.0).abs() < 1e-9);
        // Where most are on their way, the median is nobody's clock.
        measured.rounds[7].honest = 3;
        measured.rounds[7].synchronized = 1;
        assert_eq!(measured.rate_ppm(2.0), None);
    }
}
