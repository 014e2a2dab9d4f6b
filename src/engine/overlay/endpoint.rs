//! A node of a link structure between daemons.

use std::net::SocketAddr;

use crate::engine::block::block;
use crate::topology::overlay::{Contact, Place, position};
use crate::topology::{Candidate, FoundBy, NodeId};

/// A network's name in eight bytes: the start of its BLAKE2s-256.
pub type Tag = [u8; 8];

/// Who a node is and how to reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Its identity.
    pub id: NodeId,
    /// The solution of its puzzle, which gives it its key.
    pub solution: u32,
    /// Where its overlay socket listens.
    pub addr: SocketAddr,
    /// Its time port, at the same address.
    pub time_port: u16,
}

impl Place for Endpoint {
    fn block(&self) -> Option<u64> {
        block(self.addr.ip())
    }
}

impl Endpoint {
    /// It with its key; `None` if its puzzle is not solved.
    pub fn contact(self, network: &Tag) -> Option<Contact<Self>> {
        let key = position::check(network, &self.id, self.solution)?;
        Some(Contact { key, at: self })
    }

    /// It as a peer.
    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            id: self.id,
            addr: SocketAddr::new(self.addr.ip(), self.time_port),
            found_by: FoundBy::Dht,
        }
    }
}
