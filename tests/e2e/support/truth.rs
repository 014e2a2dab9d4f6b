//! The true error of every node: all clocks compared at one instant of the one physical clock.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use parisync::export::status::ClockReading;

use super::Outcome;

/// All honest nodes at one instant; none for a node that did not answer.
pub(crate) type Row = Vec<Option<ClockReading>>;

/// Now, on the clock that all processes of this machine share.
pub(crate) fn mono_raw_ns() -> Outcome<i64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_RAW)?;
    Ok(now.tv_sec() * 1_000_000_000 + now.tv_nsec())
}

/// One instant, judged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// Since the series began.
    pub(crate) at: Duration,
    /// Nodes that have a bound, and with it a clock to be judged.
    pub(crate) serving: usize,
    /// Latest minus earliest of their clocks.
    pub(crate) skew_ns: i64,
    /// Their root mean square deviation from their mean.
    pub(crate) rms_ns: f64,
    /// Their bounds.
    pub(crate) bounds_ns: Vec<i64>,
    /// Nodes further from the median than they guaranteed: (index, error, bound).
    pub(crate) false_bounds: Vec<(usize, i64, i64)>,
    /// Nodes that serve a statistical bound, and those of them further off than it.
    pub(crate) statistical: (usize, usize),
}

impl Sample {
    /// Judges one row; none if no node serves a bounded clock yet.
    ///
    /// What a node serves is the clock it disciplines, or its virtual clock if it disciplines none;
    /// the truth is the median of all the virtual clocks.
    pub(crate) fn of(at: Duration, row: &Row) -> Option<Self> {
        let bounded = |(node, reading): (usize, &Option<ClockReading>)| {
            let reading = (*reading)?;
            let clock = reading.clock_ns.unwrap_or(reading.virtual_ns);
            Some((node, reading.virtual_ns, clock, reading.bound_ns?))
        };
        let served: Vec<(usize, i64, i64, i64)> =
            row.iter().enumerate().filter_map(bounded).collect();
        let mut virtual_clocks: Vec<i64> = served.iter().map(|node| node.1).collect();
        virtual_clocks.sort_unstable();
        // Of an even number every clock between the middle two is a median; a bound is false only
        // if it excludes them all.
        let low = *virtual_clocks.get(served.len().checked_sub(1)? / 2)?;
        let high = *virtual_clocks.get(served.len() / 2)?;
        let offsets: Vec<i64> = served.iter().map(|node| node.2 - low).collect();
        let (least, most) = (offsets.iter().min()?, offsets.iter().max()?);
        let count = offsets.len() as f64;
        let mean = offsets.iter().map(|&offset| offset as f64).sum::<f64>() / count;
        let squares = offsets
            .iter()
            .map(|&offset| (offset as f64 - mean).powi(2))
            .sum::<f64>();
        let error = |clock: i64| clock - clock.clamp(low, high);
        let errors = served
            .iter()
            .map(|&(node, _, clock, bound)| (node, error(clock), bound));
        let statistical: Vec<bool> = served
            .iter()
            .filter_map(|&(node, _, clock, _)| {
                let bound = row[node]?.statistical_ns?;
                Some(error(clock).abs() > bound)
            })
            .collect();
        Some(Self {
            at,
            serving: served.len(),
            skew_ns: most - least,
            rms_ns: (squares / count).sqrt(),
            bounds_ns: served.iter().map(|node| node.3).collect(),
            false_bounds: errors
                .filter(|(_, error, bound)| error.abs() > *bound)
                .collect(),
            statistical: (
                statistical.len(),
                statistical.iter().filter(|beyond| **beyond).count(),
            ),
        })
    }
}

/// Instants, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Series(pub(crate) Vec<Sample>);

impl Series {
    /// The part between two times since the series began.
    pub(crate) fn between(&self, from: Duration, to: Duration) -> Self {
        let inside = self
            .0
            .iter()
            .filter(|sample| (from..to).contains(&sample.at));
        Self(inside.cloned().collect())
    }

    /// When `nodes` nodes had begun to stay within a worst-pair skew of `limit_ns` to the end.
    pub(crate) fn settled(&self, nodes: usize, limit_ns: i64) -> Option<Duration> {
        let good = |sample: &Sample| sample.serving >= nodes && sample.skew_ns <= limit_ns;
        let tail = self.0.iter().rev().take_while(|sample| good(sample)).last();
        tail.map(|sample| sample.at)
    }

    /// Worst-pair skew that a share `p` of the instants does not exceed.
    pub(crate) fn skew_ns(&self, p: f64) -> i64 {
        quantile(self.0.iter().map(|sample| sample.skew_ns).collect(), p)
    }

    /// Guaranteed bound that a share `p` of all nodes' bounds does not exceed.
    pub(crate) fn bound_ns(&self, p: f64) -> i64 {
        quantile(
            self.0
                .iter()
                .flat_map(|sample| sample.bounds_ns.iter().copied())
                .collect(),
            p,
        )
    }

    /// Every bound that did not hold.
    pub(crate) fn false_bounds(&self) -> Vec<String> {
        let lines = self.0.iter().flat_map(|sample| {
            sample.false_bounds.iter().map(|(node, error, bound)| {
                format!(
                    "{:?}: node {node} off by {error} ns with a bound of {bound} ns",
                    sample.at
                )
            })
        });
        lines.collect()
    }

    /// Share of the statistical bounds that did not hold; they should in 99.9 % of all cases, but
    /// a host that is busy with other things is no place to insist.
    pub(crate) fn beyond_statistical(&self) -> f64 {
        let sum = |part: fn(&(usize, usize)) -> usize| {
            let parts = self.0.iter().map(|sample| part(&sample.statistical));
            parts.sum::<usize>() as f64
        };
        sum(|counts| counts.1) / sum(|counts| counts.0).max(1.0)
    }

