//! How long samples take from their stamp to the estimator, and where they wait.
//!
//! Counted by the thread that feeds the estimator and by nobody else: a few additions a sample, no
//! atomics.

use crate::export::status::{Bucket, Latency, Stage};
use crate::time::{RawTime, Span};

/// Steps within a factor of two, as a power of two: what is told is at most 1/16 too long.
const FINE: u32 = 4;
/// Factors of two that are told apart; beyond 2³⁷ ns, two minutes, all is one.
const OCTAVES: usize = 34;
const STEPS: usize = OCTAVES << FINE;
/// What the status shows of the distribution: factors of two from 2¹⁰ ns to 2²⁷ ns.
const SHOWN: std::ops::RangeInclusive<u32> = 10..=27;

/// The stations of one sample.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Its stamp.
    pub stamped: RawTime,
    /// Taken from the socket.
    pub read: RawTime,
    /// Taken from the queue.
    pub taken: RawTime,
    /// The estimator has it.
    pub used: RawTime,
}

/// The latencies of all samples since the start, by stage.
#[derive(Debug)]
pub struct Latencies {
    stages: [(Stage, Distribution); 4],
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            stages: Stage::ALL.map(|stage| (stage, Distribution::default())),
        }
    }
}

impl Latencies {
    /// Count one sample.
    pub fn add(&mut self, way: &Way) {
        for (stage, distribution) in &mut self.stages {
            distribution.add(match stage {
                Stage::Read => way.read - way.stamped,
                Stage::Queue => way.taken - way.read,
                Stage::Use => way.used - way.taken,
                Stage::Total => way.used - way.stamped,
            });
        }
    }

    /// For the status.
    pub fn describe(&self) -> Vec<Latency> {
        let known = self.stages.iter().filter(|(_, all)| all.count > 0);
        known.map(|(stage, all)| all.describe(*stage)).collect()
    }
}

/// Counts in steps that grow with what is counted.
#[derive(Debug)]
struct Distribution {
    counts: Box<[u64; STEPS]>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self {
            counts: Box::new([0; STEPS]),
            count: 0,
            sum: 0,
            max: 0,
        }
    }
}

impl Distribution {
    fn add(&mut self, span: Span) {
        // A stamp is only known to some nanoseconds: it may seem to lie ahead.
        let nanos = span.as_nanos().max(0).cast_unsigned();
        self.counts[step(nanos)] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(nanos);
        self.max = self.max.max(nanos);
    }

    /// What at least the share `q` of all samples stayed within.
    fn quantile(&self, q: f64) -> u64 {
        let rank = (self.count as f64 * q).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (step, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return (end(step) - 1).min(self.max);
            }
        }
        self.max
    }

    /// Samples that took less than 2^`power` ns.
    fn below(&self, power: u32) -> u64 {
        self.counts[..step(1 << power)].iter().sum()
    }

    fn describe(&self, stage: Stage) -> Latency {
        Latency {
            stage,
            count: self.count,
            sum_ns: self.sum,
            p50_ns: self.quantile(0.5),
            p99_ns: self.quantile(0.99),
            max_ns: self.max,
            buckets: SHOWN
                .map(|power| Bucket {
                    below_ns: 1 << power,
                    count: self.below(power),
                })
                .collect(),
        }
    }
}

/// The step that holds `nanos`: one for each number at first, then 16 for each factor of two.
const fn step(nanos: u64) -> usize {
    let octave = (nanos | 1).ilog2().saturating_sub(FINE);
    let step = ((octave as usize) << FINE) + (nanos >> octave) as usize;
    if step < STEPS { step } else { STEPS - 1 }
}

/// Where a step ends, and the next begins.
const fn end(step: usize) -> u64 {
    let next = step + 1;
    let octave = (next >> FINE).saturating_sub(1);
    ((next - (octave << FINE)) as u64) << octave
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_no_gaps_and_hold_what_they_should() {
        for nanos in (0..5_000).chain((0..37).map(|power| (1 << power) + 1)) {
            let step = step(nanos);
            let start = if step == 0 { 0 } else { end(step - 1) };
            assert!((start..end(step)).contains(&nanos), "{nanos}: {step}");
            assert!(end(step) - start <= 1 + start / 16, "{nanos}");
        }
        assert_eq!(step(u64::MAX), STEPS - 1);
    }

    #[test]
    fn quantiles_and_buckets_are_those_of_what_was_counted() {
        let mut all = Distribution::default();
        for k in 1..=1_000 {
            all.add(Span::from_micros(k));
        }
        all.add(Span::from_nanos(-5));
        let told = all.describe(Stage::Queue);
        assert_eq!((told.count, told.max_ns), (1_001, 1_000_000));
        assert!((500_000..=531_250).contains(&told.p50_ns), "{told:?}");
        assert!((990_000..=1_000_000).contains(&told.p99_ns), "{told:?}");
        // 2^16 ns: 65 whole microseconds are less, and the one that was no time at all.
        let bucket = told.buckets.iter().find(|b| b.below_ns == 65_536);
        assert_eq!(bucket.map(|b| b.count), Some(66));
        assert_eq!(told.buckets.last().map(|b| b.count), Some(1_001));
    }

    #[test]
    fn stages_add_up_and_nothing_is_told_of_nothing() {
        let mut latencies = Latencies::default();
        assert!(latencies.describe().is_empty());
        let at = RawTime::from_nanos;
        latencies.add(&Way {
            stamped: at(1_000),
            read: at(3_000),
            taken: at(3_500),
            used: at(4_600),
        });
        let sums: Vec<u64> = latencies.describe().iter().map(|l| l.sum_ns).collect();
        assert_eq!(sums, [2_000, 500, 1_100, 3_600]);
    }
}
