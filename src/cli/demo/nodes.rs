//! The statistics of one node in a run.

use super::summary::Record;
use super::swarm::NodeSample;
use super::truth::is_beyond;
use crate::present::histogram::quantile;
use crate::wire::ClockState;

/// What one node did, against the truth.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NodeStats {
    /// Seconds at which it first called itself synchronized.
    pub synchronized_s: Option<f64>,
    /// Root mean square of its error over the second half, nanoseconds.
    pub rms_ns: Option<f64>,
    /// Its largest error over the second half, with its sign, nanoseconds.
    pub worst_ns: Option<f64>,
    /// The median of its bound over the second half, nanoseconds.
    pub bound_ns: Option<i64>,
    /// Times in the whole run that it was further off than it guaranteed.
    pub violations: u64,
    /// The median of its statistical bound over the second half, nanoseconds.
    pub statistical_ns: Option<i64>,
    /// Times in the whole run that it was further off than that.
    pub beyond_statistical: u64,
}

impl NodeStats {
    /// Of the node with this place in the roster.
    pub(super) fn of(record: &Record, node: usize) -> Self {
        let ticks = || record.samples().iter().zip(record.truths());
        let settled = || ticks().skip(record.second_half());
        let errors = || settled().filter_map(|(_, truth)| truth.errors_ns[node]);
        let count = errors().count();
        let squares: f64 = errors().map(|error| error * error).sum();
        let median = |bound: fn(&NodeSample) -> Option<i64>| {
            let mut bounds: Vec<i64> = settled()
                .filter_map(|(sample, _)| bound(&sample.nodes[node]))
                .collect();
            bounds.sort_unstable();
            quantile(&bounds, 0.5)
        };
        let broken = |bound: fn(&NodeSample) -> Option<i64>| {
            let broken = ticks().filter(|(sample, truth)| {
                is_beyond(truth.errors_ns[node], bound(&sample.nodes[node]))
            });
            broken.count() as u64
        };
        Self {
            synchronized_s: ticks()
                .find(|(sample, _)| sample.nodes[node].state == ClockState::Synchronized)
                .map(|(_, truth)| truth.at_s),
            rms_ns: (count > 0).then(|| (squares / count as f64).sqrt()),
            worst_ns: errors().max_by(|a, b| a.abs().total_cmp(&b.abs())),
            bound_ns: median(|seen| seen.bound_ns),
            violations: broken(|seen| seen.bound_ns),
            statistical_ns: median(|seen| seen.statistical_ns),
            beyond_statistical: broken(|seen| seen.statistical_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::time::Span;

    #[test]
    fn a_node_is_judged_by_its_second_half_and_its_whole_life() {
        let mut record = Record::new(testing::roster(3));
        for (second, error) in [(0, 900), (1, 30), (2, -40)] {
            let mut sample = testing::sample(Span::from_secs(second), 3);
            for (node, clock) in [(0, 0), (1, error), (2, 0)] {
                sample.nodes[node].clock_ns = Some(1_000_000 + clock);
            }
            sample.nodes[1].bound_ns = Some(35);
            sample.nodes[1].statistical_ns = Some(25 + second);
            if second == 0 {
                sample.nodes[1].state = ClockState::Joining;
            }
            record.push(sample);
        }
        assert_eq!(
            NodeStats::of(&record, 1),
            NodeStats {
                synchronized_s: Some(1.0),
                rms_ns: Some(1250.0_f64.sqrt()),
                worst_ns: Some(-40.0),
                bound_ns: Some(35),
                violations: 2,
                statistical_ns: Some(26),
                beyond_statistical: 3,
            }
        );
        assert_eq!(NodeStats::of(&record, 0).bound_ns, None);
    }
}