    /// One line for people.
    pub(crate) fn summary(&self) -> String {
        let rms = self
            .0
            .iter()
            .map(|sample| sample.rms_ns.powi(2))
            .sum::<f64>();
        format!(
            "worst-pair skew p50 {} p99 {} max {} ns, rms {:.0} ns, bound p50 {} p99 {} ns, \
             {:.2} % beyond the statistical one, {} instants",
            self.skew_ns(0.5),
            self.skew_ns(0.99),
            self.skew_ns(1.0),
            (rms / self.0.len().max(1) as f64).sqrt(),
            self.bound_ns(0.5),
            self.bound_ns(0.99),
            100.0 * self.beyond_statistical(),
            self.0.len(),
        )
    }
}

/// The least value that a share `p` of the values does not exceed; `i64::MAX` of no values, so that
/// a limit on nothing fails.
fn quantile(mut values: Vec<i64>, p: f64) -> i64 {
    values.sort_unstable();
    let rank = (p * values.len() as f64).ceil() as usize;
    values.get(rank.max(1) - 1).copied().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(virtual_ns: i64, bound_ns: i64) -> Option<ClockReading> {
        disciplined(virtual_ns, None, Some(bound_ns))
    }

    fn disciplined(
        virtual_ns: i64,
        clock_ns: Option<i64>,
        bound_ns: Option<i64>,
    ) -> Option<ClockReading> {
        Some(ClockReading {
            mono_raw_ns: 0,
            virtual_ns,
            clock_ns,
            bound_ns,
            statistical_ns: bound_ns.map(|bound| bound / 3),
        })
    }

    fn at(milliseconds: u64, row: &[Option<ClockReading>]) -> Sample {
        Sample::of(Duration::from_millis(milliseconds), &row.to_vec()).unwrap()
    }

    #[test]
    fn skew_is_of_the_worst_pair_and_counts_only_nodes_that_serve_a_bound() {
        let unbounded = disciplined(9_000_000, None, None);
        let sample = at(
            0,
            &[
                reading(1_000, 50),
                None,
                unbounded,
                reading(1_030, 50),
                reading(1_006, 50),
            ],
        );
        assert_eq!((sample.serving, sample.skew_ns), (3, 30));
        assert!((sample.rms_ns - 12.96).abs() < 0.01, "{}", sample.rms_ns);
        assert_eq!(Sample::of(Duration::ZERO, &vec![None, unbounded]), None);
    }

    #[test]
    fn a_bound_is_false_when_it_excludes_the_median_of_an_odd_number() {
        let sample = at(0, &[reading(100, 9), reading(110, 9), reading(111, 9)]);
        assert_eq!(sample.false_bounds, [(0, -10, 9)]);
    }

    #[test]
    fn a_bound_is_false_when_it_excludes_every_median_of_an_even_number() {
        let row = [
            reading(100, 9),
            reading(110, 0),
            reading(120, 0),
            reading(129, 9),
        ];
        assert_eq!(at(0, &row).false_bounds, [(0, -10, 9)]);
    }

    #[test]
    fn statistical_bounds_are_counted_and_false_ones_among_them() {
        // Of 9 and 30 a third is served: 3 ns and 10 ns around the median, 110.
        let sample = at(0, &[reading(104, 9), reading(110, 9), reading(119, 30)]);
        assert_eq!(sample.statistical, (3, 1));
        let series = Series(vec![sample.clone(), sample]);
        assert!((series.beyond_statistical() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(Series::default().beyond_statistical(), 0.0);
    }

    #[test]
    fn what_is_judged_is_the_disciplined_clock_against_the_virtual_ones() {
        let slewing = disciplined(105, Some(160), Some(60));
        let row = [reading(100, 9), slewing, reading(110, 9)];
        let sample = at(0, &row);
        assert_eq!(
            (sample.skew_ns, sample.false_bounds.as_slice()),
            (60, [].as_slice())
        );
        let boasting = disciplined(105, Some(160), Some(50));
        assert_eq!(
            at(0, &[row[0], boasting, row[2]]).false_bounds,
            [(1, 55, 50)]
        );
    }

    #[test]
    fn settling_counts_from_the_last_relapse() {
        let (near, far) = (
            [reading(0, 99), reading(5, 99)],
            [reading(0, 99), reading(50, 99)],
        );
        let one = [reading(0, 99), None];
        let series = |rows: &[&[Option<ClockReading>]]| {
            Series(
                rows.iter()
                    .zip(0..)
                    .map(|(row, second)| at(second * 1000, row))
                    .collect(),
            )
        };
        assert_eq!(
            series(&[&far, &near, &far, &near, &near]).settled(2, 10),
            Some(Duration::from_secs(3))
        );
        assert_eq!(series(&[&near, &far]).settled(2, 10), None);
        assert_eq!(
            series(&[&near, &one]).settled(2, 10),
            None,
            "a node that fell silent"
        );
        assert_eq!(series(&[&near, &near]).settled(3, 10), None);
        assert_eq!(Series::default().settled(0, 10), None);
    }

    #[test]
    fn quantiles_name_the_worst_and_never_pass_on_nothing() {
        let values: Vec<i64> = (1..=100).rev().collect();
        assert_eq!(
            [0.0, 0.5, 0.99, 1.0].map(|p| quantile(values.clone(), p)),
            [1, 50, 99, 100]
        );
        assert_eq!(quantile(Vec::new(), 0.5), i64::MAX);
    }

    #[test]
    fn the_shared_clock_goes_forward() {
        let (earlier, later) = (mono_raw_ns().unwrap(), mono_raw_ns().unwrap());
        assert!(earlier > 0 && later >= earlier);
    }
}
