//! The statistics of a run, against the truth.
//!
//! Liars count nowhere.

use serde::{Deserialize, Serialize};

use super::swarm::{NodeInfo, NodeSample, Sample, Stamps, Totals};
use super::truth::Truth;
use crate::present::histogram::quantile;

/// The worst pair has to stay closer than this for a swarm to count as converged, nanoseconds.
pub(super) const CONVERGED_NS: i64 = 10_000;

/// The result of a run, as `-o json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Nodes, liars included.
    pub nodes: usize,
    /// How long it ran.
    pub seconds: f64,
    /// Seconds from the start after which the worst pairwise skew stays below 10 µs; null if it
    /// never does.
    pub converged_s: Option<f64>,
    /// Worst pairwise skew over the second half of the run.
    pub skew_ns: SkewStats,
    /// Root mean square deviation of each node from the mean of all, over the second half; null
    /// if nothing was seen there.
    pub rms_ns: Option<f64>,
    /// Guaranteed bounds that nodes published over the second half.
    pub bound_ns: BoundStats,
    /// Times in the whole run that a node was further from the network's clock than it guaranteed.
    pub bound_violations: u64,
    /// Statistical bounds that nodes published over the second half.
    #[serde(default)]
    pub statistical_ns: BoundStats,
    /// Times in the whole run that a node was further from the network's clock than its statistical
    /// bound.
    #[serde(default)]
    pub statistical_violations: u64,
    /// Their share in all times that a node published one, which should not exceed 0.001; null if
    /// none was published.
    #[serde(default)]
    pub statistical_share: Option<f64>,
    /// Exchanges completed by all nodes.
    pub exchanges: u64,
    /// Stamps taken by all nodes.
    pub stamps: Stamps,
}

/// Skew of the worst pair, nanoseconds; null if no two clocks were seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkewStats {
    /// Median over time.
    pub p50: Option<i64>,
    /// 99th percentile over time.
    pub p99: Option<i64>,
    /// Worst.
    pub max: Option<i64>,
}

/// Published bounds, nanoseconds; null if none was published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundStats {
    /// Median over nodes and time.
    pub p50: Option<i64>,
    /// 99th percentile over nodes and time.
    pub p99: Option<i64>,
}

/// Takes in the samples of a run one by one.
#[derive(Debug, Clone)]
pub struct Record {
    roster: Vec<NodeInfo>,
    samples: Vec<Sample>,
    truths: Vec<Truth>,
}

impl Record {
    /// An empty record of a run with these nodes.
    pub fn new(roster: Vec<NodeInfo>) -> Self {
        Self {
            roster,
            samples: Vec::new(),
            truths: Vec::new(),
        }
    }

    /// Takes in one sample; they come in the order of time.
    pub fn push(&mut self, sample: Sample) {
        self.truths.push(Truth::of(&sample, &self.roster));
        self.samples.push(sample);
    }

    /// The nodes.
    pub fn roster(&self) -> &[NodeInfo] {
        &self.roster
    }

    /// The samples so far.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The same, set against the truth.
    pub fn truths(&self) -> &[Truth] {
        &self.truths
    }

    /// Whether this node tells the truth.
    pub fn honest(&self, node: usize) -> bool {
        self.roster
            .get(node)
            .is_none_or(|info| info.clock.lie.is_none())
    }

    /// Seconds of the last sample.
    pub fn seconds(&self) -> f64 {
        self.truths.last().map_or(0.0, |truth| truth.at_s)
    }

    /// Index of the first sample of the second half of the time.
    pub fn second_half(&self) -> usize {
        let half = self.seconds() / 2.0;
        self.truths.partition_point(|truth| truth.at_s < half)
    }

    /// Seconds after which the worst pair stays below 10 µs, with all honest clocks
    /// present; `None` if it does not.
    pub fn converged_s(&self) -> Option<f64> {
        let good = |truth: &&Truth| {
            truth.complete && truth.worst_ns.is_some_and(|worst| worst < CONVERGED_NS)
        };
        let lasting = self.truths.iter().rev().take_while(good).count();
        let first = self.truths.len() - lasting;
        self.truths.get(first).map(|truth| truth.at_s)
    }

