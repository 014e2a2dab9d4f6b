//! All strategies over the packets of one record.

use std::io::BufRead;
use std::path::Path;

use parisync::consensus::strategies::AnyCombine;
use parisync::node::{ClockView, Node, SIGMAS_99_9, Strategies};
use parisync::record::{Entry, Header, Reader, apply};
use parisync::time::RawTime;
use parisync::topology::NodeId;
use parisync::wire::ClockState;
use serde::Serialize;

use super::ReplayError;
use super::judged::Judged;
use super::stats::{Values, median};
use super::truth::{Truth, between};
use super::verify;
use crate::run::Sample;

/// What one strategy made of all records.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StrategyRow {
    /// For one link.
    pub estimator: String,
    /// For many links.
    pub combine: String,
    /// Rounds in which the recorded node was synchronized.
    pub rounds: u64,
    /// The share of them in which this strategy's node was, too.
    pub synchronized: f64,
    /// Its clock minus the recorded one while both were: root mean square, ns.
    pub from_recorded_rms_ns: Option<f64>,
    /// The same at its largest, ns.
    pub from_recorded_max_ns: Option<f64>,
    /// Its clock minus the median of all strategies' clocks: root mean square, ns.
    pub from_median_rms_ns: Option<f64>,
    /// Exchanges of low delay that were foreseen.
    pub residuals: u64,
    /// What their offsets were minus what had been expected: root mean square, ns.
    pub residual_rms_ns: Option<f64>,
    /// The same, median of the magnitude, ns.
    pub residual_p50_ns: Option<f64>,
    /// The share of them beyond 3.29 of the sigmas that had been claimed; 0.001 of normal ones.
    pub residual_beyond: Option<f64>,
    /// The offset of a neighbour's raw clock minus the truth, at all rounds: root mean square, ns.
    pub link_error_rms_ns: Option<f64>,
    /// The same, 99th percentile of the magnitude, ns.
    pub link_error_p99_ns: Option<f64>,
    /// Its clock minus the truth: root mean square, ns.
    pub error_rms_ns: Option<f64>,
    /// The same, 99th percentile of the magnitude, ns.
    pub error_p99_ns: Option<f64>,
    /// Its guaranteed bound, median, ns.
    pub guaranteed_p50_ns: Option<f64>,
    /// Rounds in which the truth was beyond that.
    pub guaranteed_violations: Option<u64>,
    /// Its statistical bound, median, ns.
    pub statistical_p50_ns: Option<f64>,
    /// The share of rounds in which the truth was beyond that; at most 0.001 is promised.
    pub statistical_beyond: Option<f64>,
}

/// What is known of one strategy so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rounds: u64,
    synchronized: u64,
    from_recorded: Values,
    from_median: Values,
    residuals: Values,
    residuals_beyond: u64,
    links: Values,
    errors: Values,
    guaranteed: Values,
    violations: u64,
    statistical: Values,
    beyond: u64,
    samples: Vec<Sample>,
}

impl Tally {
    fn merge(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.synchronized += other.synchronized;
        self.from_recorded.merge(other.from_recorded);
        self.from_median.merge(other.from_median);
        self.residuals.merge(other.residuals);
        self.residuals_beyond += other.residuals_beyond;
        self.links.merge(other.links);
        self.errors.merge(other.errors);
        self.guaranteed.merge(other.guaranteed);
        self.violations += other.violations;
        self.statistical.merge(other.statistical);
        self.beyond += other.beyond;
        self.samples.extend(other.samples);
    }
}

/// A node of one strategy among those that live through a record together.
struct Runner {
    node: Node<Judged, AnyCombine>,
    tally: Tally,
    /// The first with its link estimator: what is about links alone is counted here.
    of_links: bool,
}

fn node(header: &Header, strategy: Strategies) -> Node<Judged, AnyCombine> {
    Node::with_strategies(
        header.config.clone(),
        header.now,
        header.line,
        header.seed,
        strategy.estimator,
        verify::combination(strategy.combine, header),
    )
}

