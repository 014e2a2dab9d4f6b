//! How much a node remembers of each peer.

use super::ledger::{Four, Packets, Unmatched};
use crate::link::{Limits, Six, Three};

/// What each peer of a node takes in memory. It is the same node whatever it is, with wider bounds
/// the less is kept.
pub trait Size: Clone + std::fmt::Debug {
    /// What the hulls of the links are made of.
    type Limits: Limits;
    /// The packets whose stamps are matched.
    type Packets: Packets;
    /// Memory that is needed only now and then is given back, and taken anew when it is needed.
    const SPARING: bool;
}

/// A daemon's: [`Node::receive`](super::Node::receive) takes packets.
#[derive(Debug, Clone, Copy)]
pub struct Daemon;

/// For millions in one process: whole exchanges come ready made
/// ([`Node::exchanged`](super::Node::exchanged)).
#[derive(Debug, Clone, Copy)]
pub struct Crowd;

impl Size for Daemon {
    type Limits = Six;
    type Packets = Four;
    const SPARING: bool = false;
}

impl Size for Crowd {
    type Limits = Three;
    type Packets = Unmatched;
    const SPARING: bool = true;
}
