//! Where peers come from: existing discovery engines behind one trait.
//!
//! An engine runs on threads of its own, knows addresses and identities, and never touches the
//! path of a sample. What it learns reaches the node only as [`PeerEvent`]s, so another engine can
//! be added without touching the node.
//!
//! - [`StaticPeers`]: a fixed list
//! - [`LanDiscovery`]: multicast announcements on the local networks, no bootstrap
//! - `Dht`: libp2p Kademlia over QUIC (cargo feature `dht`)
//! - [`OverlayEngine`]: Kademlia, Chord, Pastry or CAN of our own over UDP
//! - [`Sources`]: several of them as one

mod address;
mod block;
mod contacts;
#[cfg(feature = "dht")]
pub mod dht;
pub mod lan;
mod outbox;
pub mod overlay;
mod random;
mod resolve;
mod sources;
mod static_peers;

pub use address::{DEFAULT_TIME_PORT, Host, ParsePeerAddressError, PeerAddress};
#[cfg(feature = "dht")]
pub use dht::{Dht, DhtConfig, DhtTuning};
pub use lan::{LanConfig, LanDiscovery};
pub use overlay::{OverlayConfig, OverlayEngine};
pub use sources::Sources;
pub use static_peers::StaticPeers;

use std::net::SocketAddr;

use crate::topology::{Candidate, NodeId};

/// Something an engine learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// A peer is there, or is there under a new address.
    Found(Candidate),
    /// A time port whose identity is not known yet: whoever answers there is meant. An engine
    /// says so again when the name it stands for leads to another address.
    Contact(SocketAddr),
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

/// An engine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The operating system gave no thread.
    #[error("cannot start a thread for peer discovery: {0}; raise the limit on tasks")]
    Thread(#[source] std::io::Error),
    /// A socket could not be opened or set up.
    #[error("cannot open the {purpose} socket on {addr}: {source}; is the port taken?")]
    Socket {
        /// What the socket is for.
        purpose: &'static str,
        /// Where it was to be bound.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The name of the network cannot be part of a protocol name.
    #[error("network name {0:?}: use 1 to 32 letters, digits, `-`, `_` or `.`")]
    NetworkName(String),
    /// The secret is no ed25519 key.
    #[error("the identity's secret is not an ed25519 key; make a new identity")]
    Secret,
    /// The DHT could not listen.
    #[error("the DHT cannot listen on {addr}: {reason}; choose another address or port")]
    Listen {
        /// Where it was to listen.
        addr: SocketAddr,
        /// What went wrong.
        reason: String,
    },
}

/// Checks that `name` can stand in a protocol name.
pub(crate) fn check_network(name: &str) -> Result<(), EngineError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=32).contains(&name.len()) && name.chars().all(fits) {
        Ok(())
    } else {
        Err(EngineError::NetworkName(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_names_fit_into_protocol_names() {
        assert!(check_network("parisync").is_ok());
        assert!(check_network("lab-2_b.x").is_ok());
        for bad in ["", "a/b", "ü", "a b", &"x".repeat(33)] {
            assert!(check_network(bad).is_err(), "{bad:?}");
        }
    }
}
