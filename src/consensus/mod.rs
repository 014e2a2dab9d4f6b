//! Many neighbours to one correction of the virtual clock.
//!
//! A round takes one [`Reading`] per neighbour and yields a [`Verdict`] for each, a [`Correction`]
//! by a [`Combine`] strategy, and the guaranteed [`window`] for the network's clock. Our own clock
//! takes part as a reading of zero: without a master, everybody counts as one.

mod consistency;
mod gate;
mod influence;
mod join;
#[cfg(test)]
mod model;
mod risk;
mod select;
mod stats;
pub mod strategies;
mod window;

pub use gate::{admit, judge};
pub(crate) use influence::agreed;
pub use join::{
    OscillatorCentre, Target, established, majority_within, meeting_point, oscillator_centre,
    target,
};
pub use risk::liar_risk;
pub(crate) use stats::Sample;
pub use strategies::{Ensemble, RobustMean};
pub use window::{Window, disagreement, enclosed, tolerated_liars, window};

use serde::{Deserialize, Serialize};

use crate::link::Likelihood;
use crate::time::{RawTime, Span, VirtualLine, VirtualTime};
use crate::wire::Tier;

/// Most neighbours that can take part in one round.
pub const MAX_READINGS: usize = 64;

/// One neighbour's virtual clock as seen in this round, against ours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Its virtual clock minus ours, ns.
    pub offset: f64,
    /// One sigma of the offset, ns.
    pub sigma: f64,
    /// Least possible offset, ns.
    pub lower: f64,
    /// Largest possible offset, ns.
    pub upper: f64,
    /// Lasting frequency of its virtual clock minus that of ours, as a fraction.
    pub rate: f64,
    /// One sigma of the rate.
    pub rate_sigma: f64,
    /// Frequency of its raw oscillator against ours, as a fraction.
    pub raw_rate: f64,
    /// It says that it is synchronized.
    pub ready: bool,
    /// Names the neighbour for as long as it is one, in an order that all nodes agree on.
    pub key: u64,
    /// Its place in a tree of time servers.
    pub tier: Tier,
}

/// What a round thinks of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Its reading counts.
    Used,
    /// It says itself that it is not synchronized.
    NotReady,
    /// Its time disagrees with the majority.
    Falseticker,
    /// Its frequency disagrees with the majority.
    WrongRate,
}

/// One exchange with a neighbour that was believed in the last round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Names the neighbour, as in its [`Reading`].
    pub key: u64,
    /// When, on our raw clock; stamps come a packet late, so this may lie in the past.
    pub at: RawTime,
    /// What its virtual clock showed then if both directions took equally long, and the fraction
    /// of a nanosecond.
    pub clock: (VirtualTime, f64),
    /// One sigma of the noise of the stamps, ns.
    pub stamp_sigma: f64,
    /// What the delays leave possible.
    pub likelihood: Likelihood,
}

/// Where a strategy wants the virtual clock to go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction {
    /// The agreed clock minus ours, ns.
    pub offset: f64,
    /// One sigma of the offset, ns.
    pub sigma: f64,
    /// The agreed frequency minus ours, as a fraction.
    pub rate: f64,
    /// Readings that counted, our own included.
    pub used: usize,
    /// The strategy's own gain. Without one the node applies its own, which is larger while the
    /// clock has just settled.
    pub gain: Option<Gain>,
}

impl Correction {
    /// What a round without anybody to follow asks for: nothing.
    pub const NONE: Self = Self {
        offset: 0.0,
        sigma: 0.0,
        rate: 0.0,
        used: 1,
        gain: None,
    };
}

/// Share of a [`Correction`] that one round carries out, 0 to 1 or a little more. Whatever it is,
/// the node keeps its promise to others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gain {
    /// Share of the offset that is slewed until the next round.
    pub offset: f64,
    /// Share of the difference in frequency.
    pub rate: f64,
}

/// What a strategy sees of one round.
#[derive(Debug, Clone, Copy)]
pub struct Round<'a> {
    /// The neighbours.
    pub readings: &'a [Reading],
    /// One for each reading.
    pub verdicts: &'a [Verdict],
    /// Until the next round.
    pub period: Span,
    /// When, on our raw clock.
    pub now: RawTime,
    /// Our virtual clock.
    pub line: VirtualLine,
}

impl<'a> Round<'a> {
    /// The readings that count.
    pub fn used(&self) -> impl Iterator<Item = &'a Reading> + Clone {
        let pairs = self.readings.iter().zip(self.verdicts);
        pairs.filter(|(_, v)| **v == Verdict::Used).map(|(r, _)| r)
    }
}

/// A strategy that combines the readings of one round. Implementations neither allocate nor read
/// a clock, so that the daemon and the simulator can run them alike.
pub trait Combine: Clone {
    /// Whether the verdicts are those of the gate ([`judge`]). Otherwise everybody who says it is
    /// synchronized counts ([`admit`]), and what to make of liars is left to the strategy.
    fn gated(&self) -> bool {
        true
    }

    /// The clock became `line`, right to `sigma` (ns) and in frequency to `rate_sigma`, by other
    /// means than corrections: it has joined the network.
    fn join(&mut self, _now: RawTime, _line: &VirtualLine, _sigma: f64, _rate_sigma: f64) {}

    /// An exchange is complete. Most strategies need only the readings.
    fn observe(&mut self, _observation: &Observation) {}

    /// The correction that the round asks for.
    fn combine(&mut self, round: &Round<'_>) -> Correction;

    /// All nodes change the network's frequency by `change` (a fraction) now, besides what
    /// corrections ask for; the node sees to our clock.
    fn lean(&mut self, _now: RawTime, _change: f64) {}

    /// How often, between rounds, the clock should take in what was observed; `None` if only
    /// rounds tell the strategy anything.
    fn pace(&self) -> Option<Span> {
        None
    }

    /// The correction that the exchanges since the last round ask for.
    fn refine(&mut self, _now: RawTime, _line: &VirtualLine) -> Correction {
        Correction::NONE
    }

    /// The clock is about to jump: what was carried over from earlier rounds is void.
    fn restart(&mut self) {}

    /// How much our oscillator wanders, as a fraction per √s, if the strategy measures it.
    fn wander(&self) -> Option<f64> {
        None
    }

    /// The node's place in a tree of time servers, for its neighbours.
    fn tier(&self) -> Tier {
        Tier::NONE
    }
}