/// Runs `strategies` over the record.
pub(super) fn compare(
    path: &Path,
    strategies: &[Strategies],
    truth: Option<&Truth>,
) -> Result<Vec<Tally>, ReplayError> {
    let reader = Reader::open(path)?;
    let recorded = verify::strategies(reader.header(), path)?;
    let mut race = Race::new(reader.header(), recorded, strategies, truth);
    race.run(reader)?;
    Ok(race
        .runners
        .into_iter()
        .map(|runner| runner.tally)
        .collect())
}

/// All nodes that live through a record, and the one that did.
pub(super) struct Race<'a> {
    header: Header,
    leader: Node<Judged, AnyCombine>,
    runners: Vec<Runner>,
    truth: Option<&'a Truth>,
}

impl<'a> Race<'a> {
    pub(super) fn new(
        header: &Header,
        recorded: Strategies,
        strategies: &[Strategies],
        truth: Option<&'a Truth>,
    ) -> Self {
        let runners = strategies.iter().enumerate().map(|(n, strategy)| Runner {
            node: node(header, *strategy),
            tally: Tally::default(),
            of_links: strategies[..n]
                .iter()
                .all(|before| before.estimator != strategy.estimator),
        });
        Self {
            header: header.clone(),
            leader: node(header, recorded),
            runners: runners.collect(),
            truth,
        }
    }

    fn run(&mut self, mut reader: Reader<impl BufRead>) -> Result<(), ReplayError> {
        while let Some(entry) = reader.next_entry()? {
            self.step(&entry);
        }
        Ok(())
    }

    /// Lets all of them live through one entry; whether they all sent the same.
    pub(super) fn step(&mut self, entry: &Entry) -> bool {
        if let Some(t) = entry.time() {
            let pace = self.leader.pace(t);
            for runner in &mut self.runners {
                runner.node.keep_pace(pace);
            }
        }
        let before = match entry {
            Entry::Rx { peer, .. } => exchanges(&self.leader, peer),
            _ => 0,
        };
        let sent = apply(&mut self.leader, entry);
        let mut together = true;
        for runner in &mut self.runners {
            together &= apply(&mut runner.node, entry) == sent;
        }
        match entry {
            Entry::Rx { peer, .. } if exchanges(&self.leader, peer) > before => self.foreseen(peer),
            Entry::Clock { t, view } if view.state == ClockState::Synchronized => {
                self.clock(*t, view);
                self.links(*t);
            }
            _ => {}
        }
        together
    }

    /// The link to `peer` has had an exchange.
    fn foreseen(&mut self, peer: &NodeId) {
        let last = |node: &Node<Judged, AnyCombine>| node.link(peer)?.estimator().last();
        // The same exchanges for all of them.
        if !last(&self.leader).is_some_and(|foresight| foresight.low_delay) {
            return;
        }
        for runner in self.runners.iter_mut().filter(|runner| runner.of_links) {
            if let Some(foresight) = last(&runner.node) {
                runner.tally.residuals.push(foresight.residual);
                let beyond = foresight.residual.abs() > SIGMAS_99_9 * foresight.sigma;
                runner.tally.residuals_beyond += u64::from(beyond);
            }
        }
    }

    /// The recorded node has shown a clock.
    fn clock(&mut self, at: RawTime, recorded: &ClockView) {
        let views: Vec<Option<ClockView>> = self
            .runners
            .iter()
            .map(|runner| Some(runner.node.clock()).filter(|v| v.state == ClockState::Synchronized))
            .collect();
        let offset = |view: &ClockView| between(&view.line, &recorded.line, at);
        let mut offsets: Vec<f64> = views.iter().flatten().map(offset).collect();
        let middle = median(&mut offsets).unwrap_or(0.0);
        let network = self.truth.and_then(|t| t.network(at, &recorded.line));
        for (runner, view) in self.runners.iter_mut().zip(&views) {
            let tally = &mut runner.tally;
            tally.rounds += 1;
            let Some(view) = view else { continue };
            tally.synchronized += 1;
            tally.from_recorded.push(offset(view));
            tally.from_median.push(offset(view) - middle);
            let (Some(network), Some(truth)) = (network, self.truth) else {
                continue;
            };
            let error = offset(view) - network;
            tally.errors.push(error);
            let guaranteed = view.bound_at(at).map(|bound| bound.as_nanos_f64());
            let statistical = view.statistical_at(at).map(|bound| bound.as_nanos_f64());
            if let Some(bound) = guaranteed {
                tally.guaranteed.push(bound);
                tally.violations += u64::from(error.abs() > bound);
            }
            if let Some(bound) = statistical {
                tally.statistical.push(bound);
                tally.beyond += u64::from(error.abs() > bound);
            }
            tally.samples.push(Sample {
                time_s: (at - truth.began()).as_secs_f64(),
                subject: self.header.id.short(),
                error_ns: error,
                guaranteed_ns: guaranteed,
                statistical_ns: statistical,
            });
        }
    }

