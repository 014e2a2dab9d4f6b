//! Many neighbours to one correction of the virtual clock.
//!
//! A round takes one [`Reading`] per neighbour and yields a [`Verdict`] for each, a [`Correction`]
//! by a [`Combine`] strategy, and the guaranteed [`window`] for the network's clock. Our own clock
//! takes part as a reading of zero: without a master, everybody counts as one.

mod gate;
mod join;
mod stats;
pub mod strategies;
mod window;

pub use gate::judge;
pub use join::{
    OscillatorCentre, Target, established, majority_within, meeting_point, oscillator_centre,
    target,
};
pub use strategies::{Ensemble, RobustMean};
pub use window::{Window, tolerated_liars, window};

use crate::link::Likelihood;
use crate::time::{RawTime, VirtualLine, VirtualTime};

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
}

/// What a round thinks of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// What a round starts from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// When, on our raw clock.
    pub now: RawTime,
    /// Our virtual clock.
    pub line: VirtualLine,
    /// The clock became synchronized only just now, and there is more to correct than to keep.
    pub eager: bool,
}

/// How the virtual clock shall move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction {
    /// What to add to our clock until the next round, ns.
    pub offset: f64,
    /// One sigma of what then remains, ns.
    pub sigma: f64,
    /// What to add to its frequency, as a fraction.
    pub rate: f64,
    /// Readings that counted, our own included.
    pub used: usize,
}

/// A strategy that combines what the neighbours say. Implementations neither allocate nor read a
/// clock, so that the daemon and the simulator can run them alike.
pub trait Combine: Clone {
    /// Our clock became `line`, right to `sigma` ns and in frequency to `rate_sigma`, by other
    /// means than corrections.
    fn restart(&mut self, _now: RawTime, _line: &VirtualLine, _sigma: f64, _rate_sigma: f64) {}

    /// An exchange is complete. Most strategies need only the readings.
    fn observe(&mut self, _observation: &Observation) {}

    /// The correction that `readings` ask for; only those with [`Verdict::Used`] count.
    fn combine(&mut self, round: &Round, readings: &[Reading], verdicts: &[Verdict]) -> Correction;

    /// How much our oscillator wanders, as a fraction per √s, if the strategy measures it.
    fn wander(&self) -> Option<f64> {
        None
    }
}
