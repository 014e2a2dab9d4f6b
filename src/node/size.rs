//! How much a node remembers of each peer.

use super::ledger::Ledger;
use super::matching::{Matching, Unmatched};
use super::stability::{Octave, Octaves};
use crate::link::{Limits, Six, Three};
use crate::topology::{Candidate, Kept, Short};

/// What each peer of a node takes in memory. It is the same node whatever it is, with wider bounds
/// the less is kept.
pub trait Size: Clone + std::fmt::Debug {
    /// What the hulls of the links are made of.
    type Limits: Limits;
    /// Whose stamps are matched.
    type Ledger: Matching;
    /// What is known of who and where a peer is.
    type Peer: Kept;
    /// Averaging times at which the oscillator's stability is measured.
    type Octaves: Octaves;
    /// Memory that is needed only now and then is given back, and taken anew when it is needed.
    const SPARING: bool;
}

/// A daemon's: [`Node::receive`](super::Node::receive) takes packets.
#[derive(Debug, Clone, Copy)]
pub struct Daemon;

/// For millions in one process: whole exchanges come ready made
/// ([`Node::exchanged`](super::Node::exchanged)), identities and addresses are [`Short`], and
/// nobody asks for Allan deviations.
#[derive(Debug, Clone, Copy)]
pub struct Crowd;

impl Size for Daemon {
    type Limits = Six;
    type Ledger = Ledger;
    type Peer = Candidate;
    type Octaves = [Octave; 13];
    const SPARING: bool = false;
}

impl Size for Crowd {
    type Limits = Three;
    type Ledger = Unmatched;
    type Peer = Short;
    type Octaves = [Octave; 0];
    const SPARING: bool = true;
}
