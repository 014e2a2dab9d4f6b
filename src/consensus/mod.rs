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
pub use strategies::RobustMean;
pub use window::{Window, tolerated_liars, window};

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
}

/// A strategy that combines the readings of one round. Implementations neither allocate nor read
/// a clock, so that the daemon and the simulator can run them alike.
pub trait Combine: Clone {
    /// The correction that `readings` ask for; only those with [`Verdict::Used`] count.
    fn combine(&mut self, readings: &[Reading], verdicts: &[Verdict]) -> Correction;
}
