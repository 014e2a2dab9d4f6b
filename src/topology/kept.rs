//! What is remembered of who and where a peer is.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Candidate, FoundBy, NodeId};

/// A form in which a [`Candidate`] is kept.
pub trait Kept: Clone + Debug + Serialize + DeserializeOwned {
    /// Of its identity.
    type Id: Copy + Eq + Debug + From<NodeId> + Into<NodeId> + Serialize + DeserializeOwned;

    /// The form of this one.
    fn of(peer: Candidate) -> Self;

    /// The whole.
    fn candidate(&self) -> Candidate;

    /// Its identity.
    fn id(&self) -> Self::Id;

    /// Where it is.
    fn ip(&self) -> IpAddr;

    /// How we know of it.
    fn found_by(&self) -> FoundBy;
}

impl Kept for Candidate {
    type Id = NodeId;

    fn of(peer: Candidate) -> Self {
        peer
    }

    fn candidate(&self) -> Candidate {
        self.clone()
    }

    fn id(&self) -> NodeId {
        self.id
    }

    fn ip(&self) -> IpAddr {
        self.addr.ip()
    }

    fn found_by(&self) -> FoundBy {
        self.found_by
    }
}

/// A third of the bytes: for simulations, whose identities are zero but for the first half and
/// whose addresses are IPv4, all with the port 0.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Short {
    id: ShortId,
    ip: [u8; 4],
    found_by: FoundBy,
}

/// The first half of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortId([u8; 16]);

impl From<NodeId> for ShortId {
    fn from(id: NodeId) -> Self {
        let (half, rest) = id.as_bytes().split_at(16);
        debug_assert!(
            rest.iter().all(|byte| *byte == 0),
            "{id} is no short identity"
        );
        let mut short = [0; 16];
        short.copy_from_slice(half);
        Self(short)
    }
}

impl From<ShortId> for NodeId {
    fn from(short: ShortId) -> Self {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&short.0);
        Self::from_bytes(bytes)
    }
}

impl Kept for Short {
    type Id = ShortId;

    fn of(peer: Candidate) -> Self {
        let ip = match peer.addr.ip().to_canonical() {
            IpAddr::V4(ip) => ip,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        Self {
            id: peer.id.into(),
            ip: ip.octets(),
            found_by: peer.found_by,
        }
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            id: self.id.into(),
            addr: SocketAddr::from((self.ip, 0)),
            found_by: self.found_by,
        }
    }

    fn id(&self) -> ShortId {
        self.id
    }

    fn ip(&self) -> IpAddr {
        IpAddr::from(self.ip)
    }

    fn found_by(&self) -> FoundBy {
        self.found_by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_form_comes_back_whole() {
        let mut id = [0; 32];
        id[..16].copy_from_slice(&[7; 16]);
        let peer = Candidate {
            id: NodeId::from_bytes(id),
            addr: SocketAddr::from(([192, 0, 2, 1], 0)),
            found_by: FoundBy::Lan,
        };
        assert_eq!(Short::of(peer.clone()).candidate(), peer);
        assert!(size_of::<Short>() <= 21);
    }
}
