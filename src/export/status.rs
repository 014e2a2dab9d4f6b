//! The status of a node as the control socket, the command line and the demo show it.
//!
//! Field names end in their unit, since JSON has no types for units.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

use crate::discipline::SteeringState;
use crate::node::Deviation;
use crate::topology::{FoundBy, NodeId};
use crate::wire::{ClockState, StampSource};

/// Everything a node says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node's clock.
    pub tracking: Tracking,
    /// Its neighbours.
    pub peers: Vec<Peer>,
}

/// The node's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tracking {
    /// The node's identity.
    pub id: NodeId,
    /// State of the virtual clock.
    pub state: ClockState,
    /// Why it is in this state, in words.
    pub reason: String,
    /// The virtual clock now, nanoseconds since 1970-01-01 TAI; null before there is one.
    pub virtual_time_ns: i64,
    /// Guaranteed bound on the virtual clock; null if none is known.
    pub bound_ns: Option<i64>,
    /// Statistical bound on the virtual clock, which 99.9 % of errors stay within; null if none is
    /// known.
    #[serde(default)]
    pub statistical_ns: Option<i64>,
    /// Expected error (one sigma) of the virtual clock; null if none is known.
    pub estimated_error_ns: Option<i64>,
    /// Neighbours whose intervals made the guaranteed bound.
    #[serde(default)]
    pub sampled: usize,
    /// Liars among them that the guaranteed bound tolerates.
    pub tolerated_liars: usize,
    /// The probability that more of them lie, if each does with `assumed_liars`; null without a
    /// bound.
    #[serde(default)]
    pub liar_risk: Option<f64>,
    /// The share of liars in the network that `liar_risk` assumes.
    #[serde(default)]
    pub assumed_liars: f64,
    /// How each neighbour is measured, by name.
    #[serde(default)]
    pub estimator: String,
    /// How the clocks of all neighbours become one, by name.
    #[serde(default)]
    pub combine: String,
    /// Frequency of the virtual clock against this host's raw oscillator.
    pub rate_ppm: f64,
    /// How much this host's oscillator wanders: random walk of its frequency, per root second;
    /// null until it is measured.
    #[serde(default)]
    pub wander_ppb: Option<f64>,
    /// Allan deviation of this host's oscillator against the network's clock, as far as it is
    /// measured, from the shortest averaging time on.
    #[serde(default)]
    pub stability: Vec<Stability>,
    /// Last offset of the neighbours' consensus from our virtual clock.
    pub last_offset_ns: f64,
    /// Of the virtual clock, what was agreed on with peers near us: how far it is from the network's
    /// clock as this node alone sees it.
    #[serde(default)]
    pub local_ns: f64,
    /// References heard of late, this node counted if it is one.
    #[serde(default)]
    pub references: usize,
    /// By how much references ask the virtual clock to be slower; without any, how much faster it
    /// runs than the typical oscillator of the network. Null until that is known.
    #[serde(default)]
    pub excess_ppm: Option<f64>,
    /// Neighbours heard of late, and those of them used in the last round.
    pub neighbours: usize,
    /// Neighbours used in the last round.
    pub used: usize,
    /// What is disciplined: `system`, `virtual`, `none`, or `phc:` and a card.
    pub discipline: String,
    /// What is being done with the disciplined clock; null if nothing is disciplined.
    #[serde(default)]
    pub clock_state: Option<SteeringState>,
    /// Offset of the disciplined clock from the virtual clock; null if nothing is disciplined.
    pub clock_offset_ns: Option<f64>,
    /// Frequency correction applied to the disciplined clock; null if nothing is disciplined.
    pub clock_rate_ppm: Option<f64>,
    /// Where peers are looked for, one line each with how that goes; empty if nowhere.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Interfaces with stamping hardware, one line each with what stamps their packets, and that of
    /// AF_XDP.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// How long samples took from the stamp to the estimator since the start, stage by stage; empty
    /// before there was one.
    #[serde(default)]
    pub latency: Vec<Latency>,
    /// Trouble that people should know of (another daemon steers the clock, no privilege, …).
    pub warnings: Vec<String>,
    /// Counters since start.
    pub counters: Counters,
}

/// How stable an oscillator is over one averaging time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stability {
    /// The averaging time τ.
    pub tau_s: f64,
    /// Allan deviation σ_y(τ), a fraction.
    pub allan_deviation: f64,
    /// Second differences of the phase that it was made of.
    pub terms: u32,
}

impl From<Deviation> for Stability {
    fn from(deviation: Deviation) -> Self {
        Self {
            tau_s: deviation.tau,
            allan_deviation: deviation.sigma,
            terms: deviation.terms as u32,
        }
    }
}

/// What a node's clocks show at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// The instant, nanoseconds of `CLOCK_MONOTONIC_RAW`.
    pub mono_raw_ns: i64,
    /// The virtual clock, nanoseconds since 1970-01-01 TAI.
    pub virtual_ns: i64,
    /// The disciplined clock on the same scale; null if none of our own is disciplined.
    pub clock_ns: Option<i64>,
    /// Guaranteed bound on the disciplined clock, or on the virtual one if there is none; null if
    /// none is known.
    pub bound_ns: Option<i64>,
    /// Statistical bound on the same clock, which 99.9 % of errors stay within; null if none is
    /// known.
    #[serde(default)]
    pub statistical_ns: Option<i64>,
}