    /// What is believed of raw clocks that are in truth one and the same.
    fn links(&mut self, at: RawTime) {
        let Some(truth) = self.truth else { return };
        for runner in self.runners.iter_mut().filter(|runner| runner.of_links) {
            for peer in runner.node.peers(at).filter(|peer| truth.knows(&peer.id)) {
                let link = runner.node.link(&peer.id);
                if let Some(estimate) = link.and_then(|link| link.estimate(at)) {
                    let offset = estimate.reference as f64 + estimate.belief.offset;
                    runner.tally.links.push(offset);
                }
            }
        }
    }
}

fn exchanges(node: &Node<Judged, AnyCombine>, peer: &NodeId) -> u64 {
    node.link(peer)
        .map_or(0, |link| link.estimator().exchanges())
}

/// One row for each strategy, from what each record came to; and the errors over time.
pub(super) fn sum_up(
    strategies: &[Strategies],
    parts: Vec<Vec<Tally>>,
) -> (Vec<StrategyRow>, Vec<(Strategies, Vec<Sample>)>) {
    let mut sums: Vec<Tally> = strategies.iter().map(|_| Tally::default()).collect();
    for part in parts {
        for (sum, tally) in sums.iter_mut().zip(part) {
            sum.merge(tally);
        }
    }
    let links_of = |strategy: &Strategies| {
        let first = strategies.iter();
        let mut first = first
            .enumerate()
            .filter(|(_, s)| s.estimator == strategy.estimator);
        first.next().map_or(0, |(n, _)| n)
    };
    let mut rows = Vec::with_capacity(strategies.len());
    for (n, strategy) in strategies.iter().enumerate() {
        let links = links_of(strategy);
        let (residual_count, residual_rms_ns) = {
            let residuals = &sums[links].residuals;
            (residuals.count(), residuals.rms())
        };
        let residuals_beyond = sums[links].residuals_beyond;
        let residual_p50_ns = sums[links].residuals.magnitude(500);
        let link_error_rms_ns = sums[links].links.rms();
        let link_error_p99_ns = sums[links].links.magnitude(990);
        let sum = &mut sums[n];
        let share = |part: u64, all: u64| (all > 0).then(|| part as f64 / all as f64);
        rows.push(StrategyRow {
            estimator: strategy.estimator.to_string(),
            combine: strategy.combine.to_string(),
            rounds: sum.rounds,
            synchronized: share(sum.synchronized, sum.rounds).unwrap_or(0.0),
            from_recorded_rms_ns: sum.from_recorded.rms(),
            from_recorded_max_ns: sum.from_recorded.magnitude(1_000),
            from_median_rms_ns: sum.from_median.rms(),
            residuals: residual_count,
            residual_rms_ns,
            residual_p50_ns,
            residual_beyond: share(residuals_beyond, residual_count),
            link_error_rms_ns,
            link_error_p99_ns,
            error_rms_ns: sum.errors.rms(),
            error_p99_ns: sum.errors.magnitude(990),
            guaranteed_p50_ns: sum.guaranteed.magnitude(500),
            guaranteed_violations: (sum.guaranteed.count() > 0).then_some(sum.violations),
            statistical_p50_ns: sum.statistical.magnitude(500),
            statistical_beyond: share(sum.beyond, sum.statistical.count()),
        });
    }
    let errors = strategies.iter().copied().zip(sums);
    let errors = errors.map(|(strategy, sum)| (strategy, sum.samples));
    (
        rows,
        errors.filter(|(_, samples)| !samples.is_empty()).collect(),
    )
}
