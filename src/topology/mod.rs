//! Which peers become neighbours: link structures, and the draw of neighbours through them.
//!
//! - [`overlay`]: the protocol machine that all link structures share
//! - [`kademlia`], [`chord`], [`pastry`], [`can`]: the structures
//! - [`draw`]: neighbours drawn near-uniformly from the whole network, through any of them
//! - [`Candidates`]: the peers a node knows, from wherever

pub mod can;
mod candidates;
pub mod chord;
pub mod draw;
mod id;
pub mod kademlia;
mod kept;
pub mod overlay;
pub mod pastry;

pub use candidates::{Candidates, subnet};
pub use id::{NodeId, ParseNodeIdError};
pub use kept::{Kept, Short};

use std::net::SocketAddr;

/// How a peer came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FoundBy {
    /// Named in the configuration or on the command line.
    Static,
    /// Announced itself on the local network.
    Lan,
    /// Learnt through the distributed hash table.
    Dht,
    /// It spoke to us first; never trusted as a neighbour on that ground alone.
    Inbound,
    /// Remembered from the last run.
    Saved,
    /// A link structure met it nearby; anybody can be near, so never a neighbour on that ground
    /// alone.
    Near,
    /// Configured as a reference: a neighbour that is trusted with the true frequency.
    Reference,
}

impl FoundBy {
    /// Whether it was named by whoever runs this host, and so is never forgotten.
    pub const fn is_configured(self) -> bool {
        matches!(self, Self::Static | Self::Reference)
    }

    /// Whether a peer known in this way is drawn as a neighbour.
    const fn is_drawn(self) -> bool {
        !matches!(self, Self::Inbound | Self::Near)
    }

    /// Whether it says more than to have been found by `other`.
    fn outranks(self, other: Self) -> bool {
        let rank = |by: Self| match by {
            Self::Reference => 4,
            Self::Static => 3,
            Self::Lan | Self::Dht | Self::Saved => 2,
            Self::Near => 1,
            Self::Inbound => 0,
        };
        rank(self) > rank(other)
    }
}

/// A peer that could become a neighbour: its identity and where its time port is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Candidate {
    /// Its identity, an ed25519 public key.
    pub id: NodeId,
    /// Where its time port listens.
    pub addr: SocketAddr,
    /// How we know of it.
    pub found_by: FoundBy,
}
