//! Where peers come from: existing discovery engines behind one trait.
//!
//! An engine runs on threads of its own, knows addresses and identities, and never touches the
//! path of a sample. What it learns reaches the node only as [`PeerEvent`]s, so another engine can
//! be added without touching the node.

use crate::topology::{Candidate, NodeId};

/// Something an engine learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// A peer is there, or is there under a new address.
    Found(Candidate),
    /// A peer has left, or cannot be reached any more.
    Lost(NodeId),
}

/// A source of peers.
pub trait PeerSource: Send {
    /// Its name, for people.
    fn name(&self) -> &'static str;

    /// The next thing learnt, if any. Never blocks.
    fn poll(&mut self) -> Option<PeerEvent>;

    /// Ask for `count` fresh peers, drawn as uniformly from the whole network as the engine can;
    /// they arrive as [`PeerEvent::Found`]. Never blocks; an engine may ignore it.
    fn sample(&mut self, count: usize);

    /// One line on how it is doing, for `parisync diag` and the log.
    fn health(&self) -> String;
}
