//! What the demo needs of the swarm it shows, and nothing of how the swarm is made.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::options::ClockPlan;
use crate::time::Span;
use crate::topology::NodeId;
use crate::wire::ClockState;

/// A swarm of running nodes whose clocks can all be read at one physical instant.
pub trait Swarm {
    /// The nodes, in the order in which every [`Sample`] lists them.
    fn roster(&self) -> Vec<NodeInfo>;

    /// Sleeps until `due` after the start of the swarm (not at all if that has passed) and then
    /// reads every clock at the same instant of the physical clock they share.
    fn sample(&mut self, due: Span) -> Sample;

    /// Counters over all nodes since the start.
    fn totals(&self) -> Totals;
}

/// One node, as it was set up.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeInfo {
    /// Its identity.
    pub id: NodeId,
    /// Its time port.
    pub addr: SocketAddr,
    /// How bad its clock was made, and whether it lies.
    pub clock: ClockPlan,
}

/// All nodes at one physical instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// That instant, since the start of the swarm, on the physical clock all nodes share.
    pub at: Span,
    /// One entry for each node of the roster, in its order.
    pub nodes: Vec<NodeSample>,
}

/// One node at the instant of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeSample {
    /// What its disciplined clock reads, nanoseconds; computed from the line it publishes and the
    /// known function of its oscillator, not from any estimate. Of a liar, what it tells others.
    /// `None` before it has a clock.
    pub clock_ns: Option<i64>,
    /// What its virtual clock reads, if it is synchronized: its part in the network's clock.
    pub network_ns: Option<i64>,
    /// The guaranteed bound it publishes; `None` if it publishes none.
    pub bound_ns: Option<i64>,
    /// The statistical bound it publishes, which 99.9 % of errors stay within.
    pub statistical_ns: Option<i64>,
    /// The state it is in.
    pub state: ClockState,
    /// Neighbours it hears.
    pub neighbours: usize,
    /// Those of them it used in its last round.
    pub used: usize,
}

/// Counters of all nodes together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Exchanges completed: a request with its reply.
    pub exchanges: u64,
    /// Stamps by the place where they were taken.
    pub stamps: Stamps,
}

/// Stamps by the place where they were taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamps {
    /// By the network card.
    pub hardware: u64,
    /// By the kernel.
    pub kernel: u64,
    /// In user space.
    pub user: u64,
    /// Transmit stamps that never came.
    pub lost: u64,
}