/// Counters since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Time packets sent.
    pub sent: u64,
    /// Time packets received and authenticated.
    pub received: u64,
    /// Exchanges completed: a request of ours with its reply.
    pub exchanges: u64,
    /// Datagrams refused: malformed, foreign, replayed, forged or beyond the rate limit.
    pub refused: u64,
    /// Stamps taken by the network card.
    pub stamps_hardware: u64,
    /// Stamps taken by the kernel.
    pub stamps_kernel: u64,
    /// Stamps taken in user space.
    pub stamps_user: u64,
    /// Transmit stamps that never came.
    pub stamps_lost: u64,
    /// Times the virtual clock jumped.
    pub steps: u64,
    /// Stamps and datagrams that newer ones drove out of the queue before the estimator.
    #[serde(default)]
    pub samples_dropped: u64,
    /// Datagrams that newer ones drove out of the queue before the socket.
    #[serde(default)]
    pub sends_dropped: u64,
}

/// A part of a sample's way to the estimator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// From its stamp until it is taken from the socket: the kernel wakes who waits for it.
    Read,
    /// Until it is taken from the queue: one thread wakes another.
    Queue,
    /// Until the estimator has it: authenticated, decoded, taken in.
    Use,
    /// All of it.
    Total,
}

impl Stage {
    /// All, in the order of the way.
    pub const ALL: [Self; 4] = [Self::Read, Self::Queue, Self::Use, Self::Total];

    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Queue => "queue",
            Self::Use => "use",
            Self::Total => "total",
        }
    }
}

/// How long samples took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// For which part of their way.
    pub stage: Stage,
    /// Samples.
    pub count: u64,
    /// Of all of them together.
    pub sum_ns: u64,
    /// Median; up to 6 % too long, as is the other quantile.
    pub p50_ns: u64,
    /// 99 % took no longer.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// The distribution.
    pub buckets: Vec<Bucket>,
}

/// A point of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// So many nanoseconds.
    pub below_ns: u64,
    /// Samples that took less.
    pub count: u64,
}

/// Whether a neighbour takes part in the consensus, and if not why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// Used in the last round.
    Used,
    /// Too few samples so far.
    Starting,
    /// Disagrees with the majority in time.
    Falseticker,
    /// Disagrees with the majority in frequency.
    WrongRate,
    /// Not heard of late.
    Unreachable,
    /// Says itself that it is not synchronized.
    NotReady,
    /// Inbound only: it chose us, we did not choose it.
    Inbound,
    /// Near us: it counts in what we agree on with such peers, not in the network's clock.
    Near,
}

impl Use {
    /// The letter `parisync peers` shows.
    pub const fn letter(self) -> char {
        match self {
            Self::Used => '*',
            Self::Starting => 's',
            Self::Falseticker => 'x',
            Self::WrongRate => 'r',
            Self::Unreachable => '?',
            Self::NotReady => 'j',
            Self::Inbound => 'i',
            Self::Near => 'n',
        }
    }

    /// The same in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Starting => "starting: too few samples yet",
            Self::Falseticker => "falseticker: its time disagrees with the majority",
            Self::WrongRate => "wrong rate: its frequency disagrees with the majority",
            Self::Unreachable => "unreachable: not heard of late",
            Self::NotReady => "not ready: it says it is not synchronized",
            Self::Inbound => "inbound: it chose us, we did not choose it",
            Self::Near => "near: counts in what those near agree on, not in the network's clock",
        }
    }
}

/// One neighbour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Its identity.
    pub id: NodeId,
    /// Where its time port is.
    pub addr: SocketAddr,
    /// How it was found.
    pub found_by: FoundBy,
    /// Whether it is used, and if not why.
    pub used: Use,
    /// The state it claims.
    pub state: ClockState,
    /// Its virtual clock minus ours; null before it is known.
    pub offset_ns: Option<f64>,
    /// One sigma of that offset.
    pub offset_sigma_ns: Option<f64>,
    /// Half the width of the interval around it that holds in 99.9 % of all cases, asymmetry of
    /// the path aside.
    #[serde(default)]
    pub offset_statistical_ns: Option<f64>,
    /// The guaranteed interval of that offset, lower end.
    pub offset_min_ns: Option<f64>,
    /// The guaranteed interval of that offset, upper end.
    pub offset_max_ns: Option<f64>,
    /// Frequency of its raw oscillator against ours; null before it is known.
    pub rate_ppm: Option<f64>,
    /// The bound it claims for its own clock.
    pub claimed_bound_ns: Option<i64>,
    /// Least round trip of late.
    pub rtt_ns: Option<i64>,
    /// Where its packets are stamped on our side.
    pub stamps: Option<StampSource>,
    /// The last eight exchanges, newest in the lowest bit: 1 answered, 0 not.
    pub reach: u8,
    /// Exchanges completed.
    pub exchanges: u64,
}