    /// The statistics of the run so far.
    pub fn summary(&self, totals: Totals) -> Summary {
        let half = self.second_half();
        let mut skews: Vec<i64> = self.truths[half..]
            .iter()
            .filter_map(|truth| truth.worst_ns)
            .collect();
        skews.sort_unstable();
        Summary {
            nodes: self.roster.len(),
            seconds: rounded(self.seconds(), 1e3),
            converged_s: self.converged_s().map(|s| rounded(s, 1e3)),
            skew_ns: SkewStats {
                p50: quantile(&skews, 0.5),
                p99: quantile(&skews, 0.99),
                max: skews.last().copied(),
            },
            rms_ns: self.rms_ns().map(|ns| rounded(ns, 10.0)),
            bound_ns: self.bounds(|seen| seen.bound_ns),
            bound_violations: self.violations(),
            statistical_ns: self.bounds(|seen| seen.statistical_ns),
            statistical_violations: self.beyond_statistical(),
            statistical_share: self.statistical_share(),
            exchanges: totals.exchanges,
            stamps: totals.stamps,
        }
    }

    /// Times so far that an honest node was further off than it promised.
    pub fn violations(&self) -> u64 {
        self.truths.iter().map(|truth| truth.violations).sum()
    }

    /// Times so far that an honest node was further off than its statistical bound.
    pub fn beyond_statistical(&self) -> u64 {
        self.truths.iter().map(|t| t.beyond_statistical).sum()
    }

    /// Their share in all times that one was published.
    pub fn statistical_share(&self) -> Option<f64> {
        let all: u64 = self.truths.iter().map(|truth| truth.statistical).sum();
        (all > 0).then(|| self.beyond_statistical() as f64 / all as f64)
    }

    /// The bounds that `bound` picks, over the honest nodes and the second half.
    fn bounds(&self, bound: impl Fn(&NodeSample) -> Option<i64>) -> BoundStats {
        let mut bounds: Vec<i64> = self.samples[self.second_half()..]
            .iter()
            .flat_map(|sample| sample.nodes.iter().enumerate())
            .filter(|(node, _)| self.honest(*node))
            .filter_map(|(_, seen)| bound(seen))
            .collect();
        bounds.sort_unstable();
        BoundStats {
            p50: quantile(&bounds, 0.5),
            p99: quantile(&bounds, 0.99),
        }
    }

    fn rms_ns(&self) -> Option<f64> {
        let variances: Vec<f64> = self.truths[self.second_half()..]
            .iter()
            .filter_map(|truth| truth.variance_ns2)
            .collect();
        let mean = variances.iter().sum::<f64>() / variances.len() as f64;
        (!variances.is_empty()).then(|| mean.sqrt())
    }

    /// Signed errors of the honest nodes over the second half, nanoseconds, sorted.
    pub fn settled_errors_ns(&self) -> Vec<f64> {
        let mut errors: Vec<f64> = self.truths[self.second_half()..]
            .iter()
            .flat_map(|truth| truth.errors_ns.iter().enumerate())
            .filter(|(node, _)| self.honest(*node))
            .filter_map(|(_, error)| *error)
            .collect();
        errors.sort_unstable_by(f64::total_cmp);
        errors
    }
}

fn rounded(value: f64, per_unit: f64) -> f64 {
    (value * per_unit).round() / per_unit
}

#[cfg(test)]
mod tests {
    use super::super::options::Lie;
    use super::super::testing;
    use super::*;
    use crate::time::Span;

    const EPOCH: i64 = 1_800_000_000_000_000_000;

    /// A run of one sample a second from second 0; each inner list is the clocks of the nodes.
    fn run(ticks: &[&[i64]]) -> Record {
        let mut record = Record::new(testing::roster(ticks[0].len()));
        for (second, clocks) in ticks.iter().enumerate() {
            record.push(tick(second as i64, clocks));
        }
        record
    }

    fn tick(second: i64, clocks: &[i64]) -> Sample {
        let mut sample = testing::sample(Span::from_secs(second), clocks.len());
        for (node, clock) in sample.nodes.iter_mut().zip(clocks) {
            node.clock_ns = Some(EPOCH + clock);
        }
        sample
    }

    #[test]
    fn convergence_is_the_start_of_the_last_good_stretch() {
        let (good, bad): (&[i64], &[i64]) = (&[0, 9_999], &[0, 10_000]);
        assert_eq!(run(&[good, good, good]).converged_s(), Some(0.0));
        assert_eq!(run(&[bad, good, good]).converged_s(), Some(1.0));
        assert_eq!(run(&[bad, good, bad, good]).converged_s(), Some(3.0));
        assert_eq!(run(&[good, good, bad]).converged_s(), None, "lost again");
        assert_eq!(run(&[bad, bad]).converged_s(), None, "never");
        assert_eq!(Record::new(testing::roster(2)).converged_s(), None);
    }

    #[test]
    fn a_missing_clock_is_not_convergence() {
        let mut record = Record::new(testing::roster(3));
        let mut partial = tick(0, &[0, 5, 7]);
        partial.nodes[2].clock_ns = None;
        record.push(partial);
        assert_eq!(record.truths()[0].worst_ns, Some(5));
        assert_eq!(record.converged_s(), None);
        record.push(tick(1, &[0, 5, 7]));
        assert_eq!(record.converged_s(), Some(1.0));
    }

