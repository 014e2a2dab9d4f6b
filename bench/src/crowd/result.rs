//! What a run comes to.

use serde::{Deserialize, Serialize};

use super::plan::Plan;

/// Rounds after which 99 % of the honest hosts were, and stayed, this close to their median; `None`
/// if never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Reached {
    /// 10 ms.
    #[serde(rename = "10ms")]
    pub ten_ms: Option<u32>,
    /// 1 ms.
    #[serde(rename = "1ms")]
    pub one_ms: Option<u32>,
    /// 100 µs.
    #[serde(rename = "100us")]
    pub hundred_us: Option<u32>,
}

/// A distribution, ns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: f64,
    /// 99 % are less.
    pub p99: f64,
    /// 99.9 % are less.
    pub p999: f64,
    /// 99.99 % are less.
    pub p9999: f64,
    /// The largest.
    pub max: f64,
}

/// Differences between honest, synchronized hosts in the last round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Skew {
    /// Of any two hosts; the largest is exact, the others are of a million pairs drawn at random.
    pub any_pair: Quantiles,
    /// Of a host and one of its neighbours.
    pub neighbours: Quantiles,
    /// Of any two hosts of one data centre, where there are such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near: Option<Quantiles>,
}

/// The guaranteed bound, ns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Bound {
    /// Looks at a host, once a round, that found it farther from the median of the honest,
    /// synchronized hosts than its bound says.
    pub violations: u64,
    /// All looks at a host that had a bound and no more malicious neighbours than that tolerates.
    pub looks: u64,
    /// Looks at a host that had more: no bound is promised to it.
    pub overwhelmed: u64,
    /// Median bound in the last round.
    pub p50: f64,
    /// 99 % of the bounds are less.
    pub p99: f64,
}

/// The network after one round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Number, from one.
    pub round: u32,
    /// Honest hosts there.
    pub honest: u32,
    /// Of these, synchronized.
    pub synchronized: u32,
    /// Median of the honest, synchronized clocks (of all honest ones, if none is) against true time, ns.
    pub median_ns: f64,
    /// One standard deviation of the honest, synchronized clocks, ns.
    pub sigma_ns: f64,
    /// The largest distance of one of them from their median, ns.
    pub worst_ns: f64,
    /// 99 % of all honest clocks are closer than this to the median, ns.
    pub p99_ns: f64,
    /// Share of the honest, synchronized clocks that are captured.
    pub captured: f64,
    /// Bounds that did not hold.
    pub violations: u64,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Hosts.
    pub nodes: u32,
    /// Rounds simulated.
    pub rounds: u32,
    /// How soon the network met.
    pub rounds_to: Reached,
    /// How far honest, synchronized hosts are apart.
    pub skew: Skew,
    /// One standard deviation of the honest, synchronized clocks in the last round, ns.
    pub sigma_ns: f64,
    /// The largest distance of one of them from their median in the last quarter of the rounds, ns.
    pub worst_ns: f64,
    /// Share of the honest, synchronized hosts farther than ten times the median distance from the median of them.
    pub captured: f64,
    /// Share of the honest hosts that is synchronized in the last round.
    pub synchronized: f64,
    /// Rounds that newcomers took to be synchronized, on average.
    pub rounds_to_arrive: Option<f64>,
    /// The common clock against true time over the second half of the rounds, ppm; `None` where
    /// fewer than half of the honest hosts were synchronized all that time.
    pub virtual_rate_ppm: Option<f64>,
    /// The same against the median honest oscillator, or the references if there are any: what
    /// liars, or nothing, dragged it by.
    pub drag_ppm: Option<f64>,
    /// The guaranteed bound.
    pub bound: Bound,
    /// Bytes that a host sends and receives a second, headers of UDP and IPv4 included.
    pub bytes_per_node_s: f64,
    /// Bytes of memory for a host with all its neighbours, and for each of them.
    pub bytes_per_host: usize,
    /// Of that for each neighbour.
    pub bytes_per_link: usize,
    /// Exchanges simulated.
    pub events: u64,
    /// Exchanges a second of the machine's time.
    pub events_per_s: f64,
    /// The machine's time, s.
    pub wall_s: f64,
    /// Of it, spent by processors, s.
    pub cpu_s: f64,
    /// Largest resident memory, bytes.
    pub rss_bytes: u64,
    /// Stands for everything that was seen: the same for the same plan, whatever the threads.
    pub digest: String,
    /// What was simulated.
    pub plan: Plan,
}
