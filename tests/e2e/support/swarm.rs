//! All nodes of a scenario, watched together.

use std::time::{Duration, Instant};

use super::lab::Lab;
use super::node::{Node, Spec};
use super::truth::{Row, Sample, Series, mono_raw_ns};
use super::{Outcome, ensure, say};

/// How often all clocks are compared.
const EVERY: Duration = Duration::from_millis(100);

/// Nodes, the honest of them judged together.
pub(crate) struct Swarm {
    pub(crate) nodes: Vec<Node>,
    began: Instant,
    seen: Series,
}

impl Swarm {
    /// Starts one node for each specification, in this order.
    pub(crate) fn start(lab: &Lab, specs: impl IntoIterator<Item = Spec>) -> Outcome<Self> {
        let began = Instant::now();
        let nodes = specs
            .into_iter()
            .map(|spec| Node::start(lab, spec))
            .collect::<Outcome<_>>()?;
        Ok(Self {
            nodes,
            began,
            seen: Series::default(),
        })
    }

    /// Compares the clocks of all honest nodes for a while; returns what was seen in that time.
    /// A node that should run and has ended fails the scenario at once.
    pub(crate) fn watch(&mut self, lasts: Duration) -> Outcome<Series> {
        let honest = self.honest();
        self.watch_some(&honest, lasts)
    }

    /// The same for some of the nodes, by index.
    pub(crate) fn watch_some(&mut self, judged: &[usize], lasts: Duration) -> Outcome<Series> {
        let start = Instant::now();
        let mut next = start;
        while next < start + lasts {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next = (next + EVERY).max(Instant::now());
            let at = self.began.elapsed();
            let row = self.row(judged)?;
            self.seen.0.extend(Sample::of(at, &row));
        }
        let from = start.duration_since(self.began);
        Ok(self.seen.between(from, Duration::MAX))
    }

    /// Everything seen since the start.
    pub(crate) fn seen(&self) -> &Series {
        &self.seen
    }

    /// Nodes that were not told to lie, by index.
    pub(crate) fn honest(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&node| self.nodes[node].spec.lie.is_none())
            .collect()
    }

    /// All judged clocks at one and the same instant.
    fn row(&mut self, judged: &[usize]) -> Outcome<Row> {
        let instant = mono_raw_ns()?;
        let mut row = Row::new();
        for &index in judged {
            let node = &mut self.nodes[index];
            // No answer is no reading: it is starting, or was killed by the scenario.
            let reading = node.ask(|control| control.clock_at(instant)).ok();
            if reading.is_none() {
                node.still_runs()?;
            }
            row.push(reading);
        }
        Ok(row)
    }

    /// Waits until all the given nodes say that they are synchronized.
    pub(crate) fn synchronized(&mut self, nodes: &[usize], limit: Duration) -> Outcome {
        super::within(limit, || {
            for &index in nodes {
                let tracking = self.nodes[index].ask(|control| control.tracking())?;
                ensure!(
                    tracking.state == parisync::wire::ClockState::Synchronized,
                    "node {index} is {:?}: {}",
                    tracking.state,
                    tracking.reason
                );
            }
            Ok(())
        })
    }
}

/// Asserts that no bound was false and that the clocks are as near as they should be.
pub(crate) fn judge(name: &str, series: &Series, nodes: usize, skew_p99_ns: i64) -> Outcome {
    say(&format!("{name}: {}", series.summary()));
    let false_bounds = series.false_bounds();
    ensure!(
        false_bounds.is_empty(),
        "{name}: {} false bounds, the first: {:?}",
        false_bounds.len(),
        &false_bounds[..false_bounds.len().min(5)]
    );
    let fewest = series.0.iter().map(|sample| sample.serving).min();
    ensure!(
        fewest.is_some_and(|fewest| fewest >= nodes),
        "{name}: {fewest:?} of {nodes} nodes serve"
    );
    let p99 = series.skew_ns(0.99);
    ensure!(
        p99 <= skew_p99_ns,
        "{name}: worst-pair skew p99 is {p99} ns, not ≤ {skew_p99_ns} ns"
    );
    Ok(())
}