    #[test]
    fn skew_and_rms_are_of_the_second_half() {
        // 5 samples at 0..=4 s: the second half starts at 2 s.
        let summary =
            run(&[&[0, 900], &[0, 800], &[0, 10], &[0, 30], &[20, 0]]).summary(Totals::default());
        assert_eq!(
            summary.skew_ns,
            SkewStats {
                p50: Some(20),
                p99: Some(30),
                max: Some(30)
            }
        );
        // Deviations from the mean: ±5, ±15, ±10.
        let expected = ((25.0 + 225.0 + 100.0) / 3.0_f64).sqrt();
        assert!((summary.rms_ns.unwrap() - expected).abs() < 0.06);
        assert_eq!((summary.nodes, summary.seconds), (2, 4.0));
    }

    #[test]
    fn statistical_bounds_are_counted_with_the_share_that_did_not_hold() {
        let mut record = run(&[&[0, 10, 50]]);
        assert_eq!(record.summary(Totals::default()).statistical_share, None);
        for bounds in [[Some(9), Some(3), Some(40)], [Some(12), None, Some(39)]] {
            let mut sample = tick(1, &[0, 10, 50]);
            for (node, bound) in sample.nodes.iter_mut().zip(bounds) {
                node.statistical_ns = bound;
            }
            record.push(sample);
        }
        let summary = record.summary(Totals::default());
        assert_eq!(summary.statistical_violations, 2);
        assert_eq!(summary.statistical_share, Some(0.4));
        assert_eq!((summary.bound_violations, summary.bound_ns.p50), (0, None));
        assert_eq!(summary.statistical_ns.p50, Some(12));
    }

    #[test]
    fn violations_count_over_the_whole_run_and_only_where_a_bound_is_published() {
        let mut record = Record::new(testing::roster(3));
        for (second, bounds) in [
            [Some(9), Some(0), Some(40)],
            [Some(10), None, Some(39)],
            [None, Some(5), None],
        ]
        .iter()
        .enumerate()
        {
            let mut sample = tick(second as i64, &[0, 10, 50]);
            for (node, bound) in sample.nodes.iter_mut().zip(bounds) {
                node.bound_ns = *bound;
            }
            record.push(sample);
        }
        let summary = record.summary(Totals::default());
        assert_eq!(summary.bound_violations, 2);
        // The second half is seconds 1 and 2: bounds 5, 10, 39.
        assert_eq!(
            summary.bound_ns,
            BoundStats {
                p50: Some(10),
                p99: Some(39)
            }
        );
    }

    #[test]
    fn liars_count_nowhere_but_their_error_is_shown() {
        let mut roster = testing::roster(3);
        roster[2].clock.lie = Some(Lie {
            offset: Span::from_millis(10),
            drift_ppm: 0.0,
        });
        let mut record = Record::new(roster);
        let mut sample = tick(0, &[0, 10, 10_000_000]);
        sample.nodes[2].bound_ns = Some(1);
        record.push(sample);
        let summary = record.summary(Totals::default());
        assert_eq!(record.truths()[0].errors_ns[2], Some(9_999_995.0));
        assert_eq!(summary.skew_ns.max, Some(10));
        assert_eq!(summary.bound_violations, 0);
        assert_eq!(summary.bound_ns.p50, None);
        assert_eq!(summary.converged_s, Some(0.0));
        assert_eq!(record.settled_errors_ns(), [-5.0, 5.0]);
    }

    #[test]
    fn json_has_the_documented_names_and_nulls() {
        let totals = Totals {
            exchanges: 7,
            stamps: Stamps {
                hardware: 0,
                kernel: 26,
                user: 1,
                lost: 1,
            },
        };
        let json = serde_json::to_string(&run(&[&[0, 300], &[0, 200]]).summary(totals)).unwrap();
        assert_eq!(
            json,
            r#"{"nodes":2,"seconds":1.0,"converged_s":0.0,"skew_ns":{"p50":200,"p99":200,"max":200},"rms_ns":100.0,"bound_ns":{"p50":null,"p99":null},"bound_violations":0,"statistical_ns":{"p50":null,"p99":null},"statistical_violations":0,"statistical_share":null,"exchanges":7,"stamps":{"hardware":0,"kernel":26,"user":1,"lost":1}}"#
        );
        let empty = Record::new(testing::roster(2)).summary(Totals::default());
        let json = serde_json::to_value(empty).unwrap();
        assert!(json["converged_s"].is_null() && json["rms_ns"].is_null());
    }
}
