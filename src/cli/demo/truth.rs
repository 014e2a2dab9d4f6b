//! The truth at one instant.
//!
//! Truth needs no estimator: every sample reads all clocks at one instant of the physical clock
//! they share. The network's clock is by definition the **median** of the virtual clocks of the
//! honest nodes that are synchronized; before there are any, that of all honest clocks.

use super::swarm::{NodeInfo, NodeSample, Sample};

/// What one sample shows once it is set against the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// Seconds since the start.
    pub at_s: f64,
    /// Each node's clock minus the network's, nanoseconds, in roster order;
    /// `None` where a node has no clock.
    pub errors_ns: Vec<Option<f64>>,
    /// Skew of the worst pair of honest nodes, nanoseconds; `None` with fewer than two clocks.
    pub worst_ns: Option<i64>,
    /// Every honest node has a clock.
    pub complete: bool,
    /// Mean over the honest nodes of the squared deviation from their mean, ns².
    pub variance_ns2: Option<f64>,
    /// Honest nodes further from the network's clock than the guaranteed bound they publish.
    pub violations: u64,
    /// The same with the statistical bound.
    pub beyond_statistical: u64,
    /// Honest nodes that have a clock and publish a statistical bound on it.
    pub statistical: u64,
}

impl Truth {
    /// Sets a sample against the truth; `roster` says who lies.
    pub fn of(sample: &Sample, roster: &[NodeInfo]) -> Self {
        let honest = |node: usize| roster.get(node).is_none_or(|info| info.clock.lie.is_none());
        // Clocks read some 1.7e18 ns, too much for an f64; their differences are small.
        let origin = sample.nodes.iter().find_map(|node| node.clock_ns);
        let relative: Vec<Option<i64>> = sample
            .nodes
            .iter()
            .map(|node| Some(node.clock_ns?.saturating_sub(origin?)))
            .collect();
        let seats = || (0..sample.nodes.len()).filter(|&node| honest(node));
        let mut sorted: Vec<i64> = seats().filter_map(|node| relative[node]).collect();
        sorted.sort_unstable();

        let mut network: Vec<i64> = seats()
            .filter_map(|node| Some(sample.nodes[node].network_ns?.saturating_sub(origin?)))
            .collect();
        network.sort_unstable();
        let median = median(if network.is_empty() {
            &sorted
        } else {
            &network
        });
        let errors_ns: Vec<Option<f64>> = relative
            .iter()
            .map(|clock| Some((*clock)? as f64 - median?))
            .collect();
        let beyond = |bound: fn(&NodeSample) -> Option<i64>| {
            let broken =
                seats().filter(|&node| is_beyond(errors_ns[node], bound(&sample.nodes[node])));
            broken.count() as u64
        };
        let statistical = seats()
            .filter(|&node| {
                errors_ns[node].is_some() && sample.nodes[node].statistical_ns.is_some()
            })
            .count();
        let worst_ns = match sorted[..] {
            [first, .., last] => Some(last.saturating_sub(first)),
            _ => None,
        };
        Self {
            at_s: sample.at.as_secs_f64(),
            complete: sorted.len() == seats().count(),
            worst_ns,
            variance_ns2: variance(&sorted),
            violations: beyond(|node| node.bound_ns),
            beyond_statistical: beyond(|node| node.statistical_ns),
            statistical: statistical as u64,
            errors_ns,
        }
    }
}

/// Whether an error is beyond a bound, both being known.
pub(super) fn is_beyond(error_ns: Option<f64>, bound_ns: Option<i64>) -> bool {
    matches!((error_ns, bound_ns), (Some(error), Some(bound)) if error.abs() > bound as f64)
}

/// The middle of sorted values, the mean of the two middle ones of an even number.
fn median(sorted: &[i64]) -> Option<f64> {
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[half] as f64),
        _ => Some((sorted[half - 1] as f64 + sorted[half] as f64) / 2.0),
    }
}

/// Mean squared deviation from the mean.
fn variance(values: &[i64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| v as f64).sum::<f64>() / n;
    let squares = values
        .iter()
        .map(|&v| (v as f64 - mean).powi(2))
        .sum::<f64>();
    (!values.is_empty()).then_some(squares / n)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::time::Span;

    fn truth(clocks: &[i64]) -> Truth {
        let mut sample = testing::sample(Span::ZERO, clocks.len());
        for (node, clock) in sample.nodes.iter_mut().zip(clocks) {
            node.clock_ns = Some(1_800_000_000_000_000_000 + clock);
        }
        Truth::of(&sample, &testing::roster(clocks.len()))
    }

    #[test]
    fn errors_are_against_the_median_and_spread_against_the_mean() {
        let odd = truth(&[0, 10, 50]);
        assert_eq!(odd.errors_ns, [Some(-10.0), Some(0.0), Some(40.0)]);
        assert_eq!(odd.worst_ns, Some(50));
        // mean 20, deviations -20, -10, 30
        assert_eq!(odd.variance_ns2, Some((400.0 + 100.0 + 900.0) / 3.0));
        let even = truth(&[0, 10, 50, 20]);
        assert_eq!(even.errors_ns[0], Some(-15.0));
    }

    #[test]
    fn who_is_not_synchronized_does_not_make_the_time() {
        let mut sample = testing::sample(Span::ZERO, 4);
        for (node, clock) in sample.nodes.iter_mut().zip([0, 10, 5_000, 9_000]) {
            node.clock_ns = Some(clock);
        }
        sample.nodes[0].network_ns = Some(2);
        sample.nodes[1].network_ns = Some(6);
        let truth = Truth::of(&sample, &testing::roster(4));
        assert_eq!(truth.errors_ns[..2], [Some(-4.0), Some(6.0)]);
    }

    #[test]
    fn without_clocks_there_is_no_truth() {
        let none = Truth::of(&testing::sample(Span::ZERO, 2), &testing::roster(2));
        assert_eq!(none.errors_ns, [None, None]);
        assert_eq!(
            (none.worst_ns, none.variance_ns2, none.complete),
            (None, None, false)
        );
    }
}
