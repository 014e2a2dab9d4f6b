//! Made-up swarms for the tests of this room.

use super::options::{ClockPlan, DemoOptions, Lie};
use super::swarm::{NodeInfo, NodeSample, Sample, Stamps, Swarm, Totals};
use crate::cli::strategies::StrategyOptions;
use crate::time::Span;
use crate::topology::NodeId;
use crate::wire::ClockState;

/// Honest nodes with perfect clocks.
pub(super) fn roster(nodes: usize) -> Vec<NodeInfo> {
    (0..nodes)
        .map(|node| NodeInfo {
            id: NodeId::from_bytes([(node * 37 + 5) as u8; 32]),
            addr: ([127, 0, 0, 1], 40_000 + node as u16).into(),
            clock: ClockPlan {
                offset: Span::ZERO,
                ppm: 0.0,
                wander: 0.0,
                seed: 0,
                lie: None,
            },
        })
        .collect()
}

/// Nodes without clock or bound.
pub(super) fn sample(at: Span, nodes: usize) -> Sample {
    let node = NodeSample {
        clock_ns: None,
        network_ns: None,
        bound_ns: None,
        statistical_ns: None,
        state: ClockState::Synchronized,
        neighbours: nodes - 1,
        used: nodes - 1,
    };
    Sample {
        at,
        nodes: vec![node; nodes],
    }
}

/// The options `parisync demo` has without arguments.
pub(super) fn options() -> DemoOptions {
    DemoOptions {
        nodes: 8,
        seconds: 30,
        max_offset: Span::from_millis(500),
        max_ppm: 50.0,
        wander: 1e-9,
        seed: 1,
        liars: 0,
        liar_offset: Span::from_millis(10),
        liar_drift: 0.0,
        topology: crate::config::Topology::Libp2p,
        strategies: StrategyOptions::default(),
        transport: crate::config::PacketPath::Udp,
        report: None,
    }
}

/// A swarm that behaves the way a real one is seen to: clocks run apart, jump together when they
/// join, close in and then jitter by some hundred nanoseconds. It takes no time to run.
pub(super) struct Synthetic {
    roster: Vec<NodeInfo>,
    jitter: Vec<f64>,
    noise: u64,
    last: Span,
}

impl Synthetic {
    pub(super) fn new(options: &DemoOptions) -> Self {
        let mut roster = roster(options.nodes);
        for (info, clock) in roster.iter_mut().zip(options.clocks()) {
            info.clock = clock;
            let mut id = [0; 32];
            id[..8].copy_from_slice(&clock.seed.to_be_bytes());
            info.id = NodeId::from_bytes(id);
        }
        Self {
            jitter: vec![0.0; roster.len()],
            roster,
            noise: options.seed | 1,
            last: Span::ZERO,
        }
    }

    /// Roughly normal with unit variance (Irwin–Hall with three terms).
    fn normal(&mut self) -> f64 {
        let mut sum = 0.0;
        for _ in 0..3 {
            // xorshift64 (Marsaglia 2003)
            self.noise ^= self.noise << 13;
            self.noise ^= self.noise >> 7;
            self.noise ^= self.noise << 17;
            sum += (self.noise >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
        }
        sum
    }

    fn node(&mut self, node: usize, t: f64) -> NodeSample {
        let clock = self.roster[node].clock;
        let joins = 0.6 + 0.15 * (node % 5) as f64;
        let others = self.roster.len() - 1;
        self.jitter[node] = 0.9 * self.jitter[node] + 50.0 * self.normal();
        let free = clock.offset.as_nanos_f64() + clock.ppm * 1e3 * t;
        let (error, bound_ns, state, used) = if t < joins {
            (free, None, ClockState::Unsynchronized, 0)
        } else {
            let since = t - joins;
            let start = if node.is_multiple_of(2) { 8e5 } else { -5e5 };
            let error = start * (-2.2 * since).exp() + self.jitter[node];
            let lie = clock.lie.unwrap_or(Lie {
                offset: Span::ZERO,
                drift_ppm: 0.0,
            });
            let lie = lie.offset.as_nanos_f64() + lie.drift_ppm * 1e3 * t;
            let bound = 2e6 * (-1.8 * since).exp() + 12_000.0 + 400.0 * self.normal().abs();
            let state = if since < 1.0 {
                ClockState::Joining
            } else {
                ClockState::Synchronized
            };
            (error + lie, Some(bound as i64), state, others)
        };
        NodeSample {
            clock_ns: Some(1_800_000_000_000_000_000 + (t * 1e9 + error) as i64),
            network_ns: None,
            bound_ns,
            // Some seven times what the clocks jitter by.
            statistical_ns: bound_ns.map(|bound| bound.min(800 + bound / 2)),
            state,
            neighbours: if t < 0.3 { 0 } else { others },
            used,
        }
    }
}

impl Swarm for Synthetic {
    fn roster(&self) -> Vec<NodeInfo> {
        self.roster.clone()
    }

    fn sample(&mut self, due: Span) -> Sample {
        self.last = due;
        let nodes = (0..self.roster.len())
            .map(|node| self.node(node, due.as_secs_f64()))
            .collect();
        Sample { at: due, nodes }
    }

    fn totals(&self) -> Totals {
        let links = (self.roster.len() * (self.roster.len() - 1)) as f64;
        let exchanges = (4.0 * links * self.last.as_secs_f64()) as u64;
        Totals {
            exchanges,
            stamps: Stamps {
                hardware: 0,
                kernel: (4 * exchanges).saturating_sub(12),
                user: 9,
                lost: 3,
            },
        }
    }
}
